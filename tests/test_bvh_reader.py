"""BVH as mocap: joints found by their names, where forward kinematics puts them; nothing else gets in."""

import numpy as np
import pytest

from kinelift.datasets import bvh as module
from kinelift.datasets.bvh import NAMINGS, read_bvh_joints
from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.kinematics import motion_positions
from kinelift.skeleton import BODY26
from test_export import at_fps, smooth_take

PARENT = {"shoulder": "neck", "elbow": "shoulder", "wrist": "elbow", "hip": "root", "knee": "hip", "ankle": "knee"}
PARENT |= {"toe": "ankle"}


def tree(naming="motionbuilder", prefix="", ends=False):
    """(name in the file, mocap joint, mocap parent) depth first."""
    sides, parts = NAMINGS[naming]
    rows = [("Hips", "root", None), ("Neck", "neck", "root"), ("Head", "head", "neck")]
    for side, called in zip(("left", "right"), sides, strict=True):
        for part, above in PARENT.items():
            name = prefix + parts[part][-1 if ends else 0].format(s=called)
            parent = above if above in ("root", "neck") else f"{side}_{above}"
            rows.append((name, f"{side}_{part}", parent))
    return rows


def write_bvh(path, rows, positions, fps=60.0, rest=None):
    """A file whose joints all move by position channels: `positions` {joint: (T, 3)}; names in _end become ends."""
    rest = rest or {joint: p[0] for joint, p in positions.items()}
    children = {joint: [r for r in rows if r[2] == joint] for _, joint, _ in rows}
    order = []

    def block(row, depth):
        name, joint, parent = row
        pad = "  " * depth
        offset = " ".join(f"{v:.8f}" for v in rest[joint] - (rest[parent] if parent else 0))
        if name.endswith("_end"):
            return [f"{pad}End Site", f"{pad}{{", f"{pad}  OFFSET {offset}", f"{pad}}}"]
        order.append((joint, parent))
        lines = [f"{pad}{'JOINT' if parent else 'ROOT'} {name}", f"{pad}{{", f"{pad}  OFFSET {offset}"]
        lines.append(f"{pad}  CHANNELS 3 Xposition Yposition Zposition")
        for child in children[joint]:
            lines += block(child, depth + 1)
        return [*lines, f"{pad}}}"]

    lines = ["HIERARCHY", *block(rows[0], 0)]
    local = [positions[j] - (positions[p] if p else 0) for j, p in order]
    frames = np.concatenate(local, -1)
    lines += ["MOTION", f"Frames: {len(frames)}", f"Frame Time: {1 / fps:.9f}"]
    path.write_text("\n".join(lines + [" ".join(f"{v:.8f}" for v in f) for f in frames]) + "\n")
    return path


@pytest.fixture
def points(walk):
    """{joint: (T, 3)} metres of a walk of 90 frames at 60 Hz."""
    p = walk(np.arange(90) / 60)
    out = {j: p[:, BODY26.index(j)] for j in (*MOCAP_JOINTS, "neck", "head")}
    return out | {"root": p[:, 0]}


@pytest.mark.parametrize("prefix", ["", "mixamorig:"])
@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_gives_the_same_joints(tmp_path, points, naming, prefix):
    path = write_bvh(tmp_path / "a.bvh", tree(naming, prefix), points)
    positions, names, fps = read_bvh_joints(path)
    assert names == [*MOCAP_JOINTS, "neck", "head"] and fps == pytest.approx(60)
    np.testing.assert_allclose(positions, np.stack([points[n] for n in names], 1), atol=1e-6)


def test_names_in_capitals_and_toes_as_ends(tmp_path, points):
    rows = [(n if n.endswith("_end") else n.upper(), j, p) for n, j, p in tree(ends=True)]
    assert any(n.endswith("_end") for n, _, _ in rows)
    rest = {j: p[0] for j, p in points.items()}
    still = {j: np.repeat(p[:1], 5, 0) for j, p in points.items()}
    positions, names, _ = read_bvh_joints(write_bvh(tmp_path / "a.bvh", rows, still, rest=rest))
    np.testing.assert_allclose(positions[3, names.index("left_toe")], rest["left_toe"], atol=1e-6)


def test_our_own_export_comes_back(tmp_path):
    take = smooth_take(at_fps(30, seconds=2), bend=1.0)
    (path,) = export(take, tmp_path / "m.bvh")
    positions, names, fps = read_bvh_joints(path)
    true = motion_positions(take.motions[0])
    assert fps == pytest.approx(30)
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        for side in ("left", "right"):
            j = f"{side}_{part}"
            np.testing.assert_allclose(positions[:, names.index(j)], true[:, BODY26.index(j)], atol=1e-5)


def test_z_up_is_turned_and_hands_stay_hands(tmp_path, points):
    """(x, y, z) with y up was written as (x, -z, y): the same motion comes back, not its mirror image."""
    turned = {j: p[:, [0, 2, 1]] * [1, -1, 1] for j, p in points.items()}
    positions, names, _ = read_bvh_joints(write_bvh(tmp_path / "a.bvh", tree(), turned))
    np.testing.assert_allclose(positions, np.stack([points[n] for n in names], 1), atol=1e-6)


def test_unknown_names_are_named(tmp_path, points):
    rows = [(n.replace("Leg", "Fin"), j, p) for n, j, p in tree()]
    with pytest.raises(InputError, match=r"a\.bvh.*no known way \(motionbuilder, .*LeftUpFin") as e:
        read_bvh_joints(write_bvh(tmp_path / "a.bvh", rows, points))
    assert len(str(e.value)) < 500 + len(str(tmp_path))


SPOILT = {
    "empty": lambda t: "",
    "another format": lambda t: "glTF" + t,
    "broken off in the tree": lambda t: t[: t.index("LeftFoot")],
    "broken off in a frame": lambda t: t[:-40],
    "no motion": lambda t: t[: t.index("MOTION")],
    "more frames than there are": lambda t: t.replace("Frames: 90", "Frames: 91"),
    "fewer frames than there are": lambda t: t.replace("Frames: 90", "Frames: 89"),
    "absurdly many frames": lambda t: t.replace("Frames: 90", "Frames: 99999999999999999999"),
    "a negative number of frames": lambda t: t.replace("Frames: 90", "Frames: -1"),
    "no frames": lambda t: t[: t.index("Frames:")] + "Frames: 0\nFrame Time: 0.01\n",
    "no time between frames": lambda t: t.replace("Frame Time: 0.01", "Frame Time: 0 0.01"),
    "time stands": lambda t: t.replace(t[t.index("Frame Time") :].split("\n")[0], "Frame Time: 0"),
    "not a number": lambda t: t[: t.rindex(" ")] + " nan\n",
    "infinite": lambda t: t[: t.rindex(" ")] + " 1e999\n",
    "text in a frame": lambda t: t[: t.rindex(" ")] + " __import__\n",
    "not a number in the tree": lambda t: t.replace("OFFSET 0", "OFFSET nan", 1),
    "two roots": lambda t: t.replace("MOTION", "ROOT Two\n{\n  OFFSET 0 0 0\n}\nMOTION"),
    "a channel of nothing": lambda t: t.replace("Xposition", "Wposition", 1),
    "a channel short": lambda t: t.replace("CHANNELS 3", "CHANNELS 2", 1),
    "unopened bracket": lambda t: t.replace("MOTION", "}\nMOTION"),
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
def test_malformed_files_are_one_clear_line(tmp_path, points, change):
    path = write_bvh(tmp_path / "odd.bvh", tree(), points)
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    with pytest.raises(InputError, match=r"odd\.bvh: ") as e:
        read_bvh_joints(path)
    assert "\n" not in str(e.value)


def test_huge_and_deep_files_are_refused(tmp_path, points, monkeypatch):
    deep = "HIERARCHY\nROOT a\n{\n OFFSET 0 0 0\n" + "JOINT b\n{\n OFFSET 0 0 0\n" * 100_000
    (tmp_path / "deep.bvh").write_text(deep)
    with pytest.raises(InputError, match="more than 1000 joints"):
        read_bvh_joints(tmp_path / "deep.bvh")
    path = write_bvh(tmp_path / "big.bvh", tree(), points)
    for missing in (tmp_path / "none.bvh", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_bvh_joints(missing)
    monkeypatch.setattr("kinelift.export.bvh.MAX_BYTES", 1000)
    with pytest.raises(InputError, match="too large"):
        read_bvh_joints(path)


def test_the_first_of_two_joints_of_one_name_counts(tmp_path, points):
    """A file may say a name twice; what hangs below must not take its place."""
    rows = tree()
    rows.append(("LeftHand", "left_thumb", "left_wrist"))
    more = points | {"left_thumb": points["left_wrist"] + 1}
    positions, names, _ = read_bvh_joints(write_bvh(tmp_path / "a.bvh", rows, more))
    np.testing.assert_allclose(positions[:, names.index("left_wrist")], points["left_wrist"], atol=1e-6)


def test_every_naming_has_every_part():
    for sides, parts in module.NAMINGS.values():
        assert len(set(sides)) == 2 and set(parts) == {j.partition("_")[2] for j in MOCAP_JOINTS}
        assert all("{s}" in name for names in parts.values() for name in names)

"""Repair by hand: what an edits file says is done, to those frames and points only; anything odd is one clear line."""

import json
import tomllib

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.kinematics import matrix_to_quat, motion_positions
from kinelift.records import CONTACT_JOINTS, Motion, Pose2D
from kinelift.repair.edits import JOINTS, MAX_BYTES, SCHEMA, Edits, parsed_edits, read_edits
from kinelift.skeleton import BODY26, COCO17, MEDIAPIPE33, SKELETONS

TIMES = np.arange(60) / 30 + 5.0  # a clip's clock may start anywhere
WHOLE = """
format = "kinelift-edits/1"
height_m = 1.82
floor_y = -0.4
cuts = [5.5, 6]

[[swap]]
from = 5.2
to = 5.6
parts = "legs"

[[hide]]
from = 6.5
joints = ["left_foot", "right_wrist"]

[[contact]]
to = 5.5
soles = ["left_toe", "right_foot"]
planted = true

[[contact]]
from = 5.5
soles = ["left_toe"]
planted = false

[[support]]
soles = "left_foot"
height_m = 0.18
"""


def pose(skeleton=MEDIAPIPE33, d3=True):
    rng = np.random.default_rng(0)
    n = len(skeleton)
    return Pose2D(
        skeleton, rng.uniform(0, 500, (60, n, 2)), rng.uniform(0.2, 1, (60, n)), TIMES, (640, 480),
        detector_3d=rng.normal(size=(60, n, 3)) if d3 else None,
    )  # fmt: skip


def edits(**tables):
    return parsed_edits(tables, "e.toml")


@pytest.fixture
def written(tmp_path):
    def write(text, name="e.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_toml_json_and_plain_data_say_the_same(written):
    from_toml = read_edits(written(WHOLE))
    from_json = read_edits(written(json.dumps(tomllib.loads(WHOLE)), "e.json"))
    assert from_toml.as_dict() == from_json.as_dict()
    stored = json.loads(json.dumps(from_toml.as_dict()))  # as meta keeps it
    assert parsed_edits(stored).entries == from_toml.entries
    assert (from_toml.height_m, from_toml.floor_y, from_toml.cuts) == (1.82, -0.4, (5.5, 6.0))


@pytest.mark.parametrize("name", ["e.toml", "e.json"])
def test_an_empty_file_changes_nothing(written, name):
    e = read_edits(written("{}" if name.endswith("json") else "", name))
    p = pose()
    e.check(p)
    assert e.swapped(p) is p and e.hidden(p) is p
    assert np.isnan(e.contact(TIMES)).all() and np.isnan(e.support_y(TIMES)).all()
    assert e.height_m is None and e.cuts is None and e == Edits(source=e.source)


def test_no_cuts_is_not_the_same_as_nothing_said_of_cuts():
    assert edits(cuts=[]).cuts == () and edits().cuts is None


@pytest.mark.parametrize("part, moved", [("legs", "left_knee"), ("arms", "left_wrist")])
def test_swap_exchanges_one_group_in_its_frames_and_twice_is_nothing(part, moved):
    p, e = pose(), edits(swap=[{"from": 5.5, "to": 6.0, "parts": part}])
    out = e.swapped(p)
    inside = (TIMES >= 5.5) & (TIMES < 6.0)
    i, m = MEDIAPIPE33.index(moved), MEDIAPIPE33.index(moved.replace("left", "right"))
    for field in ("xy", "confidence", "detector_3d"):
        before, after = getattr(p, field), getattr(out, field)
        np.testing.assert_array_equal(after[inside, i], before[inside, m])
        np.testing.assert_array_equal(after[~inside], before[~inside])
    other = MEDIAPIPE33.index("left_wrist" if part == "legs" else "left_knee")
    np.testing.assert_array_equal(out.xy[:, other], p.xy[:, other])
    np.testing.assert_array_equal(e.swapped(out).xy, p.xy)


def test_hidden_points_are_as_if_never_seen():
    p, e = pose(), edits(hide=[{"from": 5.5, "to": 6.0, "joints": ["left_foot", "right_hand"]}])
    out = e.hidden(p)
    inside = (TIMES >= 5.5) & (TIMES < 6.0)
    gone = np.array(MEDIAPIPE33.indices("left_heel", "left_foot_index", "right_index", "right_pinky", "right_thumb"))
    hidden = np.zeros(p.xy.shape[:2], bool)
    hidden[np.ix_(inside, gone)] = True
    assert (out.confidence[hidden] == 0).all() and np.isnan(out.xy[hidden]).all()
    assert np.isnan(out.detector_3d[hidden]).all()
    np.testing.assert_array_equal(out.confidence[~hidden], p.confidence[~hidden])
    np.testing.assert_array_equal(out.xy[~hidden], p.xy[~hidden])


def test_hiding_everything_for_a_while_is_a_person_not_detected():
    out = edits(hide=[{"from": 5.5, "to": 6.0}]).hidden(pose())
    np.testing.assert_array_equal(out.detected, (TIMES < 5.5) | (TIMES >= 6.0))
    with pytest.raises(InputError, match="no key point of the clip is left"):
        edits(hide=[{}]).hidden(pose())


@pytest.mark.parametrize("skeleton", [s for n, s in SKELETONS.items() if n != "h36m17"], ids=lambda s: s.name)
def test_every_detectors_points_have_a_part(skeleton):
    """All but the middle of trunk and hips, which other points give, can be hidden; sides never mix."""
    for name, parts in JOINTS.items():
        e = edits(hide=[{"to": 5.5, "joints": name}])
        gone = [j for j, c in zip(skeleton.joints, e.hidden(pose(skeleton, d3=False)).confidence[0]) if c == 0]
        side = name.split("_")[0]
        if side in ("left", "right"):
            assert all(j.startswith(side) for j in gone), name
        if name == "all":
            assert set(skeleton.joints) - set(gone) <= {"pelvis", "spine", "chest", "mid_hip", "torso"}
        assert len(parts) > 0


def test_contact_and_support_hold_for_their_soles_and_times(written):
    e = read_edits(written(WHOLE))
    contact, support = e.contact(TIMES), e.support_y(TIMES)
    early = TIMES < 5.5
    toe, heel = CONTACT_JOINTS.index("left_toe"), CONTACT_JOINTS.index("left_heel")
    np.testing.assert_array_equal(contact[:, toe], early.astype(float))
    assert np.isnan(contact[:, heel]).all()
    assert (contact[early][:, 2:] == 1).all() and np.isnan(contact[~early][:, 2:]).all()
    # Heights count from the true floor, which lies at floor_y of the world that the solve works in.
    np.testing.assert_allclose(support[:, :2], 0.18 - 0.4)
    assert np.isnan(support[:, 2:]).all()


def test_stretches_that_touch_share_no_frame_and_the_last_frame_belongs_to_the_end():
    touching = [
        {"to": TIMES[30], "soles": "feet", "planted": True},
        {"from": TIMES[30], "soles": "feet", "planted": False},
    ]
    contact = edits(contact=touching).contact(TIMES)
    assert (contact[:30] == 1).all() and (contact[30:] == 0).all()
    until_last = edits(contact=[{"to": TIMES[-1], "soles": "feet", "planted": True}]).contact(TIMES)
    assert (until_last == 1).all()


def test_grounded_moves_person_and_camera_together(walk_rig, look_at):
    local, offsets, root, contact = walk_rig(TIMES[:10])
    soles = BODY26.indices(*CONTACT_JOINTS)
    motion = Motion(
        BODY26, offsets, matrix_to_quat(local), root, contact, soles, np.ones(10, bool), np.ones((10, 26)), TIMES[:10]
    )
    camera = look_at([1, 1.3, 7], [0, 1, 0])
    moved, seen_by = edits(floor_y=-0.4).grounded(motion, camera)
    before, after = motion_positions(motion), motion_positions(moved)
    np.testing.assert_allclose(after - before, np.broadcast_to([0, 0.4, 0], before.shape), atol=1e-12)
    np.testing.assert_allclose(seen_by.project(after), camera.project(before), atol=1e-8)
    assert edits().grounded(motion, camera) == (motion, camera)
    moving = Camera(
        np.tile(camera.K, (10, 1, 1)), np.tile(camera.R_cam_world, (10, 1, 1)), np.tile(camera.t_cam_world, (10, 1)),
        camera.image_size, camera.distortion,
    )  # fmt: skip
    _, moving_after = edits(floor_y=-0.4).grounded(motion, moving)
    np.testing.assert_allclose(moving_after.project(after), camera.project(before), atol=1e-8)


PLANT = {"soles": "feet", "planted": True}
BAD = {
    "unknown key": (dict(heihgt_m=1.8), "unknown key 'heihgt_m'; known: format, height_m"),
    "unknown kind": (dict(contacts=[]), "unknown key 'contacts'; known: .*contact"),
    "not a table": (dict(contact=[3]), "contact 1: expected a table, got 3"),
    "not a list": (dict(contact=PLANT), r"contact: expected a list of tables \(\[\[contact\]\] in TOML\), got a table"),
    "unknown entry key": (dict(contact=[PLANT | {"foot": 1}]), "contact 1: unknown key 'foot'; known: from, to, soles"),
    "unknown sole": (dict(contact=[PLANT, PLANT | {"soles": ["heel"]}]), "contact 2: soles: unknown 'heel'; known"),
    "unknown joint": (dict(hide=[{"joints": ["tail"]}]), "hide 1: joints: unknown 'tail'; known: left_shoulder"),
    "unknown part": (dict(swap=[{"parts": "ears"}]), "swap 1: parts: unknown 'ears'; known: legs, arms, all"),
    "no soles": (dict(support=[{"height_m": 1}]), "support 1: 'soles' is missing; known: left_heel"),
    "empty list": (dict(hide=[{"joints": []}]), "hide 1: joints: expected at least one of left_shoulder"),
    "no value": (dict(contact=[{"soles": "feet"}]), "contact 1: 'planted' is missing; expected true or false"),
    "number for bool": (dict(contact=[PLANT | {"planted": 1}]), "contact 1: planted: expected true or false, got 1"),
    "bool for number": (dict(height_m=True), "height_m: expected a number, got true"),
    "text for number": (dict(swap=[{"from": "2 s"}]), "swap 1: from: expected a number, got '2 s'"),
    "a giant": (dict(height_m=18), "height_m: expected a finite number between 0.4 and 2.6, got 18"),
    "not finite": (dict(floor_y=float("nan")), "floor_y: expected a finite number between -100 and 100, got nan"),
    "infinite time": (dict(cuts=[float("inf")]), "cuts: expected a finite number, got inf"),
    "high step": (dict(support=[{"soles": "feet", "height_m": 18}]), "support 1: height_m: .* between -5 and 5"),
    "backwards": (dict(swap=[{"from": 3, "to": 2}]), "swap 1: to = 2 s must come after from = 3 s"),
    "other format": (dict(format="kinelift-edits/2"), "format: expected 'kinelift-edits/1', got 'kinelift-edits/2'"),
    "planted and free": (
        dict(contact=[PLANT | {"from": 1, "to": 3}, {"from": 2.5, "soles": "left_toe", "planted": False}]),
        "contact 1 and contact 2 contradict each other about 'left_toe' from 2.5 s on",
    ),
    "behind a longer one": (
        dict(contact=[PLANT, PLANT | {"from": 1, "to": 2}, {"from": 3, "soles": "left_toe", "planted": False}]),
        "contact 1 and contact 3 contradict",
    ),
    "two heights": (
        dict(support=[{"soles": "feet", "height_m": h} for h in (0.1, 0.2)]),
        "support 1 and support 2 contradict each other about 'left_heel' throughout",
    ),
    "exchanged twice": (dict(swap=[{"parts": "all"}, {"from": 1, "parts": "arms"}]), "swap 1 and swap 2 .*'arms'"),
    "too many": (dict(hide=[{}] * 2001), "hide: 2001 entries are too many"),
}  # fmt: skip


@pytest.mark.parametrize("tables, message", BAD.values(), ids=BAD)
def test_each_fault_is_one_line_that_names_the_entry(tables, message):
    with pytest.raises(InputError, match=f"^e.toml: {message}") as e:
        parsed_edits(tables, "e.toml")
    assert "\n" not in str(e.value)


def test_entries_that_agree_may_overlap():
    edits(
        contact=[PLANT, PLANT | {"from": 1}], hide=[{"to": 2}, {"to": 3}], swap=[{"parts": "arms"}, {"parts": "legs"}]
    )


OUTSIDE = {
    "from": (dict(swap=[{"from": 9}]), "swap 1: from = 9 s lies outside the clip; the clip runs from 5.00 to 6.97 s"),
    "to": (dict(hide=[{"from": 6, "to": 60}]), "hide 1: to = 60 s lies outside the clip; .*without 'to'"),
    "cut": (dict(cuts=[6, 3]), "cuts: 3 s lies outside the clip"),
    "between frames": (dict(swap=[{"from": 5.001, "to": 5.01}]), "swap 1: no frame lies between 5.001 and 5.01 s"),
}


@pytest.mark.parametrize("tables, message", OUTSIDE.values(), ids=OUTSIDE)
def test_a_stretch_outside_the_clip_is_named(tables, message):
    with pytest.raises(InputError, match=f"^e.toml: {message}"):
        edits(**tables).check(pose())


def test_points_that_the_detector_does_not_give_are_named():
    e = edits(hide=[{"joints": "left_toe"}])
    e.check(pose(MEDIAPIPE33))
    with pytest.raises(InputError, match=r"hide 1: the key points \(coco17\) have no left_toe"):
        e.check(pose(COCO17))


FILES = {
    "deep.json": (b"[" * 100_000, "nested too deeply"),
    "deep.toml": (b"a=" + b"\n".join([b"[" * 400] * 100), "nested too deeply"),
    "dotted.toml": (b"a." * 5_000 + b"a=1", "a line is longer than"),
    "large.json": (b" " * (MAX_BYTES + 1), "too large for edits"),
    "twice.json": (b'{"height_m": 1.8, "height_m": 1.9}', "'height_m' is there twice"),
    "huge.json": (b'{"height_m": ' + b"9" * 9000 + b"}", "cannot be read as edits"),
    "nan.json": (b'{"height_m": NaN}', "height_m: expected a finite number"),
    "list.json": (b"[1]", "expected a table of edits, got a list"),
    "broken.toml": (b"height_m = ", "cannot be read as edits"),
    "latin.toml": (b'format = "\xff"', "cannot be read as edits"),
    "edits.txt": (b"", "edits are a .toml or a .json file"),
    "empty.json": (b"", "cannot be read as edits"),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_and_broken_files_are_one_line(written, name):
    content, message = FILES[name]
    path = written(content, name)
    with pytest.raises(InputError, match=message) as e:
        read_edits(path)
    assert str(e.value).startswith(str(path)) and "\n" not in str(e.value) and len(str(e.value)) < 400 + len(str(path))


def test_no_file_is_one_line(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            read_edits(path.with_suffix(".toml"))


def test_every_kind_is_documented():
    from pathlib import Path

    text = (Path(__file__).parent.parent / "docs" / "edits.md").read_text()
    for kind, (names_key, choices, _, value_key, _) in SCHEMA.items():
        assert f"[[{kind}]]" in text and f"`{names_key}`" in text and (value_key is None or f"`{value_key}`" in text)
        missing = [c for c in choices if c not in JOINTS and f"`{c}`" not in text]
        assert not missing
    block = text.split("```toml")[1].split("```")[0]
    assert parsed_edits(tomllib.loads(block)).entries  # the example is valid

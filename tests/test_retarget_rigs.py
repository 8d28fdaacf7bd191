"""Three skinned characters of other proportions: feet slide and sink no more than the source's, limbs point alike.

And FBX through Blender: the bones come in, mesh and skin come back, every joint where it was sent.
"""

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from gltf_player import Player
from judges import ROOT, absent, run_python
from kinelift.errors import InputError
from kinelift.export import fbx
from kinelift.kinematics import matrix_to_quat, motion_positions, quat_to_matrix, rotvec_to_matrix
from kinelift.records import Motion
from kinelift.render.sample_motion import sample_motion
from kinelift.retarget import blender_rig, read_character, retarget, write_character
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character
from kinelift.skeleton import BODY26
from rig_files import write_glb, write_vrm
from rigs import RIGS

FRAMES = [0, 3, 7]
# Centimetres as Mixamo has them; metres with Z up.
AS_FBX = {"mixamo": ("FBX_SCALE_NONE", "Y"), "unreal": ("FBX_SCALE_ALL", "Z")}


# (a joint, the next one) of both sides.
ARM = [("shoulder", "elbow"), ("elbow", "wrist")]


@pytest.fixture(scope="module")
def benchmark():
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("retarget")
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def motions(benchmark) -> dict[str, Motion]:
    return {"sample": sample_motion()} | {a: benchmark.made(a) for a in ("walk", "jump")}


@pytest.fixture(scope="module")
def moved(benchmark, motions, tmp_path_factory):
    """The files of every motion on every character."""
    folder = tmp_path_factory.mktemp("moved")
    out = {}
    for name, motion in motions.items():
        (folder / name).mkdir()
        out |= {(name, rig): benchmark.animated(rig, motion, folder / name) for rig in RIGS}
    return out


def directions(places: np.ndarray) -> np.ndarray:
    return places / np.linalg.norm(places, axis=-1, keepdims=True)


def bend(leg: np.ndarray) -> np.ndarray:
    """(T, 3) from the line between hip and ankle to the knee, of places (T, 3, 3)."""
    hip, knee, ankle = np.moveaxis(leg, 1, 0)
    along = directions(ankle - hip)
    return (knee - hip) - ((knee - hip) * along).sum(-1, keepdims=True) * along


def joints(path: Path, names: list[str], times: np.ndarray) -> np.ndarray:
    """World places (T, J, 3) of a GLB's nodes."""
    player = Player(path)
    return player.matrices(times)[..., :3, 3][:, [player.names.index(n) for n in names]]


@pytest.mark.parametrize("rig", RIGS)
@pytest.mark.parametrize("name", ["sample", "walk", "jump"])
class TestOnThreeCharacters:
    def test_feet_slide_and_sink_no_more_than_the_source(self, benchmark, motions, moved, name, rig):
        source = benchmark.of_source(motions[name])
        own = benchmark.of_rig(*moved[name, rig], motions[name])
        larger = max(1, source.leg_m / own.leg_m)
        for mine, theirs in ((own.slide, source.slide), (own.sink, source.sink)):
            assert mine * larger <= max(1.2 * theirs, 0.15)  # mm; generated feet stand still
        assert own.deepest < 2 and own.jitter * larger < 1.4 * source.jitter
        if name == "jump":
            assert own.flight_m / own.leg_m == pytest.approx(
                source.flight_m / source.leg_m, rel=0.25
            )  # a large foot clears the floor

    def test_arms_point_where_the_sources_do(self, motions, moved, name, rig):
        motion = motions[name]
        character, path = moved[name, rig]
        source = motion_positions(motion)
        arms = [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in ARM]
        ends = [j for pair in arms for j in pair]
        theirs = joints(path, [character.joints[j] for j in ends], motion.times - motion.times[0])
        ours = source[:, BODY26.indices(*ends)]
        agree = (directions(theirs[:, 1::2] - theirs[:, ::2]) * directions(ours[:, 1::2] - ours[:, ::2])).sum(-1)
        assert np.degrees(np.arccos(np.clip(agree, -1, 1))).max() < 1

    def test_knees_bend_to_where_the_sources_do(self, motions, moved, name, rig):
        motion = motions[name]
        character, path = moved[name, rig]
        for side in ("left", "right"):
            leg = [f"{side}_{j}" for j in ("hip", "knee", "ankle")]
            ours = bend(motion_positions(motion)[:, BODY26.indices(*leg)])
            theirs = bend(joints(path, [character.joints[j] for j in leg], motion.times - motion.times[0]))
            bent = np.linalg.norm(ours, axis=-1) > 0.1 * np.linalg.norm(motion.offsets[BODY26.index(leg[1])])
            assert bent.any() and (directions(ours) * directions(theirs)).sum(-1)[bent].min() > 0.9


def test_the_old_vrm_faces_the_other_way_and_moves_alike(moved, motions, tmp_path):
    rig, path = moved["sample", "vrm"]
    character = read_character(write_vrm(rig, tmp_path / "old.vrm", version=0))
    write_character(character, retarget(motions["sample"], character), tmp_path / "out.vrm")
    times = motions["sample"].times[::20]
    names = list(rig.joints.values())
    turned = joints(tmp_path / "out.vrm", names, times) * [-1, 1, -1]
    assert np.abs(turned - joints(path, names, times)).max() < 1e-4


def swing(character: Character, bones: list[int], root: int, t: int = 8) -> Animation:
    """Some bones turn about odd axes, the root wanders."""
    times = np.arange(t) / 24
    axes = np.random.default_rng(1).normal(size=(len(bones), 3))
    turns = rotvec_to_matrix(np.sin(3 * times)[:, None, None] * 0.6 * axes)
    rotations = matrix_to_quat(character.rotation[bones] @ turns)
    way = np.stack([0.4 * times, 0.1 * np.sin(5 * times), -0.2 * times], -1) / character.stretch[root]
    soles = np.zeros((t, 4, 3))
    return Animation(times, np.array(bones), rotations, root, character.local[root] + way, soles[..., 0], soles)


def posed(character: Character, animation: Animation) -> np.ndarray:
    """Bones' places (T, B, 3) in the file's world."""
    t = len(animation.times)
    local, turned = np.tile(character.local, (t, 1, 1)), np.tile(character.rotation, (t, 1, 1, 1))
    turned[:, animation.driven] = quat_to_matrix(animation.rotations)
    local[:, animation.root] = animation.translation
    scale = character.stretch.copy()
    for i, p in enumerate(character.parents):
        if p >= 0:
            local[:, i] = local[:, p] + scale[p] * np.einsum("tij,tj->ti", turned[:, p], local[:, i])
            turned[:, i], scale[i] = turned[:, p] @ turned[:, i], scale[i] * scale[p]
    return local


@pytest.fixture(scope="module")
def python() -> str:
    found = os.environ.get("KINELIFT_BLENDER_PYTHON") or ROOT / ".venv-blender" / "bin" / "python"
    if not Path(found).exists():
        absent(f"no Blender at {found}: run scripts/blender_env.sh or set KINELIFT_BLENDER_PYTHON")
    return str(found)


@pytest.fixture(scope="module")
def files(python, tmp_path_factory):
    """Characters as FBX."""
    folder = tmp_path_factory.mktemp("rigs")
    job = []
    for name, (scale, up) in AS_FBX.items():
        glb = write_glb(RIGS[name](), folder / f"{name}.glb")
        job.append({"glb": str(glb), "fbx": str(folder / f"{name}.fbx"), "scale": scale, "up": up})
    (folder / "make.json").write_text(json.dumps({"make": job}))
    run_python("rig_fbx.py", folder / "make.json", python=python)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINELIFT_BLENDER", python)
        yield {name: folder / f"{name}.fbx" for name in AS_FBX}


@pytest.fixture(scope="module")
def characters(files) -> dict[str, Character]:
    return {name: read_character(path) for name, path in files.items()}


@pytest.fixture(scope="module")
def returned(files, characters, motions, python):
    """Animations, and what Blender says of their files: odd turns on one character, a walk on the other."""
    rig, character = RIGS["mixamo"](), characters["mixamo"]
    bones = sorted(character.bones.index(rig.joints[j]) for j in ("pelvis", "chest", "left_elbow", "right_knee"))
    sent = {
        "mixamo": swing(character, bones, character.bones.index(rig.joints["pelvis"])),
        "unreal": retarget(motions["walk"], characters["unreal"]),
    }
    out = {name: files[name].with_name(f"{name}_out.fbx") for name in sent}
    for name, animation in sent.items():
        write_character(characters[name], animation, out[name])
    items = [{"path": str(out[n]), "fps": fps, "frames": FRAMES} for n, fps in (("mixamo", 24), ("unreal", 30))]
    job = files["mixamo"].with_name("check.json")
    job.write_text(json.dumps({"check": [*items, {"path": str(files["mixamo"]), "fps": 24, "frames": []}]}))
    return sent, dict(zip((*sent, "before"), run_python("rig_fbx.py", job, python=python), strict=True))


@pytest.mark.blender
class TestThroughBlender:
    @pytest.mark.parametrize("name", AS_FBX)
    def test_the_bones_come_in(self, characters, name):
        rig, read = RIGS[name](), characters[name]
        assert set(read.bones) == set(rig.bones)
        order = [read.bones.index(b) for b in rig.bones]
        parents = [None if p < 0 else rig.bones[p] for p in rig.parents]
        assert [None if read.parents[i] < 0 else read.bones[read.parents[i]] for i in order] == parents
        z_up = rig.positions @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
        assert np.abs(read.scale * read.rest[0][order] - z_up).max() < 1e-4
        assert read.surface is not None and abs(read.surface.points[:, 2].min()) < 1e-4
        assert read.stretch[read.parents < 0] == pytest.approx(0.01 if name == "mixamo" else 1)

    @pytest.mark.parametrize("name", AS_FBX)
    def test_every_bone_is_where_it_was_sent(self, characters, returned, name):
        sent, said = returned
        theirs = np.array([[heads[b] for b in characters[name].bones] for heads in said[name]["heads"]])
        assert np.linalg.norm(theirs - posed(characters[name], sent[name])[FRAMES], axis=-1).max() < 0.001
        assert said[name]["frame_range"] == [1, len(sent[name].times)]

    def test_mesh_materials_and_texture_come_back(self, returned):
        _, said = returned
        for key in ("vertices", "materials", "images"):
            assert said["mixamo"][key] == said["before"][key]
        assert said["mixamo"]["vertices"] > 1000 and said["mixamo"]["images"]

    def test_units_stay(self, returned):
        _, said = returned
        assert said["mixamo"]["scale"] == pytest.approx([0.01] * 3)
        assert said["unreal"]["scale"] == pytest.approx([1] * 3)

    def test_fbx_and_glb_of_a_character_move_alike(self, returned, moved, motions):
        _, said = returned
        rig, path = moved["walk", "unreal"]
        names = list(rig.joints.values())
        z_up = np.array([[heads[n] for n in names] for heads in said["unreal"]["heads"]])
        theirs = np.stack([z_up[..., 0], z_up[..., 2], -z_up[..., 1]], -1)
        assert np.linalg.norm(theirs - joints(path, names, motions["walk"].times[FRAMES]), axis=-1).max() < 0.003

    def test_no_fbx(self, files):
        path = files["mixamo"].with_name("no.fbx")
        path.write_bytes(b"Kaydara FBX Binary  \0" + bytes(40))
        with pytest.raises(InputError, match=r"no.fbx: Blender cannot read it \("):
            blender_rig.read(path)


class TestWithoutBlender:
    def test_one_clear_line(self, tmp_path, monkeypatch):
        monkeypatch.delenv("KINELIFT_BLENDER", raising=False)
        monkeypatch.setattr(fbx.shutil, "which", lambda name: None)
        monkeypatch.setattr(fbx.importlib.util, "find_spec", lambda name: None)
        (tmp_path / "rig.fbx").write_bytes(b"Kaydara FBX Binary")
        with pytest.raises(InputError, match="written by Blender, and none is found: install it") as said:
            blender_rig.read(tmp_path / "rig.fbx")
        assert "\n" not in str(said.value)

    def test_no_file(self, tmp_path):
        with pytest.raises(InputError, match=r"rig.fbx: cannot be read \(No such file"):
            blender_rig.read(tmp_path / "rig.fbx")

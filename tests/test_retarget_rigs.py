"""The user's own FBX through Blender: its bones come in, its mesh and skin come back, every joint where it was sent."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from judges import ROOT, absent, run_python
from kinelift.errors import InputError
from kinelift.export import fbx
from kinelift.kinematics import matrix_to_quat, quat_to_matrix, rotvec_to_matrix
from kinelift.retarget import blender_rig
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character
from rig_files import write_glb
from rigs import RIGS

FRAMES = [0, 3, 7]
AS_FBX = {"mixamo": ("FBX_SCALE_NONE", "Y"), "vrm": ("FBX_SCALE_ALL", "Y"), "unreal": ("FBX_SCALE_NONE", "Z")}


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
    """The three characters as FBX."""
    folder = tmp_path_factory.mktemp("rigs")
    job = []
    for name, make in RIGS.items():
        glb, fbx_path = write_glb(make(), folder / f"{name}.glb"), folder / f"{name}.fbx"
        scale, up = AS_FBX[name]
        job.append({"glb": str(glb), "fbx": str(fbx_path), "scale": scale, "up": up})
    (folder / "make.json").write_text(json.dumps({"make": job}))
    run_python("rig_fbx.py", folder / "make.json", python=python)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINELIFT_BLENDER", python)
        yield {name: folder / f"{name}.fbx" for name in RIGS}


@pytest.fixture(scope="module")
def characters(files) -> dict[str, Character]:
    return {name: blender_rig.read(path) for name, path in files.items()}


@pytest.fixture(scope="module")
def returned(files, characters, python):
    """What Blender says of the animated files."""
    items, sent = [], {}
    for name, character in characters.items():
        rig = RIGS[name]()
        bones = sorted(character.bones.index(rig.joints[j]) for j in ("pelvis", "chest", "left_elbow", "right_knee"))
        root = character.bones.index(rig.joints["pelvis"])
        sent[name] = swing(character, bones, root)
        out = files[name].with_name(f"{name}_out.fbx")
        blender_rig.write(character, sent[name], out)
        items.append({"path": str(out), "fps": 24, "frames": FRAMES})
    items += [{"path": str(files["vrm"]), "fps": 24, "frames": []}]
    job = files["vrm"].with_name("check.json")
    job.write_text(json.dumps({"check": items}))
    report = run_python("rig_fbx.py", job, python=python)
    return sent, dict(zip((*RIGS, "before"), report, strict=True))


@pytest.mark.blender
class TestThroughBlender:
    @pytest.mark.parametrize("name", RIGS)
    def test_the_bones_come_in(self, characters, name):
        rig, read = RIGS[name](), characters[name]
        assert set(read.bones) == set(rig.bones)
        order = [read.bones.index(b) for b in rig.bones]
        parents = [None if p < 0 else rig.bones[p] for p in rig.parents]
        assert [None if read.parents[i] < 0 else read.bones[read.parents[i]] for i in order] == parents
        z_up = rig.positions @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
        assert np.abs(read.scale * read.rest[0][order] - z_up).max() < 1e-4
        assert read.surface is not None and abs(read.surface.points[:, 2].min()) < 1e-4
        if name == "mixamo":
            assert read.stretch[read.parents < 0] == pytest.approx(0.01)

    @pytest.mark.parametrize("name", RIGS)
    def test_every_bone_is_where_it_was_sent(self, characters, returned, name):
        sent, said = returned
        theirs = np.array([[heads[b] for b in characters[name].bones] for heads in said[name]["heads"]])
        assert np.linalg.norm(theirs - posed(characters[name], sent[name])[FRAMES], axis=-1).max() < 0.001
        assert said[name]["frame_range"] == [1, 8]

    def test_mesh_materials_and_texture_come_back(self, returned):
        _, said = returned
        for key in ("vertices", "materials", "images"):
            assert said["vrm"][key] == said["before"][key]
        assert said["vrm"]["vertices"] > 1000 and said["vrm"]["images"]

    def test_units_stay(self, returned):
        _, said = returned
        assert said["mixamo"]["scale"] == pytest.approx([0.01] * 3) and said["unreal"]["scale"] == pytest.approx(
            [1] * 3
        )

    def test_no_fbx(self, files):
        path = files["vrm"].with_name("no.fbx")
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

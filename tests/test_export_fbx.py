"""FBX through Blender: three.js and Blender read every joint where the motion has it; without Blender, one line."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from judges import ROOT, absent, node_modules, run_node
from kinelift.errors import InputError
from kinelift.export import export, fbx
from kinelift.export.rig import BODY_RIG
from kinelift.kinematics import motion_positions
from kinelift.skeleton import BODY26
from test_export import at_fps, smooth_take
from test_export_blender import standing

PAIRS = [(name, BODY26.index(joint)) for name, _, joint in BODY_RIG if joint]
FRAMES = [0, 1, 20, 37, 48, 60]


@pytest.fixture(scope="module")
def python() -> str:
    found = os.environ.get("KINELIFT_BLENDER_PYTHON") or ROOT / ".venv-blender" / "bin" / "python"
    if not Path(found).exists():
        absent(f"no Blender at {found}: run scripts/blender_env.sh or set KINELIFT_BLENDER_PYTHON")
    return str(found)


@pytest.fixture(scope="module")
def files(python, tmp_path_factory):
    """Takes by name, and their files."""
    folder = tmp_path_factory.mktemp("fbx")
    motion = standing(at_fps(30, seconds=2))
    takes = {
        "swing": smooth_take(at_fps(30000 / 1001, 60 * 1001 / 30000, start=1.2), bend=1.0),
        "standing": smooth_take(motion.times).replaced(motions=(motion,)),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINELIFT_BLENDER", python)
        return takes, {name: export(take, folder / f"{name}.fbx")[0] for name, take in takes.items()}


@pytest.mark.blender
@pytest.mark.parametrize("name, fps", [("swing", 30000 / 1001), ("standing", 30)])
def test_three_js_reads_every_joint_at_its_time(files, name, fps):
    takes, paths = files
    # A hair before each key: an FBX's clip starts over at its last one.
    times = [max(f / fps - 1e-5, 0) for f in FRAMES]
    said = run_node("read_fbx.mjs", node_modules("three"), paths[name], *times)
    assert said["clips"] == 1 and said["seconds"] == pytest.approx(60 / fps, abs=1e-4)
    theirs = np.array([[places[n] for n, _ in PAIRS] for places in said["places"]])
    ours = motion_positions(takes[name].motions[0])[FRAMES][:, [j for _, j in PAIRS]]
    assert np.linalg.norm(theirs - ours, axis=-1).max() < 0.001
    if name == "standing":
        for low, high in said["heights"]:
            assert abs(low) < 0.002 and high == pytest.approx(1.75, abs=0.03)


class TestWithoutBlender:
    def test_one_clear_line(self, tmp_path, monkeypatch):
        monkeypatch.delenv("KINELIFT_BLENDER", raising=False)
        monkeypatch.setattr(fbx.shutil, "which", lambda name: None)
        monkeypatch.setattr(fbx.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match="FBX is written by Blender, and none is found: install it") as said:
            export(smooth_take(at_fps(30)), tmp_path / "m.fbx")
        assert "\n" not in str(said.value) and list(tmp_path.iterdir()) == []

    def test_a_program_that_is_not_there(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KINELIFT_BLENDER", str(tmp_path / "nowhere"))
        with pytest.raises(InputError, match="nowhere: Blender does not start"):
            export(smooth_take(at_fps(30)), tmp_path / "m.fbx")

    def test_a_python_without_bpy(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KINELIFT_BLENDER", sys.executable)
        with pytest.raises(InputError, match=r"did not write the FBX \(ModuleNotFoundError: No module named 'bpy'\)"):
            export(smooth_take(at_fps(30)), tmp_path / "m.fbx")

    def test_one_that_never_ends(self, tmp_path, monkeypatch):
        program = tmp_path / "blender"
        program.write_text("#!/bin/sh\nexec sleep 60\n")
        program.chmod(0o755)
        monkeypatch.setenv("KINELIFT_BLENDER", str(program))
        monkeypatch.setattr(fbx, "START_S", 0.2)
        monkeypatch.setattr(fbx, "SECONDS_A_FRAME", 0.0)
        with pytest.raises(InputError, match="did not write the FBX within 0 s"):
            export(smooth_take(at_fps(30)), tmp_path / "m.fbx")

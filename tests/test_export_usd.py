"""USD: Pixar's own reader has no complaint, and its UsdSkel puts joints and body where the motion has them."""

import numpy as np
import pytest

from judges import judge, run_python
from kinelift.export import export
from kinelift.export.rig import BODY_RIG, rig_of
from kinelift.kinematics import motion_positions
from kinelift.skeleton import BODY26, make_skeleton
from test_export import at_fps, smooth_take
from test_export_blender import standing

FRAMES = [0, 1, 20, 48]
PAIRS = [(name, BODY26.index(joint)) for name, _, joint in BODY_RIG if joint]


def read(path, frames=FRAMES):
    judge("pxr", "usd-core")
    return run_python("read_usd.py", path, *frames)


@pytest.mark.parametrize("fps", [24000 / 1001, 30, 60])
def test_usdskel_puts_every_joint_where_the_motion_has_it(fps, tmp_path):
    take = smooth_take(at_fps(fps, seconds=50 / fps, start=2.0), bend=1.2)
    said = read(export(take, tmp_path / "m.usda")[0])
    assert said["findings"] == []
    assert said["up"] == "Y" and said["metres"] == 1 and said["fps"] == pytest.approx(fps, rel=1e-8)
    assert said["codes"] == [0, len(take.motions[0].times) - 1]
    ours = motion_positions(take.motions[0])[FRAMES][:, [j for _, j in PAIRS]]
    theirs = np.array([said["places"][str(f)] for f in FRAMES])[:, [said["joints"].index(n) for n, _ in PAIRS]]
    assert np.linalg.norm(theirs - ours, axis=-1).max() < 1e-4


def test_the_body_stands_on_the_floor(tmp_path):
    motion = standing(at_fps(30, seconds=2))
    said = read(export(smooth_take(motion.times).replaced(motions=(motion,)), tmp_path / "m.usda")[0])
    for low, high in said["heights"].values():
        assert abs(low) < 0.002 and high == pytest.approx(1.75, abs=0.03)


def test_names_that_a_path_cannot_hold(tmp_path):
    tree = [("1 root", None), ("a.b", "1 root"), ("a b", "1 root"), ("ö/ß", "a.b")]
    take = smooth_take(at_fps(30, 2), skeleton=make_skeleton("odd", tree))
    said = read(export(take, tmp_path / "m.usda")[0])
    assert said["findings"] == [] and len(set(said["joints"])) == 4
    rig = rig_of(take.motions[0])
    ours = motion_positions(take.motions[0])[FRAMES][:, list(rig.sources)]
    assert np.abs(np.array([said["places"][str(f)] for f in FRAMES]) - ours).max() < 1e-4

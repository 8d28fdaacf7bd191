"""C3D: ezc3d reads points, contacts, steps and the rate as the motion has them, py-c3d the residuals too.

Residuals are judged by py-c3d because ezc3d takes them from the fourth word's high byte, where c3d.org and others
have the cameras.
"""

import numpy as np
import pytest

from judges import judge
from kinelift.export import c3d, export
from kinelift.export.axes import LABORATORY
from kinelift.kinematics import motion_positions
from kinelift.skeleton import BODY26
from test_export import at_fps, smooth_motion, smooth_take


def read(path):
    judge("ezc3d")
    from ezc3d import c3d as read_c3d

    return read_c3d(str(path))


def values(file, group, name):
    return file["parameters"][group][name]["value"]


@pytest.mark.parametrize("fps", [24000 / 1001, 30, 60])
def test_every_point_in_millimetres_z_up(fps, tmp_path):
    take = smooth_take(at_fps(fps, seconds=2, start=3.3))
    file = read(export(take, tmp_path / "m.c3d")[0])
    assert values(file, "POINT", "LABELS") == list(BODY26.joints) and values(file, "POINT", "UNITS") == ["mm"]
    assert values(file, "POINT", "RATE")[0] == pytest.approx(fps, rel=1e-6)
    points = file["data"]["points"][:3].transpose(2, 1, 0)
    ours = motion_positions(take.motions[0])
    assert np.linalg.norm(points / 1000 - ours @ LABORATORY.T, axis=-1).max() < 1e-5
    assert points[0, 0, 2] == pytest.approx(1000 * ours[0, 0, 1], abs=0.1)


def test_residuals_are_sigma_and_zero_where_nobody_was_seen(tmp_path):
    take = smooth_take(at_fps(30, seconds=2))
    motion = take.motions[0]
    (path,) = export(take, tmp_path / "m.c3d")
    judge("c3d")
    from c3d import Reader

    with path.open("rb") as file:
        points = np.stack([points for _, points, _ in Reader(file).read_frames()])
    assert np.linalg.norm(points[..., :3] / 1000 - motion_positions(motion) @ LABORATORY.T, axis=-1).max() < 1e-5
    residuals = points[..., 3]
    seen = motion.observed
    assert 5 < seen.sum() < len(seen)
    assert np.abs(residuals[seen] - 1000 * motion.sigma_m[seen]).max() < 0.2
    assert (residuals[~seen] == 0).all()


def test_contacts_are_analog_channels(tmp_path):
    take = smooth_take(at_fps(30, seconds=2))
    file = read(export(take, tmp_path / "m.c3d")[0])
    names = [f"{s}_{p}_contact" for s in ("left", "right") for p in ("heel", "toe")]
    assert values(file, "ANALOG", "LABELS") == names
    assert np.abs(file["data"]["analogs"][0].T - take.motions[0].contacts).max() < 1e-6


def stepping(times, steps_s):
    """Left foot planted from 0.5 s before to 0.5 s after each step, the toe 0.1 s longer; the right foot never."""
    motion = smooth_motion(times)
    contacts = np.zeros((len(times), 4))
    for step in steps_s:
        contacts[(times >= step - 0.5) & (times < step + 0.5), 0] = 0.9
        contacts[(times >= step - 0.5) & (times < step + 0.6), 1] = 0.9
    return smooth_take(times).replaced(motions=(motion.replaced(contacts=contacts),))


def test_steps_are_events(tmp_path):
    file = read(export(stepping(at_fps(30, 70), [1, 3, 65]), tmp_path / "m.c3d")[0])
    minutes, seconds = values(file, "EVENT", "TIMES")
    assert np.allclose(60 * minutes + seconds, [0.5, 1.6, 2.5, 3.6, 64.5, 65.6], atol=1e-4)
    assert values(file, "EVENT", "LABELS") == ["Foot Strike", "Foot Off"] * 3
    assert values(file, "EVENT", "CONTEXTS") == ["Left"] * 6


def test_more_steps_than_the_format_holds_stay_in_the_channels(tmp_path, monkeypatch):
    monkeypatch.setattr(c3d, "MAX_EVENTS", 5)
    file = read(export(stepping(at_fps(30, 70), [1, 3, 65]), tmp_path / "m.c3d")[0])
    assert "EVENT" not in file["parameters"] and (file["data"]["analogs"] > 0.5).any()


def test_longer_than_a_header_counts(tmp_path):
    """An hour at 30 frames per second has more frames than the header's 16 bits."""
    n = 66000
    motion = smooth_motion(at_fps(30, seconds=1))
    still = {f: np.repeat(getattr(motion, f)[:1], n, 0) for f in ("rotations", "contacts", "sigma_m", "observed")}
    root = np.stack([np.arange(n) / 1000, np.ones(n), np.zeros(n)], -1)
    take = smooth_take(at_fps(30)).replaced(motions=(motion.replaced(root=root, times=np.arange(n) / 30, **still),))
    points = read(export(take, tmp_path / "m.c3d")[0])["data"]["points"]
    assert points.shape[2] == n
    assert np.abs(points[0, 0] - 1000 * root[:, 0]).max() < 0.01

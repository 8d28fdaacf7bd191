"""TRC: OpenSim reads every marker where the motion has it, at the exact rate; the sidecar holds sigma."""

import numpy as np
import pytest

from judges import judge, run_python
from kinelift.export import export
from kinelift.export.axes import OPENSIM
from kinelift.kinematics import motion_positions
from kinelift.skeleton import BODY26, make_skeleton
from test_export import at_fps, smooth_take


def read_by_opensim(path):
    """Rate, times (T,), marker names and positions (T, N, 3) in metres."""
    judge("opensim")
    said = run_python("opensim_trc.py", path)
    assert said["units"] == "m"
    xyz = np.array(said["values"]).reshape(len(said["times"]), -1, 3)
    return said["fps"], np.array(said["times"]), said["names"], xyz


@pytest.mark.parametrize("fps", [24000 / 1001, 30, 60])
def test_opensim_reads_every_marker_in_its_own_axes(fps, tmp_path):
    take = smooth_take(at_fps(fps, seconds=2, start=3.3))
    rate, times, names, xyz = read_by_opensim(export(take, tmp_path / "m.trc")[0])
    assert rate == pytest.approx(fps, rel=1e-7)
    assert np.allclose(times, take.motions[0].times - 3.3, atol=1e-6)
    assert tuple(names) == BODY26.joints
    assert np.linalg.norm(xyz - motion_positions(take.motions[0]) @ OPENSIM.T, axis=-1).max() < 1e-5


def test_who_faces_the_camera_faces_opensims_x_with_the_right_hand_towards_z():
    assert np.allclose(OPENSIM @ [0, 0, 1], [1, 0, 0]) and np.allclose(OPENSIM @ [-1, 0, 0], [0, 0, 1])
    assert np.linalg.det(OPENSIM) == pytest.approx(1)


def test_the_columns_are_as_the_format_counts_them(tmp_path):
    path, _ = export(smooth_take(at_fps(30)), tmp_path / "m.trc")
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert lines[0][:3] == ["PathFileType", "4", "(X/Y/Z)"] and len(lines[1]) == len(lines[2]) == 8
    header = dict(zip(lines[1], lines[2], strict=True))
    assert header["NumFrames"] == "31" and header["NumMarkers"] == "26" and header["Units"] == "m"
    assert lines[5] == [""]
    rows = lines[6:]
    assert len(rows) == 31 and {len(row) for row in rows} == {2 + 3 * 26}
    assert lines[4][2:5] == ["X1", "Y1", "Z1"] and lines[4][-1] == "Z26" and lines[3][2] == "pelvis"


def test_names_with_spaces_stay_one_column(tmp_path):
    chain = make_skeleton("own", [("a b", None), ("c\td", "a b")])
    path, sidecar = export(smooth_take(at_fps(30), skeleton=chain), tmp_path / "m.trc")
    assert path.read_text().splitlines()[3].split("\t")[2::3] == ["a_b", "c_d"]
    assert sidecar.read_text().splitlines()[0] == "time_s,a_b_sigma_m,c_d_sigma_m"


def test_the_sidecar_has_sigma_of_the_same_rows(tmp_path):
    take = smooth_take(at_fps(30, start=1.5))
    path, sidecar = export(take, tmp_path / "m.trc")
    assert sidecar.name == "m_sigma.csv"
    table = np.genfromtxt(sidecar, delimiter=",", names=True)
    assert np.allclose(table["time_s"], np.loadtxt(path, skiprows=6)[:, 1])
    sigma = take.motions[0].sigma_m[:, BODY26.index("left_knee")]
    assert np.allclose(table["left_knee_sigma_m"], sigma, atol=1e-6)


def test_fps_on_request(tmp_path):
    path, sidecar = export(smooth_take(at_fps(60)), tmp_path / "m.trc", fps=24)
    assert np.allclose(np.loadtxt(path, skiprows=6)[:, 1], np.arange(25) / 24, atol=1e-6)
    assert len(sidecar.read_text().splitlines()) == 26

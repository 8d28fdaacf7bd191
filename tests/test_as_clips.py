"""Sets of 17-joint poses as clips for the temporal lifter: the same bodies, upright, once each."""

import pickle

import numpy as np
import pytest
from scipy.io import savemat

from kinelift import metrics
from kinelift.camera import Z_UP_TO_Y_UP, Camera
from kinelift.datasets import h36m, mpi_inf_3dhp
from kinelift.datasets.as_clips import TRAINING_CLIPS, as_clips, training_clips
from kinelift.datasets.base import PoseSet, View
from kinelift.errors import InputError, UnknownNameError
from kinelift.lift import OnnxLifter
from kinelift.lift.rays import INPUT_JOINTS
from kinelift.skeleton import BODY26, H36M17, joint_map
from kinelift.training import temporal
from kinelift.training.generate import generate
from kinelift.training.views import Sources, make_batch, windows

GIVEN = joint_map(H36M17, BODY26).any(1)
SPOTS = [(4, 1.4, 1), (-3, 1, 3), (0, 2, 5), (5, 0.5, -2)]


@pytest.fixture(scope="module")
def motion():
    return generate(np.random.default_rng(8), 3, 60).astype(float)


def views_of(motion, look_at, turn, action="Walk"):
    """Four cameras' views of one take, in a world whose axes are `turn` times ours."""
    out = []
    for spot in SPOTS:
        camera = look_at(spot, motion[0, 0])
        camera = camera.replaced(R_cam_world=camera.R_cam_world @ turn.T)
        x = camera.to_camera(joint_map(BODY26, H36M17) @ motion @ turn.T)
        out.append(View(camera.project_camera(x), x, action, camera))
    return out


@pytest.fixture(scope="module")
def four(motion, look_at):
    """Three takes, each seen by four cameras, Z up as in Human3.6M, a tall and a short body among them."""
    sized = [motion[0], 1.15 * motion[1], 0.8 * motion[2]]
    views = [v for m, a in zip(sized, "abc", strict=True) for v in views_of(m, look_at, Z_UP_TO_Y_UP.T, a)]
    return PoseSet.from_views("made", views, 25.0)


def test_the_same_motion_once_at_reference_stature(four, motion):
    clips = as_clips(four)
    assert [c.name for c in clips] == ["made/a/0", "made/b/1", "made/c/2"]
    for clip, true in zip(clips, motion, strict=True):
        assert clip.fps == 25.0 and clip.positions.shape == (60, 26, 3) and clip.positions.dtype == np.float32
        assert np.isnan(clip.positions[:, ~GIVEN]).all()
        said = clip.positions[:, GIVEN].astype(float)
        s, R, _ = metrics.similarity(said.reshape(-1, 3), true[:, GIVEN].reshape(-1, 3))
        np.testing.assert_allclose(R[1], [0, 1, 0], atol=1e-5)
        assert metrics.abs_mpjpe(said * s, true[:, GIVEN]) < 0.05
    thigh, shank = BODY26.indices("left_hip", "left_knee"), BODY26.indices("left_knee", "left_ankle")
    legs = [
        sum(np.linalg.norm(np.subtract(*c.positions[:, p].swapaxes(0, 1)), axis=-1).mean() for p in (thigh, shank))
        for c in clips
    ]
    assert np.ptp(legs) < 0.12 < 0.6 < min(legs)


@pytest.mark.parametrize("flip", [np.eye(3), Z_UP_TO_Y_UP.T, np.diag([1.0, -1, -1]), np.eye(3)[[1, 2, 0]]])
def test_any_axis_of_the_world_may_be_up(motion, look_at, flip):
    clips = as_clips(PoseSet.from_views("made", views_of(motion[0], look_at, flip), 30.0))
    assert len(clips) == 1
    said, true = clips[0].positions[:, GIVEN], motion[0][:, GIVEN]
    assert metrics.mpjpe(said[..., 1:2] - said[:, :1, 1:2], true[..., 1:2] - true[:, :1, 1:2]) < 30
    ankles = clips[0].positions[:, BODY26.indices("left_ankle", "right_ankle"), 1].min(1)
    assert 0.02 < np.percentile(ankles, 5) < 0.12


def test_sequences_whose_camera_stands_nowhere_are_left_out(four):
    nowhere = Camera.from_focal(1000, (1920, 1080))
    cameras = [None, nowhere, None, nowhere, *four.cameras[4:]]
    clips = as_clips(four.replaced(cameras=tuple(cameras)))
    assert [c.name for c in clips] == ["made/b/0", "made/c/1"]
    with pytest.raises(InputError, match="made: no sequence's camera has a known place"):
        as_clips(four.replaced(cameras=(nowhere,) * len(cameras)))


def test_what_is_no_motion_is_said(four):
    with pytest.raises(InputError, match="made: states no frame rate"):
        as_clips(four.replaced(fps=None))
    with pytest.raises(InputError, match="made: holds no 3D"):
        as_clips(four.replaced(positions=None))
    with pytest.raises(InputError, match="no sequence"):
        as_clips(four.sliced(np.arange(0, len(four), 2)))


def same_motion(clip, true):
    """Whether the joints that a clip has are those of a motion but for size, heading and place."""
    said = clip.positions[:, GIVEN].astype(float)
    scale = metrics.similarity(said.reshape(-1, 3), true[:, GIVEN].reshape(-1, 3))[0]
    return metrics.abs_mpjpe(said * scale, true[:, GIVEN]) < 0.5


def test_human36m_trains_at_25_hz(tmp_path, motion, look_at):
    """Five subjects with a take each, as the seed has them: Z up, millimetres, four cameras."""
    points, cameras = {}, {}
    for i, subject in enumerate(h36m.SUBJECTS["train"]):
        whole = np.zeros((60, 32, 3))
        walked = joint_map(BODY26, H36M17) @ (motion[i % 3] + [0.1 * i, 0, 0])
        whole[:, h36m.JOINTS_17_OF_32] = walked @ Z_UP_TO_Y_UP * 1000
        points[subject] = {"Walking 1": whole.reshape(60, 96)}
        views = [look_at(spot, motion[i % 3][0, 0]) for spot in SPOTS]
        cameras[subject] = {
            name: {
                "R": c.R_cam_world @ Z_UP_TO_Y_UP, "T": (Z_UP_TO_Y_UP.T @ c.position)[:, None] * 1000,
                "f": np.full((2, 1), 1145.0), "c": np.full((2, 1), 512.0), "k": np.zeros((3, 1)), "p": np.zeros((2, 1)),
            }
            for name, c in zip(h36m.CAMERAS, views, strict=True)
        }  # fmt: skip
    for name, values in (("points_3d", points), ("cameras", cameras)):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(values))
    clips = training_clips("h36m", tmp_path)
    assert len(clips) == 5 and {c.fps for c in clips} == {25.0}
    assert all(same_motion(c, motion[i % 3][::2]) for i, c in enumerate(clips))


def test_mpi_inf_3dhp_trains_at_each_sequences_own_rate(tmp_path, motion, look_at):
    lens = np.array([[1500.0, 0, 1024], [0, 1500, 1024], [0, 0, 1]])
    for sequence, true in zip(("S1/Seq1", "S1/Seq2"), motion, strict=False):
        cells, text = np.empty((2, 14, 1), object), ""
        for i in range(14):
            camera = look_at([4 * np.cos(i), 1.3, 4 * np.sin(i)], true[0, 0])
            world = camera.to_camera(joint_map(BODY26, H36M17) @ true)
            x = np.zeros((60, 28, 3))
            x[:, mpi_inf_3dhp.JOINTS_17_OF_28] = world
            xy = camera.replaced(K=lens).project_camera(world)
            cells[0, i, 0], cells[1, i, 0] = np.zeros((60, 56)), x.reshape(60, 84) * 1000
            cells[0, i, 0].reshape(60, 28, 2)[:, mpi_inf_3dhp.JOINTS_17_OF_28] = xy
            whole, place = np.eye(4), np.eye(4)
            whole[:3, :3], place[:3, :3], place[:3, 3] = lens, camera.R_cam_world, camera.t_cam_world * 1000
            numbers = [" ".join(map(repr, m.ravel().tolist())) for m in (whole, place)]
            text += f"name {i}\n  size 2048 2048\n  intrinsic {numbers[0]}\n  extrinsic {numbers[1]}\n"
        folder = tmp_path / sequence
        folder.mkdir(parents=True)
        savemat(folder / "annot.mat", {"annot2": cells[0], "annot3": cells[1]})
        (folder / "camera.calibration").write_text(text)
    slow, fast = training_clips("mpi-inf-3dhp", tmp_path)
    assert (slow.fps, fast.fps) == (25.0, 50.0)
    assert same_motion(slow, motion[0]) and same_motion(fast, motion[1])


def test_sets_without_motion_are_no_choice(tmp_path):
    with pytest.raises(UnknownNameError, match=r"'mpii'; known: h36m, mocap, mpi-inf-3dhp"):
        training_clips("mpii", tmp_path)
    for name in TRAINING_CLIPS:
        with pytest.raises(InputError, match=str(tmp_path)):
            training_clips(name, tmp_path)


def test_training_draws_windows_of_them(four):
    positions, contact = windows(np.random.default_rng(0), as_clips(four), 5, 48)
    assert np.isfinite(positions[:, :, GIVEN]).all() and np.isnan(positions[:, :, ~GIVEN]).all()
    assert np.isnan(contact).all(), "without soles nobody knows what touches the ground"


def test_batches_of_them_lack_what_they_lack(four):
    """Soles are never shown and never asked for; all that the network sees is finite."""
    batch = make_batch(np.random.default_rng(0), Sources(as_clips(four)), 6, 48)
    assert np.isfinite(batch.features).all() and np.isfinite(batch.gravity).all()
    soles = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
    shown = batch.features[..., 2 * len(INPUT_JOINTS) : 3 * len(INPUT_JOINTS)]
    assert (shown[..., [INPUT_JOINTS.index(BODY26.joints[j]) for j in soles]] == 0).all() and shown.any()
    assert np.isnan(batch.positions[:, :, soles]).all() and np.isnan(batch.contact).all()
    assert np.isfinite(batch.positions[:, :, GIVEN]).all()


def test_the_temporal_lifter_trains_on_them_alone(four, tmp_path, monkeypatch):
    checks = temporal.validation_batches
    monkeypatch.setattr(temporal, "validation_batches", lambda clips, seen: checks(clips, seen, n=6, frames=20))
    config = temporal.Config(steps=2, batch=4, frames=20, random=0, actions=0, channels=32)
    path = temporal.train(config, [], tmp_path, clips=as_clips(four), accelerator="cpu")
    assert OnnxLifter(path).provenance()["training_data"].endswith("; made")
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert path.is_file() and np.isfinite([float(v) for v in rows[-1].split(",")]).all()

"""Mocap in: proportions, floor, soles and contacts from plain joints; nothing else comes in."""

import io
import pickle

import numpy as np
import pytest

from kinelift.datasets.mocap import SOLES, contact_labels, point_speed, read_mocap
from kinelift.errors import InputError
from kinelift.kinematics import bone_lengths
from kinelift.metrics import f1
from kinelift.skeleton import BODY26

B = BODY26.index
_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")
JOINTS = [f"{s}_{j}" for s in ("left", "right") for j in _PARTS]


@pytest.fixture
def write(tmp_path, walk):
    """An npz of two clips: the walk at 60 and at 120 Hz, of a small person on a raised floor."""

    def to(name="mocap.npz", **changes):
        clips = [0.6 * walk(np.arange(n) / fps) + [3, 0.4, 1] for n, fps in ((180, 60), (240, 120))]
        fields = {
            "positions": np.concatenate(clips)[:, BODY26.indices(*JOINTS)].astype(np.float32),
            "joint_names": np.array(JOINTS),
            "clip_lengths": np.array([180, 240]),
            "clip_names": np.array(["a/walk", "b/walk"]),
            "clip_fps": np.array([60.0, 120.0]),
        } | changes
        path = tmp_path / name
        np.savez(path, **{k: v for k, v in fields.items() if v is not None})
        return path

    return to


def test_clips_come_apart_with_their_names_and_rates(write):
    a, b = read_mocap(write())
    assert (a.name, a.fps, a.positions.shape) == ("a/walk", 60, (180, 26, 3))
    assert (b.name, b.fps, b.positions.shape) == ("b/walk", 120, (240, 26, 3))


def test_bodies_come_at_reference_stature_on_the_floor(write, walk):
    """The walk itself again: its own stature is the reference's."""
    p = read_mocap(write())[0].positions
    true = walk(np.arange(180) / 60)
    limbs = BODY26.indices(*(j for j in JOINTS if not j.endswith("toe")))
    np.testing.assert_allclose(bone_lengths(BODY26, p)[0, B("left_knee")], 0.245 * 1.7, rtol=0.02)
    lift = p[:, limbs, 1] - true[:, limbs, 1]
    assert np.abs(lift).max() < 0.05
    assert np.percentile(p[:, SOLES, 1].min(1), 50) == pytest.approx(0, abs=0.015)
    np.testing.assert_allclose(p[:, 0], p[:, BODY26.indices("left_hip", "right_hip")].mean(1), atol=1e-6)


def test_soles_are_flat_and_planted_where_the_foot_is(write, walk):
    p = read_mocap(write())[0].positions
    true = walk(np.arange(180) / 60)
    for side in ("left", "right"):
        heel, toe = (p[:, B(f"{side}_{j}")] for j in ("heel", "toe"))
        flat = true[:, B(f"{side}_toe"), 1] < 0.001
        assert np.abs((heel - toe)[flat, 1]).max() < 0.03
        assert np.linalg.norm(heel - toe, axis=-1) == pytest.approx(0.113 * 1.7, rel=0.01)
        assert ((toe - heel)[:, 2] > 0.1).all()  # the walk goes towards +Z
    contact = contact_labels(p, 60)
    planted = true[:, SOLES, 1] < 0.001
    assert f1(contact > 0.5, planted) > 0.9


def test_what_markers_do_not_give_is_not_given(write):
    p = read_mocap(write())[0].positions
    absent = BODY26.indices("spine", "chest", "head", "nose", "left_ear", "left_hand")
    assert np.isnan(p[:, absent]).all()
    present = [j for j in range(26) if BODY26.joints[j] in (*JOINTS, "pelvis", "neck", "left_heel", "right_heel")]
    assert np.isfinite(p[:, present]).all()


BAD = {
    "no positions": {"positions": None},
    "no rates": {"clip_fps": None},
    "joints and names disagree": {"joint_names": np.array(JOINTS[:-1])},
    "lengths do not add up": {"clip_lengths": np.array([180, 200])},
    "a name short": {"clip_names": np.array(["a"])},
    "a limb missing": {"joint_names": np.array(["left_fin", *JOINTS[1:]])},
    "pickled names": {"clip_names": np.array(["a", {}], dtype=object)},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_malformed_files_are_refused_in_one_line(write, changes):
    with pytest.raises(InputError, match=r"odd\.npz") as e:
        read_mocap(write("odd.npz", **changes))
    assert "\n" not in str(e.value)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_other_files_are_refused_and_no_pickle_is_run(tmp_path):
    one = io.BytesIO()
    np.save(one, np.zeros(3))
    contents = {
        "text": b"hello",
        "empty": b"",
        "pickle": pickle.dumps(Bomb()),
        "npy": one.getvalue(),
        "zip": b"PK\x03\x04",
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.npz"):
            read_mocap(path)
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(InputError):
            read_mocap(path)


def test_contact_labels_of_one_step():
    """Planted, then lifted to 20 cm and forward for half a second, then planted again."""
    t = np.arange(90) / 30
    s = np.clip((t - 1) / 0.5, 0, 1)
    p = np.zeros((90, 26, 3))
    for joint in SOLES[:2]:
        p[:, joint, 1] = 0.2 * np.sin(np.pi * s) ** 2
        p[:, joint, 2] = 0.6 * s * s * (3 - 2 * s)
    contact = contact_labels(p, 30)
    moving = (s > 0) & (s < 1)
    assert (contact[:, 2:] > 0.95).all()  # the other foot stands
    assert (contact[~moving, :2][2:-2] > 0.5).mean() > 0.93
    assert (contact[34:41, :2] < 0.05).all()


def test_contact_needs_stillness_and_lowness_at_any_rate():
    for fps in (30.0, 120.0):
        t = np.arange(int(2 * fps)) / fps
        p = np.zeros((len(t), 26, 3))
        p[:, SOLES[0], 0] = 0.8 * t  # slides on the floor
        p[:, SOLES[1], 1] = 0.25  # held still in the air
        found = contact_labels(p, fps)
        assert (found[:, :2] < 0.05).all() and (found[:, 2:] > 0.95).all()


def test_contact_sees_its_own_clip_only():
    p = np.random.default_rng(0).normal(0, 0.02, (3, 40, 26, 3)).cumsum(1)
    np.testing.assert_allclose(contact_labels(p, 30)[1], contact_labels(p[1], 30), atol=1e-6)


def test_point_speed_is_metres_a_second():
    x = np.arange(30)[:, None] / 60 * np.array([3.0, 0, 4.0])
    np.testing.assert_allclose(point_speed(x, 60), 5)
    assert point_speed(x[:1], 60).tolist() == [0]


@pytest.mark.data
def test_the_real_set_reads(data):
    """Every clip of the mocap folder: in metres, standing, limbs of a person."""
    files = sorted((data / "mocap").glob("*.npz"))
    if not files:
        pytest.skip("no mocap in the data folder")
    clips = [c for f in files for c in read_mocap(f)][::25]
    for clip in clips:
        shank = bone_lengths(BODY26, clip.positions)[:, BODY26.indices("left_ankle", "right_ankle")]
        assert 0.3 < np.median(shank) < 0.55, clip.name
        assert abs(np.percentile(clip.positions[:, SOLES, 1], 10)) < 0.3, clip.name

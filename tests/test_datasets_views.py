"""Mocap through virtual cameras: the same poses in every camera, 2D by projection, fixed by the clip's name."""

import zlib

import numpy as np
import pytest

from kinelift.datasets import DATASETS, views17
from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.errors import InputError
from kinelift.skeleton import BODY26, H36M17
from test_bvh_reader import tree, write_bvh

J, B = H36M17.index, BODY26.index
JOINTS = [*MOCAP_JOINTS, "neck", "head"]
CLIPS = {f"room/{word}_{i}": (fps, 90) for i, (word, fps) in enumerate([("walk", 60), ("walk", 30), ("turn", 120)] * 8)}


@pytest.fixture(scope="module")
def mocap(tmp_path_factory, walk):
    """An npz of 24 clips of the walk in many directions, at three rates; (path, {name: (T, 26, 3)})."""
    rng = np.random.default_rng(8)
    truth = {n: walk(np.arange(t) / fps, heading=rng.uniform(0, 6.3)) for n, (fps, t) in CLIPS.items()}
    path = tmp_path_factory.mktemp("mocap") / "clips.npz"
    write_npz(path, truth, [CLIPS[n][0] for n in truth])
    return path, truth


def write_npz(path, clips, fps, joints=JOINTS):
    np.savez(
        path,
        positions=np.concatenate([p[:, BODY26.indices(*joints)] for p in clips.values()]).astype(np.float32),
        joint_names=np.array(joints),
        clip_lengths=np.array([len(p) for p in clips.values()]),
        clip_names=np.array(list(clips)),
        clip_fps=np.array(fps, float),
    )
    return path


@pytest.fixture(scope="module")
def everything(mocap):
    return DATASETS["mocap"](mocap[0], "all")


def test_2d_is_the_projection_of_the_positions(everything):
    data = everything
    for i, camera in enumerate(data.cameras):
        here = data.sequence == i
        np.testing.assert_allclose(camera.project_camera(data.positions[here].astype(float)), data.xy[here], atol=1e-3)
    np.testing.assert_allclose(data.rays(), data.positions[..., :2] / data.positions[..., 2:], atol=1e-6)
    assert data.fps == 30 and set(data.actions) == {"walk", "turn"}


def test_clips_are_split_by_name_and_every_one_is_on_one_side(mocap, everything):
    train, test = (views17.read(mocap[0], split) for split in ("train", "test"))
    assert len(train) + len(test) == len(everything) and len(train) > len(test) > 0
    kept = [n for n in CLIPS if zlib.crc32(n.encode()) % 8 == 0]
    frames = sum(len(np.arange(0, CLIPS[n][1] - 1 + 1e-6, CLIPS[n][0] / 30)) for n in kept)
    assert kept and len(test) == 4 * frames


def test_four_cameras_see_the_same_motion_from_all_around(everything):
    """Back in the world the four views of a piece are one; the cameras stand at 4 to 5.5 m, 1.3 to 1.7 m high."""
    data = everything
    for first in range(0, len(data.cameras), 4):
        worlds, yaws = [], []
        for i in range(first, first + 4):
            c, p = data.cameras[i], data.positions[data.sequence == i].astype(float)
            world = (p - c.t_cam_world) @ c.R_cam_world
            worlds.append(world)
            away = c.position - world[:, 0].mean(0)
            yaws.append(np.degrees(np.arctan2(away[0], away[2])))
            assert 3.5 < np.hypot(away[0], away[2]) < 6 and 1.3 <= c.position[1] <= 1.7
            assert abs(c.R_cam_world[0, 1]) < 1e-9  # no roll: the picture's x is level
            assert 3 < np.degrees(np.arcsin(-c.R_cam_world[2, 1])) < 13  # looking a little down
        for w in worlds[1:]:
            np.testing.assert_allclose(w, worlds[0], atol=1e-5)
        gaps = np.diff(np.sort(np.mod(yaws, 360)))
        assert (gaps > 30).all() and (gaps < 150).all()


def test_people_stand_upright_in_the_middle_of_the_picture(everything):
    xy = everything.xy
    assert (xy > 0).all() and (xy < 1000).all()
    assert (xy[:, J("Head"), 1] < xy[:, J("Hip"), 1]).all() and (xy[:, J("LFoot"), 1] > xy[:, J("Hip"), 1]).all()
    height = xy[..., 1].max(1) - xy[..., 1].min(1)
    assert 280 < np.median(height) < 520


def test_the_17_joints_are_the_mocaps(mocap, walk):
    """At 60, 30 and 120 Hz: positions at whole thirtieths of a second, limbs as they were but for the stature."""
    path, truth = mocap
    same = {"LWrist": "left_wrist", "RKnee": "right_knee", "RFoot": "right_ankle", "Thorax": "neck"}
    for clip in views17.read_clips(path)[:6]:
        p = views17.joints17(clip)
        fps, n = CLIPS[clip.name]
        true = truth[clip.name][np.arange(0, n - 1 + 1e-6, fps / 30).astype(int)]
        true = true - true[:, BODY26.indices("left_hip", "right_hip")].mean(1, keepdims=True)
        assert len(p) == len(true)
        for ours, theirs in same.items():
            assert np.linalg.norm(p[:, J(ours)] - p[:, 0] - true[:, B(theirs)], axis=-1).max() < 0.03
        bones = np.linalg.norm(p - p[:, list(np.maximum(H36M17.parents, 0))], axis=-1)
        assert (bones.std(0)[1:] < 0.01).all() and (bones.mean(0)[1:] > 0.08).all()


def test_between_frames_the_motion_is_interpolated(walk):
    """24 Hz in, 30 Hz out: within the bend of the path between two frames."""
    times = np.arange(48) / 24
    clip = views17._with_head(views17.Clip("a", walk(times), 24.0), None)
    p = views17.joints17(clip)
    assert len(p) == int(47 / 24 * 30 + 1e-9) + 1
    again = views17.joints17(views17._with_head(views17.Clip("a", walk(np.arange(len(p)) / 30), 30.0), None))
    assert np.abs(p - again).max() < 0.02
    one = views17.joints17(views17.Clip("b", clip.positions[:1], 24.0))
    np.testing.assert_allclose(one, p[:1], atol=1e-6)


def test_the_nose_points_forward_and_the_head_follows_the_neck(walk):
    """Where the mocap gives neck and head, the head tilts with them; else it goes with the trunk."""
    body = walk(np.arange(30) / 30, heading=0.7)
    forward = np.array([np.sin(0.7), 0, np.cos(0.7)])
    clip = views17.Clip("a", body, 30.0)
    straight = views17._with_head(clip, None)
    nose = straight.positions[:, B("nose")] - straight.positions[:, B("neck")]
    assert (nose @ forward > 0.08).all() and (nose[:, 1] > 0.12).all()
    tilted = np.array([0, np.cos(0.5), 0]) + np.sin(0.5) * forward
    nodding = views17._with_head(clip, np.repeat(tilted[None], 30, 0))
    down = nodding.positions[:, B("nose")] - nodding.positions[:, B("neck")]
    assert (down[:, 1] < nose[:, 1] - 0.05).all() and (down @ forward > nose @ forward).all()
    np.testing.assert_allclose(np.linalg.norm(down, axis=-1), np.linalg.norm(nose, axis=-1), atol=1e-5)
    ears = nodding.positions[:, B("left_ear")] - nodding.positions[:, B("right_ear")]
    shoulders = body[:, B("left_shoulder")] - body[:, B("right_shoulder")]
    assert ((ears * shoulders).sum(-1) > 0).all()


def test_a_clip_looks_the_same_in_any_company(mocap, everything, tmp_path):
    _, truth = mocap
    alone = list(truth)[5]
    write_npz(tmp_path / "one.npz", {alone: truth[alone]}, [CLIPS[alone][0]])
    again = views17.read(tmp_path / "one.npz", "all")
    whole = [v for c in views17.read_clips(mocap[0]) if c.name == alone for v in views17._views(c, 1)]
    np.testing.assert_array_equal(again.xy, np.concatenate([v.xy for v in whole]).astype("f4"))
    other = list(truth)[6]
    write_npz(tmp_path / "two.npz", {other: truth[alone]}, [CLIPS[alone][0]])
    assert np.abs(views17.read(tmp_path / "two.npz", "all").xy - again.xy).max() > 50  # another name, other cameras


def test_long_ways_are_cut_where_the_person_leaves_the_circle():
    t = np.arange(300) / 30
    root = np.stack([2 * t, 0.9 + 0 * t, 0 * t], -1)
    cuts = list(views17.pieces(root))
    assert [c.start for c in cuts[1:]] == [c.stop for c in cuts[:-1]] and (cuts[0].start, cuts[-1].stop) == (0, 300)
    assert all(np.ptp(root[c][:, 0]) <= views17.ROAM_M for c in cuts) and len(cuts) == 14
    assert list(views17.pieces(root[:1])) == [slice(0, 1)]
    jump = root * [0, 1, 0] + [0, 5, 0] * (t[:, None] > 3)
    assert list(views17.pieces(jump)) == [slice(0, 300)]  # height is no way


def test_bvh_files_and_npz_of_a_folder_come_together(mocap, tmp_path, walk):
    """The same walk as BVH in centimetres and as npz: the same poses of a person of 1.70 m, named by their place."""
    body = walk(np.arange(60) / 30)
    points = {j: 100 * body[:, B(j)] for j in JOINTS} | {"root": 100 * body[:, 0]}
    (tmp_path / "deep").mkdir()
    write_bvh(tmp_path / "deep" / "stroll_01.BVH", tree(), points, fps=30)
    write_npz(tmp_path / "a.npz", {"room/stroll_01": body}, [30])
    (tmp_path / "readme.txt").write_text("nothing")
    clips = views17.read_clips(tmp_path)
    assert [c.name for c in clips] == ["room/stroll_01", "deep/stroll_01"]
    np.testing.assert_allclose(views17.joints17(clips[0]), views17.joints17(clips[1]), atol=2e-4)
    data = views17.read(tmp_path, "all")
    assert set(data.actions) == {"stroll"} and len(data) == 4 * 120
    assert len(views17.read(tmp_path / "deep" / "stroll_01.BVH", "all")) == 240


def test_sets_without_a_head_go_by_the_trunk(tmp_path, walk):
    body = walk(np.arange(40) / 30)
    with_head = views17.read(write_npz(tmp_path / "a.npz", {"x": body}, [30]), "all")
    without = views17.read(write_npz(tmp_path / "b.npz", {"x": body}, [30], list(MOCAP_JOINTS)), "all")
    assert np.linalg.norm(with_head.positions - without.positions, axis=-1).max() < 0.15
    assert np.linalg.norm((with_head.positions - without.positions)[:, J("Hip")], axis=-1).max() < 1e-5


@pytest.mark.parametrize(
    "name, action",
    [
        ("actions/train/basketball_signal/basketball_signal_4", "basketball_signal"),
        ("asfamc/01_02", "asfamc"),
        ("dataset-1_walk-turn-left_happy_012", "walk-turn-left"),
        ("walk", "walk"),
        ("07", "07"),
        ("a/13 29", "a"),
    ],
)
def test_actions_by_name(name, action):
    assert views17.action_of(name) == action


def test_every_other_frame(mocap, everything):
    half = views17.read(mocap[0], "all", every=2)
    assert half.fps == 15 and len(half) == pytest.approx(len(everything) / 2, rel=0.03)


def test_what_is_missing_is_named(tmp_path, mocap):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"holds no mocap: expected \.bvh files, or an \.npz.*mocap\.cs\.cmu\.edu"):
            views17.read(path, "train")
    with pytest.raises(InputError, match="unknown 2D 'sh' for mocap"):
        views17.read(mocap[0], "train", "sh")
    with pytest.raises(InputError, match="unknown split 'val'; known: all, test, train"):
        views17.read(mocap[0], "val")
    (tmp_path / "odd.bvh").write_text("HIERARCHY\n")
    with pytest.raises(InputError, match=r"odd\.bvh"):
        views17.read(tmp_path, "all")
    (tmp_path / "odd.bvh").unlink()
    (tmp_path / "odd.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"odd\.npz"):
        views17.read(tmp_path, "all")


def test_points_that_are_not_finite_are_refused(tmp_path, walk):
    body = walk(np.arange(40) / 30)
    body[7, B("left_wrist")] = np.nan
    with pytest.raises(InputError, match=r"hole\.npz.*'x'.*every frame"):
        views17.read(write_npz(tmp_path / "hole.npz", {"x": body}, [30]), "all")


@pytest.mark.parametrize("fps", [0.0, -30.0, 1e-9, 1e9, np.nan])
def test_rates_that_are_none_are_refused(tmp_path, walk, fps):
    path = write_npz(tmp_path / "rate.npz", {"x": walk(np.arange(40) / 30)}, [fps])
    with pytest.raises(InputError, match=r"rate\.npz.*'x'.*frames per second"):
        views17.read(path, "all")


@pytest.mark.data
def test_the_real_set(data):
    """The training part of the mocap set through the cameras: people of human size in the picture, never behind it."""
    path = data / "mocap" / "cmu.npz"
    if not path.is_file():
        pytest.skip("no cmu.npz in the data folder")
    test = views17.read(path, "test", every=3)
    assert test.fps == 10 and len(test) > 5000
    depth = test.positions[..., 2]
    assert depth.min() > 2 and depth.max() < 9
    assert ((test.xy > -100) & (test.xy < 1100)).all()
    bones = np.linalg.norm(test.positions - test.positions[:, list(np.maximum(H36M17.parents, 0))], axis=-1)
    thigh, shank = (np.median(bones[:, [J(f"L{j}"), J(f"R{j}")]]) for j in ("Knee", "Foot"))
    assert 0.35 < thigh < 0.5 and 0.35 < shank < 0.5

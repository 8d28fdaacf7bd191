"""Sides put right, jumps dropped, short gaps bridged; and nothing done to what is right."""

import numpy as np
import pytest

from kinelift.kinematics import rotvec_to_matrix
from kinelift.records import Pose2D
from kinelift.repair import GAP_LIMIT_S, body_size_px, find_swaps, repair
from kinelift.repair.points import exchanged
from kinelift.skeleton import BODY26, COCO17, MEDIAPIPE33
from kinelift.training.generate import generate

LEGS, REST = 0, 1
VIEWS = {"towards": 0.0, "oblique": 0.7, "across": np.pi / 2, "away": np.pi}


@pytest.fixture(scope="module")
def filmed(walk, look_at):
    """The walk as seen by a detector: body26 key points, with noise of so many pixels."""

    def film(fps=30, heading=0.0, seconds=4, noise=0.0, skeleton=BODY26):
        times = np.arange(int(seconds * fps)) / fps
        xy = look_at([0.3, 1.3, 7], [0, 0.9, 0]).project(walk(times, heading=heading))
        xy = xy[:, [BODY26.index(j) for j in skeleton.joints]] if skeleton is not BODY26 else xy
        xy = xy + np.random.default_rng(0).normal(0, max(noise, 1e-9), xy.shape)
        return Pose2D(skeleton, xy, np.full(xy.shape[:2], 0.9), times, (1920, 1080))

    return film


def swapped_between(pose, *stretches):
    """(T, 2) bool from (group or slice of groups, from, to) as fractions of the clip."""
    out = np.zeros((len(pose.times), 2), bool)
    for group, start, end in stretches:
        out[int(start * len(out)) : int(end * len(out)), group] = True
    return out


@pytest.mark.parametrize("fps", [12, 25, 60, 120])
@pytest.mark.parametrize("heading", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("noise", [0, 3])
def test_a_clean_walk_is_left_alone(filmed, fps, heading, noise):
    """Also across the view, where legs cross twice a stride and every left point meets its right one."""
    pose = filmed(fps, heading, noise=noise)
    swapped, astray = find_swaps(pose)
    assert not swapped.any() and not astray.any()
    mended, report = repair(pose)
    assert (report.swapped_frames, report.outliers, report.bridged) == (0, 0, 0)
    np.testing.assert_array_equal(mended.xy, pose.xy)
    np.testing.assert_array_equal(mended.confidence, pose.confidence)


@pytest.fixture(scope="module")
def wild():
    """Sixty generated motions, any pose and any speed."""
    return generate(np.random.default_rng(0), 60, 64)


def seen(p, look_at, skeleton=BODY26):
    xy = look_at(p[0, 0] + [0, 0.8, 6], p[0, 0]).project(p)
    return Pose2D(skeleton, xy, np.ones(xy.shape[:2]), np.arange(len(p)) / 30, (1920, 1080))


def test_wild_motion_is_left_alone(wild, look_at):
    for p in wild:
        swapped, astray = find_swaps(seen(p, look_at))
        assert not swapped.any() and not astray.any()


def test_swaps_in_wild_motion_are_found(wild, look_at):
    """Where sides coincide in the picture there is nothing to see; in nine clips of ten every frame is put right."""
    found = 0
    for p in wild:
        pose = seen(p, look_at)
        truth = swapped_between(pose, (slice(None), 0.3, 0.5))
        swapped, astray = find_swaps(exchanged(pose, truth))
        found += (swapped == truth).all() and not astray.any()
    assert found >= 0.9 * len(wild)


def test_a_single_swapped_frame_is_exchanged_or_passed_over(filmed):
    pose = filmed(30, noise=2)
    truth = swapped_between(pose, (slice(None), 0.5, 0.51))
    swapped, astray = find_swaps(exchanged(pose, truth))
    np.testing.assert_array_equal(swapped.all(1) | astray, truth.any(1))


@pytest.mark.parametrize("fps", [25, 30, 60, 120])
def test_in_profile_swaps_are_found_while_the_legs_are_apart(filmed, fps):
    """Across the view left and right coincide at mid-stride; a swap between two double supports can be told."""
    pose = filmed(fps, np.pi / 2, noise=3)
    truth = swapped_between(pose, (slice(None), 0.25, 0.5))
    swapped, astray = find_swaps(exchanged(pose, truth))
    np.testing.assert_array_equal(swapped, truth)
    assert not astray.any()


@pytest.mark.parametrize("fps", [25, 30, 60, 120])
@pytest.mark.parametrize("heading", [0.0, 0.7, np.pi])
def test_swapped_stretches_are_put_right(filmed, fps, heading):
    pose = filmed(fps, heading, noise=3)
    truth = swapped_between(pose, (slice(None), 0.25, 0.45))
    mended, report = repair(exchanged(pose, truth))
    assert report.swapped_frames == truth.any(1).sum()
    np.testing.assert_array_equal(mended.xy, pose.xy)


@pytest.mark.parametrize("group", [LEGS, REST], ids=["legs", "arms and face"])
@pytest.mark.parametrize("heading", [0.0, 0.7, np.pi])
def test_legs_and_arms_swap_by_themselves(filmed, group, heading):
    pose = filmed(30, heading, noise=2)
    truth = swapped_between(pose, (group, 0.4, 0.55))
    swapped, _ = find_swaps(exchanged(pose, truth))
    np.testing.assert_array_equal(swapped, truth)


def test_many_swaps_and_swaps_at_the_ends(filmed):
    pose = filmed(30, noise=2)
    truth = swapped_between(
        pose, (slice(None), 0, 0.1), (slice(None), 0.2, 0.22), (slice(None), 0.5, 0.6), (slice(None), 0.9, 1)
    )
    swapped, _ = find_swaps(exchanged(pose, truth))
    np.testing.assert_array_equal(swapped, truth)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("heading", [0.0, np.pi])
def test_glides_between_sides_are_passed_over(filmed, frames, heading):
    """Trackers slide from one labelling to the other through poses that never were: those frames are not believed."""
    pose = filmed(30, heading, noise=1)
    truth = swapped_between(pose, (slice(None), 0.4, 0.6))
    given = exchanged(pose, truth)
    xy, glide = given.xy.copy(), np.zeros(len(pose.times), bool)
    for k in np.flatnonzero(np.diff(truth[:, 0])) + 1:
        u = (np.arange(frames)[:, None, None] + 1) / (frames + 1)
        xy[k : k + frames] = xy[k - 1] * (1 - u) + xy[k + frames] * u
        glide[k : k + frames] = True
    swapped, astray = find_swaps(given.replaced(xy=xy))
    np.testing.assert_array_equal(astray, glide)
    np.testing.assert_array_equal(swapped[~glide], truth[~glide])
    mended, _ = repair(given.replaced(xy=xy))
    # what was passed over is bridged by a line, and says so by its confidence
    assert np.linalg.norm(mended.xy - pose.xy, axis=-1).max() < 0.12 * body_size_px(pose)
    assert (mended.confidence[glide] <= 0.25).all() and (mended.confidence[glide] > 0).all()


def test_swaps_are_found_across_a_gap_in_detection(filmed):
    pose = filmed(30, noise=2)
    truth = swapped_between(pose, (slice(None), 0.5, 0.7))
    given = exchanged(pose, truth)
    gone = slice(54, 60)  # undetected just before the labels change
    confidence = given.confidence.copy()
    confidence[gone] = 0
    swapped, astray = find_swaps(given.replaced(confidence=confidence))
    np.testing.assert_array_equal(np.delete(swapped, np.r_[gone], 0), np.delete(truth, np.r_[gone], 0))
    assert not astray.any()


def test_the_detectors_3d_changes_sides_with_its_key_points(filmed):
    pose = filmed(30)
    pose = pose.replaced(detector_3d=np.random.default_rng(1).normal(size=(120, 26, 3)))
    truth = swapped_between(pose, (slice(None), 0.3, 0.5))
    mended, _ = repair(exchanged(pose, truth))
    np.testing.assert_array_equal(mended.detector_3d, pose.detector_3d)


def test_exchanging_twice_changes_nothing(filmed):
    pose = filmed(30)
    truth = np.random.default_rng(3).random((120, 2)) < 0.5
    once = exchanged(pose, truth)
    assert (once.xy != pose.xy).any()
    np.testing.assert_array_equal(exchanged(once, truth).xy, pose.xy)


@pytest.mark.parametrize("skeleton", [MEDIAPIPE33, COCO17], ids=lambda s: s.name)
def test_any_detectors_skeleton(filmed, skeleton):
    """Key points elsewhere than ours: each hangs where the like-named of ours is."""
    body = filmed(30, noise=2)
    where = [next((i for i, b in enumerate(BODY26.joints) if b == j), 5) for j in skeleton.joints]
    pose = body.replaced(skeleton=skeleton, xy=body.xy[:, where], confidence=body.confidence[:, where])
    truth = swapped_between(pose, (slice(None), 0.4, 0.6))
    swapped, _ = find_swaps(exchanged(pose, truth))
    np.testing.assert_array_equal(swapped, truth)


def test_single_frame_jumps_are_dropped_and_bridged(filmed):
    pose = filmed(30, noise=1)
    xy = pose.xy.copy()
    jumps = [(20, "left_wrist"), (45, "right_knee"), (46, "nose"), (80, "left_toe")]
    for t, joint in jumps:
        xy[t, BODY26.index(joint)] += [150, -90]
    mended, report = repair(pose.replaced(xy=xy))
    assert report.outliers == report.bridged == len(jumps)
    for t, joint in jumps:
        j = BODY26.index(joint)
        assert np.linalg.norm(mended.xy[t, j] - pose.xy[t, j]) < 15
        assert mended.confidence[t, j] == pytest.approx(0.25 * 0.9)
    untouched = np.ones(pose.seen.shape, bool)
    for t, joint in jumps:
        untouched[t, BODY26.index(joint)] = False
    np.testing.assert_array_equal(mended.xy[untouched], pose.xy[untouched])


def hide(pose, joint, frames):
    confidence = pose.confidence.copy()
    confidence[frames, BODY26.index(joint)] = 0
    xy = np.where(confidence[..., None] > 0, pose.xy, np.nan)
    return pose.replaced(xy=xy, confidence=confidence)


@pytest.mark.parametrize("fps", [12, 30, 120])
def test_short_gaps_are_bridged_and_long_ones_left_at_any_rate(filmed, fps):
    pose, j = filmed(fps), BODY26.index("left_elbow")
    short = int(GAP_LIMIT_S * fps) - 1  # the seen neighbours are 0.25 s apart or less
    mended, report = repair(hide(pose, "left_elbow", slice(fps, fps + short)))
    assert report.bridged == short
    ends = pose.xy[[fps - 1, fps + short], j]
    u = (np.arange(short)[:, None] + 1) / (short + 1)
    np.testing.assert_allclose(mended.xy[fps : fps + short, j], ends[0] * (1 - u) + ends[1] * u)
    assert (mended.confidence[fps : fps + short, j] < 0.3).all()
    mended, report = repair(hide(pose, "left_elbow", slice(fps, fps + short + 2)))
    assert report.bridged == 0 and not mended.seen[fps : fps + short + 2, j].any()


def test_gaps_at_the_ends_stay_open(filmed):
    """Nothing is said about what lies before the first sight."""
    mended, report = repair(hide(filmed(30), "left_elbow", [0, 1, 118, 119]))
    assert report.bridged == 0 and not mended.seen[[0, 1, 118, 119], BODY26.index("left_elbow")].any()


def test_gaps_are_seconds_on_uneven_times(filmed):
    pose = filmed(30)
    times = pose.times.copy()
    times[50:] += 0.2  # frames dropped by the recorder
    assert repair(hide(pose.replaced(times=times), "left_elbow", slice(48, 52)))[1].bridged == 0
    assert repair(hide(pose, "left_elbow", slice(48, 52)))[1].bridged == 4


def test_repairing_twice_changes_nothing(filmed):
    pose = filmed(30, noise=2)
    xy = exchanged(pose, swapped_between(pose, (slice(None), 0.2, 0.35))).xy.copy()
    xy[70, 3] += 200
    given = hide(pose.replaced(xy=xy), "left_elbow", slice(90, 95))
    once, first = repair(given)
    assert min(first.swapped_frames, first.outliers, first.bridged) > 0
    twice, second = repair(once)
    assert (second.swapped_frames, second.outliers, second.bridged) == (0, 0, 0)
    np.testing.assert_array_equal(twice.xy, once.xy)
    np.testing.assert_array_equal(twice.confidence, once.confidence)


def test_turning_the_picture_changes_nothing(filmed):
    """Swaps are a matter of the figure, not of the picture's axes, place or size."""
    pose = filmed(30, noise=2)
    given = exchanged(pose, swapped_between(pose, (slice(None), 0.3, 0.5)))
    turn = rotvec_to_matrix(np.array([0, 0, 1.1]))[:2, :2]
    other = given.replaced(xy=0.4 * given.xy @ turn.T + [300, 50])
    np.testing.assert_array_equal(find_swaps(other)[0], find_swaps(given)[0])
    assert body_size_px(given.replaced(xy=0.4 * given.xy)) == pytest.approx(0.4 * body_size_px(given))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_are_left_alone(filmed, frames):
    pose = filmed(30).sliced(slice(frames))
    mended, report = repair(pose)
    assert (report.swapped_frames, report.outliers, report.bridged) == (0, 0, 0)
    np.testing.assert_array_equal(mended.xy, pose.xy)


def test_nobody_in_the_clip(filmed):
    pose = filmed(30)
    nobody = pose.replaced(xy=np.full_like(pose.xy, np.nan), confidence=np.zeros_like(pose.confidence))
    mended, report = repair(nobody)
    assert not mended.seen.any() and report.bridged == 0

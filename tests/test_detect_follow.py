"""The followed person stays the same person; an absence is a gap, never somebody else."""

import numpy as np
import pytest

from kinelift.detect.base import Candidate
from kinelift.detect.follow import Follower
from kinelift.errors import InputError
from kinelift.skeleton import COCO17

SIZE = (640, 480)
# A standing figure of unit height, x right, y down, around the middle of its hips.
FIGURE_X = [0, -0.02, 0.02, -0.04, 0.04, 0.1, -0.1, 0.13, -0.13, 0.14, -0.14, 0.07, -0.07, 0.08, -0.08, 0.08, -0.08]
FIGURE_Y = [-0.5, -0.52, -0.52, -0.5, -0.5, -0.35, -0.35, -0.15, -0.15, 0.05, 0.05, 0, 0, 0.25, 0.25, 0.5, 0.5]
FIGURE = np.column_stack([FIGURE_X, FIGURE_Y])


def someone(x: float, y: float = 240, height: float = 200, confidence: float = 0.9) -> Candidate:
    return Candidate(FIGURE * height + (x, y), np.full(17, confidence))


def painted(people: list[tuple[float, tuple[int, int, int]]]) -> np.ndarray:
    """A grey picture with a coloured block where each person stands."""
    image = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    for x, colour in people:
        image[140:350, max(0, int(x) - 40) : max(0, int(x) + 40)] = colour
    return image


RED, BLUE = (200, 20, 20), (20, 20, 200)


def followed(frames, person="largest", colours=None, fps=30.0, cuts=()):
    follower = Follower(COCO17, SIZE)
    for i, people in enumerate(frames):
        image = None if colours is None else painted([(p.xy[:, 0].mean(), c) for p, c in zip(people, colours[i])])
        follower.add(i / fps, people, image, i in cuts)
    return follower.pose(person)


def middle_x(pose):
    return pose.xy[:, :, 0].mean(1)


def test_crossing_persons_keep_their_numbers_whatever_the_order():
    rng = np.random.default_rng(0)
    frames = []
    for i in range(60):
        pair = [someone(100 + 7 * i, 240, 200), someone(520 - 7 * i, 250, 230)]
        frames.append(pair if rng.random() < 0.5 else pair[::-1])
    np.testing.assert_allclose(middle_x(followed(frames, 0)), 100 + 7 * np.arange(60), atol=3)
    np.testing.assert_allclose(middle_x(followed(frames, 1)), 520 - 7 * np.arange(60), atol=3)


def test_missed_frames_are_gaps_and_the_person_goes_on():
    frames = [[] if i in (10, 11, 12, 30) else [someone(100 + 4 * i)] for i in range(50)]
    pose = followed(frames)
    assert np.flatnonzero(~pose.detected).tolist() == [10, 11, 12, 30]
    assert np.isnan(pose.xy[11]).all()
    np.testing.assert_allclose(pose.times, np.arange(50) / 30)


def test_never_jumps_to_the_other_when_the_followed_one_is_gone():
    frames, colours = [], []
    for i in range(90):
        here = i < 40
        frames.append([someone(150, height=240)] * here + [someone(400, height=200)])
        colours.append([RED] * here + [BLUE])
    for with_pictures in (colours, None):
        pose = followed(frames, "largest", with_pictures)
        assert pose.detected[:40].all()
        assert not pose.detected[40:].any()


def test_even_when_the_other_stands_in_the_same_place():
    frames = [[someone(300)]] * 40 + [[]] * 10 + [[someone(310)]] * 40
    colours = [[RED]] * 40 + [[]] * 10 + [[BLUE]] * 40
    pose = followed(frames, 0, colours)
    assert pose.detected[:40].all()
    assert not pose.detected[40:].any()


def test_a_person_who_leaves_for_two_seconds_comes_back_as_the_same():
    frames = [[someone(600 - 5 * i)] for i in range(60)] + [[]] * 60 + [[someone(40 + 5 * i)] for i in range(60)]
    colours = [[RED] if f else [] for f in frames]
    pose = followed(frames, "largest", colours)
    assert pose.detected.sum() == 120
    assert pose.person_id == 0


def test_one_person_at_a_low_frame_rate():
    frames = [[someone(100 + 25 * i)] for i in range(15)]
    assert followed(frames, fps=3).detected.all()


def test_a_cut_ends_every_track():
    frames = [[someone(300)]] * 30 + [[someone(305)]] * 30
    colours = [[RED]] * 30 + [[BLUE]] * 30
    assert not followed(frames, 0, colours, cuts=(30,)).detected[30:].any()


def test_rules():
    frames = [[someone(320, height=150), someone(100, height=250)]] * 20
    assert followed(frames, "largest").person_id == 0  # numbered from left to right
    assert middle_x(followed(frames, "largest"))[0] < 200
    assert middle_x(followed(frames, "central"))[0] > 200
    brief = [[*frames[0], someone(520, height=400)]] * 3 + frames
    assert middle_x(followed(brief, "largest"))[0] < 200
    for wrong in ("tallest", -1, True):
        with pytest.raises(InputError, match="largest, central or a number"):
            followed(frames, wrong)
    with pytest.raises(InputError, match="only 2 seen"):
        followed(frames, 2)


def test_nobody():
    with pytest.raises(InputError, match="nobody"):
        followed([[], [Candidate(np.full((17, 2), np.nan), np.zeros(17))]])


def test_one_frame_and_unseen_points():
    one = someone(300)
    xy, confidence = one.xy.copy(), one.confidence.copy()
    xy[3], confidence[3] = np.nan, 0
    pose = followed([[Candidate(xy, confidence)]])
    assert pose.xy.shape == (1, 17, 2)
    assert np.isnan(pose.xy[0, 3]).all()
    assert pose.seen.sum() == 16

"""Who walks out of the picture, or in, or stands half in it: what the picture cannot show must not move the body."""

import json

import numpy as np
import pygltflib
import pytest

import kinelift
from kinelift import metrics
from kinelift.detect import write_keypoints
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.export.bvh import read_bvh
from kinelift.export.npz import load_motion
from kinelift.kinematics import motion_positions
from kinelift.records import Pose2D
from kinelift.repair import body_size_px, within_picture
from kinelift.repair.picture import OUTSIDE_LIMIT
from kinelift.skeleton import BODY26, BODY_25

FPS, FOCAL_PX, SIZE = 30, 1000.0, (1280, 720)
LIMBS = BODY26.indices(*metrics.LIMBS)
HEELS = BODY26.indices("left_heel", "right_heel")
SOLES = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
MIRROR = np.array(BODY26.mirror)


def outside_px(xy):
    return np.linalg.norm(xy - np.clip(xy, 0, np.array(SIZE) - 1.0), axis=-1)


def guessed(xy, seed):
    """Key points (T, 26, 2) as a detector that always answers gives them, and confidence.

    Outside the picture they stray the more the further out, yet with confidence. A leg whose ankle is out of the
    picture is drawn, with high confidence, onto the other one while that is in it. Who is hardly in it is lost.
    """
    rng = np.random.default_rng(seed)
    out, size = outside_px(xy), 400.0
    seen = xy + rng.normal(0, 0.003 * size, (1, 26, 2)) + rng.normal(0, 0.002 * size, xy.shape)
    seen += 0.25 * out[..., None] * rng.normal(size=(1, 26, 2))
    confidence = 0.95 * np.exp(-out / 64)
    for side in ("left", "right"):
        leg = BODY26.indices(*(f"{side}_{j}" for j in ("knee", "ankle", "heel", "toe")))
        ankle = leg[1]
        doubled = np.flatnonzero((out[:, ankle] > 0) & (out[:, MIRROR[ankle]] == 0))[:, None]
        seen[doubled, leg] = seen[doubled, MIRROR[leg]] + rng.normal(0, 3, (len(doubled), 4, 2))
        confidence[doubled, leg], confidence[doubled, MIRROR[leg]] = 0.95, 0.4
    lost = (out[:, LIMBS] == 0).sum(1) < 4
    confidence[lost] = 0
    return np.where(confidence[..., None] > 0, seen, np.nan), confidence


@pytest.fixture(scope="module")
def film(walk_rig, walk, look_at):
    """A walk as guessed key points: the pose, true positions (T, 26, 3), true contact, true pixels."""

    def take(frames, heading, start, eye=(0, 1.3, 4.2), at=(0, 0.9, 0), seed=0):
        times = np.arange(frames) / FPS
        p = walk(times, heading=heading) + start
        camera = look_at(eye, at, focal_px=FOCAL_PX, image_size=SIZE)
        pixels = camera.project(p)
        xy, confidence = guessed(pixels, seed)
        return Pose2D(BODY26, xy, confidence, times, SIZE), p, walk_rig(times)[3] > 0.5, pixels

    return take


def animated(pose, folder, **options):
    path = folder / "points.npz"
    write_keypoints(path, pose)
    return kinelift.animate(path, **{"height_m": 1.7, "focal_px": FOCAL_PX, **options})


LEFT, RIGHT = -np.pi / 2, np.pi / 2
# A heading and where the walk starts.
WALKS = {
    "out to the left": (LEFT, (1.24, 0, 0.3)),
    "out to the left, a step on": (LEFT, (1.36, 0, 0.3)),
    "out to the right": (RIGHT, (-1.0, 0, 0)),
    "in from the left": (RIGHT, (-3.6, 0, 0)),
}


@pytest.fixture(scope="module", params=WALKS)
def walked(request, film, tmp_path_factory):
    pose, p, planted, pixels = film(165, *WALKS[request.param])
    return animated(pose, tmp_path_factory.mktemp("leaving")), pose, p, planted, pixels


# A person who walks out, or in.


def test_heels_stay_on_the_floor_to_the_end_of_the_span(walked):
    take, _, _, planted, _ = walked
    motion = take.motions[0]
    x = motion_positions(motion)
    standing = planted[:, [0, 2]] & motion.observed[:, None]
    assert np.abs(x[:, HEELS, 1])[standing].max() < 0.04
    assert x[:, SOLES, 1].min(1).max() < 0.03  # never in the air, the still frames included
    assert x[:, SOLES, 1].min() > -0.02


def test_the_body_is_where_it_was_to_the_end_of_the_span(walked):
    take, _, p, _, _ = walked
    motion = take.motions[0]
    seen = np.flatnonzero(motion.observed)
    x = motion_positions(motion)
    assert metrics.abs_mpjpe(x[seen], p[seen]) < 60
    for end in (seen[:12], seen[-12:]):
        assert metrics.pa_mpjpe(x[end][:, LIMBS], p[end][:, LIMBS]) < 90


def test_the_span_is_where_half_of_the_person_is_in_view(walked):
    take, pose, _, _, pixels = walked
    half = np.flatnonzero((outside_px(pixels) == 0)[:, LIMBS].sum(1) >= 6)
    seen = np.flatnonzero(take.motions[0].observed)
    assert np.array_equal(seen, np.arange(seen[0], seen[-1] + 1))
    assert 0 <= seen[0] - half[0] <= 0.3 * FPS
    assert 0 <= half[-1] - seen[-1] <= 0.3 * FPS
    assert len(seen) < pose.detected.sum()


def test_outside_the_span_the_body_stands_still_less_and_less_sure(walked):
    take, pose, _, _, _ = walked
    motion = take.motions[0]
    seen = np.flatnonzero(motion.observed)
    x = motion_positions(motion)
    np.testing.assert_array_equal(motion.times, pose.times)
    np.testing.assert_array_equal(x[: seen[0]], np.repeat(x[seen[:1]], seen[0], 0))
    after = len(x) - seen[-1] - 1
    np.testing.assert_array_equal(x[seen[-1] + 1 :], np.repeat(x[seen[-1:]], after, 0))
    assert (np.diff(motion.sigma_m[: seen[0] + 1], axis=0) < 0).all()
    assert (np.diff(motion.sigma_m[seen[-1] :], axis=0) > 0).all()


def test_a_warning_says_when(walked):
    take, _, _, _, _ = walked
    motion = take.motions[0]
    seen = np.flatnonzero(motion.observed)
    lines = [w for w in take.report["warnings"] if "the picture at" in w]
    entering = seen[0] > 0
    at = motion.times[seen[0] if entering else seen[-1] + 1]
    (line,) = lines
    assert line.startswith(f"the person {'enters' if entering else 'leaves'} the picture at {at:.2f} s: a still pose")
    assert take.report["edge_points_distrusted"] > 100


def test_every_file_keeps_the_clips_length(walked, tmp_path):
    take, pose, _, _, _ = walked
    frames, seconds = len(pose.times), pose.times[-1] - pose.times[0]
    for suffix in ("npz", "bvh", "glb", "csv"):
        export(take, tmp_path / f"motion.{suffix}")
    stored = load_motion(tmp_path / "motion.npz")
    np.testing.assert_array_equal(stored.motions[0].times, pose.times)
    np.testing.assert_array_equal(stored.motions[0].observed, take.motions[0].observed)
    np.testing.assert_array_equal(stored.poses_2d[0].confidence, pose.confidence)  # as detected
    bvh = read_bvh(tmp_path / "motion.bvh")
    assert len(bvh.positions) == frames
    assert (frames - 1) * bvh.frame_time == pytest.approx(seconds, abs=1e-4)
    gltf = pygltflib.GLTF2().load(str(tmp_path / "motion.glb"))
    clock = gltf.accessors[gltf.animations[0].samplers[0].input]
    assert clock.max[0] - clock.min[0] == pytest.approx(seconds, abs=1e-4)
    table = np.genfromtxt(tmp_path / "motion.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["time_s"], pose.times, atol=1e-6)
    np.testing.assert_array_equal(table["observed"] > 0, take.motions[0].observed)


def test_the_motion_file_solves_again_to_the_same(walked, tmp_path):
    take = walked[0]
    export(take, tmp_path / "motion.npz")
    again = kinelift.animate(tmp_path / "motion.npz").motions[0]
    np.testing.assert_array_equal(again.observed, take.motions[0].observed)
    np.testing.assert_allclose(motion_positions(again), motion_positions(take.motions[0]), atol=1e-6)


def test_a_filmed_walker_does_not_lift_off_while_leaving(data):
    """Sports2D's walk: as the front leg leaves at 6.35 s the detector draws it onto the other, lifted one."""
    clip = data / "media" / "sports2d_demo.mp4"
    if not clip.is_file():
        pytest.skip("media/sports2d_demo.mp4 is not in the data folder")
    motion = kinelift.animate(clip, start=5.5, end=6.8).motions[0]
    x = motion_positions(motion)
    assert x[:, SOLES, 1].min(1).max() < 0.03
    assert 6.4 < motion.times[motion.observed][-1] < 6.7
    assert motion.times[-1] > 6.7
    apart = np.linalg.norm(x[:, HEELS[0]] - x[:, HEELS[1]], axis=-1)[motion.observed]
    assert apart[-5:].min() > 0.3  # in mid-step, not one leg twice


# Key points alone: laws.


@pytest.fixture(scope="module")
def leaver(film):
    return film(165, *WALKS["out to the left"])[0]


def test_a_leg_drawn_onto_the_other_is_not_believed(film):
    pose, _, _, pixels = film(165, *WALKS["out to the left"])
    ankles = BODY26.indices("left_ankle", "right_ankle")
    wrong = (np.linalg.norm(pose.xy - pixels, axis=-1) > 25)[:, ankles] & (pose.confidence[:, ankles] > 0.5)
    assert wrong.sum() > 5
    assert not within_picture(pose)[0].seen[:, ankles][wrong].any()


def test_walking_in_is_walking_out_backwards(leaver):
    def reverse(pose):
        return pose.replaced(xy=pose.xy[::-1], confidence=pose.confidence[::-1])

    there, back = within_picture(leaver)[0], within_picture(reverse(leaver))[0]
    np.testing.assert_array_equal(reverse(back).confidence, there.confidence)


@pytest.mark.parametrize("axes", ["mirrored", "turned"])
def test_every_edge_is_like_the_others(leaver, axes):
    w, h = SIZE
    if axes == "mirrored":
        other = leaver.replaced(xy=leaver.xy * [-1, 1] + [w - 1, 0])
    else:
        other = leaver.replaced(xy=leaver.xy[..., ::-1], image_size=(h, w))
    np.testing.assert_allclose(within_picture(other)[0].confidence, within_picture(leaver)[0].confidence, atol=1e-9)


def test_the_rate_does_not_matter(leaver):
    half = leaver.replaced(xy=leaver.xy[::2], confidence=leaver.confidence[::2], times=leaver.times[::2])
    ends = [sight.left_s for _, sight in (within_picture(leaver), within_picture(half))]
    assert ends[0] == pytest.approx(ends[1], abs=0.1)


def standing(xy, frames=30):
    """The same 26 points in every frame."""
    return Pose2D(BODY26, np.tile(xy, (frames, 1, 1)), np.full((frames, 26), 0.9), np.arange(frames) / FPS, SIZE)


def test_who_is_wholly_in_the_picture_is_left_alone(film):
    pose = film(60, RIGHT, (-1.0, 0, 0))[0]
    seen, sight = within_picture(pose)
    np.testing.assert_array_equal(seen.confidence, pose.confidence)
    assert (sight.distrusted, sight.entered_s, sight.left_s) == (0, None, None)


def test_who_stands_at_the_edge_is_not_leaving(film):
    xy = film(1, RIGHT, (0, 0, 0))[0].xy[0]
    pose = standing(xy - [np.nanmin(xy[:, 0]) - 1, 0])
    np.testing.assert_array_equal(within_picture(pose)[0].confidence, pose.confidence)


def test_trust_falls_with_the_distance_outside(film):
    xy = film(1, RIGHT, (0, 0, 0))[0].xy[0]
    first, size = np.nanargmin(xy[:, 0]), body_size_px(standing(xy))
    trust = []
    for share in (0, 0.5, 1.5):
        moved = xy - [xy[first, 0] + share * OUTSIDE_LIMIT * size, 0]
        trust.append(within_picture(standing(moved))[0].confidence[15, first])
    assert trust[0] == 0.9
    assert trust[1] == pytest.approx(0.45)
    assert trust[2] == 0


def test_nobody_in_the_picture_is_one_clear_line(film, tmp_path):
    pose = film(10, RIGHT, (0, 0, 0))[0]
    with pytest.raises(InputError, match="no key point lies inside the picture of 1280 x 720"):
        animated(pose.replaced(xy=pose.xy + np.array([3000, 0])), tmp_path)


# Half in the picture all the time.


@pytest.fixture(scope="module")
def cut(film, tmp_path_factory):
    """A walk across of which the picture shows the body down to the thighs."""
    pose, p, _, pixels = film(60, RIGHT, (-0.9, 0, 0), eye=(0, 1.5, 2.6), at=(0, 1.45, 0))
    assert (outside_px(pixels)[:, BODY26.indices("left_ankle", "right_ankle")] > 0).all()
    return animated(pose, tmp_path_factory.mktemp("cut")), p


def test_a_person_without_legs_in_view_is_observed_and_moves(cut):
    take, p = cut
    motion = take.motions[0]
    assert motion.observed.all()
    x, upper = motion_positions(motion), [j for j in LIMBS if BODY26.joints[j].split("_")[1] not in ("knee", "ankle")]
    assert metrics.pa_mpjpe(x[:, upper], p[:, upper]) < 60
    assert np.linalg.norm(x[-1, 0] - x[0, 0]) == pytest.approx(np.linalg.norm(p[-1, 0] - p[0, 0]), rel=0.15)


def test_legs_out_of_view_stand_below_the_body(cut):
    x = motion_positions(cut[0].motions[0])
    assert np.abs(x[:, SOLES, 1].min(1)).max() < 0.05
    assert (x[:, HEELS, 1] < x[:, BODY26.indices("left_knee", "right_knee"), 1]).all()
    assert (x[:, 0, 1] > 0.6).all()


def test_points_that_state_no_picture_have_no_edge(film, tmp_path):
    """OpenPose files do not say how large the picture was: that the points end somewhere is no edge."""
    pose, _, _, _ = film(90, RIGHT, (-1.0, 0, 0))
    folder = tmp_path / "openpose"
    folder.mkdir()
    for i, frame in enumerate(pose.xy):
        of = {n: frame[BODY26.index(n)] for n in BODY26.joints}
        of |= {"mid_hip": of["pelvis"], "left_big_toe": of["left_toe"], "right_big_toe": of["right_toe"]}
        row = [[*of[n], 0.9] if n in of else [0, 0, 0] for n in BODY_25.joints]
        people = [{"pose_keypoints_2d": np.ravel(row).tolist()}]
        (folder / f"walk_{i:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))
    take = kinelift.animate(folder, fps=FPS, height_m=1.7)
    assert take.motions[0].observed.all()
    assert take.report["edge_points_distrusted"] == 0
    export(take, tmp_path / "motion.npz")
    assert kinelift.animate(tmp_path / "motion.npz").report["edge_points_distrusted"] == 0
    narrow = kinelift.animate(folder, fps=FPS, height_m=1.7, image_size=(900, 720))
    assert narrow.report["edge_points_distrusted"] > 0

"""Clean-up of a clip: bones, first rotations, contacts, palms, and its outcome from evidence whose truth is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.cleanup import clean
from kinelift.cleanup.body import SOLES, TURNING
from kinelift.cleanup.clean import to_body26
from kinelift.cleanup.contacts import plant, sole_velocity
from kinelift.cleanup.palms import turn_palms
from kinelift.cleanup.rig import constant_bones, first_rotations, to_local
from kinelift.errors import InputError
from kinelift.kinematics import (
    bone_lengths,
    forward_kinematics,
    motion_positions,
    reference_offsets,
    rotvec_to_matrix,
    stature_from_offsets,
)
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26, H36M17, joint_map

B = BODY26.index
OFFSETS = reference_offsets()
DOWN = np.array([0, -1.0, 0])


def bent(frames, seed=0, size=0.4):
    """Random poses, every joint turned; smooth in no way."""
    v = np.random.default_rng(seed).normal(0, size, (frames, 26, 3))
    return rotvec_to_matrix(v), np.random.default_rng(seed + 1).normal(0, 0.3, (frames, 3))


@pytest.mark.parametrize("heading", [0.0, 2.0])
def test_first_rotations_reproduce_a_natural_pose(walk_rig, heading):
    local, offsets, root, _ = walk_rig(np.arange(30) / 30, heading=heading)
    p, _ = forward_kinematics(BODY26, offsets, local, 0 * root)
    again, _ = forward_kinematics(BODY26, offsets, first_rotations(p), 0 * root)
    limbs = [B(f"{s}_{j}") for s in ("left", "right") for j in ("knee", "ankle", "heel", "toe", "elbow", "wrist")]
    miss = np.linalg.norm(again - p, axis=-1)
    assert miss[:, limbs].max() < 0.02 and miss.mean() < 0.008


def test_knees_and_elbows_bend_as_hinges(walk_rig):
    """Twist comes from the plane of the bent limb: turned thighs and upper arms are found as such."""
    local, offsets, root, _ = walk_rig(np.arange(40) / 30)
    for joint, axis in (("hip", [0, 0.6, 0]), ("shoulder", [0.6, 0, 0])):
        for side, sign in (("left", 1), ("right", -1 if joint == "hip" else 1)):
            local[:, B(f"{side}_{joint}")] = local[:, B(f"{side}_{joint}")] @ rotvec_to_matrix(sign * np.array(axis))
    p, _ = forward_kinematics(BODY26, offsets, local, 0 * root)
    found = first_rotations(p)
    for joint in [f"{s}_{j}" for s in ("left", "right") for j in ("knee", "elbow")]:
        off = np.swapaxes(local[:, B(joint)], -1, -2) @ found[:, B(joint)]
        assert np.degrees(Rotation.from_matrix(off).magnitude()).max() < 12, joint


@pytest.mark.parametrize("seed", range(4))
def test_first_rotations_give_limbs_their_directions_in_any_pose(seed):
    local, root = bent(20, seed, size=0.5)
    p, _ = forward_kinematics(BODY26, OFFSETS, local, 0 * root)
    r = first_rotations(p)
    np.testing.assert_allclose(r @ np.swapaxes(r, -1, -2), np.broadcast_to(np.eye(3), r.shape), atol=1e-6)
    assert (np.linalg.det(r) > 0).all()
    again, _ = forward_kinematics(BODY26, OFFSETS, r, 0 * root)
    for side in ("left", "right"):
        for j in ("elbow", "wrist", "knee", "ankle", "hand"):
            parent = BODY26.parents[B(f"{side}_{j}")]
            bone, found = (x[:, B(f"{side}_{j}")] - x[:, parent] for x in (p, again))
            np.testing.assert_allclose(found, bone, atol=1e-4)


def test_first_rotations_of_the_rest_pose_are_none():
    p, _ = forward_kinematics(BODY26, OFFSETS, np.broadcast_to(np.eye(3), (3, 26, 3, 3)), np.zeros((3, 3)))
    np.testing.assert_allclose(first_rotations(p), np.broadcast_to(np.eye(3), (3, 26, 3, 3)), atol=0.02)


def test_turning_the_body_turns_only_its_root(walk_rig):
    local, offsets, root, _ = walk_rig(np.arange(20) / 30)
    p, _ = forward_kinematics(BODY26, offsets, local, 0 * root)
    R = Rotation.from_rotvec([0.3, 1.9, -0.7]).as_matrix()
    a, b = first_rotations(p), first_rotations(p @ R.T)
    np.testing.assert_allclose(b[:, 0], R @ a[:, 0], atol=1e-9)
    np.testing.assert_allclose(b[:, 1:], a[:, 1:], atol=1e-6)


def test_to_local_undoes_forward_kinematics():
    local, root = bent(5)
    leaves = [j for j in range(26) if j not in TURNING]
    local[:, leaves] = np.eye(3)
    _, glob = forward_kinematics(BODY26, OFFSETS, local, root)
    np.testing.assert_allclose(to_local(glob), local, atol=1e-12)


def test_bones_have_the_stature_are_symmetric_and_follow_the_lifters_proportions():
    offsets = OFFSETS.copy()
    arms = BODY26.indices("left_elbow", "right_elbow", "left_wrist", "right_wrist")
    offsets[arms] *= 1.15
    local, root = bent(30)
    p, _ = forward_kinematics(BODY26, offsets, local, 0 * root)
    found = constant_bones(7.3 * p, np.ones((30, 26)), 1.83)
    assert stature_from_offsets(found) == pytest.approx(1.83)
    np.testing.assert_allclose(found[list(BODY26.mirror)], found * [-1, 1, 1], atol=1e-12)
    ratio = np.linalg.norm(found[1:], axis=-1) / np.linalg.norm(OFFSETS[1:], axis=-1)
    assert ratio[arms[0] - 1] / ratio[B("left_knee") - 1] == pytest.approx(1.15, abs=0.02)
    unknown = np.where(np.isin(np.arange(26), BODY26.indices("left_toe", "right_toe"))[:, None], np.nan, p)
    toe = constant_bones(unknown, np.ones((30, 26)), 1.83)[B("left_toe")]
    assert np.linalg.norm(toe) == pytest.approx(np.linalg.norm(found[B("left_toe")]), rel=0.05)


def test_shoulders_lie_where_the_clip_has_them():
    offsets, both = OFFSETS.copy(), list(BODY26.indices("left_shoulder", "right_shoulder"))
    offsets[both] += [[0.02, -0.05, 0.01], [-0.02, -0.05, 0.01]]  # sloping shoulders
    local, root = bent(30)
    p, _ = forward_kinematics(BODY26, offsets, local, 0 * root)
    p[:5] += np.nan  # nobody is seen at first
    found = constant_bones(p, np.ones((30, 26)), stature_from_offsets(offsets))
    assert np.linalg.norm(found[both] - offsets[both], axis=-1).max() < 0.01  # 55 mm off as on the average body
    np.testing.assert_allclose(found[both[1]], found[both[0]] * [-1, 1, 1], atol=1e-12)
    p[:, both[1]] += [0, 0.06, 0]
    left, right = constant_bones(p, np.ones((30, 26)), 1.7, asymmetric=True)[both]
    assert right[1] > left[1] + 0.02
    p[:, BODY26.indices("chest")] = np.nan
    unknown = constant_bones(p, np.ones((30, 26)), 1.7)[both]
    np.testing.assert_allclose(np.cross(unknown, OFFSETS[both]), 0, atol=1e-12)  # the average body's direction


def test_moving_contact_is_slow_and_low(walk_rig):
    times = np.arange(90) / 30
    local, offsets, root, contact = walk_rig(times)
    soles = forward_kinematics(BODY26, offsets, local, root)[0][:, SOLES]
    assert metrics.f1(plant(None, soles, times, 1.7).contact > 0.5, contact > 0.5) > 0.93
    double = plant(None, 2 * soles, times, 3.4).contact  # twice the person, twice the step
    assert metrics.f1(double > 0.5, contact > 0.5) > 0.9
    belt = plant(None, soles + times[:, None, None] * [2.0, 0, 0], times, 1.7)
    assert not (belt.contact > 0.5).any()
    still = np.tile(soles[:1], (90, 1, 1))
    still[:, 2:, 1] += 0.4  # one foot held up, perfectly still
    held = plant(None, still, times, 1.7).contact
    assert (held[:, :2] > 0.9).all() and (held[:, 2:] < 0.1).all()


def test_sole_velocity_is_metres_a_second_on_uneven_times():
    t = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.1, 30))
    soles = t[:, None, None] * np.array([[3.0, 0, 4.0], [0, 0, 0]])
    speed = np.linalg.norm(sole_velocity(soles, t), axis=-1)
    np.testing.assert_allclose(speed, np.tile([5.0, 0], (30, 1)), atol=1e-9)


def test_contact_needs_both_the_lifter_and_the_motion():
    times, soles = np.arange(30) / 30, np.zeros((30, 4, 3))
    said = np.zeros((30, 4))
    said[:, 1] = 1
    said[15, 0] = 1  # a stray frame
    found = plant(said, soles, times, 1.7).contact
    assert (found[:, 1] > 0.9).all() and (found[:, [0, 2, 3]] < 0.1).all()
    fast = plant(np.ones((30, 4)), soles + times[:, None, None] * [3.0, 0, 0], times, 1.7)
    assert (fast.contact < 0.1).all()


def between(a, b):
    """Degrees between vectors (T, 3)."""
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize("degrees", [40, -70])
def test_palms_turn_to_the_knuckles_and_move_no_joint(degrees):
    local, root = bent(12, size=0.25)
    wrists = BODY26.indices("left_wrist", "right_wrist")
    local[:, wrists] = np.eye(3)
    p, glob = forward_kinematics(BODY26, OFFSETS, local, root)
    wanted = rotvec_to_matrix(np.array([np.radians(degrees), 0, 0])) @ [0, 0, 1.0]
    lines = glob[:, wrists] @ wanted
    q, after = forward_kinematics(BODY26, OFFSETS, turn_palms(local, glob, lines, 0.0), root)
    np.testing.assert_allclose(q, p, atol=1e-9)
    for i, wrist in enumerate(wrists):
        miss, forearm = between(after[:, wrist, :, 2], lines[:, i]), after[:, BODY26.parents[wrist], :, 2]
        assert (miss < abs(degrees) / 3.5).all()  # a little stays with the arm's own twist
        turn = between(forearm, glob[:, BODY26.parents[wrist], :, 2])
        np.testing.assert_allclose(2 * turn, abs(degrees) - miss, atol=1e-6)  # the forearm takes half
    untouched, _ = forward_kinematics(BODY26, OFFSETS, turn_palms(local, glob, 0 * lines, 0.0), root)
    np.testing.assert_allclose(untouched, p, atol=1e-12)


@pytest.fixture(scope="module")
def film(walk_rig, look_at):
    """Exact evidence of the walk, or nearly: what a very good lifter and detector would say."""

    def take(frames=75, fps=30, noise_m=0.008, noise_px=1.5, height_m=1.7, contact=True, heading=0.6):
        times = np.arange(frames) / fps
        local, offsets, root, planted = walk_rig(times, height_m, heading=heading)
        p, _ = forward_kinematics(BODY26, offsets, local, root)
        camera = look_at([1.0, 1.5, 6.5], [0.4, 0.85, 0.6])
        rng = np.random.default_rng(0)
        cam = camera.to_camera(p)
        xy = camera.project(p) + rng.normal(0, 1, (frames, 26, 2)) * noise_px
        pose = Pose2D(BODY26, xy, np.full(xy.shape[:2], 0.9), times, camera.image_size)
        noisy = (cam - cam[:, :1]) * 1.7 / height_m + rng.normal(0, 1, cam.shape) * noise_m
        lifted = Lifted(
            BODY26,
            noisy - noisy[:, :1],
            times,
            sigma=np.full(xy.shape[:2], 0.02),
            gravity=np.tile(camera.R_cam_world @ DOWN, (frames, 1)),
            contact=0.03 + 0.94 * planted if contact else None,
        )
        blind = camera.replaced(R_cam_world=np.eye(3), t_cam_world=np.zeros(3))
        return lifted, pose, blind, camera, p, planted

    return take


@pytest.fixture(scope="module")
def cleaned(film):
    lifted, pose, blind, camera, p, planted = film()
    return clean(lifted, pose, blind, 1.7), camera, p, planted


def test_world_positions_are_right_to_two_centimetres(cleaned):
    """After one rigid alignment of the clip: shape, scale and path together."""
    done, _, p, _ = cleaned
    assert metrics.abs_mpjpe(motion_positions(done.motion), p) < 20


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_leans_with_its_gravity_is_righted(film, calibrated):
    """Figures that rock by 10 degrees, and frames' gravity twice as far: half of that is taken back."""
    lifted, pose, blind, camera, p, _ = film()
    rock = np.radians(10) * np.sin(2 * np.pi * lifted.times)[:, None] * [1.0, 0, 0]
    lean, more = rotvec_to_matrix(rock), rotvec_to_matrix(2 * rock)
    leaning = lifted.replaced(positions=lifted.positions @ np.swapaxes(lean, 1, 2))
    strayed = leaning.replaced(gravity=np.einsum("tij,tj->ti", more, lifted.gravity))
    lens = camera if calibrated else blind
    left, righted = (
        metrics.abs_mpjpe(motion_positions(clean(x, pose, lens, 1.7, calibrated=calibrated).motion), p)
        for x in (leaning, strayed)
    )
    assert righted < 25 and left > 1.5 * righted
    long = strayed.replaced(gravity=9.81 * strayed.gravity)  # as a lifter of one's own may say it
    same = motion_positions(clean(long, pose, lens, 1.7, calibrated=calibrated).motion)
    assert metrics.abs_mpjpe(same, p) == pytest.approx(righted, rel=0.02)
    upside_down = np.where(np.arange(75)[:, None] == 30, -1, 1)  # in one frame
    wild = lifted.replaced(gravity=upside_down * lifted.gravity)
    assert metrics.abs_mpjpe(motion_positions(clean(wild, pose, lens, 1.7, calibrated=calibrated).motion), p) < 20


def test_the_path_has_its_length(cleaned):
    done, _, p, _ = cleaned
    walked = np.linalg.norm(done.motion.root[-1] - done.motion.root[0])
    assert walked == pytest.approx(np.linalg.norm(p[-1, 0] - p[0, 0]), rel=0.02)


def test_feet_stand_on_the_floor_and_do_not_slide(cleaned):
    done, _, _, planted = cleaned
    soles = motion_positions(done.motion)[:, SOLES]
    assert metrics.foot_sliding(soles, planted, 30) < 2
    assert metrics.penetration(soles) < 1 and soles[..., 1].min() > -0.012
    assert np.abs(np.median(soles[..., 1][planted > 0.5])) < 0.005
    assert done.ground.floor_y == 0


def test_contacts_are_those_of_the_walk(cleaned):
    done, _, _, planted = cleaned
    assert metrics.f1(done.motion.contacts > 0.5, planted > 0.5) > 0.95
    assert done.motion.contact_joints.tolist() == SOLES


def test_the_world_is_upright_and_starts_under_the_first_pelvis(cleaned):
    done, camera, _, _ = cleaned
    tilt = np.degrees(np.arccos(np.clip((done.camera.R_cam_world.T @ camera.R_cam_world)[1, 1], -1, 1)))
    assert tilt < 1
    np.testing.assert_allclose(done.motion.root[0, [0, 2]], 0, atol=1e-9)
    assert done.camera.position[1] == pytest.approx(camera.position[1], abs=0.04)
    view = done.camera.R_cam_world.T @ [0, 0, 1]
    assert abs(view[0]) < 1e-6 and view[2] < 0


def test_bones_are_constant_symmetric_and_of_the_stature(cleaned):
    done, _, _, _ = cleaned
    p = motion_positions(done.motion)
    assert np.ptp(bone_lengths(BODY26, p), axis=0).max() < 1e-9
    np.testing.assert_allclose(done.motion.offsets[list(BODY26.mirror)], done.motion.offsets * [-1, 1, 1], atol=1e-12)
    assert stature_from_offsets(done.motion.offsets) == pytest.approx(1.7)


def test_the_motion_is_seen_where_the_picture_shows_it(cleaned, film):
    done, _, _, _ = cleaned
    pose = film()[1]
    limbs = BODY26.indices(*metrics.LIMBS)
    miss = np.linalg.norm(done.camera.project(motion_positions(done.motion)) - pose.xy, axis=-1)[:, limbs]
    assert np.median(miss) < 5  # pixels, of a figure about 300 high


def test_quaternions_do_not_leap(cleaned):
    q = cleaned[0].motion.rotations
    assert (np.einsum("tji,tji->tj", q[1:], q[:-1]) > 0).all()


def test_height_scales_the_world(film, cleaned):
    """The same picture of a person said to be a fifth taller: everything a fifth larger, contact and tilt alike."""
    lifted, pose, blind, _, _, _ = film()
    taller = clean(lifted, pose, blind, 1.7 * 1.2)
    a, b = motion_positions(cleaned[0].motion), motion_positions(taller.motion)
    assert taller.lifter_scale == pytest.approx(1.2 * cleaned[0].lifter_scale)
    assert np.abs(b - 1.2 * a).max() < 0.06
    assert metrics.mpjpe(b, 1.2 * a) < 8


def test_without_the_lifters_contact_feet_are_found_from_their_motion(film):
    lifted, pose, blind, _, p, planted = film(contact=False, noise_m=0.003)
    done = clean(lifted, pose, blind, 1.7)
    assert metrics.f1(done.motion.contacts > 0.5, planted > 0.5) > 0.85
    assert metrics.foot_sliding(motion_positions(done.motion)[:, SOLES], planted, 30) < 4
    assert metrics.abs_mpjpe(motion_positions(done.motion), p) < 25


def test_a_calibrated_world_is_kept(film):
    lifted, pose, _, camera, p, _ = film()
    done = clean(lifted, pose, camera, 1.7, calibrated=True)
    np.testing.assert_array_equal(done.camera.R_cam_world, camera.R_cam_world)
    np.testing.assert_array_equal(done.camera.t_cam_world, camera.t_cam_world)
    assert np.linalg.norm(motion_positions(done.motion) - p, axis=-1).mean() < 0.03  # no alignment at all
    assert done.ground.source == "calibration" and done.ground.floor_y == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("fps", [12, 60])
def test_any_frame_rate(film, fps):
    lifted, pose, blind, _, p, planted = film(frames=int(2.5 * fps), fps=fps)
    done = clean(lifted, pose, blind, 1.7)
    assert metrics.abs_mpjpe(motion_positions(done.motion), p) < 20
    assert metrics.foot_sliding(motion_positions(done.motion)[:, SOLES], planted, fps) < 2


def without(pose, frames):
    confidence = pose.confidence.copy()
    confidence[frames] = 0
    return pose.replaced(xy=np.where(confidence[..., None] > 0, pose.xy, np.nan), confidence=confidence)


def test_lost_frames_are_filled_and_marked(film):
    lifted, pose, blind, _, p, _ = film()
    done = clean(lifted, without(pose, slice(30, 38)), blind, 1.7)
    np.testing.assert_array_equal(np.flatnonzero(~done.motion.observed), np.arange(30, 38))
    assert metrics.abs_mpjpe(motion_positions(done.motion), p) < 25


def test_before_and_after_being_seen_the_person_holds_still(film):
    lifted, pose, blind, _, _, _ = film()
    done = clean(lifted, without(pose, [*range(10), *range(70, 75)]), blind, 1.7)
    x = motion_positions(done.motion)
    np.testing.assert_array_equal(x[:10], np.repeat(x[10:11], 10, 0))
    np.testing.assert_array_equal(x[70:], np.repeat(x[69:70], 5, 0))
    assert not done.motion.observed[[0, 9, 70, 74]].any() and done.motion.observed[10:70].all()


def test_nobody_is_an_error_in_one_line(film):
    lifted, pose, blind, _, _, _ = film(frames=4)
    with pytest.raises(InputError, match="person"):
        clean(lifted, without(pose, slice(None)), blind, 1.7)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_pictures_and_very_short_clips(film, frames):
    lifted, pose, blind, _, p, _ = film(frames=frames, noise_m=0.004)
    done = clean(lifted, pose, blind, 1.7)
    x = motion_positions(done.motion)
    assert x.shape == (frames, 26, 3)
    assert metrics.pa_mpjpe(x, p) < 20
    assert np.percentile(x[:, SOLES, 1], 25) == pytest.approx(0, abs=0.04)


def as_h36m(lifted):
    """What a single-frame lifter of 17 joints says: no scale, no sigma, no gravity, no contact."""
    w = joint_map(BODY26, H36M17)
    unit = np.einsum("ij,tjc->tic", w, lifted.positions) / 0.42
    return Lifted(H36M17, unit - unit[:, :1], lifted.times, "unit")


@pytest.mark.filterwarnings("error")  # what a lifter does not give is no news
@pytest.mark.parametrize("frames", [1, 2, 75])
def test_a_seventeen_joint_unit_lifter_completes_the_path(film, frames):
    lifted, pose, blind, camera, p, planted = film(frames=frames, noise_m=0.003)
    done = clean(as_h36m(lifted), pose, blind, 1.7)
    x = motion_positions(done.motion)
    limbs = BODY26.indices(*metrics.LIMBS)
    assert metrics.pa_mpjpe(x[:, limbs], p[:, limbs]) < 25
    assert done.lifter_scale == pytest.approx(0.42, rel=0.05)
    assert stature_from_offsets(done.motion.offsets) == pytest.approx(1.7)
    if frames > 3:
        assert metrics.foot_sliding(x[:, SOLES], planted, 30) < 6
        tilt = np.degrees(np.arccos(np.clip((done.camera.R_cam_world.T @ camera.R_cam_world)[1, 1], -1, 1)))
        assert tilt < 8


def test_joints_a_lifter_does_not_give_leave_the_others_alone():
    """NaN marks what is not given, in the lifter's skeleton as in ours."""
    x = np.random.default_rng(0).normal(size=(3, 17, 3))
    whole = to_body26(Lifted(H36M17, x - x[:, :1], np.arange(3), "unit"))
    x[:, H36M17.index("LWrist")] = np.nan
    part = to_body26(Lifted(H36M17, x - x[:, :1], np.arange(3), "unit"))
    other = np.arange(26) != B("left_wrist")
    np.testing.assert_array_equal(part.positions[:, other], whole.positions[:, other])
    assert np.isnan(part.positions[:, B("left_wrist")]).all()


def test_a_lifter_without_limbs_is_refused():
    """Bones of the limbs say how large the person is; without any, one line says so."""
    T = 5
    positions = np.full((T, 26, 3), np.nan)
    positions[:, BODY26.indices("pelvis", "neck", "head")] = [[0, 0, 0], [0, -0.5, 0], [0, -0.7, 0]]
    pose = Pose2D(BODY26, np.full((T, 26, 2), 100.0), np.ones((T, 26)), np.arange(T) / 30, (640, 480))
    with pytest.raises(InputError, match="no knee, ankle, elbow or wrist"):
        clean(Lifted(BODY26, positions, pose.times), pose, Camera.from_focal(900.0, (640, 480)), 1.7)

"""What clean() makes of evidence from outside, a moving camera, depth, contacts by hand, and of its settings."""

import numpy as np
import pytest

from kinelift import metrics
from kinelift.cleanup import Given, Settings, Weights, clean
from kinelift.cleanup import limits as ranges
from kinelift.cleanup.body import SOLES
from kinelift.errors import InputError, UnknownNameError
from kinelift.kinematics import (
    bone_lengths,
    forward_kinematics,
    motion_positions,
    quat_to_matrix,
    reference_offsets,
    rotvec_to_matrix,
)
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import PersonDepth
from kinelift.trajectory.odometry import CameraPath
from kinelift.trajectory.world import flesh_m

LIMBS = BODY26.indices(*metrics.LIMBS)
UNIT_M = 2.6


@pytest.fixture(scope="module")
def filmed(walk_rig, look_at):
    """The walk through cameras that stand, pan with it, or walk along: key points and lifter nearly exact."""

    def take(move="still", frames=75, noise_m=0.008, noise_px=1.5, offsets=None, height_m=1.7, breath=0.0):
        times = np.arange(frames) / 30
        local, walked, root, planted = walk_rig(times, height_m, heading=1.2)
        offsets = walked if offsets is None else offsets
        p, _ = forward_kinematics(BODY26, offsets, local, root)
        first = np.array([1.0, 1.5, 6.5])
        eyes = np.tile(first, (frames, 1))
        if move == "along":
            eyes = first + (root - root[0]) * [1, 0, 1] + 0.03 * np.sin(5 * times)[:, None]
        targets = np.tile([0.4, 0.85, 0.6], (frames, 1)) if move == "still" else root
        cameras = [look_at(a, b) for a, b in zip(eyes, targets, strict=True)]
        R, t = (np.array([getattr(c, n) for c in cameras]) for n in ("R_cam_world", "t_cam_world"))
        rng = np.random.default_rng(0)
        cam = np.einsum("tij,tnj->tni", R, p) + t[:, None]
        seen = cam - cam[:, :1] * (breath * np.sin(4 * times))[:, None, None] * [0, 0, 1]
        xy = cameras[0].project_camera(seen) + rng.normal(0, noise_px, (frames, 26, 2))
        pose = Pose2D(BODY26, xy, np.full(xy.shape[:2], 0.9), times, cameras[0].image_size)
        noisy = (cam - cam[:, :1]) * 1.7 / height_m + rng.normal(0, noise_m, cam.shape)
        lifted = Lifted(
            BODY26, noisy - noisy[:, :1], times, sigma=np.full(xy.shape[:2], 0.02),
            gravity=np.einsum("tij,j->ti", R, [0, -1.0, 0]), contact=0.03 + 0.94 * planted,
        )  # fmt: skip
        blind = cameras[0].replaced(R_cam_world=np.eye(3), t_cam_world=np.zeros(3))
        turn = R @ R[0].T
        shift = (t - np.einsum("tij,j->ti", turn, t[0])) / UNIT_M
        along = move == "along"
        path = (
            CameraPath(turn, shift if along else 0 * shift, True, along, np.ones(frames)) if move != "still" else None
        )
        return lifted, pose, blind, path, cameras, p, planted

    return take


@pytest.mark.parametrize("move", ["pan", "along"])
@pytest.mark.parametrize("height_m", [1.7, 1.4])
def test_a_moving_camera(filmed, move, height_m):
    """World, path, scale and the camera of every frame, from a camera that turns or walks along."""
    lifted, pose, blind, path, cameras, p, planted = filmed(move, height_m=height_m)
    done = clean(lifted, pose, blind, height_m, given=Given(path=path))
    x = motion_positions(done.motion)
    assert metrics.abs_mpjpe(x[:, LIMBS], p[:, LIMBS]) < 25
    walked = np.linalg.norm(done.motion.root[-1] - done.motion.root[0])
    assert walked == pytest.approx(np.linalg.norm(p[-1, 0] - p[0, 0]), rel=0.03)
    assert metrics.foot_sliding(x[:, SOLES], planted, 30) < 2
    assert done.camera.R_cam_world.shape == (75, 3, 3) and done.camera.t_cam_world.shape == (75, 3)
    view = done.camera.R_cam_world[0].T @ [0, 0, 1]
    assert abs(view[0]) < 0.02 and view[2] < 0  # the first camera looks along -Z, but for its sway
    tilt = [c.R_cam_world[:, 1] @ R[:, 1] for c, R in zip(cameras, done.camera.R_cam_world, strict=True)]
    assert np.degrees(np.arccos(np.clip(tilt, -1, 1))).max() < 1.5
    miss = np.linalg.norm(done.camera.project(x) - pose.xy, axis=-1)[:, LIMBS]
    assert np.median(miss) < 6
    if move == "along":
        assert done.path_scale == pytest.approx(UNIT_M, rel=0.04)
        assert 0 < done.path_sigma < 0.2 * UNIT_M
        moved = np.linalg.norm(done.camera.position[-1] - done.camera.position[0])
        assert moved == pytest.approx(np.linalg.norm(cameras[-1].position - cameras[0].position), rel=0.05)
    else:
        assert done.path_scale is None


def test_stances_whose_ends_drift_do_not_shorten_the_cameras_way(filmed):
    """A lifter whose contacts begin early and end late, while the foot still moves, and whose legs swing too little."""
    lifted, pose, blind, path, *_ = filmed("along")
    wide = np.array([lifted.contact[max(k - 2, 0) : k + 3].max(0) for k in range(75)])
    foot = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("ankle", "heel", "toe")))
    damped = lifted.positions.copy()
    damped[:, foot] -= 0.12 * (damped[:, foot] - damped[:, foot].mean(0))
    done = clean(lifted.replaced(positions=damped, contact=wide), pose, blind, 1.7, given=Given(path=path))
    assert done.path_scale == pytest.approx(UNIT_M, rel=0.05)
    assert 0.01 * UNIT_M < done.path_sigma < 0.2 * UNIT_M


def test_a_moving_camera_taken_for_a_still_one_gets_the_path_wrong(filmed):
    """The path is what makes the test above pass: without it a panned walk stays in place."""
    lifted, pose, blind, _, _, p, _ = filmed("pan")
    done = clean(lifted, pose, blind, 1.7)
    walked = np.linalg.norm(done.motion.root[-1] - done.motion.root[0])
    assert walked < 0.6 * np.linalg.norm(p[-1, 0] - p[0, 0])


def test_a_path_of_another_length_is_one_clear_line(filmed):
    lifted, pose, blind, path, *_ = filmed("pan")
    short = CameraPath(path.R[:9], path.t[:9], True, False, np.ones(9))
    with pytest.raises(InputError, match="expected 75 frames"):
        clean(lifted, pose, blind, 1.7, given=Given(path=short))


def test_a_path_of_a_still_camera_changes_nothing(filmed):
    lifted, pose, blind, *_ = filmed(frames=12)
    a = clean(lifted, pose, blind, 1.7)
    b = clean(lifted, pose, blind, 1.7, given=Given(path=CameraPath.still(12)))
    np.testing.assert_array_equal(a.motion.root, b.motion.root)
    assert b.camera.R_cam_world.shape == (3, 3)


@pytest.mark.parametrize("metric", [True, False])
def test_depth_steadies_the_root_and_its_scale_is_not_believed(filmed, metric):
    """Key points that say the person comes and goes; a depth with its own scale (and shift) says otherwise."""
    lifted, pose, blind, _, cameras, p, _ = filmed(breath=0.05)
    z = cameras[0].to_camera(p)[:, 0, 2]
    given = 1.15 * z if metric else 0.3 * z + 2
    gain = 1.15 if metric else 0.3
    depth = PersonDepth(given, np.full(len(z), 0.02 * gain), metric, "test")
    weights = Weights(depth=0.5).without("contact_speed", "contact_height")
    plain, told = (
        clean(lifted, pose, blind, 1.7, given=g, settings=Settings(weights=weights))
        for g in (Given(), Given(depth=depth))
    )

    def wander(done):
        found = done.camera.to_camera(motion_positions(done.motion))[:, 0, 2]
        return np.std(found / z)

    assert wander(told) < 0.6 * wander(plain)
    assert np.median(told.camera.to_camera(motion_positions(told.motion))[:, 0, 2] / z) == pytest.approx(1, abs=0.06)


def test_the_lifters_own_depth_is_a_weak_cue_when_asked_for(filmed):
    lifted, pose, blind, _, cameras, p, _ = filmed(breath=0.05)
    z = cameras[0].to_camera(p)[:, 0, 2]
    lifted = lifted.replaced(depth_cue=z)
    plain, asked = (
        clean(lifted, pose, blind, 1.7, settings=Settings(weights=Weights(depth_cue=share))) for share in (np.inf, 0.01)
    )
    a, b = (np.std(d.camera.to_camera(motion_positions(d.motion))[:, 0, 2] / z) for d in (plain, asked))
    assert b < a


def test_contacts_by_hand_win(filmed):
    lifted, pose, blind, *_ = filmed()
    said = np.full((75, 4), np.nan)
    said[20:30] = 0
    said[40:50, 1] = 1
    done = clean(lifted, pose, blind, 1.7, given=Given(contact=said))
    assert not done.motion.contacts[20:30].any() and (done.motion.contacts[40:50, 1] == 1).all()
    assert (done.motion.contacts[:20] > 0.5).any()


def test_support_by_hand_wins(filmed):
    """The left foot's first stance is said to be 2 cm higher than the floor, to a solve that believes in supports."""
    lifted, pose, blind, _, _, _, planted = filmed(height_m=1.4)
    lifts = np.flatnonzero(np.diff(planted[:, 0]) < 0)[0]
    stance, support, said = lifts - 5, np.full((75, 4), np.nan), np.full((75, 4), np.nan)
    support[: lifts + 15, :2] = 0.02
    said[:lifts, :2], said[lifts : lifts + 8, :2] = 1, 0
    firm = Settings(weights=Weights(contact_height_m=0.002))
    a, b = (
        motion_positions(clean(lifted, pose, blind, 1.4, given=g, settings=firm).motion)[stance, SOLES, 1]
        for g in (Given(contact=said), Given(contact=said, support_y=support))
    )
    np.testing.assert_allclose(a[:2], 0, atol=0.006)
    np.testing.assert_allclose(b[:2], 0.02, atol=0.006)


def test_never_locking_feet_leaves_no_contact(filmed):
    lifted, pose, blind, *_ = filmed()
    done = clean(lifted, pose, blind, 1.7, settings=Settings(foot_lock="never"))
    assert not (done.motion.contacts > 0.5).any()
    with pytest.raises(UnknownNameError, match="unknown foot lock 'sometimes'; known: always, auto, ground, never"):
        Settings(foot_lock="sometimes")


def posed(look_at, turn, height):
    """Lifter's answer, key points and a blind camera of one pose, turned at joints by `turn` {name: rotation vector},
    whose root is at heights (T,); nothing planted by the lifter."""
    T = len(height)
    turns = np.zeros((26, 3))
    for joint, v in turn.items():
        turns[BODY26.index(joint)] = v
    root = np.stack([0 * height, height, 0 * height], -1)
    p, _ = forward_kinematics(BODY26, reference_offsets(), np.tile(rotvec_to_matrix(turns), (T, 1, 1, 1)), root)
    camera = look_at([1.0, 1.4, 5.0], [0, 0.6, 0])
    cam = camera.to_camera(p)
    pose = Pose2D(BODY26, camera.project(p), np.full((T, 26), 0.9), np.arange(T) / 30, camera.image_size)
    down = np.tile(camera.R_cam_world @ [0, -1.0, 0], (T, 1))
    lifted = Lifted(
        BODY26, cam - cam[:, :1], pose.times, sigma=np.full((T, 26), 0.02), gravity=down, contact=np.full((T, 4), 0.03)
    )
    return lifted, pose, camera.replaced(R_cam_world=np.eye(3), t_cam_world=np.zeros(3))


def test_who_lies_with_the_legs_up_lies_on_the_floor(look_at):
    """The feet are higher than the back: the floor is under the flesh, not under the lowest soles."""
    legs = {f"{side}_hip": [-1.2, 0, 0] for side in ("left", "right")}
    lifted, pose, blind = posed(look_at, {"pelvis": [-np.pi / 2, 0, 0]} | legs, np.full(45, 0.1))
    p = motion_positions(clean(lifted, pose, blind, 1.7).motion)
    assert p[:, SOLES, 1].min() > 0.4
    np.testing.assert_allclose((p[..., 1] - flesh_m()).min(1), 0, atol=0.02)


def test_with_feet_on_the_ground_nobody_jumps(look_at):
    high = 0.25 * np.maximum(np.sin(2 * np.pi * np.arange(60) / 40), 0)
    lifted, pose, blind = posed(look_at, {}, 0.93 + high)
    peaks = {}
    for lock in ("never", "ground"):
        p = motion_positions(clean(lifted, pose, blind, 1.7, settings=Settings(foot_lock=lock)).motion)
        peaks[lock] = np.ptp(p[:, SOLES, 1].min(1))
    assert peaks["never"] > 0.18 and peaks["ground"] < 0.08


def test_bones_of_the_two_sides_differ_only_when_asked(filmed):
    """A left forearm a quarter longer than the right one."""
    offsets = reference_offsets()
    left, right = BODY26.indices("left_wrist", "right_wrist")
    offsets[left] *= 1.25
    lifted, pose, blind, *_ = filmed(offsets=offsets, frames=40)
    ratio = []
    for asymmetric in (False, True):
        done = clean(lifted, pose, blind, 1.7, settings=Settings(asymmetric=asymmetric))
        length = bone_lengths(BODY26, motion_positions(done.motion))[0]
        ratio.append(length[left] / length[right])
    assert ratio[0] == pytest.approx(1) and 1.15 < ratio[1] < 1.26


def test_joint_limits_hold_a_knee_that_the_lifter_bends_forwards(filmed):
    lifted, pose, blind, *_ = filmed(frames=30)
    unseen = pose.confidence.copy()
    shin = BODY26.indices("left_ankle", "left_heel", "left_toe")
    unseen[:, shin] = 0
    pose = pose.replaced(xy=np.where(unseen[..., None] > 0, pose.xy, np.nan), confidence=unseen)
    wrong = lifted.positions.copy()
    knee, hip = BODY26.indices("left_knee", "left_hip")
    thigh = wrong[:, knee] - wrong[:, hip]
    across = lifted.positions[:, BODY26.index("left_hip")] - lifted.positions[:, BODY26.index("right_hip")]
    axis = across / np.linalg.norm(across, axis=-1, keepdims=True)
    bend = rotvec_to_matrix(-0.9 * axis) @ (thigh / np.linalg.norm(thigh, axis=-1, keepdims=True) * 0.41)[..., None]
    for j in shin:
        wrong[:, j] = wrong[:, knee] + bend[..., 0] + (lifted.positions[:, j] - lifted.positions[:, shin[0]])
    lifted = lifted.replaced(positions=wrong, contact=0 * lifted.contact)
    beyond = []
    for limits in (True, False):
        motion = clean(lifted, pose, blind, 1.7, iterations=2, settings=Settings(joint_limits=limits)).motion
        angles, _ = ranges.joint_angles(quat_to_matrix(motion.rotations))
        over = np.maximum([r.low for r in ranges.ORDER] - angles, angles - [r.high for r in ranges.ORDER])
        beyond.append(np.degrees(over.max(1)).mean())
    assert beyond[1] > 20 and beyond[0] < beyond[1] / 2


def test_sigma_is_larger_where_less_is_known(filmed):
    """Of an arm that is hidden from sight and lifter, and of frames without a detection."""
    lifted, pose, blind, *_ = filmed()
    confidence = pose.confidence.copy()
    confidence[30:50] = 0
    arm = BODY26.indices("left_elbow", "left_wrist", "left_hand")
    confidence[:, arm] = 0
    sigma = lifted.sigma.copy()
    sigma[:, arm] = 0.15
    lifted = lifted.replaced(sigma=sigma)
    pose = pose.replaced(xy=np.where(confidence[..., None] > 0, pose.xy, np.nan), confidence=confidence)
    told = clean(lifted, pose, blind, 1.7).motion.sigma_m
    assert told.shape == (75, 26) and (told > 0).all()
    wrists = BODY26.indices("left_wrist", "right_wrist")
    assert np.median(told[:, wrists[0]]) > 1.5 * np.median(told[:, wrists[1]])
    assert np.median(told[38:42, LIMBS]) > 1.3 * np.median(told[10:20, LIMBS])

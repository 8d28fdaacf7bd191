"""Kernels against SciPy, and the laws of a rig."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinelift.kinematics import (
    bone_lengths,
    continuous_quats,
    fit_rotation,
    forward_kinematics,
    matrix_to_quat,
    motion_positions,
    nearest_rotation,
    quat_to_matrix,
    reference_offsets,
    rotvec_to_matrix,
    shortest_arc,
    stature_from_offsets,
)
from kinelift.records import Motion
from kinelift.skeleton import BODY26

B = BODY26.index
EYE = np.broadcast_to(np.eye(3), (1, 26, 3, 3))


def turns(n, seed=0, size=1.2):
    return Rotation.from_rotvec(np.random.default_rng(seed).normal(0, size, (n, 3)))


def units(n, seed):
    v = np.random.default_rng(seed).normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def test_quaternions_are_scipys():
    r = turns(50)
    np.testing.assert_allclose(quat_to_matrix(r.as_quat()), r.as_matrix(), atol=1e-12)
    back = matrix_to_quat(r.as_matrix().reshape(5, 10, 3, 3))
    assert back.shape == (5, 10, 4) and (back[..., 3] >= 0).all()
    np.testing.assert_allclose(quat_to_matrix(back).reshape(-1, 3, 3), r.as_matrix(), atol=1e-12)


@pytest.mark.parametrize("size", [0, 1e-9, 3e-7, 2e-6, 0.1, 3.0, 9.0])
def test_rotation_vectors_are_scipys(size):
    v = units(20, 3) * size
    np.testing.assert_allclose(rotvec_to_matrix(v), Rotation.from_rotvec(v).as_matrix(), atol=1e-10)


def test_continuous_quats_change_signs_only_and_never_leap():
    t = np.linspace(0, 12, 400)[:, None]
    q = Rotation.from_rotvec(t * units(1, 4)).as_quat(canonical=True)[:, None]
    assert (np.linalg.norm(np.diff(q, axis=0), axis=-1) > 1).any()
    out = continuous_quats(q)
    assert np.linalg.norm(np.diff(out, axis=0), axis=-1).max() < 0.05
    np.testing.assert_allclose(np.abs(out), np.abs(q))
    np.testing.assert_allclose(quat_to_matrix(out), quat_to_matrix(q), atol=1e-12)
    assert out[0, 0, 3] >= 0


def test_rest_pose_is_a_t_pose_facing_plus_z_with_left_at_plus_x():
    p, _ = forward_kinematics(BODY26, reference_offsets(1.8), EYE, np.zeros((1, 3)))
    p = p[0]
    rest = dict(zip(BODY26.joints, p, strict=True))
    np.testing.assert_array_equal(rest["pelvis"], 0)
    assert rest["left_wrist"][0] > rest["left_elbow"][0] > rest["left_shoulder"][0] > 0
    np.testing.assert_allclose(rest["left_wrist"][1:], rest["left_shoulder"][1:])
    assert rest["nose"][2] > rest["head"][2] and rest["left_toe"][2] > rest["left_heel"][2]
    assert rest["left_toe"][1] == rest["left_heel"][1] == p[:, 1].min()
    assert rest["head"][1] > rest["neck"][1] > rest["spine"][1] > 0
    np.testing.assert_allclose(p[list(BODY26.mirror)], p * [-1, 1, 1])
    hip_height = rest["pelvis"][1] - rest["left_toe"][1]
    assert hip_height / 1.8 == pytest.approx(0.530, abs=0.001)  # Winter 2009, table 4.1


@pytest.mark.parametrize("height_m", [0.9, 1.7, 2.1])
def test_stature_of_bones_made_for_a_stature(height_m):
    assert stature_from_offsets(reference_offsets(height_m)) == pytest.approx(height_m)


def test_stature_follows_legs_and_trunk_not_arms_or_direction():
    offsets = reference_offsets(1.7)
    arms = BODY26.indices("left_elbow", "right_wrist", "left_hand")
    longer = offsets.copy()
    longer[arms] *= 1.3
    assert stature_from_offsets(longer) == pytest.approx(1.7)
    assert stature_from_offsets(offsets @ turns(1).as_matrix()[0].T) == pytest.approx(1.7)
    longer[B("left_knee")] *= 1.1
    assert stature_from_offsets(longer) > 1.705


def test_forward_kinematics_keeps_bones_and_root():
    offsets = reference_offsets()
    local = turns(4 * 26).as_matrix().reshape(4, 26, 3, 3)
    root = np.random.default_rng(1).normal(size=(4, 3))
    p, glob = forward_kinematics(BODY26, offsets, local, root)
    np.testing.assert_allclose(p[:, 0], root)
    np.testing.assert_allclose(bone_lengths(BODY26, p), np.tile(np.linalg.norm(offsets, axis=-1), (4, 1)), atol=1e-12)
    for joint, parent in enumerate(BODY26.parents):
        if joint:
            np.testing.assert_allclose(glob[:, joint], glob[:, parent] @ local[:, joint], atol=1e-12)


def test_turning_the_root_turns_the_whole_body_about_it():
    offsets, R = reference_offsets(), turns(1, seed=5).as_matrix()[0]
    local = turns(2 * 26, size=0.5).as_matrix().reshape(2, 26, 3, 3)
    p, _ = forward_kinematics(BODY26, offsets, local, np.zeros((2, 3)))
    local = local.copy()
    local[:, 0] = R @ local[:, 0]
    turned, _ = forward_kinematics(BODY26, offsets, local, np.ones((2, 3)))
    np.testing.assert_allclose(turned, p @ R.T + 1, atol=1e-12)


def test_turning_a_joint_moves_only_what_hangs_on_it():
    offsets, local = reference_offsets(), EYE.copy()
    local[:, B("left_elbow")] = rotvec_to_matrix(np.array([0, -np.pi / 2, 0]))
    p, _ = forward_kinematics(BODY26, offsets, local, np.zeros((1, 3)))
    rest, _ = forward_kinematics(BODY26, offsets, EYE, np.zeros((1, 3)))
    moved = {BODY26.joints[j] for j in np.flatnonzero(np.linalg.norm((p - rest)[0], axis=-1) > 1e-9)}
    assert moved == {"left_wrist", "left_hand"}
    forward = p[0, B("left_wrist")] - p[0, B("left_elbow")]
    np.testing.assert_allclose(forward, [0, 0, 0.146 * 1.7], atol=1e-12)  # a bent elbow points forwards


def test_motion_positions_are_its_forward_kinematics():
    r = turns(2 * 26, seed=8)
    offsets, zeros, joints = reference_offsets(), np.zeros((2, 26)), np.arange(4)
    quats = r.as_quat().reshape(2, 26, 4)
    motion = Motion(BODY26, offsets, quats, np.ones((2, 3)), zeros[:, :4], joints, [1, 1], zeros, [0, 1])
    p, _ = forward_kinematics(BODY26, offsets, r.as_matrix().reshape(2, 26, 3, 3), np.ones((2, 3)))
    np.testing.assert_allclose(motion_positions(motion), p, atol=1e-12)


def test_bone_lengths_survive_rigid_motion():
    x = np.random.default_rng(2).normal(size=(5, 26, 3))
    moved = x @ turns(1).as_matrix()[0].T + [3, -1, 2]
    np.testing.assert_allclose(bone_lengths(BODY26, moved), bone_lengths(BODY26, x))
    assert (bone_lengths(BODY26, x)[:, 0] == 0).all()


@pytest.mark.parametrize("k", [2, 3, 9])
def test_fit_rotation_recovers_a_turn(k):
    """Two directions are enough; with mirror images on offer the answer stays a rotation."""
    R, rest = turns(30).as_matrix(), units(k, 6)
    posed = np.einsum("nij,kj->nki", R, rest)
    np.testing.assert_allclose(fit_rotation(rest, posed, np.ones(k)), R, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(fit_rotation(rest, -posed, np.ones(k))), 1)


def test_fit_rotation_is_the_best_of_its_neighbours_and_obeys_weights():
    rest, posed = units(5, 7), units(5, 8)
    weights = np.array([1, 2, 0.5, 3, 1.0])

    def cost(R, w):
        return (w * ((posed - rest @ R.T) ** 2).sum(-1)).sum()

    R = fit_rotation(rest, posed, weights)
    near = rotvec_to_matrix(0.02 * units(40, 9)) @ R
    assert all(cost(R, weights) < cost(other, weights) for other in near)
    one = fit_rotation(rest, posed, np.array([1, 0, 0, 0, 1e-9]))
    np.testing.assert_allclose(one @ rest[0], posed[0], atol=1e-6)


def test_shortest_arc_turns_one_onto_the_other_without_twist():
    a, b = units(60, 10), units(60, 11)
    R = shortest_arc(a, b)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", R, a), b, atol=1e-9)
    np.testing.assert_allclose(R @ np.swapaxes(R, -1, -2), np.broadcast_to(np.eye(3), R.shape), atol=1e-9)
    angle = np.arccos(np.clip((a * b).sum(-1), -1, 1))
    np.testing.assert_allclose(Rotation.from_matrix(R).magnitude(), angle, atol=1e-7)
    np.testing.assert_allclose(shortest_arc(a, a), np.broadcast_to(np.eye(3), R.shape), atol=1e-12)


def test_shortest_arc_of_opposites_is_a_half_turn():
    a = np.concatenate([units(20, 12), np.eye(3)])
    R = shortest_arc(a, -a)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", R, a), -a, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(R), 1)


def test_nearest_rotation_of_a_sum_lies_halfway():
    a, step = turns(30, seed=13).as_matrix(), rotvec_to_matrix(0.8 * units(30, 14))
    half = rotvec_to_matrix(0.4 * units(30, 14))
    np.testing.assert_allclose(nearest_rotation(a + step @ a), half @ a, atol=1e-9)
    np.testing.assert_allclose(nearest_rotation(3 * a), a, atol=1e-9)
    assert (np.linalg.det(nearest_rotation(np.random.default_rng(15).normal(size=(50, 3, 3)))) > 0.999).all()

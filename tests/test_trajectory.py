"""The root's path, gravity and the floor from exact and from noisy evidence."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinelift.camera import Camera
from kinelift.kinematics import rotvec_to_matrix
from kinelift.skeleton import BODY26
from kinelift.training.actions import generate_named_actions
from kinelift.trajectory import calibrated_ground, find_ground, solve_root
from kinelift.trajectory.root import _SIGMA_JOINT_M, _banded_solve, _normal_equations, second_difference
from kinelift.trajectory.world import floor_height, mean_direction, world_axes

SOLES = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
DOWN = np.array([0, 1.0, 0])


@pytest.fixture(scope="module")
def scene(walk, look_at):
    """A walk past a camera: times, camera, root-relative shape and root in camera axes, rays."""
    times = np.arange(90) / 30
    camera = look_at([2.5, 1.6, 5.5], [0, 0.9, 1.5])
    cam = camera.to_camera(walk(times))
    return times, cam - cam[:, :1], cam[:, 0], cam[..., :2] / cam[..., 2:]


def test_second_difference_is_exact_for_parabolas_on_uneven_times():
    t = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.08, 40))
    c, seconds = second_difference(t)
    x = 3 * t**2 - 2 * t + 5
    np.testing.assert_allclose((c * np.stack([x[:-2], x[1:-1], x[2:]], -1)).sum(1), 6, rtol=1e-7)
    assert seconds.sum() == pytest.approx((t[-1] + t[-2] - t[1] - t[0]) / 2)


def test_exact_rays_give_the_path_to_the_millimetre(scene):
    times, shape, root, rays = scene
    found = solve_root(shape, rays, np.ones(rays.shape[:2]), times)
    assert np.abs(found - root).max() < 0.002


def test_scaling_the_body_scales_the_path(scene):
    """Monocular: a body half as large at half the distance gives the same picture."""
    times, shape, root, rays = scene
    still = np.broadcast_to(root[:1], root.shape)
    rays = (shape + still[:, None])[..., :2] / (shape + still[:, None])[..., 2:]
    for k in (0.5, 2.0):
        found = solve_root(k * shape, rays, np.ones(rays.shape[:2]), times)
        np.testing.assert_allclose(found, k * still, rtol=2e-3)


def test_unseen_joints_and_lost_frames_are_bridged(scene):
    """Nine frames without anything, joints that come and go: the walk goes on between them."""
    times, shape, root, rays = scene
    weight = (np.random.default_rng(1).random(rays.shape[:2]) < 0.7).astype(float)
    weight[40:49] = 0
    hidden = np.where(weight[..., None] > 0, rays, np.nan)
    shape = shape.copy()
    shape[:, BODY26.index("nose")] = np.nan
    miss = np.linalg.norm(solve_root(shape, hidden, weight, times) - root, axis=-1)
    assert miss.max() < 0.03


def test_what_is_not_seen_does_not_count(scene):
    times, shape, _, rays = scene
    weight = np.ones(rays.shape[:2])
    weight[:, ::2] = 0
    spoiled = rays.copy()
    spoiled[:, ::2] += 5
    np.testing.assert_allclose(
        solve_root(shape, spoiled, weight, times), solve_root(shape, rays, weight, times), atol=1e-9
    )


def test_noise_is_averaged_over_joints_and_time(scene):
    """1.5 cm of noise on each joint's ray: sideways within centimetres, in depth within a few percent."""
    times, shape, root, rays = scene
    z = (shape + root[:, None])[..., 2:]
    noisy = rays + np.random.default_rng(2).normal(0, 0.015, rays.shape) / z
    miss = np.abs(solve_root(shape, noisy, np.ones(rays.shape[:2]), times) - root)
    assert np.sqrt((miss[:, :2] ** 2).mean()) < 0.01
    assert np.sqrt((miss[:, 2] ** 2).mean()) < 0.01 * root[:, 2].mean()


def test_a_joint_seen_elsewhere_is_voted_down(scene):
    times, shape, root, rays = scene
    strayed = rays.copy()
    strayed[:, BODY26.indices("left_wrist", "right_ear")] += 0.15
    miss = np.linalg.norm(solve_root(shape, strayed, np.ones(rays.shape[:2]), times) - root, axis=-1)
    assert miss.max() < 0.06


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(scene, frames):
    times, shape, root, rays = (x[:frames] for x in scene)
    np.testing.assert_allclose(solve_root(shape, rays, np.ones(rays.shape[:2]), times), root, atol=0.002)


def test_rate_does_not_matter(walk, look_at):
    """The same noise-free walk with a joint's error, at 25 and 100 frames a second: one path."""
    camera, paths = look_at([2.5, 1.6, 5.5], [0, 0.9, 1.5]), []
    for fps in (25, 100):
        times = np.arange(3 * fps) / fps
        cam = camera.to_camera(walk(times))
        rays = cam[..., :2] / cam[..., 2:]
        rays[:, :, 0] += 0.01 * np.sin(9 * times)[:, None] * np.linspace(-1, 1, 26)
        path = solve_root(cam - cam[:, :1], rays, np.full(rays.shape[:2], 30 / fps), times)
        paths.append(path[:: fps // 25][:70])
    assert np.abs(paths[0] - paths[1]).max() < 0.02


def test_banded_solve_is_the_dense_solve(scene):
    _, shape, _, rays = (x[:12] for x in scene)
    times = np.cumsum(np.random.default_rng(3).uniform(0.02, 0.06, 12))
    w = np.random.default_rng(4).uniform(0, 1, rays.shape[:2])
    w[5] = 0
    H, g = _normal_equations(shape, rays, w / _SIGMA_JOINT_M**2)
    found = _banded_solve(H, g, times)
    # Dense, column by column: what right-hand side does the banded system answer with a unit vector?
    from scipy.linalg import block_diag

    c, seconds = second_difference(times)
    D = np.zeros((10, 12))
    for i in range(10):
        D[i, i : i + 3] = c[i]
    from kinelift.trajectory import root as module

    dense = block_diag(*H) + 1e-6 * np.eye(36)
    for a in range(3):
        dense[a::3, a::3] += D.T @ np.diag(seconds * 10 / module._SIGMA_ACCELERATION[a] ** 2) @ D
    np.testing.assert_allclose(found.ravel(), np.linalg.solve(dense, g.ravel()), rtol=1e-6, atol=1e-8)


def test_normal_equations_are_those_of_the_two_equations_a_joint_gives(scene):
    _, shape, _, rays = (x[:2] for x in scene)
    w = np.random.default_rng(5).uniform(0, 1, rays.shape[:2])
    H, g = _normal_equations(shape, rays, w)
    for t in range(2):
        rows, right = [], []
        for (u, v), (x, y, z), k in zip(rays[t], shape[t], np.sqrt(w[t]), strict=True):
            rows += [k * np.array([1, 0, -u]), k * np.array([0, 1, -v])]
            right += [k * (u * z - x), k * (v * z - y)]
        A = np.array(rows)
        np.testing.assert_allclose(H[t], A.T @ A, atol=1e-12)
        np.testing.assert_allclose(g[t], A.T @ right, atol=1e-12)


def test_world_of_a_level_camera():
    """World X is the picture's right, Y up, and the camera looks along -Z."""
    np.testing.assert_allclose(world_axes(DOWN), np.diag([1, -1, -1]), atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_world_axes_are_a_rotation_with_gravity_down_and_the_view_over_minus_z(seed):
    down = np.random.default_rng(seed).normal(size=3)
    R_world_cam = world_axes(down).T
    np.testing.assert_allclose(R_world_cam @ R_world_cam.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R_world_cam) == pytest.approx(1)
    np.testing.assert_allclose(R_world_cam @ down / np.linalg.norm(down), [0, -1, 0], atol=1e-12)
    view = R_world_cam @ [0, 0, 1]
    assert view[0] == pytest.approx(0) and view[2] < 0


@pytest.mark.parametrize("sign", [1, -1])
def test_cameras_that_look_straight_down_or_up_have_a_world(sign):
    """Looking down, the picture's upper edge is what lies ahead."""
    R = world_axes(np.array([0, 0, 1.0]) * sign)
    assert np.linalg.det(R) == pytest.approx(1)
    np.testing.assert_allclose(R.T @ [0, -sign, 0], [0, 0, -1], atol=1e-9)


def test_mean_direction_votes_outliers_down():
    true = np.array([0.1, 0.98, 0.15]) / np.linalg.norm([0.1, 0.98, 0.15])
    rng = np.random.default_rng(0)
    v = true + rng.normal(0, 0.03, (100, 3))
    v[:15] = [0.7, 0.1, -0.7]
    v /= np.linalg.norm(v, axis=-1, keepdims=True)
    found = mean_direction(v, np.ones(100))
    assert np.linalg.norm(found) == pytest.approx(1)
    assert np.degrees(np.arccos(found @ true)) < 1.5
    unseen = np.ones(100)
    unseen[15:] = 0
    np.testing.assert_allclose(mean_direction(v, unseen), v[0], atol=1e-9)


def seen_from(pitch_deg, roll_deg, height_m):
    """Camera axes of a world: level along -Z, then pitched down and rolled."""
    turn = Rotation.from_euler("zx", [roll_deg, pitch_deg], degrees=True).as_matrix()
    R = turn @ np.diag([1.0, -1, -1])
    return R, -R @ np.array([0, height_m, 0])


@pytest.mark.parametrize(("pitch", "roll", "height"), [(0, 0, 1.5), (12, 0, 2.2), (-5, 8, 0.4), (35, -15, 3.0)])
def test_exact_soles_and_gravity_give_pitch_roll_and_height(walk, pitch, roll, height):
    p = walk(np.arange(60) / 30) + np.array([0.4, 0, -5])
    R, t = seen_from(pitch, roll, height)
    cam = p @ R.T + t
    contact = np.where(p[:, SOLES, 1] < 0.004, 0.9, 0.0)
    ground = find_ground(R @ [0, -1.0, 0], cam[:, SOLES], contact, cam[0, 0], "lifter")
    found = Camera.from_focal(1000, (1280, 720))
    found = found.replaced(R_cam_world=ground.R_cam_world, t_cam_world=ground.t_cam_world)
    assert found.position[1] == pytest.approx(height, abs=0.005)
    tilt = np.degrees(np.arccos(np.clip((ground.R_cam_world.T @ R)[1, 1], -1, 1)))
    assert tilt < 0.2
    world = (cam - ground.t_cam_world) @ ground.R_cam_world
    np.testing.assert_allclose(world[0, 0, [0, 2]], 0, atol=1e-9)  # the origin: the first pelvis, on the floor
    assert np.abs(world[:, SOLES, 1][contact > 0.6]).max() < 0.006
    assert ground.floor_y == 0


def test_planted_soles_correct_a_gravity_that_is_off():
    """Four degrees of error in gravity, soles planted all over a floor: most of it goes."""
    rng = np.random.default_rng(1)
    soles = np.stack([rng.uniform(-2, 2, (300, 4)), np.zeros((300, 4)), rng.uniform(-8, -3, (300, 4))], -1)
    R, t = seen_from(10, 3, 1.6)
    down = R @ [0, -1.0, 0]
    wrong = rotvec_to_matrix(np.radians([3.0, 0, 2.6])) @ down
    cam = soles @ R.T + t
    ground = find_ground(wrong, cam, np.full((300, 4), 0.9), cam[0, 0], "lifter")
    before, after = (np.degrees(np.arccos(d @ down)) for d in (wrong, -ground.R_cam_world[:, 1]))
    assert before > 3.5 and after < 0.7
    assert ground.source == "lifter+soles"


def test_soles_on_one_spot_leave_gravity_alone():
    """Feet that never leave a hand's breadth say nothing about a slope, whatever their noise."""
    rng = np.random.default_rng(2)
    cam = np.array([0, 1.5, 4.0]) + rng.normal(0, 0.02, (200, 4, 3))
    ground = find_ground(DOWN, cam, np.full((200, 4), 0.9), np.array([0, 0.6, 4.0]), "lifter")
    assert np.degrees(np.arccos(-ground.R_cam_world[:, 1] @ DOWN)) < 2


def test_without_contact_the_floor_is_under_the_lowest_soles():
    cam = np.tile([0, 1.5, 4.0], (50, 4, 1))
    cam[10:20, :, 1] = 0.9  # a jump
    ground = find_ground(DOWN, cam, np.zeros((50, 4)), np.array([0, 0.6, 4.0]), "lifter")
    assert (ground.R_cam_world.T @ (cam[0, 0] - ground.t_cam_world))[1] == pytest.approx(0, abs=1e-9)


def test_a_calibrations_world_is_kept(walk, look_at):
    camera = look_at([3, 1.8, 4], [0, 0.9, 0])
    cam = camera.to_camera(walk(np.arange(40) / 30) + np.array([0.3, 0.25, -0.2]))
    ground = calibrated_ground(camera, cam[:, SOLES], np.full((40, 4), 0.0))
    np.testing.assert_array_equal(ground.R_cam_world, camera.R_cam_world)
    np.testing.assert_array_equal(ground.t_cam_world, camera.t_cam_world)
    assert ground.floor_y == pytest.approx(0.25, abs=0.005)


def test_stairs_do_not_tilt_the_world():
    """Steps of 17 cm every 28 cm, gravity right: the world stays as gravity says, the floor is the lowest step."""
    rng = np.random.default_rng(9)
    step = np.repeat(np.arange(8), 20)
    soles = np.stack([0.1 * rng.normal(size=160), 0.17 * step, -3 - 0.28 * step], -1)[:, None] + np.zeros((1, 4, 1))
    R, t = seen_from(8, 2, 1.7)
    cam = soles @ R.T + t + rng.normal(0, 0.005, soles.shape)
    ground = find_ground(R @ [0, -1.0, 0], cam, np.full((160, 4), 0.9), cam[0, 0], "lifter")
    assert np.degrees(np.arccos(np.clip((ground.R_cam_world.T @ R)[1, 1], -1, 1))) < 0.5
    assert np.median(((cam - ground.t_cam_world) @ ground.R_cam_world)[:20, :, 1]) == pytest.approx(0, abs=0.02)


def test_jumps_do_not_lift_the_floor(walk):
    """A walk with hops of half a metre, whatever the share of frames in the air: the floor is under planted soles."""
    p = walk(np.arange(60) / 30)
    hop = np.clip(np.sin(np.arange(60) / 3), 0, 1) * 0.5
    contact = np.where((p[:, SOLES, 1] < 0.004) & (hop[:, None] < 1e-3), 0.9, 0.0)
    soles = p[:, SOLES] + hop[:, None, None] * [0, 1.0, 0]
    assert floor_height(soles[..., 1], contact) == pytest.approx(0, abs=0.005)


def test_the_floor_of_a_box_is_not_its_top():
    y = np.repeat([0.0, 0.4], 50)[:, None] + np.random.default_rng(1).normal(0, 0.01, (100, 4))
    assert floor_height(y, np.ones((100, 4))) == pytest.approx(0, abs=0.01)
    stray = np.full((100, 4), 0.4)
    stray[:5] = 0.0  # a twentieth is no level
    assert floor_height(stray, np.ones((100, 4))) == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["lie", "lie_prone", "sit_floor", "crawl"])
def test_the_floor_under_who_never_stands(name):
    """Nothing is planted: back, seat and knees carry the body, and their flesh lies on the floor."""
    for p in generate_named_actions(np.random.default_rng(1), 4, 60, only=name)[0].astype(float):
        assert floor_height(p[:, SOLES, 1], np.zeros((60, 4)), p[..., 1]) == pytest.approx(0, abs=0.04)

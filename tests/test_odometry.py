"""Odometry: laws of the record, of bundle adjustment and of rotations; filmed cameras whose path is known."""

import cv2
import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError, RecordError
from kinelift.kinematics import forward_kinematics, reference_offsets, rotvec_to_matrix
from kinelift.records import Frame, Pose2D
from kinelift.render import Look
from kinelift.render.moving import aimed, carried, film, held, panned, posed
from kinelift.render.surroundings import Surroundings
from kinelift.skeleton import BODY26
from kinelift.trajectory.odometry import CameraPath, solve, track_camera
from kinelift.trajectory.odometry import bundle as ba
from kinelift.trajectory.odometry.tracks import Tracks
from kinelift.trajectory.odometry.turning import turn_between

SIZE = (320, 180)


def lens(size=SIZE) -> Camera:
    return Camera.from_focal(0.85 * size[0], size)


def standing_camera(distance_m=3.0, height_m=1.4) -> Camera:
    R = rotvec_to_matrix(np.radians([5.0, 0, 0])) @ np.diag([1.0, -1.0, -1.0])
    return lens().replaced(R_cam_world=R, t_cam_world=-R @ np.array([0, height_m, distance_m]))


def person(frames: int, velocity, fps: float) -> np.ndarray:
    local = np.tile(np.eye(3), (1, 26, 1, 1))
    for side, sign in (("left", -1.0), ("right", 1.0)):
        local[0, BODY26.index(f"{side}_shoulder")] = rotvec_to_matrix(np.array([0, 0, sign * 1.2]))
    body = forward_kinematics(BODY26, reference_offsets(1.75), local, np.array([[0, 0.9275, 0]]))[0]
    return body + np.arange(frames)[:, None, None] / fps * np.asarray(velocity, float)


def pose_of(positions: np.ndarray, times: np.ndarray, camera: Camera) -> Pose2D:
    xy = camera.project(positions)
    seen = np.isfinite(xy).all(-1)
    return Pose2D(BODY26, np.where(seen[..., None], xy, np.nan), seen.astype(float), times, camera.image_size)


def nobody(times: np.ndarray, size=SIZE) -> Pose2D:
    shape = (len(times), 26)
    return Pose2D(BODY26, np.full((*shape, 2), np.nan), np.zeros(shape), times, size)


@pytest.fixture(scope="module")
def room() -> Surroundings:
    return Surroundings(Look(room_m=4.5, floor="carpet"), seed=3, clear=np.array([[0, 0], [0, 3.0], [2, 0], [2, 3]]))


def tracked(camera: Camera, positions: np.ndarray, fps: float, room: Surroundings, mode="auto") -> CameraPath:
    times = np.arange(len(positions)) / fps
    frames = film(positions, times, camera, room.look, room)
    return track_camera(frames, pose_of(positions, times, camera), lens(), mode)


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    trace = np.einsum("tij,tij->t", a, b)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def off_path(found: np.ndarray, true: np.ndarray) -> float:
    """Largest distance after the best similarity, as a share of the true path's length."""
    a, b = found - found.mean(0), true - true.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    d = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    fitted = (s * d).sum() / (a**2).sum() * a @ ((u * d) @ vt).T
    return float(np.linalg.norm(fitted - b, axis=1).max() / np.linalg.norm(np.diff(true, axis=0), axis=1).sum())


def from_first(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """True R (T, 3, 3) and places (T, 3) in the first camera's axes."""
    R0 = camera.R_cam_world[0]
    return camera.R_cam_world @ R0.T, (camera.position - camera.position[0]) @ R0.T


# The record


def test_a_path_says_what_it_expected():
    eye = np.tile(np.eye(3), (4, 1, 1))
    zero, sure = np.zeros((4, 3)), np.ones(4)
    CameraPath(eye, zero, True, False, sure)
    with pytest.raises(RecordError, match="expected zero"):
        CameraPath(eye, zero + 1, True, False, sure)
    with pytest.raises(RecordError, match="rotations"):
        CameraPath(2 * eye, zero, True, False, sure)
    with pytest.raises(RecordError, match="identity"):
        CameraPath(eye @ rotvec_to_matrix(np.array([0, 0.1, 0])), zero, False, False, sure)
    with pytest.raises(RecordError, match=r"\(4, 3\), got \(3, 3\)"):
        CameraPath(eye, zero[1:], True, True, sure)
    with pytest.raises(ValueError, match="read-only"):
        CameraPath.still(3).R[0, 0, 0] = 2


def test_moved_gives_each_frame_its_camera():
    camera = standing_camera()
    true = held(
        carried(camera, np.linspace(0, 1, 5)[:, None] * [1.0, 0, 0]), np.arange(5) / 5, np.random.default_rng(0)
    )
    first = camera.replaced(R_cam_world=true.R_cam_world[0], t_cam_world=true.t_cam_world[0])
    R, centre = from_first(true)
    path = CameraPath(R, -np.einsum("tij,tj->ti", R, centre) / 2, True, True, np.ones(5))
    moved = path.moved(first, unit_m=2.0)
    assert np.allclose(moved.R_cam_world, true.R_cam_world)
    assert np.allclose(moved.t_cam_world, true.t_cam_world)
    assert np.allclose(path.position * 2, centre)
    assert CameraPath.still(5).moved(first) is first


def test_modes():
    times = np.arange(4) / 30
    read = []
    frames = (read.append(t) or Frame(np.zeros((180, 320, 3), np.uint8), t) for t in times)
    path = track_camera(frames, nobody(times), lens(), "static")
    assert len(path) == 4 and not path.moving and read == []
    with pytest.raises(InputError, match="unknown camera mode 'still'; known: auto, static, moving"):
        track_camera([], nobody(times), lens(), "still")


# Pieces


def test_bundle_slopes_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    K, n = 3, 6
    poses = ba.Poses(rotvec_to_matrix(rng.normal(0, 0.1, (K, 3))), rng.normal(0, 0.2, (K, 3)))
    points = ba.Points(
        rotvec_to_matrix(rng.normal(0, 0.1, (n, 3))),
        rng.normal(0, 0.2, (n, 3)),
        rng.normal(0, 0.2, (n, 2)),
        rng.uniform(0.2, 2, n),
    )
    seen = ba.Seen(np.repeat(np.arange(K), n), np.tile(np.arange(n), K), rng.normal(0, 0.2, (K * n, 2)))
    by_pose, by_point = ba._slopes(poses, points, seen, 500.0)
    h = 1e-6
    for i in range(6):
        step = np.zeros((K, 6))
        step[:, i] = h
        ends = [ba._stepped(poses, points, s * step, np.zeros((n, 3)), True) for s in (1, -1)]
        slope = np.subtract(*(ba.misses(*e, seen, 500.0) for e in ends)) / (2 * h)
        assert np.allclose(by_pose[..., i], slope, rtol=1e-5, atol=1e-3)
    for i in range(3):
        step = np.zeros((n, 3))
        step[:, i] = h
        ends = [ba._stepped(poses, points, np.zeros((K, 6)), s * step, True) for s in (1, -1)]
        slope = np.subtract(*(ba.misses(*e, seen, 500.0) for e in ends)) / (2 * h)
        assert np.allclose(by_point[..., i], slope, rtol=1e-5, atol=1e-3)


def test_bundle_adjustment_finds_exact_poses_in_spite_of_outliers():
    rng = np.random.default_rng(1)
    K, n = 5, 80
    true = ba.Poses(
        rotvec_to_matrix(np.linspace(0, 0.3, K)[:, None] * [0.2, 1, 0]),
        np.linspace(0, 0.6, K)[:, None] * [1.0, 0.1, 0.3],
    )
    points = ba.Points(
        np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)), rng.uniform(-0.5, 0.5, (n, 2)), rng.uniform(0.3, 2, n)
    )
    seen = ba.Seen(np.repeat(np.arange(K), n), np.tile(np.arange(n), K), np.zeros((K * n, 2)))
    ray = ba.misses(true, points, seen, 1.0)
    ray[rng.random(K * n) < 0.1] += rng.normal(0, 0.05)
    seen = ba.Seen(seen.camera, seen.point, ray)
    guess = ba.Poses(rotvec_to_matrix(rng.normal(0, 0.02, (K, 3))) @ true.R, true.t + rng.normal(0, 0.03, (K, 3)))
    guess.R[0], guess.t[0] = true.R[0], true.t[0]
    start = ba.Points(points.axes, points.centre, points.uv, np.ones(n))
    poses, _ = ba.adjusted(guess, start, seen, 500.0, np.arange(K) > 0, iterations=60)
    assert angles_deg(poses.R, true.R).max() < 0.05
    assert off_path(poses.centre, true.centre) < 0.005


def test_the_turn_between_rays_ignores_what_moves_by_itself():
    rng = np.random.default_rng(2)
    true = rotvec_to_matrix(np.array([0.05, -0.2, 0.1]))
    a = rng.uniform(-0.5, 0.5, (100, 2))
    b = np.concatenate([a, np.ones((100, 1))], 1) @ true.T
    b = b[:, :2] / b[:, 2:] + rng.normal(0, 0.3 / 500, (100, 2))
    b[:40] += [0.08, 0.02]
    R, miss = turn_between(a, b, 500.0)
    assert angles_deg(R[None], true[None])[0] < 0.05
    assert miss[:40].min() > 20 and miss[40:].max() < 2


# Whole paths from tracks without pictures


def points_seen(camera: Camera, frames: int, rng, count=700, life=40) -> Tracks:
    """Tracks of random points on the walls and the floor of a room, for limited times, with noise and wrong ones."""
    x = rng.uniform(-5, 5, (count, 3)) * [1, 0.3, 1] + [0, 1.5, 0]
    wall = rng.integers(0, 3, count)
    x[wall == 0, 2], x[wall == 1, 0] = -5, 5 * np.sign(x[wall == 1, 0])
    x[wall == 2, 1] = 0
    x_cam = np.einsum("tij,nj->tni", camera.R_cam_world, x) + camera.t_cam_world[:, None]
    ray = x_cam[..., :2] / np.maximum(x_cam[..., 2:], 1e-3)
    half = np.array(SIZE) / 2 / lens().focal_px
    sight = (x_cam[..., 2] > 0.3) & (np.abs(ray) < half).all(-1)
    part = (np.arange(frames)[:, None] + rng.integers(0, life, count)) // life
    frame, point = np.nonzero(sight)
    name = np.unique(point * 1000 + part[frame, point], return_inverse=True)[1]
    ray = ray[frame, point] + rng.normal(0, 0.15 / lens().focal_px, (len(frame), 2))
    ray += (rng.random(name.max() + 1) < 0.1)[name, None] * frame[:, None] * 0.004
    keys = np.unique([*range(0, frames, 6), frames - 1])
    return Tracks(frame, name, ray, keys, lens().focal_px)


def turned_then_walked(frames: int) -> Camera:
    half = frames // 2
    pan = panned(standing_camera(), half, -30)
    R = np.concatenate([pan.R_cam_world, np.repeat(pan.R_cam_world[-1:], frames - half, 0)])
    way = np.maximum(np.arange(frames) - half, 0)[:, None] * [0.05, 0, 0]
    return posed(standing_camera(), R, standing_camera().position + way)


@pytest.mark.parametrize("piece", [60, 9])
def test_a_camera_that_turns_and_then_walks_in_one_piece_or_many(piece, monkeypatch):
    monkeypatch.setattr(solve, "_PIECE", piece)
    monkeypatch.setattr(solve, "_OVERLAP", 4)
    camera = turned_then_walked(80)
    path = solve.solve_path(points_seen(camera, 80, np.random.default_rng(1)), 80, "auto")
    R, centre = from_first(camera)
    assert path.translating
    assert angles_deg(path.R, R).max() < 1.5
    assert off_path(path.position, centre) < 0.05


@pytest.mark.parametrize("factor", [0.85, 1.2])
def test_a_pan_tells_a_wrong_focal_length(factor):
    camera = panned(standing_camera(), 50, 60)
    true = points_seen(camera, 50, np.random.default_rng(1))
    wrong = true.replaced(ray=true.ray / factor, focal_px=true.focal_px * factor)
    path = solve.solve_path(wrong, 50, "auto")
    assert not path.translating
    assert path.focal_factor * factor == pytest.approx(1, abs=0.03)
    assert "focal length" in path.warnings[0]
    assert angles_deg(path.R, from_first(camera)[0]).max() < 1.0
    assert solve.solve_path(true, 50, "auto").focal_factor == 1


def test_a_lost_view_is_joined_by_a_guess_and_said():
    camera = panned(standing_camera(), 60, 30)
    all_of_it = points_seen(camera, 60, np.random.default_rng(2))
    early, late = all_of_it.frame < 25, all_of_it.frame >= 36
    point = all_of_it.point + late * (all_of_it.point.max() + 1)
    keep = early | late
    keys = np.array([0, 6, 12, 18, 24, 36, 42, 48, 54, 59])
    broken = Tracks(all_of_it.frame[keep], point[keep], all_of_it.ray[keep], keys, all_of_it.focal_px)
    path = solve.solve_path(broken, 60, "auto")
    R, _ = from_first(camera)
    assert angles_deg(path.R[:25], R[:25]).max() < 0.5
    after, true_after = path.R[36:] @ path.R[36].T, R[36:] @ R[36].T
    assert angles_deg(after, true_after).max() < 0.5
    assert path.confidence[25:36].max() == 0 and path.confidence[36:].max() <= 0.5
    assert any("lost once" in w for w in path.warnings)


# Cameras that stand still


def texture(rng, size=SIZE) -> np.ndarray:
    """A picture with corners everywhere."""
    w, h = size
    coarse = rng.integers(0, 255, (h // 12, w // 12), np.uint8)
    return cv2.resize(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_NEAREST), (w, h))


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2)


def disturbed(kind: str, n: int):
    """Pictures of a camera that stands still, each in its own trouble."""
    rng = np.random.default_rng(4)
    scene, leaves = texture(rng), texture(rng)
    for k in range(n):
        grey = scene.astype(float)
        if kind == "noise":
            grey = grey + rng.normal(0, 12, grey.shape)
        if kind == "flicker":
            grey = grey * (1 + 0.3 * np.sin(1.9 * k)) + 10 * np.cos(k)
        if kind == "leaves":
            right = slice(140, None)
            shift = np.float32([[1, 0, 6 * np.sin(0.7 * k)], [0, 1, 5 * np.cos(0.9 * k)]])
            grey[:, right] = cv2.warpAffine(leaves, shift, SIZE, borderMode=cv2.BORDER_REFLECT)[:, right]
        if kind == "bus":
            shift = np.float32([[1, 0, 7 * k - 60], [0, 1, 0]])
            bus = cv2.warpAffine(leaves, shift, SIZE, borderMode=cv2.BORDER_REFLECT)
            grey[60:], grey[:, -30:] = bus[60:], scene[:, -30:]
        if kind == "compression":
            _, code = cv2.imencode(".jpg", rgb(grey), [cv2.IMWRITE_JPEG_QUALITY, 8 + 5 * (k % 3)])
            grey = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
        yield Frame(rgb(grey), k / 10)


@pytest.mark.parametrize("kind", ["nothing", "noise", "flicker", "leaves", "bus", "compression"])
def test_a_camera_that_stands_still_is_seen_to(kind):
    times = np.arange(16) / 10
    path = track_camera(disturbed(kind, 16), nobody(times), lens())
    assert not path.moving and not path.translating
    assert np.array_equal(path.R, np.tile(np.eye(3), (len(path), 1, 1))) and not path.t.any()
    assert path.warnings == () and path.confidence.min() > 0.9


def test_a_big_person_who_walks_does_not_move_the_camera(room):
    positions = person(14, [0.7, 0, 0], 7.0) + np.array([-0.7, 0, 1.1])
    camera = posed(standing_camera(), *(np.repeat(a, 14, 0) for a in from_one(standing_camera())))
    path = tracked(camera, positions, 7.0, room)
    assert not path.moving and path.warnings == ()
    forced = tracked(camera, positions, 7.0, room, "moving")
    assert angles_deg(forced.R, np.tile(np.eye(3), (14, 1, 1))).max() < 0.5


def from_one(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    return camera.R_cam_world[None], camera.position[None]


@pytest.mark.parametrize("mode", ["auto", "moving"])
@pytest.mark.parametrize("content", ["black", "noise", "odd size"])
def test_pictures_that_tell_nothing_give_a_warning_and_no_motion(mode, content):
    rng = np.random.default_rng(0)
    times = np.arange(12) / 30
    shape = (1, 700, 3) if content == "odd size" else (180, 320, 3)
    pictures = (
        rng.integers(0, 255, shape, np.uint8) if content == "noise" else np.zeros(shape, np.uint8) for _ in times
    )
    frames = (Frame(p, t) for p, t in zip(pictures, times, strict=True))
    path = track_camera(frames, nobody(times, shape[1::-1]), lens(shape[1::-1]), mode)
    assert len(path.warnings) == 1 and path.confidence.max() < 0.3
    assert not path.t.any()
    if content != "noise":
        assert np.array_equal(path.R, np.tile(np.eye(3), (len(path), 1, 1)))


def test_no_frames_at_all_is_a_still_camera_with_a_warning():
    for mode in ("auto", "moving"):
        path = track_camera([], nobody(np.arange(5) / 30), lens(), mode)
        assert len(path) == 5 and not path.moving and len(path.warnings) == 1


# Cameras that move


def test_a_pan_is_followed_to_half_a_degree(room):
    camera = panned(standing_camera(), 40, -90, 6)
    path = tracked(camera, person(40, [1.0, 0, 0], 20.0), 20.0, room)
    R, _ = from_first(camera)
    assert path.moving and not path.translating
    assert not path.t.any() and path.warnings == ()
    assert angles_deg(path.R, R).max() < 0.5


def test_walking_along_is_followed_to_a_few_percent(room):
    times = np.arange(30) / 15
    camera = held(
        carried(standing_camera(), times[:, None] * [1.0, 0, 0]),
        times,
        np.random.default_rng(5),
        turn_deg=0.8,
        shift_m=0.01,
    )
    path = tracked(camera, person(30, [1.0, 0, 0], 15.0), 15.0, room)
    R, centre = from_first(camera)
    assert path.moving and path.translating
    assert angles_deg(path.R, R).max() < 0.5
    assert off_path(path.position, centre) < 0.03
    # The unit is a distance in the room, so that its guess is never far off.
    unit_m = np.linalg.norm(centre[-1]) / np.linalg.norm(path.position[-1])
    assert 2 < unit_m < 9


def test_following_a_person_turns_and_moves_nothing_else(room):
    positions = person(24, [1.2, 0, 0], 12.0)
    camera = aimed(standing_camera(), positions[:, 0])
    path = tracked(camera, positions, 12.0, room)
    assert not path.translating
    assert angles_deg(path.R, from_first(camera)[0]).max() < 0.5


def test_a_camera_that_starts_to_move_late_stands_still_until_then(room):
    pan = panned(standing_camera(), 16, 25)
    R = np.concatenate([np.repeat(pan.R_cam_world[:1], 14, 0), pan.R_cam_world])
    camera = posed(standing_camera(), R, np.tile(standing_camera().position, (30, 1)))
    path = tracked(camera, person(30, [0, 0, 0], 10.0), 10.0, room)
    assert path.moving
    assert angles_deg(path.R, from_first(camera)[0]).max() < 0.5
    assert angles_deg(path.R[:12], np.tile(np.eye(3), (12, 1, 1))).max() < 0.1


def test_short_blindness_is_bridged_and_said(room):
    camera = panned(standing_camera(), 30, 40)
    positions, times = person(30, [0, 0, 0], 15.0), np.arange(30) / 15
    frames = (
        Frame(np.full_like(f.image, 90), f.time) if 12 <= k < 16 else f
        for k, f in enumerate(film(positions, times, camera, room.look, room))
    )
    path = track_camera(frames, pose_of(positions, times, camera), lens())
    assert path.confidence[12:16].max() == 0 and path.confidence[[10, 18]].min() > 0.3
    assert len(path.warnings) == 1 and "13 %" in path.warnings[0]
    assert angles_deg(path.R, from_first(camera)[0]).max() < 1.0

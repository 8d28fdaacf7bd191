"""Laws of the renderer: geometry agrees with the camera, light is sane, the same seed gives the same picture."""

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.kinematics import forward_kinematics, reference_offsets, rotvec_to_matrix
from kinelift.render import Look, Renderer, body_parts
from kinelift.render.moving import aimed, carried, film, held, orbited, panned
from kinelift.render.shapes import Parts, hit_round_cone, normals, warp_matrix
from kinelift.render.surroundings import Surroundings
from kinelift.render.views import LEFT, RIGHT, draw_skeleton, side_and_top
from kinelift.skeleton import BODY26

SIZE = (160, 120)


def camera_at(distance_m: float = 4.0, height_m: float = 1.0, yaw: float = 0.0, distortion=None) -> Camera:
    R = np.diag([1.0, -1.0, -1.0]) @ rotvec_to_matrix(np.array([0, -yaw, 0]))
    centre = rotvec_to_matrix(np.array([0, yaw, 0])) @ np.array([0, height_m, distance_m])
    camera = Camera.from_focal(150.0, SIZE)
    lens = np.zeros(5) if distortion is None else np.asarray(distortion)
    return camera.replaced(R_cam_world=R, t_cam_world=-R @ centre, distortion=lens)


def rest_body() -> np.ndarray:
    local = np.tile(np.eye(3), (1, 26, 1, 1))
    for side, sign in (("left", -1.0), ("right", 1.0)):
        local[0, BODY26.index(f"{side}_shoulder")] = rotvec_to_matrix(np.array([0, 0, sign * 1.2]))
    return forward_kinematics(BODY26, reference_offsets(1.75), local, np.array([[0, 0.9275, 0]]))[0][0]


def one_ball(centre, radius, warp=None) -> Parts:
    c, grey = np.array([centre], float), np.full((1, 3), 0.5)
    r, w = np.array([radius]), np.array([np.eye(3) if warp is None else warp])
    return Parts(c, c, r, r, w, grey, grey, np.array([2.0]), np.array([-1]))


@pytest.mark.parametrize("distortion", [None, [-0.2, 0.05, 0, 0, 0]])
def test_a_balls_silhouette_is_where_the_camera_projects_it(distortion):
    camera, centre, radius = camera_at(3.0, distortion=distortion), np.array([0.4, 1.2, 0.1]), 0.25
    _, coverage = Renderer(camera, supersample=4).draw_parts(one_ball(centre, radius))
    # The outline: points of the ball where the line of sight touches it.
    sight = centre - camera.position
    distance = np.linalg.norm(sight)
    sight /= distance
    side = np.cross(sight, [0, 1.0, 0])
    side /= np.linalg.norm(side)
    turn = np.linspace(0, 2 * np.pi, 400)[:, None]
    ring = np.cos(turn) * side + np.sin(turn) * np.cross(side, sight)
    sine = radius / distance
    outline = camera.project(centre - radius * sine * sight + radius * np.sqrt(1 - sine**2) * ring)
    x, y = outline.T
    area = 0.5 * abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1)))
    rows, columns = np.nonzero(coverage)
    weight = coverage[rows, columns]
    assert coverage.sum() == pytest.approx(area, rel=0.02)
    middle = [(x.min() + x.max()) / 2, (y.min() + y.max()) / 2]
    assert [np.average(columns, weights=weight), np.average(rows, weights=weight)] == pytest.approx(middle, abs=0.1)
    assert [columns.min(), columns.max()] == pytest.approx([x.min(), x.max()], abs=1.0)
    assert [rows.min(), rows.max()] == pytest.approx([y.min(), y.max()], abs=1.0)


def test_rays_meet_the_round_cones_surface():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.normal(0, 0.2, (2, 3))
        ra, rb = rng.uniform(0.03, 0.15, 2)
        origin = np.array([0, 0, -3.0])
        direction = rng.normal(0, 0.06, (500, 3)) + np.array([0, 0, 1])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        t, along = hit_round_cone(origin, direction, a, b, ra, rb)
        met = np.isfinite(t)
        point = origin + t[met, None] * direction[met]
        # The hull's distance as the nearest of many balls in a row.
        u = np.linspace(0, 1, 400)[:, None, None]
        gap = np.linalg.norm(point - (a + u * (b - a)), axis=-1) - (ra + u[..., 0] * (rb - ra))
        assert np.abs(gap.min(0)).max() < 2e-3
        part = Parts(*(np.array([v]) for v in (a, b, ra, rb, np.eye(3), a, a, 2.0, -1)))
        normal = normals(part, np.zeros(met.sum(), int), along[met], point)
        assert (np.einsum("ij,ij->i", normal, direction[met]) < 1e-6).all()
        assert ((along >= 0) & (along <= 1)).all()


def test_a_flattened_ball_is_thin_along_its_direction():
    flat = warp_matrix((np.array([0, 1.0, 0]), 0.5))
    _, coverage = Renderer(camera_at(), supersample=2).draw_parts(one_ball((0, 1, 0), 0.5, flat))
    assert coverage.sum(1).max() / coverage.sum(0).max() == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("yaw", [0.0, 1.0, 2.5])
def test_the_figure_covers_its_joints_and_little_else(yaw):
    body, camera = rest_body(), camera_at(yaw=yaw)
    _, coverage = Renderer(camera, supersample=1).frame_and_mask(body)
    xy = camera.project(body)
    x, y = np.round(xy).astype(int).T
    surface = BODY26.indices("nose", "left_heel", "left_toe", "right_heel", "right_toe")
    inner = [j for j in range(26) if j not in surface]
    assert coverage[y[inner], x[inner]].min() == 1
    rows, columns = np.nonzero(coverage)
    nearest = np.min(np.hypot(columns[:, None] - xy[:, 0], rows[:, None] - xy[:, 1]), 1)
    metre = 150 / 4
    assert nearest.max() < 0.25 * metre
    assert rows.max() == pytest.approx(camera.project(np.zeros(3))[1], abs=0.09 * metre)


def test_a_figure_stands_as_tall_as_its_bones_say():
    parts = body_parts(rest_body(), Look())
    assert parts.corners()[..., 1].max() == pytest.approx(1.75, abs=0.03)


def test_shadow_falls_away_from_the_sun_and_only_near():
    look = Look(sun_direction=(1.0, 1.0, 0.0))
    renderer = Renderer(camera_at(height_m=1.5), look, supersample=1)
    image, coverage = renderer.frame_and_mask(rest_body())
    change = image.astype(int).sum(-1) - renderer.background.astype(int).sum(-1)
    darker = (change < -15) & (coverage == 0)
    feet = renderer.camera.project(np.zeros(3))
    columns = np.nonzero(darker)[1]
    assert len(columns) > 30
    assert columns.mean() < feet[0] - 5


def test_the_same_seed_gives_the_same_picture_and_another_another():
    pictures = []
    for seed in (3, 3, 4):
        look = Look.random(np.random.default_rng(seed))
        pictures.append(Renderer(camera_at(), look, supersample=1).frame(rest_body()))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_the_nearer_of_two_figures_hides_the_other():
    near, far = rest_body() + np.array([0, 0, 1.0]), rest_body()
    renderer = Renderer(camera_at(), supersample=1)
    both, alone = renderer.frame(np.stack([far, near])), renderer.frame_and_mask(near)
    inside = alone[1] == 1
    assert np.abs(both[inside].astype(int) - alone[0][inside]).mean() < 4
    assert np.array_equal(both, renderer.frame(np.stack([near, far])))


def test_a_figure_behind_the_camera_leaves_the_room_empty():
    renderer = Renderer(camera_at(), supersample=1)
    assert np.array_equal(renderer.frame(rest_body() + np.array([0, 0, 9.0])), renderer.background)


def test_a_moving_camera_is_refused():
    camera = camera_at()
    with pytest.raises(InputError, match="stands still"):
        Renderer(camera.replaced(t_cam_world=np.tile(camera.t_cam_world, (2, 1))))


@pytest.fixture(scope="module")
def room() -> Surroundings:
    return Surroundings(Look(room_m=4.0, floor="carpet"), seed=1, clear=np.zeros((1, 2)))


def test_every_pixel_of_a_room_lies_where_its_rays_end(room):
    renderer = Renderer(camera_at(), room.look, supersample=1, surroundings=room)
    camera = renderer.camera
    x, y = np.meshgrid(np.arange(SIZE[0], dtype=float), np.arange(SIZE[1]))
    rays = np.stack([*np.moveaxis(camera.unproject(np.stack([x, y], -1)), -1, 0), np.ones_like(x)], -1)
    view = room.seen(camera.position, rays @ camera.R_cam_world, 1 / camera.focal_px)
    hit = (camera.position + view.depth[..., None] * (rays @ camera.R_cam_world)).reshape(-1, 3)
    floor_xz = view.floor_xz.reshape(-1, 2)
    assert (np.abs(hit[:, ::2]) < 4.0 + 1e-3).all() and (hit[:, 1] > -1e-3).all()
    on_floor = np.isfinite(floor_xz[:, 0])
    assert np.abs(hit[on_floor, 1]).max() < 1e-3 and np.allclose(floor_xz[on_floor], hit[on_floor][:, ::2])
    on_wall = np.abs(hit[:, ::2]).max(1) > 4.0 - 1e-3
    assert 0 < (~on_floor & ~on_wall).mean() < 0.5  # on a box


def test_two_cameras_see_the_same_place_in_the_same_colour(room):
    here, there = camera_at(), camera_at(3.5, 1.3, 0.4)
    pictures = [
        Renderer(c, room.look, supersample=2, surroundings=room).background.astype(float) for c in (here, there)
    ]
    rng = np.random.default_rng(0)
    spot = np.stack([rng.uniform(-1.5, 1.5, 300), np.zeros(300), rng.uniform(-1, 1, 300)], 1)
    colors = []
    for camera, picture in zip((here, there), pictures, strict=True):
        x, y = np.round(camera.project(spot)).astype(int).T
        colors.append(picture[y.clip(0, 119), x.clip(0, 159)].mean(1))
    assert np.corrcoef(*colors)[0, 1] > 0.5
    assert np.corrcoef(colors[0], rng.permutation(colors[1]))[0, 1] < 0.3


def test_things_in_front_hide_the_figure():
    room = Surroundings(Look(room_m=4.0, floor="carpet"), seed=1, boxes=0)
    box = Surroundings(Look(room_m=4.0, floor="carpet"), seed=1, boxes=0)
    box._low, box._high = np.array([[-0.5, 0, 1.5]], np.float32), np.array([[0.5, 0.9, 1.8]], np.float32)
    box._pyramid = [np.pad(p, ((0, 200), (0, 0), (0, 0))) for p in box._pyramid]
    free = Renderer(camera_at(), supersample=1, surroundings=room).frame_and_mask(rest_body())[1]
    hidden = Renderer(camera_at(), supersample=1, surroundings=box).frame_and_mask(rest_body())[1]
    knee = camera_at().project(rest_body())[BODY26.index("left_knee")].round().astype(int)
    head = camera_at().project(rest_body())[BODY26.index("head")].round().astype(int)
    assert free[knee[1], knee[0]] == 1 and hidden[knee[1], knee[0]] == 0
    assert hidden[head[1], head[0]] == 1


def test_a_renderer_moved_is_one_made_there(room):
    start, there = camera_at(), camera_at(3.5, 1.2, 0.3)
    moved = Renderer(start, room.look, 1, True, room).moved(there.R_cam_world, there.t_cam_world)
    made = Renderer(there, room.look, 1, True, room)
    assert np.array_equal(moved.frame(rest_body()), made.frame(rest_body()))


def test_camera_paths_are_what_they_say():
    camera, times = camera_at(height_m=1.5), np.arange(9) / 3
    pan = panned(camera, 9, 60)
    assert np.allclose(pan.position, camera.position)
    turn = pan.R_cam_world[-1] @ pan.R_cam_world[0].T
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(60)
    ahead = camera.position + np.array([0, 0, -3.0])
    assert pan.project(np.tile(ahead, (9, 1, 1)))[-1, 0, 0] > SIZE[0] / 2 + 50  # turned left: things go right
    path = np.linspace(0, 1, 9)[:, None] * [1.0, 0, 0.5]
    dolly = carried(camera, path)
    assert np.allclose(dolly.position, camera.position + path)
    assert np.allclose(dolly.R_cam_world, camera.R_cam_world)
    centre = np.array([0.3, 1.0, 0.2])
    orbit = orbited(camera, 9, centre, 90)
    seen = orbit.project(np.tile(centre, (9, 1, 1)))
    assert np.allclose(seen, seen[0])
    assert np.allclose(np.linalg.norm(orbit.position - centre, axis=1), np.linalg.norm(camera.position - centre))
    target = np.tile(centre, (9, 1)) + path
    assert np.allclose(aimed(dolly, target).project(target[:, None])[:, 0], (np.array(SIZE) - 1) / 2)
    shaken = held(dolly, times, np.random.default_rng(0), turn_deg=1.0, shift_m=0.02)
    off = np.linalg.norm(shaken.position - dolly.position, axis=1)
    assert 0.005 < off.mean() < 0.1


def test_film_shows_the_figure_where_its_camera_says():
    body = np.tile(rest_body(), (3, 1, 1)) + np.linspace(0, 0.8, 3)[:, None, None] * [1.0, 0, 0]
    camera, times = carried(camera_at(), np.linspace(0, 0.8, 3)[:, None] * [1.0, 0, 0]), np.arange(3) / 3
    look = Look(room_m=3.0, floor="carpet", shirt=(1.0, 0.0, 0.0), sleeve=0.97)
    for k, frame in enumerate(film(body, times, camera, look)):
        x, y = camera.project(body)[k, BODY26.index("chest")].round().astype(int)
        r, g, b = frame.image[y, x].astype(int)
        assert frame.time == times[k] and r > 2 * max(g, b)
        assert x == pytest.approx(SIZE[0] / 2, abs=3)


def test_drawn_skeleton_has_its_sides_colours_and_skips_the_unseen():
    image = np.zeros((120, 160, 3), np.uint8)
    xy = camera_at().project(rest_body())
    confidence = np.ones(26)
    drawn = draw_skeleton(image, BODY26, xy, confidence)
    for joint, color in (("left_wrist", LEFT), ("right_wrist", RIGHT)):
        x, y = np.round(xy[BODY26.index(joint)]).astype(int)
        assert tuple(drawn[y, x]) == color
    assert not image.any()
    xy[BODY26.index("left_wrist")] = np.nan
    confidence[:] = 0
    assert not draw_skeleton(image, BODY26, xy, confidence).any()


def test_side_and_top_is_a_png():
    pytest.importorskip("matplotlib")
    times = np.arange(6) / 30
    png = side_and_top(np.tile(rest_body(), (6, 1, 1)), BODY26, times, np.ones((6, 4)))
    assert png.startswith(b"\x89PNG")

"""Projection and its inverse, judged by OpenCV; calibration files."""

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinelift.camera import Camera, focal_from_fov, prior_focal_px, read_calibration
from kinelift.errors import InputError

LENS = (-0.28, 0.09, 0.0008, -0.0012, -0.01)
SIZE = (1920, 1080)


def posed(seed=0, distortion=LENS):
    rng = np.random.default_rng(seed)
    K = np.array([[1400.0, 0, 980], [0, 1380, 525], [0, 0, 1]])
    R = Rotation.from_rotvec(rng.normal(0, 0.5, 3)).as_matrix()
    return Camera(K, R, rng.normal(0, 0.5, 3), SIZE, np.array(distortion))


def in_front(camera, n=200, seed=1):
    """World points that the camera sees inside its picture."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(1, 9, (n, 1))
    x = np.concatenate([rng.uniform(-0.6, 0.6, (n, 1)), rng.uniform(-0.35, 0.35, (n, 1)), np.ones((n, 1))], 1) * z
    return (x - camera.t_cam_world) @ camera.R_cam_world


def test_projects_as_opencv_does():
    camera = posed()
    x = in_front(camera)
    judge, _ = cv2.projectPoints(
        x, cv2.Rodrigues(camera.R_cam_world.copy())[0], camera.t_cam_world.copy(), camera.K.copy(), np.array(LENS)
    )
    np.testing.assert_allclose(camera.project(x), judge[:, 0], atol=1e-6)


def test_unprojects_as_opencv_does():
    camera = posed()
    xy = np.stack(np.meshgrid(np.linspace(0, 1919, 9), np.linspace(0, 1079, 7)), -1).reshape(-1, 2)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14)
    judge = cv2.undistortPointsIter(xy[:, None], camera.K.copy(), np.array(LENS), None, None, stop)[:, 0]
    np.testing.assert_allclose(camera.unproject(xy), judge, atol=1e-7)


@pytest.mark.parametrize("lens", [(0, 0, 0, 0, 0), LENS, (-0.42, 0.2, 0, 0, 0), (0.2, -0.1, 0.002, 0.001, 0.05)])
def test_unproject_inverts_project(lens):
    camera = posed(distortion=lens)
    x = in_front(camera)
    cam = camera.to_camera(x)
    np.testing.assert_allclose(camera.unproject(camera.project(x)), cam[:, :2] / cam[:, 2:], atol=1e-9)


def test_unseen_stays_unseen_and_finite_stays_finite():
    rays = posed().unproject(np.array([[np.nan, np.nan], [5000.0, -4000.0]]))
    assert np.isnan(rays[0]).all() and np.isfinite(rays[1]).all()


def test_behind_the_camera_is_not_seen():
    camera = Camera.from_focal(1000, SIZE)
    assert np.isnan(camera.project(np.array([0, 0, -2.0]))).all()
    assert np.isfinite(camera.project(np.array([0, 0, 2.0]))).all()


def test_optical_axis_meets_the_middle_pixel():
    """Pixel centres are at integers: the middle of 1920 columns lies between the 959th and the 960th."""
    camera = Camera.from_focal(1234, SIZE)
    np.testing.assert_allclose(camera.project(np.array([0, 0, 3.0])), [959.5, 539.5])
    assert camera.focal_px == 1234


def test_axes_are_opencvs(look_at):
    """Looking along -Z of a Y up world: world X is right, world Y is up in the picture."""
    camera = look_at([0, 1, 5], [0, 1, 0])
    middle, right, up = camera.project(np.array([[0, 1.0, 0], [1.0, 1, 0], [0, 2.0, 0]]))
    assert right[0] > middle[0] and right[1] == pytest.approx(middle[1])
    assert up[1] < middle[1] and up[0] == pytest.approx(middle[0])


def test_position_is_what_maps_to_the_origin():
    camera = posed()
    np.testing.assert_allclose(camera.to_camera(camera.position), 0, atol=1e-12)


PARTS = [{"K"}, {"R_cam_world"}, {"t_cam_world"}, {"R_cam_world", "t_cam_world"}, {"K", "R_cam_world", "t_cam_world"}]


@pytest.mark.parametrize("moving", PARTS, ids=lambda parts: "-".join(sorted(parts)))
@pytest.mark.parametrize("extra", [(), (5,), (5, 2), (3,)], ids=str)
def test_per_frame_camera_is_one_camera_a_frame(moving, extra):
    """Whichever parts change over time and whatever hangs on a frame, each frame is seen by its own camera."""
    each = [posed(seed) for seed in range(3)]
    each = [c.replaced(K=c.K * [[1 + i / 9], [1 + i / 9], [1]]) for i, c in enumerate(each)]
    given = {k: np.stack([getattr(c, k) for c in each]) if k in moving else getattr(each[0], k) for k in PARTS[-1]}
    camera = each[0].replaced(**given)
    single = [each[0].replaced(**{k: getattr(c, k) for k in moving}) for c in each]
    x = np.stack([in_front(c, int(np.prod(extra)), i).reshape(*extra, 3) for i, c in enumerate(single)])
    xy = camera.project(x)
    np.testing.assert_allclose(xy, np.stack([c.project(v) for c, v in zip(single, x)]))
    np.testing.assert_allclose(camera.unproject(xy), np.stack([c.unproject(v) for c, v in zip(single, xy)]))
    np.testing.assert_allclose(np.broadcast_to(camera.position, (3, 3)), np.stack([c.position for c in single]))


def test_field_of_view_spans_the_width():
    focal = focal_from_fov(60, SIZE)
    assert np.degrees(2 * np.arctan(SIZE[0] / 2 / focal)) == pytest.approx(60)


def test_focal_prior_is_the_same_phone_upright_or_across():
    assert prior_focal_px((1080, 1920)) == prior_focal_px((1920, 1080)) == pytest.approx(0.85 * 1920)


TOML = """
[cam_a]
name = "front"
size = [1920.0, 1080.0]
matrix = [[1400.0, 0.0, 980.0], [0.0, 1380.0, 525.0], [0.0, 0.0, 1.0]]
distortions = [-0.28, 0.09, 0.0008, -0.0012]
rotation = [1.2, -0.3, 0.4]
translation = [0.1, 1.0, 4.0]
fisheye = false

[cam_b]
size = [640, 480]
matrix = [[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]
rotation = [0.0, 0.0, 0.0]
translation = [0.0, 0.0, 0.0]

[metadata]
adjusted = false
"""


@pytest.fixture
def calibration(tmp_path):
    def write(text):
        path = tmp_path / "Calib.toml"
        path.write_text(text)
        return path

    return write


def test_calibration_sees_its_world_turned_to_y_up(calibration):
    """The file's Z up point (x, y, z) is ours at (x, z, -y), and lands on the pixel that OpenCV gives the file's."""
    camera = read_calibration(calibration(TOML))["front"]
    z_up = np.array([[0.3, 1.2, 0.4], [-0.2, 0.8, 1.1], [0.0, 2.0, 0.0]])
    K = np.array([[1400.0, 0, 980], [0, 1380, 525], [0, 0, 1]])
    judge, _ = cv2.projectPoints(
        z_up, np.array([1.2, -0.3, 0.4]), np.array([0.1, 1.0, 4.0]), K, np.array([-0.28, 0.09, 0.0008, -0.0012])
    )
    ours = camera.project(np.stack([z_up[:, 0], z_up[:, 2], -z_up[:, 1]], -1))
    np.testing.assert_allclose(ours, judge[:, 0], atol=1e-6)
    assert camera.image_size == (1920, 1080)
    np.testing.assert_array_equal(camera.distortion, [-0.28, 0.09, 0.0008, -0.0012, 0])


def test_calibration_by_name(calibration):
    path = calibration(TOML)
    assert list(read_calibration(path)) == ["front", "cam_b"]
    assert list(read_calibration(path, "cam_b")) == ["cam_b"]
    with pytest.raises(InputError, match="no camera 'rear'; it has: front, cam_b"):
        read_calibration(path, "rear")


BAD = {
    "not toml": "this is [ no toml",
    "no camera": "[metadata]\nadjusted = true\n",
    "no rotation": TOML.replace("rotation = [1.2, -0.3, 0.4]", ""),
    "short translation": TOML.replace("[0.1, 1.0, 4.0]", "[0.1, 1.0]"),
    "words": TOML.replace("[0.1, 1.0, 4.0]", '"far"'),
    "nan": TOML.replace("[1.2, -0.3, 0.4]", "[nan, 0.0, 0.0]"),
    "endless": TOML.replace("[1920.0, 1080.0]", "[inf, 1080.0]"),
    "no size": TOML.replace("[1920.0, 1080.0]", "[0, 0]"),
    "fisheye": TOML.replace("fisheye = false", "fisheye = true"),
    "rational lens": TOML.replace("-0.0012]", "-0.0012, 0.0, 0.3, 0.1, 0.02]"),
    "deep": "a = " + "[" * 5000,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_calibrations_are_refused_in_one_line(calibration, text):
    with pytest.raises(InputError) as e:
        read_calibration(calibration(text))
    assert "\n" not in str(e.value) and len(str(e.value)) < 300


def test_absent_and_binary_calibrations_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_calibration(tmp_path / "none.toml")
    binary = tmp_path / "picture.toml"
    binary.write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match="cannot be read"):
        read_calibration(binary)

"""Calibration files: OpenCV's as OpenCV itself writes them, Qualisys's, and what is refused."""

import cv2
import numpy as np
import pytest

from kinelift.camera import read_calibration, read_cameras
from kinelift.errors import InputError

K = np.array([[1400.0, 0, 980], [0, 1380, 525], [0, 0, 1]])
LENS = np.array([-0.28, 0.09, 0.0008, -0.0012, -0.01])
RVEC, TVEC = np.array([1.2, -0.3, 0.4]), np.array([0.1, 1.0, 4.0])
AHEAD, SIDEWAYS = np.array([0, 0, 4.0]), np.array([1.0, 0, 0])
Z_UP = np.array([[0.3, 1.2, 0.4], [-0.2, 0.8, 1.1], [0.0, 2.0, 0.0]])


def turned(z_up):
    return np.stack([z_up[:, 0], z_up[:, 2], -z_up[:, 1]], -1)


def judged(lens=LENS, rvec=RVEC, tvec=TVEC, matrix=K):
    return cv2.projectPoints(Z_UP, rvec, tvec, matrix, lens)[0][:, 0]


def stored(path, **items):
    """Written by OpenCV; the name's ending says as what."""
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in items.items():
        storage.write(name, value)
    storage.release()
    return path


SIZE = {"image_width": 1920, "image_height": 1080}


@pytest.fixture(params=["yml", "xml"])
def ending(request):
    return request.param


@pytest.mark.parametrize("names", [("camera_matrix", "distortion_coefficients"), ("K", "D"), ("cameraMatrix", "dist")])
@pytest.mark.parametrize("rotation", ["rvec", "R", "R as a matrix"])
def test_opencv_file_projects_as_opencv_does(tmp_path, ending, names, rotation):
    turn = cv2.Rodrigues(RVEC)[0] if "matrix" in rotation else RVEC.reshape(3, 1)
    pose = {rotation.split()[0]: turn, "T" if rotation[0] == "R" else "tvec": TVEC.reshape(3, 1)}
    path = stored(tmp_path / f"cam.{ending}", **SIZE, **dict(zip(names, (K, LENS.reshape(1, 5)))), **pose)
    (name, found), *more = read_cameras(path).items()
    assert name == "cam" and not more and found.posed
    assert found.camera.image_size == (1920, 1080)
    np.testing.assert_allclose(found.camera.project(turned(Z_UP)), judged(), atol=1e-6)


@pytest.mark.parametrize("lens", [LENS[:4], LENS, np.append(LENS, [0, 0, 0]), np.append(LENS, np.zeros(9))], ids=len)
def test_lens_alone_has_no_pose(tmp_path, ending, lens):
    path = stored(tmp_path / f"cam.{ending}", **SIZE, camera_matrix=K, distortion_coefficients=lens.reshape(-1, 1))
    found = read_cameras(path)["cam"]
    assert not found.posed
    np.testing.assert_array_equal(found.camera.position, 0)
    expected = judged(lens[:5], np.zeros(3), AHEAD)
    np.testing.assert_allclose(found.camera.project(Z_UP + AHEAD), expected, atol=1e-6)
    with pytest.raises(InputError, match="camera 'cam' has no pose, only its lens"):
        read_calibration(path)


def test_several_cameras_in_one_file(tmp_path, ending):
    """Names behind the keys, as multi-camera tools write them, and OpenCV's own list of strings beside."""
    items = {}
    for name, right in (("left", 0.0), ("right_top", 1.0)):
        items |= {f"K_{name}": K, f"dist_{name}": LENS.reshape(1, 5), f"W_{name}": 1920, f"H_{name}": 1080}
        items |= {f"R_{name}": RVEC, f"Rot_{name}": cv2.Rodrigues(RVEC)[0], f"T_{name}": TVEC + right * SIDEWAYS}
    path = stored(tmp_path / f"rig.{ending}", names=["left", "right_top"], **items)
    assert list(read_cameras(path)) == ["left", "right_top"]
    found = read_cameras(path, "right_top")["right_top"].camera
    np.testing.assert_allclose(found.project(turned(Z_UP)), judged(tvec=TVEC + SIDEWAYS), atol=1e-6)
    with pytest.raises(InputError, match="no camera 'top'; it has: left, right_top"):
        read_cameras(path, "top")


ROS = """# written by a calibrator
image_width: 640
image_height: 480
camera_name: head_camera
camera_matrix:
  rows: 3
  cols: 3
  data: [500.0, 0.0, 320.0,   # fx, 0, cx
         0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 0.001, 0.002, 0.0]
rectification_matrix: {a: b}
"""
NESTED = """
one:
  K: [[500, 0, 320], [0, 510, 240], [0, 0, 1]]
  image_size: [640, 480]
two:
  K: [[600, 0, 320], [0, 610, 240], [0, 0, 1]]
  size:
  - 640
  - 480
"""


def test_ros_file_is_read_alike(tmp_path):
    path = tmp_path / "head.yaml"
    path.write_text(ROS)
    found = read_cameras(path)["head_camera"]
    assert not found.posed and found.camera.focal_px == 505
    np.testing.assert_allclose(found.camera.distortion, [0.1, -0.2, 0.001, 0.002, 0])


def test_cameras_as_mappings(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(NESTED)
    assert {k: c.camera.focal_px for k, c in read_cameras(path).items()} == {"one": 505, "two": 605}


QUALISYS = """<?xml version="1.0" encoding="UTF-8"?>
<calibration created="2024-05-06" qtm-version="{version}" type="regular">
<results std-dev="0.5"/>
<cameras>
<camera active="1" serial="26580" model="Miqus Video" viewrotation="0">
<fov_video left="16" top="4" right="1855" bottom="1083"/>
<transform x="4263.3" y="-2283.8" z="1794.3" {rotation}/>
<intrinsic focallength="9.27" sensorMinU="0" sensorMaxU="122879" sensorMinV="0" sensorMaxV="69631"
 focalLengthU="107872.5" focalLengthV="107880.25" centerPointU="60827.25" centerPointV="32684.0" skew="0"
 radialDistortion1="-0.04545" radialDistortion2="0.139604" radialDistortion3="0.001"
 tangentalDistortion1="0.000615" tangentalDistortion2="-0.000391"/>
</camera>
<camera active="1" serial="no lens"><transform x="0" y="0" z="0"/></camera>
</cameras></calibration>
"""


def qualisys(version="2024.1", looking=(0, 0, 1.0)):
    """A camera at (4.26, -2.28, 1.79) m that looks at a point of its Z up world; rows of the file are its axes."""
    back = np.array([4.2633, -2.2838, 1.7943]) - looking
    back /= np.linalg.norm(back)
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(back, right), back])
    words = " ".join(f'r{i + 1}{j + 1}="{axes[i, j]:.12f}"' for i in range(3) for j in range(3))
    return QUALISYS.format(version=version, rotation=words)


def test_qualisys_looks_where_it_looks(tmp_path):
    """Millimetres, pixels in 1/64 less the cropped corner, a camera that looks along its -z."""
    path = tmp_path / "session.qca.txt"
    path.write_text(qualisys())
    assert list(read_cameras(path)) == ["26580"]
    found = read_cameras(path)["26580"]
    camera = found.camera
    assert found.posed and camera.image_size == (1840, 1080)
    np.testing.assert_allclose(camera.position, [4.2633, 1.7943, 2.2838], atol=1e-9)
    at, above = camera.project(np.array([[0, 1.0, 0], [0, 1.5, 0]]))
    np.testing.assert_allclose(at, [60827.25 / 64 - 16, 32684 / 64 - 4], atol=1e-6)
    assert above[1] < at[1] - 50 and abs(above[0] - at[0]) < 1
    np.testing.assert_allclose(camera.distortion, [-0.04545, 0.139604, 0.000615, -0.000391, 0.001])
    assert camera.K[0, 0] == pytest.approx(1685.5, abs=0.1)


def test_pose2sims_qualisys_files_have_lenses_times_64(tmp_path):
    path = tmp_path / "converted.qca.txt"
    path.write_text(qualisys("none"))
    np.testing.assert_allclose(read_cameras(path)["26580"].camera.distortion[0], -0.04545 / 64)


BOMB = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><opencv_storage>&b;'
GOOD = "%YAML:1.0\nimage_width: 640\nimage_height: 480\nK: [[500,0,320],[0,500,240],[0,0,1]]\n"
BAD = {
    "entities": ("c.xml", BOMB + "</opencv_storage>", "document type"),
    "unclosed": ("c.xml", "<opencv_storage><K>", "cannot be read"),
    "deep xml": ("c.xml", "<a>" * 5000 + "</a>" * 5000, "nested too deep"),
    "other xml": ("c.xml", "<html><body>no</body></html>", "holds no camera"),
    "deep yaml": ("c.yml", "K: " + "[" * 5000 + "]" * 5000, "nested too deep"),
    "deep blocks": ("c.yml", "".join(" " * n + "a:\n" for n in range(300)), "nested too deep"),
    "endless list": ("c.yml", "K: [\n" + "1,\n" * 100_000, "calibration's numbers"),
    "no size": ("c.yml", GOOD.replace("image_width", "i"), "states no picture size"),
    "short matrix": ("c.yml", "%YAML:1.0\nK:\n  rows: 3\n  cols: 3\n  data: [1, 2]\n", "3 x 3 has 2 numbers"),
    "vast matrix": ("c.yml", "%YAML:1.0\nK:\n  rows: 99999999\n  cols: 99999999\n  data: [1]\n", "has 1 numbers"),
    "words": ("c.yml", GOOD.replace("500,0", "wide,0"), "is incomplete"),
    "half a pose": ("c.yml", GOOD + "rvec: [0, 0, 0]\n", "both a rotation and a translation"),
    "rational lens": ("c.yml", GOOD + "D: [0.1, 0, 0, 0, 0, 0.2, 0, 0]\n", "only k1, k2, p1, p2, k3 are supported"),
    "fisheye": ("c.yml", GOOD + "distortion_model: equidistant\n", "fisheye"),
    "no rotation": ("c.yml", GOOD + "R: [1, 2]\nT: [0, 0, 0]\n", "expected 3 or 3 x 3"),
    "mirrored": ("c.yml", GOOD + "R: [[1, 0, 0], [0, 1, 0], [0, 0, -1]]\nT: [0, 0, 0]\n", "expected a rotation"),
    "skewed": ("c.yml", GOOD.replace("500,0", "500,40"), "skewed pixels"),
    "nan": ("c.yml", GOOD.replace("500,0", ".nan,0"), "is incomplete"),
    "qualisys without a number": ("c.qca.txt", qualisys().replace('focalLengthU="107872.5"', ""), "focalLengthU"),
    "not yaml": ("c.yml", "%YAML:1.0\n}{\n", "is not understood"),
}


@pytest.mark.parametrize("name, text, said", BAD.values(), ids=BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=said) as e:
        read_cameras(path)
    assert str(path) in str(e.value) and "\n" not in str(e.value) and len(str(e.value)) < 300 + len(str(path))


def test_large_files_are_not_read(tmp_path):
    path = tmp_path / "c.yml"
    path.write_text(GOOD + "#" * 1_000_001)
    with pytest.raises(InputError, match="too large"):
        read_cameras(path)

"""OpenPose through OpenCV on a small real Caffe network: each part answers to a colour, so its true place is known."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffe_network import colours, spotted, write_network
from kinelift import metrics
from kinelift.detect import DETECTORS, Detector, detect_video, make_detector
from kinelift.detect.openpose import OpenPoseDetector
from kinelift.errors import InputError, MissingExtraError, UnknownNameError
from kinelift.kinematics import motion_positions
from kinelift.pipeline import animate
from kinelift.records import Frame
from kinelift.skeleton import BODY26, H36M17, OPENPOSE_COCO18, OPENPOSE_MPI15, joint_map

SIZE = (640, 480)
SKELETON = {"coco": OPENPOSE_COCO18, "mpi": OPENPOSE_MPI15}
BOTH = pytest.mark.parametrize("parts", SKELETON)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openpose")
    return {parts: write_network(folder, parts) for parts in SKELETON}


def places(count, size=SIZE, seed=0):
    """(count, 2) pixels, well apart."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(35)[:count]
    share = (np.stack([cells % 7, cells // 7], -1) + 0.5 + rng.uniform(-0.15, 0.15, (count, 2))) / (7, 5)
    return share * size - 0.5


def spots(xy, size=SIZE, without=()):
    """An RGB picture: a soft spot of each part's colour at its place, on black."""
    picture = np.zeros((size[1], size[0], 3))
    y, x = np.mgrid[: size[1], : size[0]]
    for j, colour in enumerate(colours(len(xy))):
        if j not in without:
            bell = np.exp(-((x - xy[j, 0]) ** 2 + (y - xy[j, 1]) ** 2) / (2 * (size[0] / 40) ** 2))
            picture += bell[..., None] * colour[::-1]
    return (255 * np.clip(picture, 0, 1)).round().astype(np.uint8)


def person(detector, picture):
    (found,) = detector.detect([Frame(picture, 0.0)])
    return found[0]


@BOTH
@pytest.mark.parametrize("size", [SIZE, (270, 480)])
def test_each_part_is_found_where_it_is(files, parts, size):
    detector = make_detector("openpose", proto=files[parts][0], model=files[parts][1], parts=parts)
    assert isinstance(detector, Detector)
    assert detector.skeleton is SKELETON[parts]
    xy = places(len(detector.skeleton), size)
    found = person(detector, spots(xy, size))
    cell = 8 * np.array(size) / 368
    assert (np.abs(found.xy - xy) < 0.4 * cell).all()
    assert (np.abs((found.xy - xy).mean(0)) < 0.1 * cell).all()
    assert (found.confidence > 0.8).all()
    assert found.detector_3d is None


def test_a_wider_input_sees_the_same_places(files):
    xy = places(18)
    detector = make_detector("openpose", proto=files["coco"][0], model=files["coco"][1], width=656, height=320)
    cell = 8 * np.array(SIZE) / (656, 320)
    assert (np.abs(person(detector, spots(xy)).xy - xy) < 0.4 * cell).all()


def test_the_network_gets_blue_first(files):
    """As OpenPose was trained: the same picture with red and blue exchanged must not fit."""
    detector = make_detector("openpose", proto=files["coco"][0], model=files["coco"][1])
    xy = places(18)
    swapped = np.ascontiguousarray(spots(xy)[..., ::-1])
    wrong = np.linalg.norm(person(detector, swapped).xy - xy, axis=1) > 20
    assert np.count_nonzero(wrong) > 9


def test_parts_below_the_threshold_are_unseen(files):
    xy, gone = places(18), (4, 7, 16)
    picture = spots(xy, without=gone)
    proto, model = files["coco"]
    found = person(make_detector("openpose", proto=proto, model=model, threshold=0.75), picture)
    unseen = np.isin(np.arange(18), gone)
    assert (found.confidence[unseen] == 0).all()
    assert np.isnan(found.xy[unseen]).all()
    assert np.isfinite(found.xy[~unseen]).all()
    low = person(make_detector("openpose", proto=proto, model=model, threshold=0.05), picture)
    assert (low.confidence >= found.confidence).all()


def test_a_black_picture_holds_nobody_and_the_same_frame_gives_the_same_answer(files):
    detector = make_detector("openpose", proto=files["mpi"][0], model=files["mpi"][1], parts="MPI")
    picture = spots(places(15))
    pictures = [picture, np.zeros_like(picture), picture]
    one, none, two = detector.detect(Frame(p, i / 30) for i, p in enumerate(pictures))
    assert none == []
    np.testing.assert_array_equal(one[0].xy, two[0].xy)
    np.testing.assert_array_equal(one[0].confidence, two[0].confidence)


def test_follows_through_a_folder_of_pictures(files, tmp_path):
    detector = make_detector("openpose", proto=files["coco"][0], model=files["coco"][1])
    starts = places(18) * 0.8 + 20
    paths = [starts + np.array([4 * i, 2 * i]) for i in range(6)]
    for i, xy in enumerate(paths):
        cv2.imwrite(str(tmp_path / f"{i}.png"), spots(xy)[..., ::-1])
    found = detect_video(tmp_path, detector)
    assert found.pose.detected.all()
    assert np.abs(found.pose.xy - np.stack(paths)).max() < 6
    assert found.provenance["weights"] == "coco.caffemodel"
    assert len(found.provenance["weights_sha256"]) == len(found.provenance["network_sha256"]) == 64


def test_animates_like_any_detector(files, tmp_path, monkeypatch, walk, look_at):
    """The whole pipeline on a walking body of coloured spots, against the walk that was drawn."""
    size, names = (1280, 960), OPENPOSE_COCO18.joints
    true = walk(np.arange(30) / 30, heading=0.6)
    place = {n: BODY26.index(n) for n in names if n in BODY26.joints}
    points = np.full((30, 18, 2), np.nan)
    pixels = look_at([0, 1.0, 4.5], [0, 0.9, 0], 1100.0, size).project(true)
    for name, j in place.items():
        points[:, names.index(name)] = pixels[:, j]
    for i, at in enumerate(points):
        cv2.imwrite(str(tmp_path / f"{i}.png"), spotted(at, size)[..., ::-1])
    proto, model = files["coco"]
    ready = partial(OpenPoseDetector, proto=proto, width=size[0], height=size[1])
    monkeypatch.setitem(DETECTORS, "openpose", ready)
    take = animate(tmp_path, detector="openpose", pose_model=model, focal_px=1100.0, height_m=1.7)
    assert take.meta["detector"]["weights"] == "coco.caffemodel"
    assert take.report["detected_percent"] == 100
    limbs = BODY26.indices(*metrics.LIMBS)
    assert metrics.pa_mpjpe(motion_positions(take.motions[0])[:, limbs], true[:, limbs]) < 60


def test_mpi_gives_the_projection_lifters_all_they_want():
    """The crown is the crown, and the seed's rule crown = thorax + 2 (nose - thorax) holds for the made-up nose."""
    points = np.random.default_rng(0).normal(size=(15, 2))
    h36m = joint_map(OPENPOSE_MPI15, H36M17) @ points
    at = H36M17.index
    np.testing.assert_allclose(h36m[at("Head")], points[OPENPOSE_MPI15.index("head_top")])
    thorax = h36m[at("Thorax")]
    np.testing.assert_allclose(h36m[at("Head")], thorax + 2 * (h36m[at("NeckNose")] - thorax))


def test_options_that_cannot_be(files):
    proto, model = files["coco"]
    for wrong, word in (
        ({"width": 370}, "width 370: expected a multiple of 8"),
        ({"height": 0}, "height 0"),
        ({"threshold": 1.5}, r"threshold 1\.5"),
        ({"threshold": float("nan")}, "threshold"),
    ):
        with pytest.raises(InputError, match=word):
            make_detector("openpose", proto=proto, model=model, **wrong)
    with pytest.raises(UnknownNameError, match="'body_25'; known: coco, mpi"):
        make_detector("openpose", proto=proto, model=model, parts="body_25")
    with pytest.raises(InputError, match=r"--proto2d FILE\.prototxt and --model2d"):
        make_detector("openpose", model=model)


def one_line(capfd, match, **options):
    """The error is one line, and neither OpenCV nor protobuf adds to it on the terminal."""
    with pytest.raises(InputError, match=match) as caught:
        make_detector("openpose", **options)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_files_that_are_missing_or_broken(files, tmp_path, capfd):
    proto, model = files["coco"]
    whole = Path(model).read_bytes()
    torn, noise, text = tmp_path / "torn.caffemodel", tmp_path / "noise.caffemodel", tmp_path / "text.prototxt"
    torn.write_bytes(whole[: len(whole) // 2])
    noise.write_bytes(bytes(range(255, 0, -1)) * 3)
    text.write_text("layer { { {")
    pointer = tmp_path / "pointer.caffemodel"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    folder, absent = tmp_path, tmp_path / "absent.caffemodel"
    one_line(capfd, r"absent\.caffemodel: no such file", proto=proto, model=absent)
    one_line(capfd, "no such file", proto=folder, model=model)
    one_line(capfd, r"torn\.caffemodel: ", proto=proto, model=torn)
    one_line(capfd, r"noise\.caffemodel: cannot be read", proto=proto, model=noise)
    one_line(capfd, r"text\.prototxt: cannot be read", proto=text, model=model)
    one_line(capfd, "git-lfs pointer", proto=proto, model=pointer)


def test_files_that_do_not_belong_together(files, tmp_path, capfd):
    proto, model = files["coco"]
    one_line(capfd, "gives 57 maps.*parts mpi has 44.*--parts coco", proto=proto, model=model, parts="mpi")
    one_line(capfd, "does not fit", proto=proto, model=files["mpi"][1])
    odd, weights = write_network(tmp_path, "coco", fields=30)
    one_line(capfd, "gives 49 maps", proto=odd, model=weights)


@pytest.mark.parametrize("gone", [True, False])
def test_opencv_5_reads_no_caffe(files, monkeypatch, gone):
    proto, model = files["coco"]
    monkeypatch.setattr(cv2, "__version__", "5.0.0")
    if gone:
        monkeypatch.delattr(cv2.dnn, "readNetFromCaffe")
    with pytest.raises(MissingExtraError, match=r"OpenCV 5\.0\.0 no longer reads Caffe.*opencv-python-headless<5"):
        make_detector("openpose", proto=proto, model=model)

"""The default detector: as MediaPipe's own library says; sides, axes, mirror symmetry, several persons; nobody."""

import builtins
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from kinelift.detect import DETECTORS, Detector, blazepose, detect_video, make_detector
from kinelift.detect.blazepose import PoseNetworks, Region
from kinelift.detect.follow import Follower
from kinelift.detect.mediapipe import _squares
from kinelift.errors import InputError, MissingExtraError, UnknownNameError
from kinelift.records import Frame
from kinelift.skeleton import MEDIAPIPE33
from kinelift.video import open_frames
from mediapipe_judge import judge, networks


@pytest.fixture(scope="module")
def library():
    """MediaPipe itself, which only `.task` files and these tests need; without it a visible skip, in CI a failure."""
    if importlib.util.find_spec("mediapipe") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("mediapipe is not installed (scripts/test.sh installs it)")
        pytest.skip("mediapipe is not installed")


@pytest.fixture(scope="module")
def converted(library, tmp_path_factory):
    """The wheel's finder and full network, carried to ONNX by the script that made the shipped ones, in 16 bits."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
    try:
        import convert_blazepose
    finally:
        sys.path.pop(0)
    folder = tmp_path_factory.mktemp("networks")
    for name, source in networks().items():
        convert_blazepose.convert(source, folder / f"{name}.onnx", is_robust=lambda outputs, inputs: False)
    return folder


@pytest.fixture(scope="module")
def pictures():
    """Every twentieth frame of the sample, RGB."""
    with open_frames(blazepose.weights("heavy").with_name("sample.mp4")) as frames:
        return [np.ascontiguousarray(f.image) for f in frames][::20]


def test_networks_say_what_mediapipes_library_says(converted, pictures, monkeypatch):
    monkeypatch.setattr(blazepose, "weights", lambda name: converted / f"{name}.onnx")
    own = PoseNetworks(converted / "full.onnx", 0.5, 0.5)
    assert len(pictures) >= 4
    with judge() as (find, look):
        for image in pictures:
            theirs, ours = find(image), own.find(image)
            assert len(theirs) == len(ours) == 1
            region = ours[0]
            for field in ("x", "y", "side"):
                assert abs(getattr(region, field) - getattr(theirs[0], field)) < 0.005 * region.side
            assert abs(region.angle - theirs[0].angle) < 0.005
            turned = Region(region.x, region.y, 1.1 * region.side, region.angle + 0.3)
            for where in (region, turned):
                xy, visibility, world, around = look(image, where)
                seen = own.look(image, where)
                assert np.abs(seen.xy - xy).max() < 0.003 * where.side
                assert np.abs(seen.visibility - visibility).max() < 0.02
                assert np.abs(seen.world - world).max() < 0.01
                assert abs(seen.next_region.side - around.side) < 0.005 * around.side


def test_the_shipped_finder_finds_what_mediapipes_finds(library, pictures):
    own = PoseNetworks(blazepose.weights("heavy"), 0.5, 0.5)
    with judge() as (find, _):
        for image in pictures:
            theirs, ours = find(image), own.find(image)
            assert len(theirs) == len(ours) == 1
            assert np.hypot(ours[0].x - theirs[0].x, ours[0].y - theirs[0].y) < 0.03 * ours[0].side
            assert abs(ours[0].side / theirs[0].side - 1) < 0.05


def test_answers_about_one_person_are_averaged_by_their_scores():
    people = np.zeros((3, 12))
    people[:, :4] = (0.1, 0.1, 0.5, 0.5), (0.7, 0.7, 0.9, 0.9), (0.12, 0.1, 0.52, 0.5)
    people[:, 4:] = np.arange(3)[:, None]
    kept = blazepose._suppressed(people, np.array([0.6, 0.7, 0.9]))
    np.testing.assert_allclose(kept[:, 4], [(0.6 * 0 + 0.9 * 2) / 1.5, 1.0])  # the surest first
    np.testing.assert_allclose(kept[0, 0], (0.6 * 0.1 + 0.9 * 0.12) / 1.5)
    assert blazepose._suppressed(people[:0], np.zeros(0)).shape == (0, 12)


def test_nobody_in_a_region(pictures):
    own = PoseNetworks(blazepose.weights("heavy"), 0.5, 0.5)
    assert own.find(np.full((200, 300, 3), 90, np.uint8)) == []
    assert own.look(np.full((200, 300, 3), 90, np.uint8), Region(150, 100, 200, 0.0)) is None


def test_other_networks_are_refused_in_a_line(tmp_path):
    lifter = blazepose.weights("heavy").with_name("temporal.onnx")
    with pytest.raises(InputError, match=r"temporal\.onnx: is not one of MediaPipe's pose networks"):
        make_detector("mediapipe", model=lifter)
    (tmp_path / "bad.onnx").write_bytes(b"this is no model")
    with pytest.raises(InputError, match=r"bad\.onnx: cannot be read as a pose network"):
        make_detector("mediapipe", model=tmp_path / "bad.onnx")


def at(pose, joint):
    return pose.xy[:, MEDIAPIPE33.index(joint)]


def answering(path, shapes, value, modesty="0"):
    """A network that takes pictures as a landmark network does and answers the same to all."""
    import onnx
    from onnx import TensorProto, helper

    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 256, 256])
    nodes, outputs = [helper.make_node("ReduceMax", ["picture"], ["most"], keepdims=0)], []
    for name, shape in shapes.items():
        filled = helper.make_tensor(
            name + "_value", TensorProto.FLOAT, shape, np.full(shape, value, np.float32).ravel()
        )
        nodes.append(helper.make_node("Constant", [], [name + "_all"], value=filled))
        nodes.append(helper.make_node("Add", [name + "_all", "most"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    graph = helper.make_graph(nodes, "g", [picture], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"modesty": modesty})
    onnx.save(model, path)
    return path


LOOKED = {"195": (1, 195), "1": (1, 1), "heat": (1, 64, 64, 39), "117": (1, 117)}


@pytest.mark.parametrize("shapes, value", [(LOOKED, np.nan), (LOOKED | {"heat": (1, 3, 3, 39)}, 0.9)])
def test_answers_that_no_pose_network_gives_are_refused(tmp_path, shapes, value):
    own = PoseNetworks(answering(tmp_path / "odd.onnx", shapes, value), 0.5, 0.5)
    with pytest.raises(InputError, match=r"odd\.onnx: the network answers what no pose network does"):
        own.look(np.full((64, 64, 3), 90, np.uint8), Region(32, 32, 64, 0.0))
    fine = PoseNetworks(answering(tmp_path / "fine.onnx", LOOKED, 0.4), 0.5, 0.5)
    black = np.zeros((64, 64, 3), np.uint8)
    assert fine.look(black, Region(32, 32, 64, 0.0)) is None  # present with 0.4
    assert fine.look(black + 90, Region(32, 32, 64, 0.0)).xy.shape == (33, 2)


def test_visibilities_are_raised_by_what_a_networks_file_says(tmp_path):
    picture, region = np.full((64, 64, 3), 90, np.uint8), Region(32, 32, 64, 0.0)
    odds = []
    for modesty in ("0", "2.5"):
        own = PoseNetworks(answering(tmp_path / f"{modesty}.onnx", LOOKED, 0.4, modesty), 0.5, 0.5)
        visibility = own.look(picture, region).visibility
        odds.append(np.log(visibility / (1 - visibility)))
    np.testing.assert_allclose(odds[1] - odds[0], 2.5)
    for odd in ("much", "nan", "1e9"):
        with pytest.raises(InputError, match="expected a number as modesty"):
            PoseNetworks(answering(tmp_path / "odd.onnx", LOOKED, 0.4, odd), 0.5, 0.5)


@pytest.mark.data
def test_squats(data):
    seen = []
    source = open_frames(data / "media/pose_squats.mp4", end=2.0)
    result = detect_video(source, "mediapipe", progress=lambda done, total: seen.append((done, total)))
    pose = result.pose
    assert pose.detected.all()
    assert result.persons == 1 and result.cuts == () and result.warnings == ()
    assert seen[-1][0] == len(pose.times) == 10
    # She faces the camera: her left is on the picture's right, feet are below hips.
    assert (at(pose, "left_shoulder")[:, 0] > at(pose, "right_shoulder")[:, 0]).all()
    assert (at(pose, "left_ankle")[:, 1] > at(pose, "left_hip")[:, 1]).all()
    d3 = pose.detector_3d
    hips = d3[:, MEDIAPIPE33.indices("left_hip", "right_hip")].mean(1)
    assert np.abs(hips).max() < 0.03
    assert (d3[:, MEDIAPIPE33.index("left_shoulder"), 0] > 0).all()
    assert (d3[:, MEDIAPIPE33.index("left_heel"), 1] > 0.3).all()
    assert (d3[:, MEDIAPIPE33.index("nose"), 2] < 0).all()  # nearer to the camera than the hips
    assert len(result.provenance["weights_sha256"]) == 64


@pytest.mark.data
def test_single_image(data, tmp_path):
    from PIL import Image

    frame = next(open_frames(data / "media/pose_squats.mp4"))
    Image.fromarray(frame.image).save(tmp_path / "one.png")
    pose = detect_video(tmp_path / "one.png").pose
    assert pose.times.tolist() == [0.0]
    assert pose.detected.all()


@pytest.mark.data
def test_mirror_symmetry_and_determinism(data):
    frames = list(open_frames(data / "media/pose_squats.mp4", end=1.0))
    mirrored = [Frame(np.ascontiguousarray(f.image[:, ::-1]), f.time) for f in frames]
    detector = make_detector("mediapipe")
    one, two, flipped = ([p[0] for p in detector.detect(f)] for f in (frames, frames, mirrored))
    width = frames[0].image.shape[1]
    off = []
    for a, b, c in zip(one, two, flipped, strict=True):
        np.testing.assert_array_equal(a.xy, b.xy)
        back = c.xy[list(MEDIAPIPE33.mirror)]
        back[:, 0] = width - 1 - back[:, 0]
        off.append(np.linalg.norm(a.xy - back, axis=1))
    assert np.median(off) < 12  # of a person about 1000 px tall


@pytest.mark.data
def test_two_persons_are_kept_apart(data):
    """A man waves on a roof, left of the middle, while a woman walks below from right to left."""
    detector = make_detector("mediapipe")
    with open_frames(data / "media/sports2d_demo.mp4", start=3.0, end=3.8) as source:
        follower = Follower(detector.skeleton, source.image_size)
        frames = list(source)
    for frame, people in zip(frames, detector.detect(frames), strict=True):
        follower.add(frame.time, people, frame.image)
    assert len(follower.persons()) == 2
    walker = follower.pose("largest")
    man = follower.pose(1 - walker.person_id)
    assert walker.detected.all() and man.detected.all()
    assert (np.diff(at(walker, "left_hip")[:, 0]) < 15).all()
    assert at(walker, "left_hip")[0, 0] - at(walker, "left_hip")[-1, 0] > 100
    assert (at(walker, "left_hip")[:, 1] > 600).all()
    assert (at(man, "left_hip")[:, 1] < 500).all()


def nobody(tmp_path, size):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(90, 110, (*size, 3)).astype(np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("size", [(16, 16), (40, 33), (480, 640)])
def test_nobody_is_an_input_error_that_names_the_file(tmp_path, size):
    with pytest.raises(InputError, match="nobody") as e:
        detect_video(nobody(tmp_path, size))
    assert str(tmp_path) in str(e.value)


def test_quiet(tmp_path, capfd):
    with pytest.raises(InputError):
        detect_video(nobody(tmp_path, (64, 64)))
    captured = capfd.readouterr()
    assert captured.err == "" and captured.out == ""


def test_frames_are_read_one_by_one():
    read = []

    def frames():
        for i in range(4):
            read.append(i)
            yield Frame(np.full((64, 64, 3), 100, np.uint8), i / 30)

    answers = make_detector("mediapipe").detect(frames())
    for i, answer in enumerate(answers):
        assert answer == []
        assert read == list(range(i + 1))


def test_task_file_that_is_none(library, tmp_path):
    bad = tmp_path / "bad.task"
    bad.write_bytes(b"this is no model")
    detector = make_detector("mediapipe", model=bad)
    with pytest.raises(InputError, match=r"bad\.task: is not a MediaPipe pose \.task model") as e:
        list(detector.detect([Frame(np.zeros((64, 64, 3), np.uint8), 0.0)]))
    assert "\n" not in str(e.value)
    with pytest.raises(InputError, match="no such file"):
        make_detector("mediapipe", model=tmp_path / "absent.task")


def task_file(path):
    """The wheel's own networks, packed as a `.task` file is: a zip of two networks that state their normalisation."""
    import zipfile

    from mediapipe.tasks.python.metadata.metadata_writers import metadata_writer

    wheel = networks()
    packed = {
        "pose_detector.tflite": (wheel["finder"], 127.5, 127.5),
        "pose_landmarks_detector.tflite": (wheel["full"], 0.0, 255.0),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        for name, (source, mean, std) in packed.items():
            writer = metadata_writer.MetadataWriter.create(bytearray(source.read_bytes()))
            writer.add_general_info(name, name)
            writer.add_image_input([mean], [std])
            out.writestr(name, bytes(writer.populate()[0]))
    return path


@pytest.mark.data
def test_task_file_agrees_with_the_same_network_run_here(converted, data, tmp_path):
    frames = list(open_frames(data / "media/pose_squats.mp4", end=1.0))
    own = make_detector("mediapipe", model=converted / "full.onnx")
    task = make_detector("mediapipe", model=task_file(tmp_path / "full.task"))
    for a, b in zip(own.detect(frames), task.detect(frames), strict=True):
        assert len(a) == len(b) == 1
        body = slice(11, 33)
        assert np.median(np.linalg.norm(a[0].xy[body] - b[0].xy[body], axis=1)) < 8
        assert np.median(np.abs(a[0].detector_3d - b[0].detector_3d)) < 0.03
    assert task.provenance()["weights"] == "full.task"


def test_task_files_without_mediapipe_say_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "some.task").write_bytes(b"")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "mediapipe":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps mediapipe==0\.10\.21"):
        make_detector("mediapipe", model=tmp_path / "some.task")
    assert make_detector("mediapipe").provenance()["weights"] == "blazepose_heavy.onnx"  # needs none


def test_registry():
    with pytest.raises(UnknownNameError, match="known: mediapipe, openpose, rtmpose"):
        make_detector("openpos")
    with pytest.raises(UnknownNameError, match="'modell'"):
        make_detector("mediapipe", modell="x")
    detector = make_detector("mediapipe")
    assert isinstance(detector, Detector)
    assert DETECTORS["mediapipe"] is type(detector)


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (640, 640), (100, 3000), (64, 64)])
def test_search_squares_cover_the_picture(size):
    covered = np.zeros(size[::-1], bool)
    for left, top, side in _squares(*size):
        assert 0 <= left <= size[0] - side and 0 <= top <= size[1] - side
        covered[top : top + side, left : left + side] = True
    assert covered.all() or not _squares(*size)
    assert len(_squares(*size)) < 200

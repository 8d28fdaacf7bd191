"""RTMPose networks of known answer: three coloured dots, whose places the network reads off columns and rows."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kinelift.detect import make_detector
from kinelift.detect.rtmpose import RTMPoseDetector
from kinelift.errors import InputError, UnknownNameError
from kinelift.records import Frame

SHAPE = (1, 3, 256, 192)


def constant(name, array):
    return numpy_helper.from_array(array, name)


def save(path, nodes, outputs, constants, shape=SHAPE):
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [picture], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def dot_network(path, joints=17, shape=SHAPE):
    """SimCC of joint j: the brightest column and row of colour j % 3, at the even ones of twice as many bins."""
    nodes, constants = [], [constant("colours", np.arange(joints, dtype=np.int64) % 3)]
    for name, axis, length in (("simcc_x", 2, 192), ("simcc_y", 3, 256)):
        constants += [
            constant(f"{name}_column", np.array([1, joints, length, 1], np.int64)),
            constant(f"{name}_flat", np.array([1, joints, 2 * length], np.int64)),
            constant(f"{name}_odd", np.full((1, joints, length, 1), -9, np.float32)),
        ]
        nodes += [
            helper.make_node("ReduceMax", ["input"], [f"{name}_max"], axes=[axis], keepdims=0),
            helper.make_node("Gather", [f"{name}_max", "colours"], [f"{name}_all"], axis=1),
            helper.make_node("Reshape", [f"{name}_all", f"{name}_column"], [f"{name}_even"]),
            helper.make_node("Concat", [f"{name}_even", f"{name}_odd"], [f"{name}_pairs"], axis=3),
            helper.make_node("Reshape", [f"{name}_pairs", f"{name}_flat"], [name]),
        ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("simcc_x", "simcc_y")]
    return save(path, nodes, outputs, constants, shape)


def person_network(path, dets, labels):
    names = ("dets", "labels")
    constants = [constant("d", np.array([dets], np.float32)), constant("l", np.array([labels], np.int64))]
    nodes = [helper.make_node("Identity", [c], [n]) for c, n in zip("dl", names, strict=True)]
    kinds = (TensorProto.FLOAT, TensorProto.INT64)
    outputs = [helper.make_tensor_value_info(n, k, None) for n, k in zip(names, kinds, strict=True)]
    return save(path, nodes, outputs, constants, (1, 3, 640, 640))


def dots(*centres, size=(320, 240)):
    """A black picture with a soft red, green and blue dot at the three centres (x, y)."""
    y, x = np.mgrid[: size[1], : size[0]]
    planes = [255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 4.0**2)) for cx, cy in centres]
    return np.stack(planes, -1).round().astype(np.uint8)


CENTRES = np.array([(100.0, 60.0), (180.0, 90.0), (140.0, 200.0)])


def check(candidate, centres, within):
    expected = np.array(centres)[np.arange(len(candidate.xy)) % 3]
    assert np.abs(candidate.xy - expected).max() < within
    assert (candidate.confidence == 1).all()


@pytest.mark.parametrize(("joints", "name"), [(17, "coco17"), (26, "halpe26")])
def test_pixels_are_right_and_the_last_box_is_followed(tmp_path, joints, name):
    detector = make_detector("rtmpose", model=dot_network(tmp_path / "p.onnx", joints))
    assert detector.skeleton.name == name
    steps = [CENTRES + np.array([3 * i, i]) for i in range(8)]
    frames = [Frame(dots(*c), i / 30) for i, c in enumerate(steps)]
    for centres, found in zip(steps, detector.detect(frames), strict=True):
        assert len(found) == 1
        check(found[0], centres, 1.0)


def test_open_input_size(tmp_path):
    detector = RTMPoseDetector(dot_network(tmp_path / "p.onnx", shape=("n", 3, "h", "w")))
    check(next(detector.detect([Frame(dots(*CENTRES), 0.0)]))[0], CENTRES, 1.0)


def test_an_empty_picture_holds_nobody_and_the_person_is_found_again(tmp_path):
    detector = RTMPoseDetector(dot_network(tmp_path / "p.onnx"))
    empty = np.zeros((240, 320, 3), np.uint8)
    moved = CENTRES + np.array([60, 10])
    pictures = [dots(*CENTRES), empty, empty, dots(*moved)]
    found = list(detector.detect([Frame(p, i / 30) for i, p in enumerate(pictures)]))
    assert [len(f) for f in found] == [1, 0, 0, 1]
    check(found[3][0], moved, 1.0)


def test_person_detector_gives_boxes_of_persons_in_pixels(tmp_path):
    # The 320 x 240 picture fills a 640 x 480 corner of the input: boxes are twice as large there.
    dets = [[160, 80, 400, 440, 0.6], [0, 0, 300, 300, 0.9], [10, 10, 50, 50, 0.1], [150, 60, 420, 460, 0.8]]
    person = person_network(tmp_path / "person.onnx", dets, [0, 5, 0, 0])
    detector = RTMPoseDetector(dot_network(tmp_path / "p.onnx"), person)
    found = next(detector.detect([Frame(dots(*CENTRES), 0.0)]))
    assert len(found) == 2  # neither the low score nor the other label
    for candidate in found:
        check(candidate, CENTRES, 1.0)
    assert set(detector.provenance()) >= {"weights_sha256", "person_weights_sha256", "onnxruntime"}


def test_same_answer_twice(tmp_path):
    detector = RTMPoseDetector(dot_network(tmp_path / "p.onnx"))
    frames = [Frame(dots(*CENTRES), 0.0)]
    one, two = (next(detector.detect(frames))[0] for _ in range(2))
    np.testing.assert_array_equal(one.xy, two.xy)


def test_wrong_files(tmp_path):
    pose = dot_network(tmp_path / "p.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    person = person_network(tmp_path / "person.onnx", [[0, 0, 9, 9, 1]], [0])
    uneven = person_network(tmp_path / "uneven.onnx", [[0, 0, 9, 9, 1], [0, 0, 9, 9, 1]], [0])
    cases = [
        (dict(model=tmp_path / "no.onnx"), r"no\.onnx: no such file"),
        (dict(model=text), r"text\.onnx: cannot be read as an ONNX"),
        (dict(model=person), r"person\.onnx: is no RTMPose network"),
        (dict(model=pose, person_model=pose), r"p\.onnx: is no person detector"),
        (dict(model=pose, person_model=uneven), r"uneven\.onnx: is no person detector .*labels \(1, N\)"),
        (dict(model=dot_network(tmp_path / "p21.onnx", 21)), r"21 key points; known layouts: coco17 \(17\), halpe26"),
        (dict(model=pose, layout="halpe26"), "17 key points, asked for as halpe26"),
    ]
    for options, says in cases:
        with pytest.raises(InputError, match=says) as e:
            RTMPoseDetector(**options)
        assert "\n" not in str(e.value)
    with pytest.raises(UnknownNameError, match="coco17, halpe26"):
        RTMPoseDetector(pose, layout="coco")

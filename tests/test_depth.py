"""Depth networks of known answer: depth from a pixel's colour, and a point map of a known scene."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kinelift.errors import InputError, RecordError
from kinelift.records import Frame, Pose2D
from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import DepthNetwork, PersonDepth, person_depth

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZE = (160, 90)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def colour_network(path, last="Sigmoid", shape=(1, 3, "h", "w"), out="predicted_depth"):
    """Depth Anything's layout: `last` of 4 r - 2, with r the picture's red in [0, 1], times 20."""
    weights = np.zeros((1, 3, 1, 1), np.float32)
    weights[0, 0] = 4 * STD[0]
    nodes = [
        helper.make_node("Conv", ["pixel_values", "w", "b"], ["logit"]),
        helper.make_node(last, ["logit"], ["unit"]),
        helper.make_node("Mul", ["unit", "most"], ["metres"]),
        helper.make_node("Squeeze", ["metres", "axis"], [out]),
    ]
    constants = [constant("w", weights), constant("b", np.array([4 * MEAN[0] - 2], np.float32))]
    constants += [constant("most", np.array(20, np.float32)), constant("axis", np.array([1], np.int64))]
    return save(path, nodes, [value("pixel_values", shape)], [value(out, (1, "h", "w"))], constants)


def metres(red):
    return 20 / (1 + np.exp(-(4 * np.asarray(red) / 255 - 2)))


def picture(red):
    return np.full((SIZE[1], SIZE[0], 3), (red, 40, 200), np.uint8)


def standing(times, **unseen):
    """A person upright in the middle of the picture."""
    xy = np.full((len(times), 26, 2), np.nan)
    for side, x in (("left", 90.0), ("right", 70.0)):
        xy[:, BODY26.index(f"{side}_shoulder")] = x, 20
        xy[:, BODY26.index(f"{side}_hip")] = x, 55
    sure = np.isfinite(xy).all(-1).astype(float)
    for frame in unseen.get("frames", ()):
        xy[frame], sure[frame] = np.nan, 0
    return Pose2D(BODY26, xy, sure, np.asarray(times, float), SIZE)


def filmed(times, reds):
    for t, red in zip(times, reds, strict=True):
        yield Frame(picture(red), float(t))


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return DepthNetwork(colour_network(tmp_path_factory.mktemp("depth") / "any.onnx"))


def test_depth_of_a_colour(metric):
    """Colours arrive in [0, 1] with ImageNet's mean and deviation, red first, sides multiples of 14."""
    assert metric.metric and metric.layout == "depth"
    z, focal = metric.depth(picture(200))
    assert focal is None
    assert z.shape[0] % 14 == 0 and z.shape[1] % 14 == 0
    assert z.shape[1] / z.shape[0] == pytest.approx(SIZE[0] / SIZE[1], rel=0.05)
    np.testing.assert_allclose(z, metres(200), rtol=1e-4)


def test_a_fixed_input_is_kept(tmp_path):
    network = DepthNetwork(colour_network(tmp_path / "n.onnx", shape=(1, 3, 28, 28)))
    np.testing.assert_allclose(network.depth(picture(60))[0], np.full((28, 28), metres(60)), rtol=1e-4)


def test_relative_depth_is_known_by_its_relu(tmp_path):
    """The relative networks end in a ReLU and give inverse depth: nearer is larger."""
    network = DepthNetwork(colour_network(tmp_path / "metric.onnx", last="Relu"))
    assert not network.metric and network.layout == "inverse depth"
    np.testing.assert_allclose(network.depth(picture(200))[0], 1 / (20 * (4 * 200 / 255 - 2)), rtol=1e-3)
    assert np.isnan(network.depth(picture(50))[0]).all()


def point_network(path, points, mask, scale, tokens=True, shape=(1, 3, "h", "w")):
    """MoGe-2's layout, answering with the same points whatever it sees."""
    nodes = [helper.make_node("Identity", [n + "_"], [n]) for n in ("points", "mask", "metric_scale")]
    constants = [constant("points_", np.float32(points[None])), constant("mask_", np.float32(mask[None]))]
    constants += [constant("metric_scale_", np.float32([scale]))]
    inputs = [value("image", shape), *([value("num_tokens", (), TensorProto.INT64)] if tokens else [])]
    outputs = [value("points", (1, "h", "w", 3)), value("mask", (1, "h", "w")), value("metric_scale", (1,))]
    return save(path, nodes, inputs, outputs, constants)


@pytest.mark.parametrize("focal", [60.0, 220.0])
def test_point_map_shift_and_scale(tmp_path, focal):
    """A slanted wall seen with some focal length: points are known up to a shift along z, and a scale given apart."""
    w, h = SIZE
    u, v = np.meshgrid(np.arange(w) - (w - 1) / 2, np.arange(h) - (h - 1) / 2)
    z = 3 / (1 - 0.5 * u / focal - 0.3 * v / focal)
    points = np.stack([u / focal * z, v / focal * z, z - 0.7], -1) / 2
    mask = np.ones((h, w))
    mask[:10] = 0
    network = DepthNetwork(point_network(tmp_path / "n.onnx", points, mask, 2.0))
    assert network.metric and network.layout == "points"
    got, read = network.depth(picture(0))
    assert read == pytest.approx(focal, rel=5e-3)
    assert np.isnan(got[:10]).all()
    np.testing.assert_allclose(got[10:], z[10:], rtol=2e-3)


def test_fixed_point_map_of_other_proportions_is_cropped(tmp_path):
    """A square input sees a wide picture with bars; a flat wall 4 m away stays 4 m away."""
    n, focal = 160, 120.0
    u, v = np.meshgrid(*[np.arange(n) - (n - 1) / 2] * 2)
    wall = np.stack([u / focal * 4, v / focal * 4, np.full_like(u, 4.0)], -1)
    path = point_network(tmp_path / "n.onnx", wall, np.ones((n, n)), 1.0, tokens=False, shape=(1, 3, n, n))
    got, read = DepthNetwork(path).depth(picture(0))
    assert read == pytest.approx(focal)
    assert got.shape == (90, 160)
    assert np.ptp(got) == 0


def test_a_person_who_walks_away(metric):
    """Depth between two looks lies on the line between them; skin to pelvis is 0.1 m."""
    times = np.arange(61) / 30
    reds = 100 + np.arange(61)
    depth = person_depth(filmed(times, reds), standing(times), metric)
    assert depth.metric and "any.onnx" in depth.source
    np.testing.assert_allclose(depth.z, metres(reds) + 0.1, rtol=2e-3)
    assert (depth.sigma > 0.02 * depth.z).all() and (depth.sigma < 0.1 * depth.z).all()


def test_unseen_frames_stay_unknown(metric):
    times = np.arange(90) / 30
    gone = range(30, 75)
    depth = person_depth(filmed(times, [120] * 90), standing(times, frames=gone), metric)
    assert np.isnan(depth.z[30:75]).all() and np.isfinite(depth.z[:30]).all() and np.isfinite(depth.z[75:]).all()
    nobody = person_depth(filmed(times, [120] * 90), standing(times, frames=range(90)), metric)
    assert np.isnan(nobody.z).all()


def test_looks_are_few(metric, monkeypatch):
    """Half a second between two looks, whatever the frame rate."""
    seen = []
    monkeypatch.setattr(metric, "depth", lambda image: (seen.append(1), (np.full((9, 16), 3.0), 1500.0))[1])
    times = np.arange(240) / 120
    found = person_depth(filmed(times, [0] * 240), standing(times), metric)
    assert len(seen) == 4 and found.focal_px == 1500


def test_an_arm_across_the_trunk_does_not_count(metric):
    """A stripe nearer than the trunk covers a third of it: the median holds."""
    image = picture(150)
    image[28:36] = (20, 40, 200)
    times = np.zeros(1)
    depth = person_depth([Frame(image, 0.0)], standing(times), metric)
    assert depth.z[0] == pytest.approx(metres(150) + 0.1, rel=0.01)


def external(path):
    model = onnx.load(colour_network(path))
    onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=True, size_threshold=0, location="w.bin")
    return path


def two_outputs(path):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["x"], ["b"])]
    return save(path, nodes, [value("x", (1, 3, 8, 8))], [value("a", (1, 3, 8, 8)), value("b", (1, 3, 8, 8))], [])


def nobody_knows(path):
    return colour_network(path, last="Tanh")


def text(path):
    path.write_text("no network")
    return path


def custom(path):
    node = helper.make_node("Mystery", ["x"], ["y"], domain="evil.org")
    graph = helper.make_graph([node], "g", [value("x", (1, 3, 8, 8))], [value("y", (1, 8, 8))])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil.org", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def huge(path):
    return colour_network(path, shape=(1, 3, 90_000, 90_000))


REFUSED = {
    external: "keeps its weights in another file",
    two_outputs: r"it takes x \[1, 3, 8, 8\] and gives a .*, b .*; accepted are Depth Anything V2 .* MoGe-2",
    nobody_knows: "is no depth network known here",
    text: "it is no ONNX file",
    custom: "cannot be loaded",
    huge: "is no depth network known here",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda m: m.__name__)
def test_other_files_are_refused_in_one_line(tmp_path, make):
    with pytest.raises(InputError, match=REFUSED[make]) as e:
        DepthNetwork(make(tmp_path / "n.onnx"))
    assert "\n" not in str(e.value)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        DepthNetwork(tmp_path / "none.onnx")


def test_a_network_that_breaks_its_layout(tmp_path):
    """Points for another picture than it was given."""
    flat = np.ones((5, 7, 3))
    network = DepthNetwork(point_network(tmp_path / "n.onnx", flat, np.ones((5, 7)), 1.0))
    with pytest.raises(InputError, match="does not answer as its layout should"):
        network.depth(picture(0))


@pytest.mark.parametrize("z, sigma", [([np.inf], [1.0]), ([1.0], [0.0]), ([1.0], [np.nan]), ([1.0, 2.0], [1.0])])
def test_depth_is_checked(z, sigma):
    with pytest.raises(RecordError):
        PersonDepth(np.array(z), np.array(sigma), True, "test")


def test_a_vast_file_is_not_read(tmp_path, monkeypatch):
    path = colour_network(tmp_path / "n.onnx")
    monkeypatch.setattr("kinelift.safe.onnx._LARGEST", path.stat().st_size - 1)
    with pytest.raises(InputError, match="larger than"):
        DepthNetwork(path)


def test_weights_outside_a_node_inside_the_graph_are_found(tmp_path):
    """A tensor in a node's attribute that points to another file."""
    tensor = constant("c", np.zeros((1, 8, 8), np.float32))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    nodes = [helper.make_node("Constant", [], ["y"], value=tensor)]
    graph = helper.make_graph(nodes, "g", [value("x", (1, 3, 8, 8))], [value("y", (1, 8, 8))])
    path = tmp_path / "n.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(InputError, match="keeps its weights in another file"):
        DepthNetwork(path)

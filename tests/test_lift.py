"""What lifters see, the ONNX contract with tiny networks, and how a lifter is found by name."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.errors import InputError, UnknownNameError
from kinelift.kinematics import reference_offsets, rotvec_to_matrix
from kinelift.lift import LIFTERS, Lifter, OnnxLifter, load_lifter, mapped
from kinelift.lift.rays import FEATURES, INPUT_JOINTS, aim, encode, encode_opinion, input_joints
from kinelift.lift.temporal import BRIDGE_S, BRIDGE_TRUST, evened, regular_times, resampled_rays
from kinelift.records import Pose2D
from kinelift.skeleton import BODY26, COCO17, H36M17, MEDIAPIPE33, SKELETONS

MIRROR = list(BODY26.mirror)

B = BODY26.index
SIZE = (1280, 720)
AIMED = slice(0, 2 * len(INPUT_JOINTS))


@pytest.fixture(scope="module")
def person(walk, look_at):
    """Two seconds of the walk in the axes of a level camera that sees it at (0.1, -0.05)."""
    p = look_at([0, 1, 5], [0, 1, 0]).to_camera(walk(np.arange(60) / 30, heading=0.8))
    return p - p[:, :1] + np.array([0.5, 0.2, 5.0])


def features_of(x, confidence=None):
    joints = input_joints(x[None])
    confidence = np.ones(joints.shape[:3]) if confidence is None else confidence
    return encode(joints[..., :2] / joints[..., 2:], confidence)


def test_aim_turns_the_axis_onto_the_ray_without_roll():
    root = np.random.default_rng(0).normal(0, 0.6, (50, 2))
    R = aim(root)
    ray = np.concatenate([root, np.ones((50, 1))], 1)
    np.testing.assert_allclose(R @ [0, 0, 1], ray / np.linalg.norm(ray, axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.broadcast_to(np.eye(3), R.shape), atol=1e-12)
    axis = np.stack([-root[:, 1], root[:, 0], 0 * root[:, 0]], -1)  # turned about this, and about nothing else
    np.testing.assert_allclose(np.einsum("nij,nj->ni", R, axis), axis, atol=1e-12)


@pytest.mark.parametrize("degrees", [-25, 12, 30])
def test_turning_the_camera_moves_the_person_but_not_the_features(person, degrees):
    """Only the root's ray tells where in the picture the person is; perspective stays what it was."""
    still, _ = features_of(person)
    moved, _ = features_of(person @ rotvec_to_matrix(np.array([0, np.radians(degrees), 0])).T)
    same = slice(0, 3 * len(INPUT_JOINTS) + 1)
    shift = np.abs((moved - still)[..., same]).max()
    assert shift < 0.06  # body sizes; the person's rays move by several
    assert np.abs((moved - still)[..., -2]).min() > 0.8 * np.tan(np.radians(abs(degrees)))


def test_aimed_rays_are_those_of_a_camera_aimed_at_the_root(person):
    features, R = features_of(person)
    aimed = person @ R[0]
    rays = input_joints(aimed)[..., :2] / input_joints(aimed)[..., 2:]
    got = features[0, :, AIMED].reshape(60, -1, 2) * np.exp(features[0, :, 3 * len(INPUT_JOINTS)])[:, None, None]
    np.testing.assert_allclose(got, rays, atol=1e-5)


def test_spread_is_scale_and_features_are_not(person):
    """A person half as large at half the distance makes the same picture; nearer without shrinking, a larger spread."""
    near = person * 0.5
    np.testing.assert_allclose(features_of(near)[0], features_of(person)[0], atol=1e-5)
    far = person + np.array([0, 0, 5.0]) + person[:, :1] * [1, 1, 0]
    spread = [features_of(x)[0][..., 3 * len(INPUT_JOINTS)] for x in (person, far)]
    np.testing.assert_allclose(spread[0] - spread[1], np.log(2), atol=0.05)
    assert np.abs(features_of(far)[0][..., AIMED]).mean() == pytest.approx(
        np.abs(features_of(person)[0][..., AIMED]).mean(), rel=0.02
    )


def test_mirrored_picture_gives_mirrored_features(person):
    mirror = [INPUT_JOINTS.index(BODY26.joints[BODY26.mirror[B(j)]]) for j in INPUT_JOINTS]
    a, _ = features_of(person)
    b, _ = features_of(person[:, list(BODY26.mirror)] * [-1, 1, 1])
    n = len(INPUT_JOINTS)
    aimed = a[..., AIMED].reshape(1, 60, n, 2)[:, :, mirror] * [-1, 1]
    np.testing.assert_allclose(b[..., AIMED].reshape(1, 60, n, 2), aimed, atol=1e-5)
    np.testing.assert_allclose(b[..., -2:], a[..., -2:] * [-1, 1], atol=1e-6)
    np.testing.assert_allclose(b[..., -3], a[..., -3], atol=1e-6)


def test_what_is_unseen_does_not_speak(person):
    rng = np.random.default_rng(1)
    confidence = (rng.random((1, 60, len(INPUT_JOINTS))) < 0.7).astype(float)
    confidence[:, 20:30] = 0
    joints = input_joints(person[None])
    rays = joints[..., :2] / joints[..., 2:]
    other = np.where(confidence[..., None] > 0, rays, 77.0)
    nan = np.where(confidence[..., None] > 0, rays, np.nan)
    clean = encode(rays, confidence)[0]
    np.testing.assert_array_equal(encode(other, confidence)[0], clean)
    np.testing.assert_array_equal(encode(nan, confidence)[0], clean)
    assert np.isfinite(clean).all() and clean.shape == (1, 60, FEATURES)
    unseen = np.broadcast_to(confidence[..., None] == 0, rays.shape).reshape(1, 60, -1)
    assert (clean[..., AIMED][unseen] == 0).all()
    assert np.isfinite(encode(rays, 0 * confidence)[0]).all()


@pytest.mark.parametrize(
    "times", [[3.0], [0, 0.01], np.arange(7) / 24, np.arange(100) / 30, 5 + np.arange(501) / 59.94, [0, 0.5, 0.51, 4]]
)
def test_regular_times_are_thirty_a_second_and_cover_the_clip(times):
    times = np.asarray(times, float)
    grid = regular_times(times)
    np.testing.assert_allclose(np.diff(grid), 1 / 30)
    assert len(grid) >= 31
    assert grid[0] <= times[0] + 1e-6 and grid[-1] >= times[-1] - 1e-6
    assert len(grid) == 31 or len(grid) == 32 or grid[-1] - times[-1] < 1 / 30
    assert abs((grid[0] + grid[-1]) / 2 - (times[0] + times[-1]) / 2) <= 1 / 30


def pose_of(x, skeleton=BODY26, camera=None, times=None):
    xy = (camera or Camera.from_focal(900, SIZE)).project_camera(x)
    times = np.arange(len(x)) / 30 if times is None else times
    return Pose2D(skeleton, xy, np.full(xy.shape[:2], 0.8), times, SIZE)


def test_resampling_bridges_and_marks(person):
    pose = pose_of(person)
    confidence = pose.confidence.copy()
    confidence[20:30, 5] = 0
    pose = pose.replaced(confidence=confidence, xy=np.where(confidence[..., None] > 0, pose.xy, np.nan))
    rays, c = resampled_rays(pose, Camera.from_focal(900, SIZE), pose.times)
    gap = 11 / 30
    np.testing.assert_allclose(c[20:30, 5], BRIDGE_TRUST * (1 - gap / BRIDGE_S))
    np.testing.assert_array_equal(c[confidence > 0], confidence[confidence > 0])
    true = person[..., :2] / person[..., 2:]
    np.testing.assert_allclose(rays[confidence > 0], true[confidence > 0], atol=1e-9)
    u = np.linspace(0, 1, 12)[1:-1, None]
    np.testing.assert_allclose(rays[20:30, 5], true[19, 5] * (1 - u) + true[30, 5] * u)


def test_long_gaps_and_a_clips_ends_are_not_bridged(person):
    """A joint unseen for longer than the limit, or before it was first seen, has no confidence."""
    pose = pose_of(person, times=np.arange(len(person)) / 12)
    confidence = pose.confidence.copy()
    confidence[10:40, 5] = 0
    confidence[:6, 7] = 0
    pose = pose.replaced(confidence=confidence, xy=np.where(confidence[..., None] > 0, pose.xy, np.nan))
    _, c = resampled_rays(pose, Camera.from_focal(900, SIZE), pose.times)
    assert (c[10:40, 5] == 0).all() and (c[:6, 7] == 0).all() and (c[40:, 5] > 0).all()


def test_a_picture_held_askew_is_lifted_like_an_upright_one(person):
    camera = Camera.from_focal(900, SIZE)
    lifter, middle = load_lifter("temporal"), (np.array(SIZE) - 1) / 2
    pose = pose_of(person)
    turn = rotvec_to_matrix(np.array([0, 0, np.radians(90)]))
    askew = pose.replaced(xy=(pose.xy - middle) @ turn[:2, :2].T + middle)
    one, other = lifter.lift(pose, camera), lifter.lift(askew, camera)
    turned_back = other.positions @ turn
    assert np.linalg.norm(turned_back - one.positions, axis=-1).mean() < 0.02
    assert np.degrees(np.arccos(np.clip((other.gravity @ turn * one.gravity).sum(-1), -1, 1))).mean() < 5


def test_mapping_key_points_takes_means_and_the_least_confidence():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.1, 1, (4, 33))
    m = MEDIAPIPE33.index
    confidence[2, m("left_hip")] = 0
    xy = np.where(confidence[..., None] > 0, rng.normal(300, 50, (4, 33, 2)), np.nan)
    pose = Pose2D(MEDIAPIPE33, xy, confidence, np.arange(4), SIZE, detector_3d=rng.normal(size=(4, 33, 3)))
    body = mapped(pose, BODY26)
    hips = MEDIAPIPE33.indices("left_hip", "right_hip")
    np.testing.assert_allclose(body.xy[[0, 1, 3], 0], xy[[0, 1, 3]][:, hips].mean(1))
    np.testing.assert_allclose(body.detector_3d[0, 0], pose.detector_3d[0, hips].mean(0))
    np.testing.assert_allclose(body.confidence[:, 0], confidence[:, hips].min(1))
    assert np.isnan(body.xy[2, 0]).all() and not body.seen[2, B("left_hip")] and body.seen[2, B("right_hip")]
    assert not body.seen[:, B("chest")].any()  # no detector's key point says where the chest is


def test_mapping_goes_through_body26_where_there_is_no_table():
    xy = np.random.default_rng(3).normal(300, 50, (2, 17, 2))
    pose = Pose2D(COCO17, xy, np.ones((2, 17)), np.arange(2), SIZE)
    two = mapped(mapped(pose, BODY26), H36M17)
    np.testing.assert_array_equal(mapped(pose, H36M17).xy, two.xy)
    np.testing.assert_allclose(two.xy[:, H36M17.index("LKnee")], xy[:, COCO17.index("left_knee")])
    assert mapped(pose, COCO17) is pose


def save(path, nodes, constants, inputs, outputs, metadata):
    """Write a tiny ONNX network; inputs and outputs are name -> shape."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        *([helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in x.items()] for x in (inputs, outputs)),
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


ABOUT = {"format": "kinelift-lifter/1", "licence": "CC0-1.0", "held_out": json.dumps({"mpjpe": 50})}
SAID = np.random.default_rng(4).normal(0, 0.3, 78).astype(np.float32)


def tiny_rays(path, features=FEATURES, drop=(), fill=0.0, **metadata):
    """A network of the `rays` layout that always says one pose, gravity (0, .6, .8), contact .7, and sigma = spread."""
    w = {k: np.zeros((features, n), np.float32) for k, n in (("p", 78), ("s", 26), ("g", 3), ("c", 4))}
    w["s"][min(3 * len(INPUT_JOINTS), features - 1)] = 1
    bias = {"p": SAID + np.float32(fill), "s": [0.0] * 26, "g": [0, 0.6, 0.8], "c": [0.7] * 4}
    nodes, constants = [], {"shape": np.array([0, 0, 26, 3])}
    for k in w:
        constants |= {f"w{k}": w[k], f"b{k}": np.array(bias[k], np.float32)}
        nodes += [helper.make_node("MatMul", ["features", f"w{k}"], [f"m{k}"])]
        nodes += [helper.make_node("Add", [f"m{k}", f"b{k}"], [{"g": "gravity", "c": "contact"}.get(k, f"a{k}")])]
    nodes += [helper.make_node("Reshape", ["ap", "shape"], ["positions"]), helper.make_node("Exp", ["as"], ["sigma"])]
    outputs = {"positions": [1, None, 26, 3], "sigma": [1, None, 26], "gravity": [1, None, 3], "contact": [1, None, 4]}
    outputs = {k: v for k, v in outputs.items() if k not in drop}
    return save(
        path, nodes, constants, {"features": [1, None, features]}, outputs, ABOUT | {"layout": "rays"} | metadata
    )


@pytest.fixture(scope="module")
def rays_file(tmp_path_factory):
    return tiny_rays(tmp_path_factory.mktemp("lifters") / "tiny.onnx")


def test_the_networks_word_is_turned_from_the_aimed_to_the_real_camera(rays_file, person):
    still = np.repeat(person[:1], 60, 0)
    lifted = OnnxLifter(rays_file).lift(pose_of(still), Camera.from_focal(900, SIZE))
    hips = still[0, BODY26.indices("left_hip", "right_hip")]
    R = aim((hips[:, :2] / hips[:, 2:]).mean(0))
    said = SAID.reshape(26, 3)
    both = (said + said[list(BODY26.mirror)] * [-1, 1, 1]) / 2  # asked about the mirror image too, and averaged
    np.testing.assert_allclose(lifted.positions[7], both @ R.T, atol=1e-6)
    np.testing.assert_allclose(lifted.gravity[7], R @ [0, 0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(lifted.contact, 0.7, atol=1e-6)
    np.testing.assert_allclose(np.log(lifted.sigma[:, 0]), features_of(still)[0][0, :, 63], atol=1e-5)
    assert lifted.scale == "metric" and lifted.skeleton is BODY26


def test_bones_come_halfway_to_their_usual_length_left_as_right():
    rng = np.random.default_rng(3)
    steady = np.tile(reference_offsets() * [1, -1, 1], (20, 1, 1))
    for j, parent in enumerate(BODY26.parents[1:], 1):
        steady[:, j] += steady[:, parent]
    sight = np.tile([0.28, 0.0, 0.96], (20, 1))
    np.testing.assert_allclose(evened(steady, sight), steady, atol=1e-9)
    wrist, elbow = BODY26.indices("left_wrist", "left_elbow")
    hand = BODY26.index("left_hand")
    bone = rotvec_to_matrix(np.array([0.5, 0.9, 0.2])) @ (steady[0, wrist] - steady[0, elbow])
    steady[:, hand] += bone - (steady[:, wrist] - steady[:, elbow])
    steady[:, wrist] = steady[:, elbow] + bone
    short = steady.copy()
    short[7, [wrist, hand]] -= 0.4 * bone
    out = evened(short, sight)
    assert np.linalg.norm(out[7, wrist] - out[7, elbow]) == pytest.approx(0.8 * np.linalg.norm(bone), rel=1e-3)
    moved = out[7, wrist] - short[7, wrist]
    near_sight = [abs(v @ sight[7]) / np.linalg.norm(v) for v in (moved, bone)]
    assert near_sight[0] > near_sight[1] + 0.05
    np.testing.assert_allclose(np.delete(out, 7, 0), np.delete(steady, 7, 0), atol=1e-9)
    noisy, flip = steady + rng.normal(0, 0.02, steady.shape), [-1, 1, 1]
    mirrored = evened(noisy[:, MIRROR] * flip, sight * flip)
    np.testing.assert_allclose(mirrored, evened(noisy, sight)[:, MIRROR] * flip, atol=1e-9)


def test_a_mirrored_person_is_lifted_to_the_mirrored_pose(person):
    mirror, lifter = list(BODY26.mirror), load_lifter("temporal")
    w = SIZE[0] - 1
    camera = Camera.from_focal(900, SIZE)
    a = pose_of(person)
    b = a.replaced(xy=a.xy[:, mirror] * [-1, 1] + [w, 0], confidence=a.confidence[:, mirror])
    one, other = lifter.lift(a, camera), lifter.lift(b, camera)
    np.testing.assert_allclose(other.positions, one.positions[:, mirror] * [-1, 1, 1], atol=1e-4)
    np.testing.assert_allclose(other.sigma, one.sigma[:, mirror], atol=1e-4)
    np.testing.assert_allclose(other.contact, one.contact[:, [2, 3, 0, 1]], atol=1e-4)


def test_zooming_changes_nothing(rays_file, person):
    """Twice the focal length and twice the pixels are one set of rays, whatever the lens."""
    lifter = OnnxLifter(rays_file)
    a, b = (Camera.from_focal(f, SIZE) for f in (700, 1400))
    lens = b.replaced(distortion=[-0.1, 0.02, 0, 0, 0])
    first = lifter.lift(pose_of(person, camera=a), a)
    for camera in (b, lens):
        other = lifter.lift(pose_of(person, camera=camera), camera)
        np.testing.assert_allclose(other.positions, first.positions, atol=1e-5)
        np.testing.assert_allclose(other.sigma, first.sigma, rtol=1e-4)


@pytest.mark.parametrize("times", [[0.0], [0, 0.02], np.arange(30) / 12, np.cumsum(np.full(60, 0.011)) ** 1.2])
def test_any_times_in_the_same_times_out(rays_file, person, times):
    times = np.asarray(times, float)
    lifted = OnnxLifter(rays_file).lift(pose_of(person[: len(times)], times=times), Camera.from_focal(900, SIZE))
    np.testing.assert_array_equal(lifted.times, times)
    assert lifted.positions.shape == (len(times), 26, 3) and np.isfinite(lifted.positions).all()
    np.testing.assert_allclose(np.linalg.norm(lifted.gravity, axis=-1), 1)


def test_provenance_names_hash_and_licence(rays_file):
    import hashlib

    about = OnnxLifter(rays_file).provenance()
    assert about["sha256"] == hashlib.sha256(rays_file.read_bytes()).hexdigest()
    assert about["licence"] == "CC0-1.0" and about["held_out"] == {"mpjpe": 50} and about["layout"] == "rays"


@pytest.mark.parametrize("depth_only", [True, False])
def test_root_spread_layout_is_seventeen_joints_over_their_mean_distance(tmp_path, person, depth_only):
    """A network that says z = x: positions are the normalised picture with that depth, the hip at the origin."""
    w = np.zeros((34, 17 if depth_only else 51), np.float32)
    for j in range(17):
        if depth_only:
            w[2 * j, j] = 1
        else:
            w[2 * j, [3 * j, 3 * j + 2]] = 1
            w[2 * j + 1, 3 * j + 1] = 1
    path = save(
        tmp_path / "old.onnx", [helper.make_node("MatMul", ["x", "w"], ["z"])], {"w": w}, {"x": [None, 34]},
        {"z": [None, w.shape[1]]}, ABOUT | {"layout": "root-spread"},
    )  # fmt: skip
    lifter, camera = OnnxLifter(path), Camera.from_focal(900, SIZE)
    pose = mapped(pose_of(person), lifter.skeleton)
    lifted = lifter.lift(pose, camera)
    x = lifted.positions
    assert lifted.scale == "unit" and lifted.skeleton is H36M17
    np.testing.assert_allclose(x[:, 0], 0, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(x[:, 1:, :2], axis=-1).mean(1), 1, atol=1e-6)
    np.testing.assert_allclose(x[..., 2], x[..., 0], atol=1e-6)
    shape = pose.xy - pose.xy[:, :1]
    across = x[..., 0] * shape[..., 1] - x[..., 1] * shape[..., 0]
    np.testing.assert_allclose(across, 0, atol=1e-3)  # the picture's own directions
    elsewhere = lifter.lift(pose.replaced(xy=pose.xy * 0.5 + 100), camera)
    np.testing.assert_allclose(elsewhere.positions, x, atol=1e-5)


@pytest.mark.parametrize("channels", [2, 3])
def test_screen_layout_is_width_normalised(tmp_path, person, channels):
    """VideoPose3D's and MotionBERT's picture: x from -1 to 1 across, y by the same factor; confidence third."""
    w = np.eye(channels, 3, dtype=np.float32)
    path = save(
        tmp_path / "screen.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": w},
        {"x": [1, None, 17, channels]}, {"y": [1, None, 17, 3]}, ABOUT | {"layout": "screen"},
    )  # fmt: skip
    lifter = OnnxLifter(path)
    pose = mapped(pose_of(person), H36M17)
    x = lifter.lift(pose, Camera.from_focal(900, SIZE)).positions
    np.testing.assert_allclose(x[..., :2], (pose.xy - pose.xy[:, :1]) * 2 / SIZE[0], atol=1e-5)
    np.testing.assert_allclose(x[..., 2], 0, atol=1e-6)


def test_gaps_are_filled_for_networks_that_know_none(tmp_path, person):
    w = np.eye(2, 3, dtype=np.float32)
    path = save(
        tmp_path / "screen.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": w},
        {"x": [1, None, 17, 2]}, {"y": [1, None, 17, 3]}, ABOUT | {"layout": "screen"},
    )  # fmt: skip
    pose = mapped(pose_of(person), H36M17)
    confidence = pose.confidence.copy()
    confidence[10:15, 4] = 0
    confidence[:, 16] = 0
    hidden = pose.replaced(confidence=confidence, xy=np.where(confidence[..., None] > 0, pose.xy, np.nan))
    x = OnnxLifter(path).lift(hidden, Camera.from_focal(900, SIZE)).positions
    true = (pose.xy - pose.xy[:, :1]) * 2 / SIZE[0]
    np.testing.assert_allclose(x[:, 16], 0, atol=1e-6)  # never seen: on the root
    assert np.abs(x[10:15, 4, :2] - true[10:15, 4]).max() < 0.02
    nobody = pose.replaced(confidence=0 * confidence, xy=np.full_like(pose.xy, np.nan))
    with pytest.raises(InputError, match="enough of the person"):
        OnnxLifter(path).lift(nobody, Camera.from_focal(900, SIZE))


def test_files_that_are_no_lifters_say_so_in_one_line(tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    cases = [(text, "is no ONNX lifter"), (tmp_path / "none.onnx", "cannot be read"), (tmp_path, "cannot be read")]
    cases += [(tiny_rays(tmp_path / "other.onnx", format="other/3"), "lacks format=kinelift-lifter/1")]
    for path, message in cases:
        with pytest.raises(InputError, match=message) as e:
            OnnxLifter(path)
        assert "\n" not in str(e.value)
    with pytest.raises(UnknownNameError, match=r"'spiral'.*rays.*root-spread.*screen"):
        OnnxLifter(tiny_rays(tmp_path / "spiral.onnx", layout="spiral"))


@pytest.mark.parametrize(
    "change", [{"drop": ("sigma",)}, {"features": 60}, {"fill": np.nan}, {"fill": np.inf}], ids=str
)
def test_networks_that_break_their_layout_are_refused(tmp_path, person, change):
    lifter = OnnxLifter(tiny_rays(tmp_path / "odd.onnx", **change))
    with pytest.raises(InputError, match=r"odd\.onnx"):
        lifter.lift(pose_of(person), Camera.from_focal(900, SIZE))


def test_lifters_by_name_file_and_class(tmp_path, monkeypatch, rays_file):
    (tmp_path / "mine.py").write_text(
        "from kinelift.skeleton import H36M17\n"
        "class Flat:\n"
        "    name, skeleton = 'flat', H36M17\n"
        "    def lift(self, pose, camera): ...\n"
        "    def provenance(self): return {}\n"
        "class Half:\n    name = 'half'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert load_lifter("mine:Flat").name == "flat"
    assert isinstance(load_lifter("mine:Flat"), Lifter)
    assert load_lifter(str(rays_file)).name == "tiny"
    for name, message in [
        ("tempral", r"unknown lifter 'tempral'; known: .*temporal"),
        (str(tmp_path / "none.onnx"), "no such lifter file"),
        ("no_such_module:Flat", "cannot be loaded"),
        ("mine:Round", "cannot be loaded"),
        ("mine:Half", "lacks"),
    ]:
        with pytest.raises(InputError, match=message):
            load_lifter(name)


@pytest.mark.parametrize("name", LIFTERS)
def test_every_registered_lifter_answers_its_contract(name, person):
    lifter = load_lifter(name)
    assert isinstance(lifter, Lifter) and lifter.skeleton.name in SKELETONS
    pose = mapped(pose_of(person), lifter.skeleton)
    lifted = lifter.lift(pose, Camera.from_focal(900, SIZE))
    np.testing.assert_array_equal(lifted.times, pose.times)
    np.testing.assert_allclose(lifted.positions[:, 0], 0, atol=1e-6)
    assert {"name", "sha256", "licence"} <= set(lifter.provenance())
    again = lifter.lift(pose, Camera.from_focal(900, SIZE))
    np.testing.assert_array_equal(again.positions, lifted.positions)


def test_the_shipped_lifter_knows_a_walk(walk, look_at):
    """From exact key points of a motion it has never seen: pose, gravity and the planted feet."""
    world, camera = walk(np.arange(75) / 30, heading=0.8), look_at([0.5, 1.5, 6], [0.8, 0.9, 0.5], 900, SIZE)
    cam = camera.to_camera(world)
    lifted = load_lifter("temporal").lift(pose_of(cam), Camera.from_focal(900, SIZE))
    limbs = BODY26.indices(*metrics.LIMBS)
    assert metrics.pa_mpjpe(lifted.positions[:, limbs], cam[:, limbs]) < 75
    down = camera.R_cam_world @ [0, -1, 0]
    assert np.degrees(np.arccos(np.clip(lifted.gravity @ down, -1, 1))).mean() < 6
    soles = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
    planted = world[:, soles, 1] < 0.001
    assert all(np.corrcoef(lifted.contact[:, i], planted[:, i])[0, 1] > 0.5 for i in range(4))


def test_the_detectors_own_3d_is_told_in_the_reference_bodys_scale_or_as_nothing(person):
    """Any scale in, one scale out; joints and frames without it are zero; the flag says which frames have any."""
    own = np.stack([person - person[:, :1]] * 2) * np.array([0.4, 3.0])[:, None, None, None]
    given = np.ones(own.shape[:3], bool)
    given[:, 30:] = False
    given[:, :, B("left_wrist")] = False
    told = encode_opinion(own, given)
    np.testing.assert_allclose(told[0], told[1], atol=1e-5)
    joints = told[0, :30, :-1].reshape(30, -1, 3)
    arm = [INPUT_JOINTS.index(f"right_{j}") for j in ("shoulder", "elbow")]
    true = np.linalg.norm(reference_offsets()[B("right_elbow")])
    length = np.linalg.norm(joints[:, arm[1]] - joints[:, arm[0]], axis=-1)
    assert length.mean() == pytest.approx(true, rel=0.25)
    assert (joints[:, INPUT_JOINTS.index("left_wrist")] == 0).all()
    assert (told[0, :30, -1] == 1).all() and (told[0, 30:] == 0).all()
    assert (encode_opinion(np.zeros_like(own), np.zeros_like(given)) == 0).all()

"""End-to-end laws: the sample against its truth, solving again, other lifters, other inputs."""

import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

import kinelift
from kinelift import metrics
from kinelift.detect import write_keypoints
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.export.npz import load_motion
from kinelift.kinematics import motion_positions
from kinelift.pipeline import SAMPLE_HEIGHT_M, sample_path
from kinelift.records import CONTACT_JOINTS
from kinelift.report.quality import steps
from kinelift.report.sample import sample_errors, sample_truth
from kinelift.skeleton import BODY26, H36M17

JOINT = BODY26.index


@pytest.fixture(scope="session")
def take():
    """The sample, from pixels."""
    return kinelift.animate(sample_path())


@pytest.fixture(scope="session")
def points(take, tmp_path_factory):
    """The sample's key points as a file."""
    path = tmp_path_factory.mktemp("points") / "sample.npz"
    write_keypoints(path, take.poses_2d[0])
    return path


@pytest.fixture(scope="session")
def few(points, take):
    """A second and a half of them, where length is not the point."""
    path = points.with_name("few.npz")
    write_keypoints(path, take.poses_2d[0].sliced(slice(20, 65)))
    return path


@pytest.fixture(scope="session")
def again(points):
    """The sample from its key points, with the height that is known."""
    return kinelift.animate(points, height_m=SAMPLE_HEIGHT_M)


@pytest.fixture(scope="session")
def positions(take):
    return motion_positions(take.motions[0])


def same(a, b, tolerance):
    for name in ("offsets", "rotations", "root", "contacts", "times", "observed"):
        assert np.allclose(getattr(a, name), getattr(b, name), rtol=0, atol=tolerance), name


# The sample against its truth.


def test_sample_is_near_its_truth(take):
    errors = sample_errors(take.motions[0])
    assert errors["mpjpe_mm"] < 85
    assert errors["pa_mpjpe_mm"] < 65
    assert errors["abs_mpjpe_mm"] < 125
    assert abs(errors["path_error_percent"]) < 6


def test_sample_keeps_the_videos_times(take):
    with av.open(str(sample_path())) as container:
        times = [f.time for f in container.decode(video=0)]
    assert np.allclose(take.motions[0].times, times, atol=1e-6)
    assert take.motions[0].observed.mean() > 0.95


def test_sample_is_upright(positions):
    head, pelvis = positions[:, JOINT("head"), 1], positions[:, 0, 1]
    feet = positions[:, [JOINT(j) for j in CONTACT_JOINTS], 1].max(1)
    assert (head > pelvis + 0.3).all()
    assert (pelvis > feet + 0.1).all()
    standing = positions[-10:]
    assert standing[:, JOINT("head"), 1].mean() == pytest.approx(0.93 * SAMPLE_HEIGHT_M, rel=0.08)


def test_floor_is_at_zero(take, positions):
    motion = take.motions[0]
    soles, planted = positions[:, motion.contact_joints, 1], motion.contacts > 0.5
    assert abs(np.median(soles[planted])) < 0.03
    assert np.percentile(soles[planted], 90) < 0.12
    assert np.percentile(soles, 1) > -0.03
    assert metrics.penetration(positions[:, motion.contact_joints]) < 5


def test_the_first_pelvis_is_over_the_origin(take):
    assert np.abs(take.motions[0].root[0, ::2]).max() < 1e-6


def test_who_faces_the_camera_faces_plus_z(positions):
    def front(p):
        across = p[:, JOINT("left_hip")] - p[:, JOINT("right_hip")]
        d = np.cross(across, [0, 1.0, 0]).mean(0)
        return d / np.linalg.norm(d)

    truth, _ = sample_truth()
    assert front(truth[-15:])[2] > 0.95
    assert front(positions[-15:])[2] > 0.9


def test_the_walk_goes_where_it_went(positions):
    truth, _ = sample_truth()
    true, found = (p[80, 0, ::2] - p[0, 0, ::2] for p in (truth, positions))
    assert found @ true / np.linalg.norm(found) / np.linalg.norm(true) > np.cos(np.radians(15))


def test_both_feet_alternate(take, positions):
    motion = take.motions[0]
    counts = steps(motion)
    assert counts["left_stances"] >= 2
    assert counts["right_stances"] >= 2
    assert counts["alternate_percent"] >= 80
    walk = slice(0, 75)
    forward = positions[70, 0] - positions[5, 0]
    forward /= np.linalg.norm(forward)
    lead = (positions[walk, JOINT("left_ankle")] - positions[walk, JOINT("right_ankle")]) @ forward
    changes = np.count_nonzero(np.diff(np.sign(lead[np.abs(lead) > 0.05])))
    truth, _ = sample_truth()
    true = (truth[walk, JOINT("left_ankle")] - truth[walk, JOINT("right_ankle")]) @ forward
    assert changes == np.count_nonzero(np.diff(np.sign(true[np.abs(true) > 0.05])))


def test_planted_feet_do_not_slide(take):
    assert take.report["foot_sliding_mm_per_frame"] < 3


def test_bones_are_constant_and_symmetric(take, positions):
    motion = take.motions[0]
    parents = np.maximum(BODY26.parents, 0)
    lengths = np.linalg.norm(positions - positions[:, parents], axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-6
    rest = np.linalg.norm(motion.offsets, axis=-1)
    assert np.allclose(rest, rest[list(BODY26.mirror)])


def test_report_says_what_the_issue_asks(take):
    keys = {
        "frames", "seconds", "detected_percent", "swapped_frames_repaired", "reprojection_error_px",
        "foot_sliding_mm_per_frame", "penetration_mm", "jitter_10m_s3", "bone_variation_percent", "scale", "focal",
        "warnings",
    }  # fmt: skip
    assert keys <= take.report.keys()
    assert json.loads(json.dumps(take.report)) == take.report
    assert all(take.report[k]["source"] for k in ("scale", "focal"))
    assert take.report["reprojection_error_px"] < 6


def test_meta_says_what_made_it(take):
    meta = take.meta
    assert len(meta["lifter"]["sha256"]) == 64
    assert len(meta["detector"]["weights_sha256"]) == 64
    assert {"kinelift", "numpy", "scipy", "onnxruntime"} <= meta["versions"].keys()
    assert "seed" in meta
    assert "threads" in meta


# Again without pixels.


def test_key_points_give_the_same_motion_as_pixels(take, again):
    same(take.motions[0], again.motions[0], 1e-6)


def test_motion_file_solves_again_to_the_same_motion(again, tmp_path):
    path = tmp_path / "motion.npz"
    export(again, path)
    same(again.motions[0], kinelift.animate(path, height_m=SAMPLE_HEIGHT_M).motions[0], 1e-6)


def test_sample_file_keeps_its_known_height(take, tmp_path):
    path = tmp_path / "motion.npz"
    export(take, path)
    solved = kinelift.animate(path)
    assert solved.meta["height_m"] == SAMPLE_HEIGHT_M
    same(take.motions[0], solved.motions[0], 1e-6)


def test_two_processes_write_the_same_bytes(few, tmp_path):
    files = []
    for name in ("one", "two"):
        out = tmp_path / name
        command = [sys.executable, "-m", "kinelift.cli", "animate", str(few), "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        files.append(out)
    for name in ("motion.npz", "motion.bvh", "motion.glb", "motion.csv"):
        assert (files[0] / name).read_bytes() == (files[1] / name).read_bytes(), name


def test_detection_twice_is_the_same(take):
    # Tracking carries state from frame to frame: the clip's beginning, on its own, must repeat the whole run's.
    short = kinelift.animate(sample_path(), end=0.5)
    n = len(short.motions[0].times)
    assert n == 15
    assert np.array_equal(short.poses_2d[0].xy, take.poses_2d[0].xy[:n])


def test_height_scales_everything(few):
    one, two = (kinelift.animate(few, height_m=h) for h in (1.25, 2.5))
    a, b = (motion_positions(t.motions[0]) for t in (one, two))
    assert np.allclose(2 * one.motions[0].offsets, two.motions[0].offsets, atol=1e-6)
    assert np.abs(2 * a - b).max() < 0.005
    assert np.abs(2 * one.camera.position - two.camera.position).max() < 0.005
    assert np.allclose(one.motions[0].contacts, two.motions[0].contacts, atol=0.01)


def test_focal_length_given_is_the_one_used(few):
    solved = kinelift.animate(few, focal_px=1000)
    assert solved.camera.focal_px == 1000
    assert solved.report["focal"] == {"focal_px": 1000, "source": "given"}


def test_pictures_scale_does_not_matter(few, tmp_path):
    detection = kinelift.detect.read_keypoints(few).pose
    path = tmp_path / "double.npz"
    w, h = detection.image_size
    write_keypoints(path, detection.replaced(xy=2 * detection.xy + 0.5, image_size=(2 * w, 2 * h)))
    a, b = (motion_positions(kinelift.animate(p).motions[0]) for p in (few, path))
    assert np.abs(a - b).max() < 0.005


def test_a_mirrored_clip_gives_the_mirrored_motion(few, tmp_path):
    pose = kinelift.detect.read_keypoints(few).pose
    mirror = list(pose.skeleton.mirror)
    xy = pose.xy[:, mirror] * [-1, 1] + [pose.image_size[0] - 1, 0]
    d3 = None if pose.detector_3d is None else pose.detector_3d[:, mirror] * [-1, 1, 1]
    path = tmp_path / "mirrored.npz"
    write_keypoints(path, pose.replaced(xy=xy, confidence=pose.confidence[:, mirror], detector_3d=d3))
    a, b = (motion_positions(kinelift.animate(p).motions[0]) for p in (few, path))
    assert np.linalg.norm(a - b[:, list(BODY26.mirror)] * [-1, 1, 1], axis=-1).mean() < 0.06


# Other lifters.


@pytest.fixture(scope="session")
def single_frame_lifter(tmp_path_factory):
    """A 17-joint ONNX file of layout root-spread that gives each joint a fixed depth: unit scale, single frame."""
    onnx = pytest.importorskip("onnx")
    depth = np.zeros(17, np.float32)
    for name, z in {"LKnee": -0.1, "RKnee": -0.1, "LWrist": -0.15, "RWrist": -0.15}.items():
        depth[H36M17.index(name)] = z
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", ["x", "none"], ["zero"]),
        helper.make_node("ReduceSum", ["zero", "axis"], ["column"], keepdims=1),
        helper.make_node("Add", ["column", "depth"], ["z"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.zeros(1, np.float32), "none"),
        onnx.numpy_helper.from_array(np.array([1]), "axis"),
        onnx.numpy_helper.from_array(depth[None], "depth"),
    ]
    graph = helper.make_graph(
        nodes,
        "depths",
        [helper.make_tensor_value_info("x", tensor, ["T", 34])],
        [helper.make_tensor_value_info("z", tensor, ["T", 17])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"format": "kinelift-lifter/1", "layout": "root-spread", "licence": "none"})
    path = tmp_path_factory.mktemp("lifter") / "depths.onnx"
    onnx.save(model, str(path))
    return path


def check_whole_path(take, folder):
    export(take, folder / "motion.bvh")
    assert "MOTION" in (folder / "motion.bvh").read_text()
    p = motion_positions(take.motions[0])
    assert np.isfinite(p).all()
    assert (p[:, JOINT("head"), 1] > p[:, 0, 1]).all()
    assert take.report["reprojection_error_px"] < 20


def test_single_frame_unit_lifter_completes(few, single_frame_lifter, tmp_path):
    solved = kinelift.animate(few, lifter=str(single_frame_lifter))
    check_whole_path(solved, tmp_path)
    filled = set(solved.report["filled_joints"])
    assert {"left_heel", "right_toe", "left_ear", "left_hand"} <= filled
    assert not filled & {"left_knee", "right_wrist", "pelvis"}
    assert solved.meta["lifter"]["licence"] == "none"


def test_lifters_unit_does_not_matter(few, tmp_path, monkeypatch):
    (tmp_path / "scaled_lifters.py").write_text(
        "from kinelift.lift import load_lifter\n"
        "class Base:\n"
        "    name, factor = 'base', 1.0\n"
        "    def __init__(self):\n"
        "        self.inner = load_lifter('temporal')\n"
        "        self.skeleton = self.inner.skeleton\n"
        "    def lift(self, pose, camera):\n"
        "        lifted = self.inner.lift(pose, camera)\n"
        "        f = self.factor\n"
        "        sigma = None if lifted.sigma is None else lifted.sigma * f\n"
        "        return lifted.replaced(positions=lifted.positions * f, sigma=sigma, scale='unit')\n"
        "    def provenance(self):\n"
        "        return {'name': self.name}\n"
        "class Large(Base):\n"
        "    factor = 100.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    a, b = (motion_positions(kinelift.animate(few, lifter=f"scaled_lifters:{c}").motions[0]) for c in ("Base", "Large"))
    assert np.abs(a - b).max() < 1e-3


def test_lifter_as_code_completes(few, tmp_path):
    (tmp_path / "my_lifters.py").write_text(
        "import numpy as np\n"
        "from kinelift.records import Lifted\n"
        "from kinelift.skeleton import H36M17\n"
        "class Flat:\n"
        "    name, skeleton = 'flat', H36M17\n"
        "    def lift(self, pose, camera):\n"
        "        rays = np.nan_to_num(camera.unproject(pose.xy))\n"
        "        flat = np.concatenate([rays, 0 * rays[..., :1]], -1)\n"
        "        return Lifted(H36M17, flat - flat[:, :1], pose.times, 'unit')\n"
        "    def provenance(self):\n"
        "        return {'name': 'flat'}\n"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kinelift.cli", "animate", str(few), "-o", str(out), "--lifter", "my_lifters:Flat"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines()), done.stderr
    assert (out / "motion.bvh").is_file()
    report = json.loads((out / "report.json").read_text())
    assert report["lifter"] == "flat"
    assert "left_heel" in report["filled_joints"]


# Other inputs.


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Some of the sample's pictures as files, half size."""
    folder = tmp_path_factory.mktemp("pictures")
    with av.open(str(sample_path())) as container:
        for i, frame in zip(range(6), (f for f in container.decode(video=0) if f.time > 0.5)):
            picture = frame.to_ndarray(format="rgb24", width=480, height=270)
            Image.fromarray(picture).save(folder / f"{i + 8}.png")  # 8, 9, 10: natural order matters
    return folder


def test_single_image(pictures):
    solved = kinelift.animate(pictures / "8.png")
    (motion,) = solved.motions
    p = motion_positions(motion)
    assert len(motion.times) == 1
    assert p[0, JOINT("head"), 1] > p[0, 0, 1] > p[0, JOINT("left_ankle"), 1]
    assert np.abs(p[0, motion.contact_joints, 1]).min() < 0.1
    assert any("single frame" in w for w in solved.report["warnings"])


def test_folder_of_images(pictures):
    solved = kinelift.animate(pictures)
    (motion,) = solved.motions
    assert np.allclose(np.diff(motion.times), 1 / 30)
    assert len(motion.times) == 6
    x = solved.poses_2d[0].xy[:, 23:25, 0].mean(1)  # hips: one way, so the order is the natural one
    assert (np.sign(np.diff(x)) == np.sign(x[-1] - x[0])).all()


def test_start_and_end(take):
    part = kinelift.animate(sample_path(), start=1.0, end=1.4).motions[0]
    whole = take.motions[0].times
    assert np.allclose(part.times, whole[(whole >= 1.0 - 1e-9) & (whole < 1.4)])


def test_start_and_end_of_key_points(few, take):
    times = take.poses_2d[0].times[20:65]
    solved = kinelift.animate(few, start=1.0, end=1.5)
    assert np.array_equal(solved.motions[0].times, times[(times >= 1.0) & (times < 1.5)])


def test_convert_keeps_the_motion(few, tmp_path):
    solved = kinelift.animate(few)
    export(solved, tmp_path / "motion.npz")
    command = [sys.executable, "-m", "kinelift.cli", "convert", str(tmp_path / "motion.npz"), str(tmp_path / "b.bvh")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    export(solved, tmp_path / "a.bvh")
    assert (tmp_path / "a.bvh").read_bytes() == (tmp_path / "b.bvh").read_bytes()
    same(solved.motions[0], load_motion(tmp_path / "motion.npz").motions[0], 1e-9)


def test_progress_tells_every_stage(few):
    told = []
    kinelift.animate(few, progress=lambda stage, done, total: told.append(stage))
    assert list(dict.fromkeys(told))[-3:] == ["repair", "lift", "solve"]


def test_unknown_option_of_animate(few):
    with pytest.raises((TypeError, InputError)):
        kinelift.animate(few, hieght_m=1.7)


# Real input.


@pytest.mark.data
@pytest.mark.parametrize("camera", ["cam01", "cam02"])
def test_openpose_of_a_real_clip(data, tmp_path, camera):
    folder = data / "real" / "balancing"
    solved = kinelift.animate(
        folder / "openpose" / camera,
        fps=60,
        image_size=(1088, 1920),
        calibration=folder / "calibration.toml",
        camera_name=f"cam_{camera[-2:]}",
    )
    (motion,) = solved.motions
    assert motion.observed.mean() > 0.8
    assert solved.meta["world_source"] == "calibration"
    export(solved, tmp_path / "motion.bvh")
    p = motion_positions(motion)
    assert (p[:, JOINT("head"), 1] > p[:, 0, 1]).all()
    assert solved.report["reprojection_error_px"] < 15

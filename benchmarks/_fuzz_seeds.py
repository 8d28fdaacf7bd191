"""Small valid files of every kind that kinelift reads, by its own writers, its tests' and others'."""

from __future__ import annotations

import functools
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
FRAMES = 24


@functools.cache
def walk() -> Any:
    """Rotations, offsets, root and contact of the tests' walk, its times, and a camera that sees it."""
    from conftest import _look_at, _walk

    times = np.arange(FRAMES) / 30
    return _walk(times), times, _look_at([0.5, 1.3, 6], [0, 1, 0.4])


@functools.cache
def seen() -> Any:
    """The walk as key points: `Pose2D` of body26."""
    from kinelift.kinematics import forward_kinematics
    from kinelift.records import Pose2D
    from kinelift.skeleton import BODY26

    (local, offsets, root, _), times, camera = walk()
    positions, _ = forward_kinematics(BODY26, offsets, local, root)
    own = camera.to_camera(positions)
    own = own - own[:, :1]
    return Pose2D(BODY26, camera.project(positions), np.full((FRAMES, 26), 0.9), times, camera.image_size, 0, own)


def joints(names: list[str]) -> np.ndarray:
    """World positions (T, J, 3) of the walk."""
    from kinelift.kinematics import forward_kinematics
    from kinelift.skeleton import BODY26

    local, offsets, root, _ = walk()[0]
    return forward_kinematics(BODY26, offsets, local, root)[0][:, BODY26.indices(*names)]


def keypoints(folder: Path) -> list[Path]:
    from kinelift.detect import write_keypoints

    write_keypoints(folder / "keypoints.npz", seen(), {"kind": "keypoints", "name": "walk.mp4", "fps": 30})
    return [folder / "keypoints.npz"]


def take(folder: Path) -> list[Path]:
    """A `motion.npz` with all that a real run writes."""
    from kinelift.export import export
    from kinelift.pipeline import Options, animate

    (points,) = keypoints(folder)
    edits = edit_files(folder)[0]
    export(animate(str(points), Options(height_m=1.7, edits=edits), lambda *a: None), folder / "motion.npz")
    return [folder / "motion.npz"]


def _people(skeleton: Any) -> list[np.ndarray]:
    from test_detect_files import standing

    return [standing(skeleton, 300 + i) for i in range(4)]


def openpose(folder: Path) -> list[Path]:
    from kinelift.skeleton import BODY_25
    from test_detect_files import openpose_folder

    openpose_folder(folder / "op", [[p] for p in _people(BODY_25)])
    return sorted((folder / "op").iterdir())[:2]


def point_lists(folder: Path) -> list[Path]:
    """COCO results, AlphaPose, and MMPose in its two forms."""
    from kinelift.skeleton import COCO17

    people = _people(COCO17)
    flat = [p.ravel().tolist() for p in people]
    persons = [{"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()} for p in people]
    made = {
        "coco": [{"image_id": i, "category_id": 1, "keypoints": f, "score": 0.9} for i, f in enumerate(flat)],
        "alpha": [{"image_id": f"{i}.jpg", "keypoints": f, "score": 2.1} for i, f in enumerate(flat)],
        "mmpose": {
            "meta_info": {},
            "instance_info": [{"frame_id": i, "instances": [p]} for i, p in enumerate(persons)],
        },
        "one": persons[:1],
    }
    for name, content in made.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return [folder / f"{name}.json" for name in made]


@functools.cache
def motion() -> Any:
    """The walk as a `Motion`."""
    from kinelift.kinematics import matrix_to_quat
    from kinelift.records import Motion
    from kinelift.skeleton import BODY26

    (local, offsets, root, contact), times, _ = walk()
    soles = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
    ones = np.ones(FRAMES, bool)
    return Motion(BODY26, offsets, matrix_to_quat(local), root, contact, soles, ones, np.ones((FRAMES, 26)), times)


def bvh(folder: Path) -> list[Path]:
    from kinelift.export import export
    from kinelift.records import Take

    export(Take((motion(),), walk()[2], ()), folder / "motion.bvh")
    return [folder / "motion.bvh"]


def rigs(folder: Path) -> list[Path]:
    """A character of the tests as GLB and VRM."""
    import rig_files
    from rigs import RIGS

    made = RIGS["vrm"]()
    return [rig_files.write_glb(made, folder / "vrm.glb"), rig_files.write_vrm(made, folder / "vrm.vrm")]


def bvh_rig(folder: Path) -> list[Path]:
    import rig_files
    from rigs import RIGS

    return [rig_files.write_bvh(RIGS["mixamo"](), folder / "mixamo.bvh")]


def bone_maps(folder: Path) -> list[Path]:
    rigs(folder)
    names = {"left_upper_leg": "J_Bip_L_UpperLeg", "right_upper_leg": "J_Bip_R_UpperLeg"}
    (folder / "map.toml").write_text("".join(f'{k} = "{v}"\n' for k, v in names.items()))
    (folder / "map.json").write_text(json.dumps(names))
    return [folder / "map.toml", folder / "map.json"]


def mocap(folder: Path) -> list[Path]:
    from kinelift.datasets.mocap import MOCAP_JOINTS

    names = [*MOCAP_JOINTS, "neck", "head"]
    p = joints(names).astype(np.float32)
    np.savez(folder / "mocap.npz", positions=np.concatenate([p, p]), joint_names=names, clip_lengths=[FRAMES] * 2,
             clip_names=["walk_01", "walk_02"], clip_fps=[30.0, 60.0])  # fmt: skip
    return [folder / "mocap.npz"]


def _h36m() -> tuple[dict, dict, dict]:
    """Points (T, 32, 3) millimetres, cameras and 2D of the subjects of the test split, as in the tests."""
    from kinelift.skeleton import BODY26, H36M17, joint_map
    from test_datasets_h36m import KEPT, lenses, project_h36m

    body = np.nan_to_num(joints(list(BODY26.joints)))
    whole = np.full((FRAMES, 32, 3), 12345.0)
    whole[:, KEPT] = (joint_map(BODY26, H36M17) @ body)[..., [2, 0, 1]] * 1000
    points = {s: {"Walking 1": whole, "Photo": whole + 10} for s in ("S9", "S11")}
    cameras = {s: lenses(s) for s in points}
    pixels = {
        s: {k: {n: project_h36m(v[:, KEPT], c) for n, c in cameras[s].items()} for k, v in t.items()}
        for s, t in points.items()
    }
    return points, cameras, pixels


def h36m_pickles(folder: Path) -> list[Path]:
    points, cameras, pixels = _h36m()
    flat = {s: {k: {n: v.reshape(-1, 34) for n, v in c.items()} for k, c in t.items()} for s, t in pixels.items()}
    for name, data in (("points_3d", points), ("cameras", cameras), ("sh_detect_2d", flat)):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(data))
    return [folder / f"{name}.pkl" for name in ("points_3d", "cameras", "sh_detect_2d")]


def h36m_npz(folder: Path) -> list[Path]:
    points, _, pixels = _h36m()
    metres = {s: {k: v / 1000 for k, v in t.items()} for s, t in points.items()}
    lists = {s: {k: list(v.values()) for k, v in t.items()} for s, t in pixels.items()}
    about = {"layout_name": "h36m", "num_joints": 17}
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.array(metres, object))
    for name in ("data_2d_h36m_gt", "data_2d_h36m_cpn_ft_h36m_dbb"):
        np.savez(folder / f"{name}.npz", positions_2d=np.array(lists, object), metadata=np.array(about, object))
    return [folder / n for n in ("data_3d_h36m.npz", "data_2d_h36m_gt.npz", "data_2d_h36m_cpn_ft_h36m_dbb.npz")]


def mpii_mat(folder: Path) -> list[Path]:
    from kinelift.datasets import mpii
    from test_datasets_mpii import person, write_mat

    p = np.random.default_rng(2).uniform(50, 900, (40, 16, 2)).round(1)
    return [write_mat(folder / mpii.MAT, [[person(p[2 * i]), person(p[2 * i + 1])] for i in range(20)])]


def mpii_npy(folder: Path) -> list[Path]:
    np.save(folder / "mpii_poses.npy", np.random.default_rng(2).uniform(50, 900, (60, 34)).astype(np.float32))
    return [folder / "mpii_poses.npy"]


def threedhp_train(folder: Path) -> list[Path]:
    from scipy.io import savemat

    from test_datasets_3dhp import bodies, calibration, intrinsic, project

    inner, rng = folder / "S1/Seq1", np.random.default_rng(1)
    inner.mkdir(parents=True)
    cells = {k: np.empty((14, 1), object) for k in ("annot2", "annot3")}
    for c in range(14):
        p = bodies(11, 28, rng)
        cells["annot2"][c, 0], cells["annot3"][c, 0] = project(p, intrinsic(c)).reshape(11, 56), p.reshape(11, 84)
    savemat(inner / "annot.mat", cells)
    (inner / "camera.calibration").write_text(calibration())
    return [inner / "annot.mat"]


def threedhp_calibration(folder: Path) -> list[Path]:
    threedhp_train(folder)
    return [folder / "S1/Seq1/camera.calibration"]


def threedhp_test(folder: Path) -> list[Path]:
    import h5py

    from test_datasets_3dhp import bodies, project, write_h5

    (folder / "TS1").mkdir()
    p = bodies(20, 17, np.random.default_rng(4))
    path = folder / "TS1/annot_data.mat"
    write_h5(h5py, path, annot2=project(p)[:, None], annot3=p[:, None], valid_frame=np.ones((20, 1)))
    return [path]


QUALISYS = """<?xml version="1.0" encoding="UTF-8"?>
<calibration calibrated="2024-01-01" type="regular" version="1.0" qtm-version="2022.2">
<cameras><camera active="1" serial="26578" model="Miqus Video"><fov_marker left="0" top="0" right="1919" bottom="1079"/>
<fov_video left="0" top="0" right="1919" bottom="1079"/>
<transform x="1200.5" y="-3400.1" z="1500" r11="1" r12="0" r13="0" r21="0" r22="0" r23="-1" r31="0" r32="1" r33="0"/>
<intrinsic focallength="9.2" sensorMinU="0" sensorMaxU="122880" sensorMinV="0" sensorMaxV="69120"
 focalLengthU="89600" focalLengthV="89500" centerPointU="61440" centerPointV="34560" skew="0"
 radialDistortion1="-0.05" radialDistortion2="0.03" radialDistortion3="0" tangentalDistortion1="0"
 tangentalDistortion2="0"/></camera></cameras></calibration>
"""
POSE2SIM = """[cam_1]
name = "cam_1"
size = [ 1920.0, 1080.0]
matrix = [ [ 1400.0, 0.0, 960.0], [ 0.0, 1400.0, 540.0], [ 0.0, 0.0, 1.0]]
distortions = [ -0.05, 0.02, 0.0, 0.0]
rotation = [ 1.2, -0.3, 0.4]
translation = [ 0.1, 1.0, 4.0]
fisheye = false

[metadata]
adjusted = false
error = 0.0
"""
ROS = """image_width: 640
image_height: 480
camera_name: narrow
camera_matrix:
  rows: 3
  cols: 3
  data: [438.8, 0.0, 305.6, 0.0, 437.3, 243.7, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.361, 0.160, 0.0001, -0.0007, 0.0]
"""


def calibrations(folder: Path) -> list[Path]:
    from test_calibration import LENS, RVEC, SIZE, TVEC, K, stored

    given = SIZE | {"camera_matrix": K, "distortion_coefficients": LENS.reshape(1, 5)}
    given |= {"rvec": RVEC.reshape(3, 1), "tvec": TVEC.reshape(3, 1)}
    out = [stored(folder / "cv.yml", **given), stored(folder / "cv.xml", **given)]
    for name, text in (("qtm.xml", QUALISYS), ("pose2sim.toml", POSE2SIM), ("ros.yaml", ROS)):
        (folder / name).write_text(text)
        out.append(folder / name)
    return out


EDITS = """format = "kinelift-edits/1"
height_m = 1.7
floor_y = 0.02
cuts = [0.2]
[[swap]]
from = 0.1
to = 0.3
parts = "legs"
[[hide]]
joints = ["left_hand", "right_foot"]
[[contact]]
from = 0.0
to = 0.4
soles = "left_foot"
planted = true
[[support]]
soles = ["right_heel"]
height_m = 0.18
"""


def edit_files(folder: Path) -> list[Path]:
    import tomllib

    (folder / "edits.toml").write_text(EDITS)
    (folder / "edits.json").write_text(json.dumps(tomllib.loads(EDITS)))
    return [folder / "edits.toml", folder / "edits.json"]


def lifters(folder: Path) -> list[Path]:
    """Networks of the layouts `rays` and `screen`."""
    from onnx import helper

    from test_lift import ABOUT, save, tiny_rays

    matrix = helper.make_node("MatMul", ["x", "w"], ["y"])
    screen = save(folder / "screen.onnx", [matrix], {"w": np.eye(2, 3, dtype=np.float32)}, {"x": [1, None, 17, 2]},
                  {"y": [1, None, 17, 3]}, ABOUT | {"layout": "screen"})  # fmt: skip
    return [tiny_rays(folder / "rays.onnx"), screen]


def own_lifter(folder: Path) -> list[Path]:
    """A lifter that `kinelift train temporal` could go on from."""
    from kinelift.training.export import export
    from kinelift.training.network import TemporalNet

    export(TemporalNet(16, 16), folder / "lifter.onnx", {"seed": 1}, {"mpjpe": 50.0}, False, "made up")
    return [folder / "lifter.onnx"]


def depth_networks(folder: Path) -> list[Path]:
    from test_depth import colour_network, point_network

    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 24)), -1)
    points = np.concatenate([grid, np.full((24, 32, 1), 3.0)], -1)
    moge = point_network(folder / "moge.onnx", points, np.ones((24, 32)), 1.5, shape=(1, 3, 24, 32))
    return [colour_network(folder / "metric.onnx"), colour_network(folder / "relative.onnx", last="Relu"), moge]


def pose_networks(folder: Path) -> list[Path]:
    from test_detect_rtmpose import dot_network, person_network

    person = person_network(folder / "rtmdet.onnx", [[50, 20, 250, 200, 0.9], [0, 0, 9, 9, 0.1]], [0, 3])
    return [dot_network(folder / "rtmpose.onnx"), person]


def caffe(folder: Path) -> list[Path]:
    from caffe_network import write_network

    return list(write_network(folder))


def chainer(folder: Path) -> list[Path]:
    for name in ("plain", "batch_norm"):
        (folder / f"{name}.npz").write_bytes((ROOT / f"tests/fixtures/chainer/{name}.npz").read_bytes())
    return [folder / "plain.npz", folder / "batch_norm.npz"]


def chainer_options(folder: Path) -> list[Path]:
    chainer(folder)
    (folder / "options.json").write_text(json.dumps({"activate_func": "relu", "use_bn": False, "batchsize": 16}))
    return [folder / "options.json"]


def task(folder: Path) -> list[Path]:
    from test_detect_mediapipe import task_file

    return [task_file(folder / "full.task")]


def pictures(folder: Path) -> list[Path]:
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 28
    out = []
    for suffix in ("jpg", "png", "bmp", "tif", "webp"):
        image.save(folder / f"picture.{suffix}", **({"exif": exif} if suffix in ("jpg", "png", "webp", "tif") else {}))
        out.append(folder / f"picture.{suffix}")
    return out


def videos(folder: Path) -> list[Path]:
    import av

    out = []
    for name, codec in (
        ("a.mp4", "libx264"), ("b.webm", "libvpx"), ("c.mkv", "libx264"), ("d.avi", "mpeg4"), ("e.mpg", "mpeg1video"),
        ("f.gif", "gif"), ("g.ts", "libx264"),
    ):  # fmt: skip
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, width=64, height=48)
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            stream.options = {"preset": "ultrafast"} if codec == "libx264" else {}
            for i in range(12):
                picture = np.full((48, 64, 3), 20 * i, np.uint8)
                picture[:, 4 * i : 4 * i + 4] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
        out.append(path)
    return out


def prior(folder: Path) -> list[Path]:
    from kinelift.training.prior import fit_prior, save_prior

    poses = np.random.default_rng(0).normal(0, 1, (100, 13, 2))
    save_prior(fit_prior(poses, steps=2), folder / "prior.npz")
    return [folder / "prior.npz"]


def detector_data(folder: Path) -> list[Path]:
    from kinelift.training.detector_data import write_detector_data
    from test_detector_data import clip

    write_detector_data(folder / "shard.npz", [clip(0, 5), clip(1, 3)])
    return [folder / "shard.npz"]


def generator(folder: Path) -> list[Path]:
    from kinelift.training.projection.export import save_weights
    from kinelift.training.projection.networks import PoseMLP

    net = PoseMLP(width=24, batch_norm=True, activation="relu")
    return [save_weights(net, folder / "g.safetensors", {"batch_norm": True, "activation": "relu"})]


def elepose(folder: Path) -> list[Path]:
    import torch

    from kinelift.training.projection import elepose as e
    from kinelift.training.projection.flow import PoseFlow

    net, flow = e.EleposeNet(32), PoseFlow(4, 30, 8, 2)
    state = {
        "format": e.FORMAT,
        "config": {"width": 32, "nose_ahead": 0.1},
        "elevation": [0.0, 0.1],
        "bones": torch.ones(16),
    }
    torch.save(state | {"net": net.state_dict(), "flow": flow.state_dict()}, folder / "elepose.pt")
    return [folder / "elepose.pt"]


def checkpoint(folder: Path) -> list[Path]:
    import torch

    from kinelift.training.projection.runs import FORMAT

    about = {"format": FORMAT, "config": {"batch": 8, "lr": 0.1}, "data": ["made", 30], "epoch": 2}
    torch.save(about | {"generator": {"w": torch.ones(3, 3)}}, folder / "checkpoint.pt")
    return [folder / "checkpoint.pt"]

"""Every reader of files that kinelift has: what to fuzz it with, and how it is called."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import _fuzz_binary as binary
import _fuzz_mutate as mutate
import _fuzz_records as records
import _fuzz_seeds as seeds
from _fuzz_mutate import Mutation

# What `convert` writes, by the file's content; fbx, which needs Blender, starts from the same rig.
FORMATS = ("bvh", "glb", "csv", "trc", "c3d", "vmd", "mot", "usda", "npz")


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        name: The row's name in the table.
        seeds: Writes valid files into a folder; those to spoil, one at a time.
        mutations: Ways to spoil them.
        read: Reads the spoilt file, which lies among its unspoilt neighbours; every frame, array or answer of it.
    """

    name: str
    seeds: Callable[[Path], list[Path]]
    mutations: tuple[Mutation, ...]
    read: Callable[[Path], Any]


def motion(path: Path) -> None:
    from kinelift.viewer.takes import find_video, read_people

    find_video(read_people(path), path, path.with_suffix(".html"))


def convert(path: Path) -> None:
    from kinelift.export import export
    from kinelift.export.npz import load_motion

    kind = FORMATS[zlib.crc32(path.read_bytes()) % len(FORMATS)]
    export(load_motion(path), path.with_name(f"out.{kind}"), None)


def page(path: Path) -> None:
    from kinelift.viewer import view

    view(path, path.with_suffix(".html"), video=False)


def animate(path: Path) -> None:
    from kinelift.pipeline import Options
    from kinelift.pipeline import animate as run

    run(str(path), Options(), lambda *a: None)


def keypoints(path: Path) -> None:
    from kinelift.detect import is_keypoint_input, read_keypoints

    is_keypoint_input(path)
    read_keypoints(path)


def openpose_folder(path: Path) -> None:
    keypoints(path.parent)


def bvh(path: Path) -> None:
    from kinelift.datasets import views17
    from kinelift.export.bvh import read_bvh

    read_bvh(path)
    views17.read(path, "all")


def character(path: Path) -> None:
    from kinelift.retarget import read_character, retarget, write_character

    made = read_character(path)
    write_character(made, retarget(seeds.motion(), made), path.with_name(f"animated{path.suffix}"))


def bone_map(path: Path) -> None:
    from kinelift.retarget import read_character

    read_character(path.with_name("vrm.glb"), path)


def mocap(path: Path) -> None:
    from kinelift.datasets import views17

    views17.read(path, "all")


def h36m(path: Path) -> None:
    from kinelift.datasets import h36m

    two_d = {"sh_detect_2d.pkl": "sh", "data_2d_h36m_cpn_ft_h36m_dbb.npz": "cpn"}.get(path.name, "gt")
    h36m.read(path.parent, "test", two_d)


def mpii(path: Path) -> None:
    from kinelift.datasets import mpii

    mpii.read(path, "train")


def mpii_for_prior(path: Path) -> None:
    from kinelift.training.prior import read_mpii

    read_mpii(path)


def threedhp(path: Path) -> None:
    from kinelift.datasets import mpi_inf_3dhp

    root = path.parents[1] if path.name == "annot_data.mat" else path.parents[2]
    mpi_inf_3dhp.read(root, "test" if path.name == "annot_data.mat" else "train")


def calibration(path: Path) -> None:
    from kinelift.camera import read_cameras

    for found in read_cameras(path).values():
        found.camera.unproject(np.zeros((1, 2)))


def edits(path: Path) -> None:
    from kinelift.repair.edits import read_edits

    found = read_edits(path)
    found.check(seeds.seen())
    found.as_dict()


def lifter(path: Path) -> None:
    from kinelift.camera import Camera
    from kinelift.lift import load_lifter, mapped

    made = load_lifter(str(path))
    pose = seeds.seen()
    made.lift(mapped(pose, made.skeleton), Camera.from_focal(900, pose.image_size))
    made.provenance()


def chainer_options(path: Path) -> None:
    lifter(path.with_name("plain.npz"))


def own_lifter(path: Path) -> None:
    from kinelift.training.checkpoint import read_network

    read_network(path).config()


def depth(path: Path) -> None:
    from kinelift.trajectory.depth import DepthNetwork

    DepthNetwork(path).depth(np.zeros((60, 80, 3), np.uint8))


def _detect(detector: Any) -> None:
    from kinelift.records import Frame

    list(detector.detect([Frame(np.full((240, 320, 3), 90, np.uint8), i / 30) for i in range(2)]))


def rtmpose(path: Path) -> None:
    from kinelift.detect import make_detector

    person = path.with_name("rtmdet.onnx")
    _detect(make_detector("rtmpose", model=path.with_name("rtmpose.onnx"), person_model=person))


def caffe(path: Path) -> None:
    from kinelift.detect import make_detector

    proto, model = path.with_name("coco.prototxt"), path.with_name("coco.caffemodel")
    _detect(make_detector("openpose", proto=proto, model=model))


def task(path: Path) -> None:
    from kinelift.detect import make_detector

    _detect(make_detector("mediapipe", model=path))


def frames(path: Path) -> None:
    from kinelift.video import open_frames

    with open_frames(path) as source:
        for _ in source:
            pass


def proxy(path: Path) -> None:
    from kinelift.viewer.proxy import browser_plays, write_proxy

    if not browser_plays(path):
        write_proxy(path, path.with_name("proxy.mp4"), 0.0, 1.0, 320)


def prior(path: Path) -> None:
    from kinelift.training.prior import load_prior

    load_prior(path)


def detector_data(path: Path) -> None:
    from kinelift.training.detector_data import read_detector_data

    read_detector_data(path)


def generator(path: Path) -> None:
    from kinelift.training.projection.export import load_generator

    load_generator(path)


def elepose(path: Path) -> None:
    from kinelift.training.projection.elepose import load_trained

    load_trained(path)


def checkpoint(path: Path) -> None:
    from kinelift.datasets.base import PoseSet, View
    from kinelift.training.projection.runs import load_checkpoint

    data = PoseSet.from_views("made", [View(np.zeros((30, 17, 2)), None)], None)
    load_checkpoint(path, {"batch": 8, "lr": 0.1}, data, ("batch",))


MOTIONS = (*[records.motion_values] * 3, mutate.npz_arrays)
POINTS = (*[records.keypoint_values] * 3, mutate.npz_arrays)

ALL = (
    Reader("motion.npz", seeds.take, mutate.NPZ, motion),
    Reader("motion.npz, converted", seeds.take, MOTIONS, convert),
    Reader("motion.npz, viewed", seeds.take, MOTIONS, page),
    Reader("motion.npz, solved again", seeds.take, MOTIONS, animate),
    Reader("key points, npz", seeds.keypoints, mutate.NPZ, keypoints),
    Reader("key points, animated", seeds.keypoints, POINTS, animate),
    Reader("key points, OpenPose folder", seeds.openpose, mutate.JSONS, openpose_folder),
    Reader("key points, COCO/AlphaPose/MMPose", seeds.point_lists, mutate.JSONS, keypoints),
    Reader("BVH", seeds.bvh, mutate.TEXTS, bvh),
    Reader("characters, GLB and VRM", seeds.rigs, binary.GLBS, character),
    Reader("characters, BVH", seeds.bvh_rig, mutate.TEXTS, character),
    Reader("names of bones (TOML, JSON)", seeds.bone_maps, mutate.TEXTS, bone_map),
    Reader("mocap npz", seeds.mocap, mutate.NPZ, mocap),
    Reader("Human3.6M npz", seeds.h36m_npz, (*[binary.npz_objects] * 8, *mutate.BYTES, mutate.npz_bombs), h36m),
    Reader("Human3.6M pickles", seeds.h36m_pickles, binary.PICKLES, h36m),
    Reader("MPII .mat", seeds.mpii_mat, binary.MATS, mpii),
    Reader("MPII .npy", seeds.mpii_npy, mutate.NPY, mpii),
    Reader("MPII .npy for the prior", seeds.mpii_npy, mutate.NPY, mpii_for_prior),
    Reader("MPI-INF-3DHP .mat", seeds.threedhp_train, binary.MATS, threedhp),
    Reader("MPI-INF-3DHP camera.calibration", seeds.threedhp_calibration, mutate.TEXTS, threedhp),
    Reader("MPI-INF-3DHP MATLAB 7.3", seeds.threedhp_test, mutate.BYTES, threedhp),
    Reader("calibrations (TOML, YAML, XML)", seeds.calibrations, mutate.TEXTS, calibration),
    Reader("edits (TOML, JSON)", seeds.edit_files, mutate.TEXTS, edits),
    Reader("lifters, ONNX", seeds.lifters, binary.NETWORKS, lifter),
    Reader("lifters, Chainer npz", seeds.chainer, mutate.NPZ, lifter),
    Reader("lifters, Chainer options.json", seeds.chainer_options, mutate.JSONS, chainer_options),
    Reader("lifters to train on", seeds.own_lifter, binary.NETWORKS, own_lifter),
    Reader("depth networks, ONNX", seeds.depth_networks, binary.NETWORKS, depth),
    Reader("RTMPose and person networks, ONNX", seeds.pose_networks, binary.NETWORKS, rtmpose),
    Reader("OpenPose prototxt, caffemodel", seeds.caffe, mutate.TEXTS, caffe),
    Reader("MediaPipe .task", seeds.task, mutate.BYTES, task),
    Reader("videos", seeds.videos, mutate.BYTES, frames),
    Reader("videos for the page", seeds.videos, mutate.BYTES, proxy),
    Reader("pictures", seeds.pictures, mutate.BYTES, frames),
    Reader("pose prior npz", seeds.prior, mutate.NPZ, prior),
    Reader("detector data npz", seeds.detector_data, mutate.NPZ, detector_data),
    Reader("generator safetensors", seeds.generator, binary.SAFETENSORS, generator),
    Reader("elepose.pt", seeds.elepose, binary.TORCHES, elepose),
    Reader("checkpoint.pt", seeds.checkpoint, binary.TORCHES, checkpoint),
)
READERS = {r.name: r for r in ALL}

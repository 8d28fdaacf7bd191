"""GLB: a valid file by the Khronos validator, whose joints are where the motion's are, with a body around them."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pygltflib
import pytest

from judges import absent
from kinelift.export import export
from kinelift.export.body import SIDES, body
from kinelift.export.rig import BODY_RIG, rig_of
from kinelift.kinematics import forward_kinematics, motion_positions, quat_to_matrix, reference_offsets
from kinelift.skeleton import BODY26, Skeleton, make_skeleton
from test_export import at_fps, smooth_take

ROOT = Path(__file__).parent.parent
VALIDATE = ROOT / "tests" / "blender" / "validate_glb.js"


def read(path):
    gltf = pygltflib.GLTF2().load(str(path))
    blob = gltf.binary_blob()
    kinds = {5126: "<f4", 5121: "u1", 5123: "<u2"}
    widths = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}

    def array(i):
        a = gltf.accessors[i]
        start = gltf.bufferViews[a.bufferView].byteOffset
        flat = np.frombuffer(blob, kinds[a.componentType], a.count * widths[a.type], start)
        return flat.reshape(a.count, -1) if a.type != "SCALAR" else flat

    return gltf, array


def animated(path):
    """Times, joint names and world positions (T, N, 3), worked out from the file alone."""
    gltf, array = read(path)
    joints = gltf.skins[0].joints
    names = [gltf.nodes[j].name for j in joints]
    parents = [next((p for p in joints if j in (gltf.nodes[p].children or [])), -1) for j in joints]
    (animation,) = gltf.animations
    times = array(animation.samplers[0].input)
    t, n = len(times), len(joints)
    quats = np.tile([0.0, 0, 0, 1], (t, n, 1))
    root = None
    for channel in animation.channels:
        values = array(animation.samplers[channel.sampler].output)
        assert animation.samplers[channel.sampler].interpolation == "LINEAR"
        if channel.target.path == "translation":
            assert channel.target.node == joints[0]
            root = values
        else:
            quats[:, joints.index(channel.target.node)] = values
    offsets = np.array([gltf.nodes[j].translation for j in joints])
    offsets[0] = 0
    tree = Skeleton("file", tuple(names), tuple(parents), tuple(range(n)))
    return times, names, forward_kinematics(tree, offsets, quat_to_matrix(quats), root)[0], quats


def test_joints_and_times_are_the_motions(tmp_path):
    times = 3.7 + np.cumsum(np.random.default_rng(2).uniform(0.01, 0.05, 80))
    take = smooth_take(times, bend=1.5)
    stamps, names, positions, quats = animated(export(take, tmp_path / "m.glb")[0])
    assert stamps[0] == 0 and np.abs(stamps - (times - times[0])).max() < 1e-6
    ours = motion_positions(take.motions[0])
    for name, _, joint in BODY_RIG:
        if joint:
            assert np.abs(positions[:, names.index(name)] - ours[:, BODY26.index(joint)]).max() < 1e-5
    assert np.abs(np.linalg.norm(quats, axis=-1) - 1).max() < 1e-6
    assert ((quats[1:] * quats[:-1]).sum(-1) > 0).all()


def test_fps_on_request(tmp_path):
    stamps, *_ = animated(export(smooth_take(at_fps(60)), tmp_path / "m.glb", fps=25)[0])
    assert np.allclose(stamps, np.arange(26) / 25)


def test_the_bind_pose_puts_the_mesh_where_it_stands(tmp_path):
    """Node transforms times inverse bind matrices are the identity in the T-pose, the soles on the floor."""
    gltf, array = read(export(smooth_take(at_fps(30)), tmp_path / "m.glb")[0])
    inverse_bind = array(gltf.skins[0].inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    world: dict[int, np.ndarray] = {}
    for j in gltf.skins[0].joints:
        parent = next((p for p in world if j in gltf.nodes[p].children), None)
        world[j] = np.array(gltf.nodes[j].translation) + (0 if parent is None else world[parent])
        assert np.allclose(inverse_bind[j, :3, 3], -world[j], atol=1e-6) and np.allclose(
            inverse_bind[j, :3, :3], np.eye(3)
        )
    vertices = np.concatenate([array(p.attributes.POSITION) for p in gltf.meshes[0].primitives])
    assert abs(vertices[:, 1].min()) < 0.002
    assert vertices[:, 1].max() == pytest.approx(1.75, abs=0.03)
    assert len(vertices) < 6000


class TestBody:
    @pytest.mark.parametrize("stature_m", [1.2, 1.75, 2.05])
    def test_closed_smooth_outward_and_bound(self, stature_m):
        motion = smooth_take(at_fps(30)).motions[0].replaced(offsets=reference_offsets(stature_m))
        for surface in body(rig_of(motion)).values():
            corners = surface.positions[surface.triangles]
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            assert np.einsum("fi,fi->", normal, corners[:, 0]) > 0  # six times the volume: outside is outside
            edges = np.concatenate([surface.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
            directed = {tuple(e) for e in edges.tolist()}
            assert len(directed) == len(edges) and all((b, a) in directed for a, b in directed)
            assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-6)
            assert np.allclose(surface.weights.sum(1), 1, atol=1e-6) and (surface.weights >= 0).all()
            assert (surface.joints[surface.weights == 0] == 0).all()

    def test_left_mirrors_right(self):
        parts = body(rig_of(smooth_take(at_fps(30)).motions[0]))
        for surface in parts.values():
            points = surface.positions
            mirrored = points * [-1, 1, 1]
            nearest = np.linalg.norm(points[:, None] - mirrored[None, ::SIDES], axis=-1).min(0)
            assert nearest.max() < 1e-6

    def test_the_nose_points_forwards(self):
        skin = body(rig_of(smooth_take(at_fps(30)).motions[0]))["skin"].positions
        head = skin[skin[:, 1] > 1.55]
        assert head[head[:, 2].argmax()][0] == pytest.approx(0, abs=0.01)
        assert head[:, 2].max() > -head[:, 2].min()


@pytest.fixture(scope="module")
def node_modules() -> Path:
    folder = Path(os.environ.get("KINELIFT_GLTF_VALIDATOR", ROOT / ".venv-gltf")) / "node_modules"
    if shutil.which("node") is None:
        absent("no node: the Khronos validator cannot judge the GLB files")
    if not (folder / "gltf-validator").is_dir():
        absent("no gltf-validator: run scripts/gltf_validator_env.sh or set KINELIFT_GLTF_VALIDATOR")
    return folder


CHAIN = make_skeleton("worm", [("a", None), ("b", "a"), ("c", "b"), ("left_d", "b"), ("right_d", "b")])


@pytest.mark.parametrize("skeleton", [BODY26, CHAIN], ids=["body", "chain"])
@pytest.mark.parametrize("times", [at_fps(60), [2.5], 9 + np.cumsum(np.linspace(0.001, 0.2, 40))])
def test_the_khronos_validator_has_nothing_to_say(node_modules, skeleton, times, tmp_path):
    (path,) = export(smooth_take(times, skeleton=skeleton), tmp_path / "m.glb")
    done = subprocess.run(
        ["node", VALIDATE, node_modules, path], capture_output=True, text=True, timeout=120, check=True
    )
    issues = json.loads(done.stdout)["issues"]
    assert issues["messages"] == []
    assert issues["numErrors"] == issues["numWarnings"] == 0

"""Retargeting: directions carried over, feet planted, the user's file kept, and files of strangers refused."""

import json
import random
import struct
import subprocess
import sys
from dataclasses import replace
from functools import reduce
from operator import getitem

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.export.bvh import read_bvh
from kinelift.kinematics import matrix_to_quat, motion_positions, quat_to_matrix, rotvec_to_matrix
from kinelift.metrics import foot_sliding, penetration
from kinelift.records import CONTACT_JOINTS, Motion, Take
from kinelift.retarget import read_character, retarget, write_character
from kinelift.retarget.built_in import BUILT_IN
from kinelift.retarget.bvh_file import euler
from kinelift.retarget.feet import fitted_path
from kinelift.retarget.legs import bent_limb
from kinelift.retarget.names import NEEDED, found_roles
from kinelift.skeleton import BODY26
from rig_files import write_bvh, write_glb, write_vrm
from rigs import RIGS

SOLES = BODY26.indices(*CONTACT_JOINTS)
LIMBS = (
    *(("shoulder", "elbow", "upper_arm", "lower_arm"), ("elbow", "wrist", "lower_arm", "hand")),
    *(("hip", "knee", "upper_leg", "lower_leg"), ("knee", "ankle", "lower_leg", "foot")),
)


@pytest.fixture(scope="module")
def motion(walk_rig):
    """Three seconds of a walk, turned so that it is along neither axis."""
    times = np.arange(90) / 30 + 5.0
    local, offsets, root, contact = walk_rig(times, heading=0.5)
    ones = np.ones((90, 26))
    return Motion(
        BODY26, offsets, matrix_to_quat(local), root, contact, np.array(SOLES), ones[:, 0] > 0, 0.01 * ones, times
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The test rigs as files, by name."""
    folder = tmp_path_factory.mktemp("rigs")
    out = {f"{n}.glb": write_glb(rig(), folder / f"{n}.glb") for n, rig in RIGS.items()}
    out |= {f"{n}.bvh": write_bvh(rig(), folder / f"{n}.bvh") for n, rig in RIGS.items()}
    return out | {f"vrm{v}.vrm": write_vrm(RIGS["vrm"](), folder / f"vrm{v}.vrm", v) for v in (0, 1)}


def posed(character, animation):
    """World positions (T, B, 3) by the file's own local transforms, metres, kinelift's axes."""
    frames, n = len(animation.times), len(character.bones)
    place = {int(b): k for k, b in enumerate(animation.driven)}
    P, R, S = np.empty((frames, n, 3)), np.empty((frames, n, 3, 3)), np.empty(n)
    for i, p in enumerate(character.parents):
        turn = character.rotation[i] if i not in place else quat_to_matrix(animation.rotations[:, place[i]])
        moved = animation.translation if i == animation.root else character.local[i]
        S[i] = character.stretch[i] * (S[p] if p >= 0 else 1)
        R[:, i] = R[:, p] @ turn if p >= 0 else turn
        P[:, i] = moved
        if p >= 0:
            P[:, i] = P[:, p] + S[p] * np.einsum("tij,tj->ti", R[:, p], P[:, i])
    return character.in_world(P)


def angles(a, b):
    """Degrees (T,) between vectors."""
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def check_looks(motion, character, animation, legs_deg):
    """Arms point as the source's, legs nearly; soles slide and sink no more than the source's."""
    source, target = motion_positions(motion), posed(character, animation)
    for side in ("left", "right"):
        for a, b, c, d in LIMBS:
            ours = target[:, character.roles[f"{side}_{d}"]] - target[:, character.roles[f"{side}_{c}"]]
            theirs = source[:, BODY26.index(f"{side}_{b}")] - source[:, BODY26.index(f"{side}_{a}")]
            assert angles(ours, theirs).max() < (legs_deg if "leg" in c else 0.1), (side, c)
    own = foot_sliding(source[:, SOLES], motion.contacts, motion.fps)
    assert foot_sliding(animation.soles, animation.contacts, motion.fps) < max(1.2 * own, 0.1)
    assert penetration(animation.soles) < 0.01
    # The soles said are those of the skeleton: rigid on the ankle while the foot is flat.
    ankle = target[:, [character.roles["left_foot"]]]
    flat = (animation.contacts[:, :2] > 0.5).all(1)
    lengths = np.linalg.norm(animation.soles[:, :2] - ankle, axis=-1)[flat]
    assert np.ptp(lengths, axis=0).max() < 1e-4


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_rigs_walk(name, motion):
    character = read_character(name)
    check_looks(motion, character, retarget(motion, character), legs_deg=2)


@pytest.mark.parametrize("name", ["mixamo.glb", "unreal.glb", "vrm0.vrm", "vrm1.vrm", "mixamo.bvh", "unreal.bvh"])
def test_rigs_of_other_proportions_walk(name, motion, files):
    character = read_character(files[name])
    check_looks(motion, character, retarget(motion, character), legs_deg=25 if "vrm" in name else 10)


def test_the_same_body_moves_the_same(motion):
    character = read_character("mixamo")
    target, source = posed(character, retarget(motion, character)), motion_positions(motion)
    for role, joint in (("left_hand", "left_wrist"), ("right_foot", "right_ankle"), ("head", "head")):
        off = np.linalg.norm(target[:, character.roles[role]] - source[:, BODY26.index(joint)], axis=-1)
        assert off.max() < 0.02, role


def test_the_path_is_scaled_by_leg_length(motion, files):
    character = read_character(files["vrm1.vrm"])
    thighs = [character.roles[f"{s}_upper_leg"] for s in ("left", "right")]
    at = posed(character, retarget(motion, character))[:, thighs]
    source = motion_positions(motion)[:, BODY26.indices("left_hip", "right_hip")]
    walked, own = (np.linalg.norm((x.mean(1)[-1] - x.mean(1)[0])[::2]) for x in (at, source))
    high, own_high = (x[..., 1].mean() for x in (at, source))
    assert walked / own == pytest.approx(high / own_high, rel=0.04)
    assert walked < 0.6 * own


def test_in_place_stays_and_still_steps(motion, files):
    character = read_character(files["unreal.glb"])
    moving, still = (retarget(motion, character, in_place=flag) for flag in (False, True))
    np.testing.assert_allclose(still.rotations, moving.rotations)
    hips = posed(character, still)[:, character.roles["left_upper_leg"]]
    assert np.ptp(hips[:, [0, 2]], axis=0).max() < 0.1
    np.testing.assert_allclose(still.soles[..., 1], moving.soles[..., 1])


def test_fps_gives_a_constant_rate(motion, tmp_path):
    uneven = motion.replaced(times=motion.times + 0.01 * np.sin(np.arange(90)))
    animation = retarget(uneven, read_character("vrm"), fps=24)
    np.testing.assert_allclose(np.diff(animation.times), 1 / 24)
    assert animation.times[0] == 0
    own = retarget(uneven, read_character("vrm"))
    np.testing.assert_allclose(own.times, uneven.times - uneven.times[0])
    for fps in (0, -3, float("nan"), 1e9):
        with pytest.raises(InputError, match="fps"):
            retarget(motion, read_character("vrm"), fps=fps)
    with pytest.raises(InputError, match="constant frame rate"):
        write_character(read_character("vrm"), own, tmp_path / "out.bvh")


def test_knees_bend_one_way(motion, files):
    character = read_character(files["vrm1.vrm"])
    place, roles = posed(character, retarget(motion, character)), character.roles
    heading = np.array([np.sin(0.5), 0, np.cos(0.5)])
    for side in ("left", "right"):
        hip, knee, ankle = (place[:, roles[f"{side}_{p}"]] for p in ("upper_leg", "lower_leg", "foot"))
        assert (((knee - hip) - (ankle - hip) * 0.5) @ heading).min() > -0.01


def test_only_the_body_can_be_retargeted(motion):
    character = read_character("vrm")
    with pytest.raises(InputError, match="without frames"):
        cut = {k: getattr(motion, k)[:0] for k in ("rotations", "root", "contacts", "observed", "sigma_m", "times")}
        retarget(motion.replaced(**cut), character)


# -- parts ------------------------------------------------------------------------------------------------------------


def test_a_limb_reaches_where_it_can_and_is_straight_where_not():
    rng = np.random.default_rng(0)
    bones = np.array([[0, -0.4, 0], [0, -0.45, 0]])
    bend = rotvec_to_matrix(np.array([[0.3, 0, 0]] * 50))
    turn = rotvec_to_matrix(rng.normal(size=(50, 3)))
    far = np.linspace(0.2, 1.0, 50)
    ankle = far[:, None] * (turn @ np.array([0.1, -1, 0.2]) / np.linalg.norm([0.1, -1, 0.2]))
    thigh, shank = bent_limb(turn, turn @ bend, np.zeros((50, 3)), ankle, bones, turn[:, :, 0])
    end = thigh @ bones[0] + shank @ bones[1]
    np.testing.assert_allclose(np.linalg.norm(end, axis=-1), np.minimum(far, 0.85), atol=1e-6)
    assert angles(end, ankle).max() < 1e-3
    np.testing.assert_allclose(thigh @ np.swapaxes(thigh, -1, -2), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-9)
    # A limb that is already there does not move.
    there = turn @ bones[0] + turn @ bend @ bones[1]
    same = bent_limb(turn, turn @ bend, np.zeros((50, 3)), there, bones, turn[:, :, 0])
    np.testing.assert_allclose(same[0], turn, atol=1e-6)


def test_a_fitted_path_keeps_steps_and_is_indifferent_to_the_rate():
    paths = {}
    for fps in (30, 120):
        times = np.arange(2 * fps + 1) / fps
        wanted = np.where(times < 1, 0.0, 0.1)[:, None]
        hold = np.where((times[1:] < 0.8) | (times[1:] > 1.2), 1e4, 0.0)
        paths[fps] = fitted_path(times, wanted, np.ones(len(times)), np.zeros((len(times) - 1, 1)), hold)
        assert np.abs(np.diff(paths[fps][:, 0])[hold > 0]).max() < 1e-4
    assert paths[30][0, 0] < 0.02 and paths[30][-1, 0] > 0.08
    assert np.abs(paths[30] - paths[120][::4]).max() < 8e-3


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_euler_angles_of_any_order(order):
    v = np.cumsum(np.random.default_rng(1).normal(0, 0.15, (80, 3)), axis=0)
    matrices = rotvec_to_matrix(v)
    turned = euler(matrices, order)
    back = np.broadcast_to(np.eye(3), matrices.shape)
    for k, axis in enumerate(order):
        about = np.zeros((80, 3))
        about[:, "XYZ".index(axis)] = turned[:, k]
        back = back @ rotvec_to_matrix(about)
    np.testing.assert_allclose(back, matrices, atol=1e-9)


NAMED = {
    "mixamo": "Hips {}Arm {}ForeArm {}Hand {}UpLeg {}Leg {}Foot {}ToeBase {}Shoulder",
    "biovision": "Hips {}Shoulder {}Elbow {}Wrist {}Hip {}Knee {}Ankle {}Toe {}Collar",
    "blender": "hips upper_arm.{s} forearm.{s} hand.{s} thigh.{s} shin.{s} foot.{s} toe.{s} shoulder.{s}",
    "rigify": "x DEF-upper_arm.{s} DEF-forearm.{s} DEF-hand.{s} DEF-thigh.{s} DEF-shin.{s} DEF-foot.{s} DEF-toe.{s} x",
    "unreal": "pelvis upperarm_{l} lowerarm_{l} hand_{l} thigh_{l} calf_{l} foot_{l} ball_{l} clavicle_{l}",
    "daz": "hip {l}ShldrBend {l}ForearmBend {l}Hand {l}ThighBend {l}Shin {l}Foot {l}Toe {l}Collar",
    "makehuman": "root upperarm01.{s} lowerarm01.{s} wrist.{s} upperleg01.{s} lowerleg01.{s} foot.{s} toe1-1.{s} x",
    "biped": "Bip01 Bip01_{s}_UpperArm Bip01_{s}_Forearm Bip01_{s}_Hand Bip01_{s}_Thigh Bip01_{s}_Calf "
    "Bip01_{s}_Foot Bip01_{s}_Toe0 Bip01_{s}_Clavicle",
    "vroid": "x J_Bip_{s}_UpperArm J_Bip_{s}_LowerArm J_Bip_{s}_Hand J_Bip_{s}_UpperLeg J_Bip_{s}_LowerLeg "
    "J_Bip_{s}_Foot J_Bip_{s}_ToeBase J_Bip_{s}_Shoulder",
    "iclone": "x CC_Base_{s}_Upperarm CC_Base_{s}_Forearm CC_Base_{s}_Hand CC_Base_{s}_Thigh CC_Base_{s}_Calf "
    "CC_Base_{s}_Foot CC_Base_{s}_ToeBase CC_Base_{s}_Clavicle",
    "smpl": "pelvis {w}_shoulder {w}_elbow {w}_wrist {w}_hip {w}_knee {w}_ankle {w}_foot {w}_collar",
    "body26": "pelvis {w}_shoulder {w}_elbow {w}_wrist {w}_hip {w}_knee {w}_ankle {w}_toe {w}_heel",
    "mmd": "センター {j}腕 {j}ひじ {j}手首 {j}足 {j}ひざ {j}足首 {j}つま先 {j}肩",
    "mmd in English": "center arm_{s} elbow_{s} wrist_{s} leg_{s} knee_{s} ankle_{s} toe_{s} shoulder_{s}",
}


@pytest.mark.parametrize("convention", NAMED)
def test_names_of_the_common_rigs(convention):
    words = {"left": ("Left", "L", "l", "left", "左"), "right": ("Right", "R", "r", "right", "右")}
    names, parents, wanted = ["root"], [-1], {}
    for side, (word, s, small, lower, mark) in words.items():
        parts = NAMED[convention].split()[1:]
        for k, part in enumerate(parts):
            role = (*("upper_arm", "lower_arm", "hand", "upper_leg", "lower_leg", "foot", "toes"), None)[k]
            parents.append(len(names) - 1 if k in (1, 2, 4, 5, 6) else 0)
            names.append(part.format(word, s=s, l=small, w=lower, j=mark) if part != "x" else f"extra{side}")
            if role:
                wanted[f"{side}_{role}"] = names[-1]
            # Helpers that every other rig has, further out than the bone itself.
            parents.append(len(names) - 1)
            names.append(names[-1] + "_twist_01")
    prefixed = [f"mixamorig7:{n}" for n in names]
    for variant in (names, prefixed):
        found = found_roles(variant, parents)
        assert {r: names[i] for r, i in found.items() if r in wanted} == wanted
        assert set(NEEDED) <= set(found)


def test_a_map_names_what_names_do_not(tmp_path, files):
    text = files["mixamo.bvh"].read_text()
    odd = tmp_path / "odd.bvh"
    odd.write_text(text.replace("LeftUpLeg", "Bone_17").replace("RightArm", "Bone_23"))
    with pytest.raises(InputError) as e:
        read_character(odd)
    for told in ("left_upper_leg", "right_upper_arm", "left_foot = ", "--map", "Bone_17"):
        assert told in str(e.value)
    bones = read_bvh(odd).names
    for suffix, line in ((".toml", 'left_upper_leg = "{}"\nright_upper_arm = "{}"\n'), (".json", None)):
        given = [next(n for n in bones if n.endswith(b)) for b in ("Bone_17", "Bone_23")]
        content = line.format(*given) if line else json.dumps(dict(zip(("left_upper_leg", "right_upper_arm"), given)))
        (tmp_path / f"map{suffix}").write_text(content)
        character = read_character(odd, tmp_path / f"map{suffix}")
        assert character.bones[character.roles["left_upper_leg"]].endswith("Bone_17")
    for bad, match in (('left_wing = "x"', "unknown part"), ('left_foot = "x"', "no bone"), ("][", "cannot be read")):
        (tmp_path / "bad.toml").write_text(bad)
        with pytest.raises(InputError, match=match):
            read_character(odd, tmp_path / "bad.toml")


# -- files ------------------------------------------------------------------------------------------------------------


def chunks(path):
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def packed(content, binary):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(binary))
    return head + struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x4E4942) + binary


@pytest.mark.parametrize("name", ["mixamo.glb", "vrm0.vrm"])
def test_a_glb_keeps_everything_but_gains_an_animation(name, motion, files, tmp_path):
    content, binary = chunks(files[name])
    content["extras"] = {"made by": "a test", "number": 0.1 + 0.2}
    content["animations"] = [{"name": "idle", "channels": [], "samplers": []}]
    given, out = tmp_path / name, tmp_path / f"out_{name}"
    given.write_bytes(packed(content, binary))
    character = read_character(given)
    write_character(character, retarget(motion, character), out)
    after, kept = chunks(out)
    assert kept[: len(binary)] == binary
    for key in set(content) | set(after):
        if key in ("accessors", "bufferViews"):
            assert after[key][: len(content[key])] == content[key]
        elif key not in ("animations", "buffers"):
            assert after[key] == content[key], key
    assert after["buffers"][0]["byteLength"] == len(kept) and len(after["buffers"]) == 1
    assert after["animations"][1:] == content["animations"]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_gltf_with_its_data_inside(motion, files, tmp_path):
    import base64

    content, binary = chunks(files["vrm.glb"])
    content["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    (tmp_path / "in.gltf").write_text(json.dumps(content))
    character = read_character(tmp_path / "in.gltf")
    assert character.surface is not None
    write_character(character, retarget(motion, character), tmp_path / "out.gltf")
    after = json.loads((tmp_path / "out.gltf").read_text())
    assert after["buffers"][0] == content["buffers"][0] and len(after["buffers"]) == 2
    content["buffers"][0]["uri"] = "body.bin"
    (tmp_path / "in.gltf").write_text(json.dumps(content))
    (tmp_path / "elsewhere").mkdir()
    character = read_character(tmp_path / "in.gltf")
    with pytest.raises(InputError, match=r"names other files \(body.bin\)"):
        write_character(character, retarget(motion, character), tmp_path / "elsewhere" / "out.gltf")


def test_nodes_with_a_matrix_are_animated_by_their_parts(motion, files, tmp_path):
    content, binary = chunks(files["vrm.glb"])
    plain = read_character(files["vrm.glb"])
    for number, node in enumerate(content["nodes"]):
        if number in plain.source.nodes:
            i = plain.source.nodes.index(number)
            m = np.eye(4)
            m[:3, :3], m[:3, 3] = plain.stretch[i] * plain.rotation[i], plain.local[i]
            for key in ("translation", "rotation", "scale"):
                node.pop(key, None)
            node["matrix"] = m.T.ravel().tolist()
    (tmp_path / "m.glb").write_bytes(packed(content, binary))
    character = read_character(tmp_path / "m.glb")
    animation = retarget(motion, character)
    np.testing.assert_allclose(animation.rotations, retarget(motion, plain).rotations, atol=1e-6)
    write_character(character, animation, tmp_path / "out.glb")
    nodes = chunks(tmp_path / "out.glb")[0]["nodes"]
    assert not any("matrix" in nodes[character.source.nodes[int(b)]] for b in animation.driven)


@pytest.mark.parametrize("rig", ["mixamo.bvh", "unreal.bvh", "unreal.glb", "mixamo"])
def test_bvh_comes_back_where_the_animation_is(rig, motion, files, tmp_path):
    character = read_character(files.get(rig, rig))
    animation = retarget(motion, character, fps=30)
    write_character(character, animation, tmp_path / "out.bvh")
    back = read_bvh(tmp_path / "out.bvh")
    assert back.frame_time == pytest.approx(1 / 30, abs=1e-8)
    places = dict(zip(back.names, np.swapaxes(back.positions, 0, 1), strict=True))
    scale = character.scale if rig.endswith(".bvh") else 1
    ours = posed(character, animation)
    for role, bone in character.roles.items():
        off = np.linalg.norm(scale * places[character.bones[bone]] - ours[:, bone], axis=-1)
        assert off.max() < 2e-4, role
    if rig.endswith(".bvh"):
        text, own = (p.read_text().split("MOTION")[0] for p in (tmp_path / "out.bvh", files[rig]))
        assert text.split() == own.split()


def test_bvh_of_another_channel_order(motion, files, tmp_path):
    lines = files["mixamo.bvh"].read_text().splitlines()
    own = next(line for line in lines if "CHANNELS 3" in line).split()[2:]
    text = "\n".join(lines).replace(" ".join(own), " ".join(own[::-1]))
    (tmp_path / "in.bvh").write_text(text + "\n")
    character = read_character(tmp_path / "in.bvh")
    animation = retarget(motion, character)
    write_character(character, animation, tmp_path / "out.bvh")
    back, ours = read_bvh(tmp_path / "out.bvh"), posed(character, animation)
    np.testing.assert_allclose(character.scale * back.positions, ours, atol=2e-4)


def test_a_glb_saved_in_another_pose_rests_as_it_was_bound(motion, files, tmp_path):
    content, binary = chunks(files["mixamo.glb"])
    plain = read_character(files["mixamo.glb"])
    rng = np.random.default_rng(3)
    for i, number in enumerate(plain.source.nodes):
        if plain.parents[i] > 0:
            turned = plain.rotation[i] @ rotvec_to_matrix(rng.normal(0, 0.4, 3))
            content["nodes"][number]["rotation"] = matrix_to_quat(turned).tolist()
    (tmp_path / "posed.glb").write_bytes(packed(content, binary))
    character = read_character(tmp_path / "posed.glb")
    below = character.parents > character.roles["left_upper_leg"]
    np.testing.assert_allclose(character.rotation[below], plain.rotation[below], atol=1e-4)
    animation, own = retarget(motion, character), retarget(motion, plain)
    write_character(character, animation, tmp_path / "out.glb")
    ours, theirs = posed(character, animation), posed(plain, own)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    # Every bone whose node was saved turned is keyed, also those that nothing drives.
    clip = chunks(tmp_path / "out.glb")[0]["animations"][0]
    keyed = {c["target"]["node"] for c in clip["channels"] if c["target"]["path"] == "rotation"}
    assert {plain.source.nodes[i] for i in np.flatnonzero(plain.parents > 0)} <= keyed


def test_a_bvh_whose_offsets_do_not_stand_rests_in_its_first_frame(motion, files, tmp_path):
    """A body on its back in the offsets, that the first bone's turn stands up."""
    plain = read_character(files["unreal.bvh"])
    animation = retarget(motion, plain)
    lines = files["unreal.bvh"].read_text().splitlines()
    channels, first = plain.source.content.channels, plain.bones[animation.root]
    top = next(i for i, line in enumerate(lines) if line.split()[1:] == [first])
    turn, end = rotvec_to_matrix(np.array([np.pi / 2, 0, 0])), lines.index("MOTION")
    offsets = [i for i in range(top, end) if lines[i].split()[:1] == ["OFFSET"]]
    for i in offsets[1:]:
        lines[i] = "OFFSET " + " ".join(f"{v:.8f}" for v in turn @ np.array(lines[i].split()[1:], float))
    order = "".join(c[0] for c in channels[animation.root] if c.endswith("rotation"))
    column = sum(len(c) for c in channels[: animation.root]) + len(channels[animation.root]) - 3
    frame = np.zeros(sum(map(len, channels)))
    frame[column : column + 3] = np.degrees(euler(turn.T[None], order))[0]
    rows = ["MOTION", "Frames: 1", "Frame Time: 0.0333", " ".join(map(str, frame))]
    (tmp_path / "lain.bvh").write_text("\n".join(lines[:end] + rows) + "\n")
    character = read_character(tmp_path / "lain.bvh")
    moved = retarget(motion, character)
    check_looks(motion, character, moved, legs_deg=10)
    write_character(character, moved, tmp_path / "out.bvh")
    again = read_bvh(tmp_path / "out.bvh").positions
    mapped = list(character.roles.values())
    np.testing.assert_allclose(character.in_world(again)[:, mapped], posed(character, moved)[:, mapped], atol=2e-4)


@pytest.mark.parametrize("rig", ["unreal.bvh", "mmd"])
def test_any_character_goes_out_as_a_glb_of_its_skeleton(rig, motion, files, tmp_path):
    character = read_character(files.get(rig, rig))
    animation = retarget(motion, character)
    write_character(character, animation, tmp_path / "out.glb")
    back = read_character(tmp_path / "out.glb")
    assert {back.bones[i] for i in back.roles.values()} == {character.bones[i] for i in character.roles.values()}
    assert back.surface is not None and back.surface.points[:, 1].max() > 1.5
    again = retarget(motion, back)
    ours, theirs = (
        {r: place[:, c.roles[r]] - place[:, c.roles["left_upper_leg"]] for r in NEEDED}
        for c, place in ((character, posed(character, animation)), (back, posed(back, again)))
    )
    for role in NEEDED:
        np.testing.assert_allclose(theirs[role], ours[role], atol=0.04, err_msg=role)


def test_output_that_cannot_be(motion, files, tmp_path):
    character = read_character(files["vrm1.vrm"])
    animation = retarget(motion, character)
    with pytest.raises(InputError, match=r"a vrm rig is written as \.vrm, \.glb, \.bvh"):
        write_character(character, animation, tmp_path / "out.fbx")
    with pytest.raises(InputError, match="there is no folder"):
        write_character(character, animation, tmp_path / "none" / "out.glb")
    assert list(tmp_path.iterdir()) == []


# -- strangers --------------------------------------------------------------------------------------------------------


HOSTILE = {
    "a cycle": (("nodes", 0, "children"), [0]),
    "two parents": (("nodes", 3, "children"), [2, 2]),
    "a child that is not there": (("nodes", 0, "children"), [10**9]),
    "text for numbers": (("nodes", 2, "translation"), ["1", "2", "3"]),
    "huge numbers": (("nodes", 2, "translation"), [1e300, 0, 0]),
    "no rotation": (("nodes", 2, "rotation"), [0, 0, 0, 0]),
    "flat": (("nodes", 2, "scale"), [1, 0, 1]),
    "a count of 10^12": (("accessors", 0, "count"), 10**12),
    "a negative offset": (("bufferViews", 0, "byteOffset"), -4),
    "an offset beyond": (("bufferViews", 0, "byteOffset"), 10**9),
    "an unknown type": (("accessors", 0, "componentType"), 7),
    "joints not there": (("skins", 0, "joints"), [99999]),
    "nodes of text": (("nodes",), "nodes"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_spoilt_glb_is_one_line(what, files, tmp_path):
    content, binary = chunks(files["mixamo.glb"])
    *path, last = HOSTILE[what][0]
    reduce(getitem, path, content)[last] = HOSTILE[what][1]
    (tmp_path / "bad.glb").write_bytes(packed(content, binary))
    with pytest.raises(InputError, match=r"bad\.glb: ") as e:
        read_character(tmp_path / "bad.glb")
    assert "\n" not in str(e.value) and len(str(e.value)) < 1200


def test_a_spoilt_container_is_one_line(files, tmp_path):
    data = files["mixamo.glb"].read_bytes()
    bad = {
        "empty": b"",
        "short": data[:15],
        "cut": data[:4000],
        "long chunk": data[:12] + struct.pack("<I", 2**32 - 1) + data[16:],
        "deep": packed(b'{"nodes":' + b"[" * 200_000 + b"]" * 200_000 + b"}", b""),
        "nan": packed(b'{"nodes":[{"translation":[NaN,0,0]}]}', b""),
        "nothing": packed(b"{}", b""),
        "a list": packed(b"[1]", b""),
        "half a pair": packed(b'{"nodes":[{"name":"\\ud800"}]}', b""),
        "infinity": packed(b'{"nodes":[{"translation":[1e999,0,0]}]}', b""),
    }
    for name, content in bad.items():
        (tmp_path / "bad.glb").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.glb: "):
            read_character(tmp_path / "bad.glb")
            pytest.fail(name)
    with pytest.raises(InputError, match="cannot be read"):
        read_character(tmp_path / "none.glb")
    with pytest.raises(InputError, match=r"expected a rig as \.glb"):
        read_character(tmp_path / "rig.blend")


def test_a_body_that_lies_or_has_no_size_is_refused(files, tmp_path):
    text = files["mixamo.bvh"].read_text()
    flat = "\n".join("OFFSET 1 0 0" if line.split()[:1] == ["OFFSET"] else line for line in text.splitlines())
    for content, match in (
        (flat, "T- or A-pose"),
        ("\n".join("OFFSET 0 0 0" if "OFFSET" in x else x for x in text.splitlines()), "no size"),
        (text.replace("Frames: ", "Frames: 9999999"), "malformed BVH"),
    ):
        (tmp_path / "bad.bvh").write_text(content)
        with pytest.raises(InputError, match=match):
            read_character(tmp_path / "bad.bvh")


def test_random_damage_never_crashes(files, motion, tmp_path):
    """Bytes changed at random: the character is read, retargeted and written, or refused in one line."""
    rng = random.Random(7)
    cut = {k: getattr(motion, k)[:3] for k in ("rotations", "root", "contacts", "observed", "sigma_m", "times")}
    short, read = motion.replaced(**cut), 0
    for k in range(60):
        name = rng.choice(["mixamo.glb", "vrm1.vrm", "unreal.bvh"])
        data = bytearray(files[name].read_bytes())
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(min(len(data), 9000))] = rng.choice(b'0123456789-eE.[]{},"')
        (tmp_path / name).write_bytes(data)
        try:
            character = read_character(tmp_path / name)
            write_character(character, retarget(short, character), tmp_path / f"out{k}{(tmp_path / name).suffix}")
            read += 1
        except InputError as e:
            assert "\n" not in str(e)
    assert read > 5


def test_the_command(motion, files, tmp_path):
    camera = Camera.from_focal(1000, (640, 480))
    export(Take((motion,), camera, (), {"take_id": "t"}), tmp_path / "motion.npz")

    def run(*arguments):
        command = [sys.executable, "-m", "kinelift.cli", "retarget", str(tmp_path / "motion.npz"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    done = run("--rig", files["vrm1.vrm"], "-o", tmp_path / "out.vrm", "--in-place", "--fps", "24")
    assert done.returncode == 0, done.stderr
    assert "out.vrm" in done.stdout
    content, _ = chunks(tmp_path / "out.vrm")
    stamps = content["accessors"][content["animations"][0]["samplers"][0]["input"]]
    assert stamps["count"] == int(89 / 30 * 24) + 1
    done = run("--rig", files["vrm1.vrm"], "-o", files["vrm1.vrm"])
    assert done.returncode == 2 and "is the rig itself" in done.stderr
    done = run("--rig", "manga", "-o", tmp_path / "out.glb")
    assert done.returncode == 2 and "mixamo, vrm" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out.glb").exists()


def test_a_character_is_checked_once(files):
    character = read_character(files["mixamo.glb"])
    with pytest.raises(InputError, match="parent"):
        replace(character, parents=np.zeros(len(character.bones), int))

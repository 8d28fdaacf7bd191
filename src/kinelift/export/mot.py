"""OpenSim motion (MOT): joint angles in degrees under the coordinate names of Rajagopal's full-body model.

Model: Rajagopal2015.osim / Rajagopal2016.osim (Rajagopal et al. 2016). Axes of its ground: X forward, Y up, Z right
(`axes.OPENSIM`). Ball joints turn about Z, then X, then Y of the moving segment, as its CustomJoints do. Signs:

- pelvis_tilt: + backwards; pelvis_list: + to the right; pelvis_rotation: + to the left; the same for lumbar_extension,
  lumbar_bending, lumbar_rotation (torso in the pelvis).
- hip_flexion, arm_flex: + forwards; hip_adduction, arm_add: + towards the midline; hip_rotation, arm_rot: + inwards.
- knee_angle, elbow_flex: + bent; ankle_angle: + dorsiflexion; pro_sup: 0 supine, 90 neutral, + pronation.

gait2392 and gait2354 have the same names for pelvis, lumbar, hip, knee and ankle, but a bent knee is negative there.
pelvis_tx, ty, tz place that model's pelvis origin, which lies before and above the hips' middle: the generic offset,
for a model scaled to the person. Knee and elbow are hinges about Z, the ankle's sagittal part is given; coordinates
that the motion does not have (subtalar, mtp, wrist) are left out and keep the model's defaults.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinelift.errors import InputError
from kinelift.export.axes import OPENSIM
from kinelift.export.bvh import continuous_zxy
from kinelift.export.hinges import about, hinged, posed
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import is_body
from kinelift.kinematics import matrix_to_quat, stature_from_offsets
from kinelift.records import Motion, Take
from kinelift.skeleton import BODY26

suffix = ".mot"

# The hips' middle in the pelvis of Rajagopal2016.osim (joints hip_r and hip_l), metres, and the stature it is for.
HIPS_IN_PELVIS_M = np.array([-0.056276, -0.07849, 0.0])
GENERIC_STATURE_M = 1.70
X, Y, Z = np.eye(3)


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion; `fps` None takes the source's nearest constant rate.

    Raises `InputError` for a skeleton other than the standard body.
    """
    motion, rate = at_constant_rate(take.motions[index], fps)
    if not is_body(motion.skeleton):
        raise InputError(f"MOT export knows the standard body only, got the skeleton '{motion.skeleton.name}'")
    columns = {"time": np.arange(len(motion.times)) / rate} | coordinates(motion)
    rows = np.stack(list(columns.values()), -1)
    header = ["Coordinates", "version=1", f"nRows={len(rows)}", f"nColumns={rows.shape[1]}", "inDegrees=yes", "",
              "Model: Rajagopal2015, Rajagopal2016. Seconds, metres, degrees.", "", "endheader"]  # fmt: skip
    with path.open("w", encoding="ascii", newline="\n") as f:
        f.write("\n".join(header) + "\n" + "\t".join(columns) + "\n")
        np.savetxt(f, rows, fmt=["%.9f"] + ["%.6f"] * (rows.shape[1] - 1), delimiter="\t")


def coordinates(motion: Motion) -> dict[str, np.ndarray]:
    """(T,) degrees, metres for pelvis_t*, of a motion of the standard body by coordinate name."""
    positions, rotations = posed(motion)
    pelvis, torso = (rotations[:, BODY26.index(joint)] for joint in ("pelvis", "chest"))
    turns = {"pelvis_tilt pelvis_list pelvis_rotation": (pelvis, 1)}
    hinges = {}
    for side, letter, sign in (("right", "r", 1), ("left", "l", -1)):
        limb = (f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        thigh, bend = hinged(motion, positions, rotations, limb, X)
        shank, foot = thigh @ about(X, bend), rotations[:, BODY26.index(f"{side}_ankle")]
        names = f"hip_flexion_{letter} hip_adduction_{letter} hip_rotation_{letter}"
        turns[names] = (_local(pelvis, thigh), sign)
        hinges[f"knee_angle_{letter}"] = np.degrees(bend)
        turns[f"ankle_angle_{letter}"] = (_local(shank, foot), 1)
    turns["lumbar_extension lumbar_bending lumbar_rotation"] = (_local(pelvis, torso), 1)
    for side, letter, sign in (("right", "r", 1), ("left", "l", -1)):
        limb = (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        arm, bend = hinged(motion, positions, rotations, limb, sign * Y)
        hanging = about(Z, np.radians([90.0 * sign]))  # from the T-pose to the model's arms along the trunk
        twist = _twist(_local(arm @ about(sign * Y, bend), rotations[:, BODY26.index(f"{side}_elbow")]), sign * X)
        turns[f"arm_flex_{letter} arm_add_{letter} arm_rot_{letter}"] = (
            _local(torso, arm @ np.swapaxes(hanging, 1, 2)),
            sign,
        )
        hinges[f"elbow_flex_{letter}"] = np.degrees(bend)
        hinges[f"pro_sup_{letter}"] = 90 + sign * np.degrees(twist)
    in_opensim = np.stack([OPENSIM @ turn @ OPENSIM.T for turn, _ in turns.values()], 1)
    angles = np.degrees(continuous_zxy(in_opensim))
    origin = positions[:, 0] @ OPENSIM.T - in_opensim[:, 0] @ (
        HIPS_IN_PELVIS_M * stature_from_offsets(motion.offsets) / GENERIC_STATURE_M
    )
    out = {f"pelvis_t{axis}": origin[:, i] for i, axis in enumerate("xyz")}
    for i, (names, (_, sign)) in enumerate(turns.items()):
        out |= {name: angles[:, i, k] * (sign if k else 1) for k, name in enumerate(names.split())}
    return out | hinges


def _local(parent: np.ndarray, child: np.ndarray) -> np.ndarray:
    return np.swapaxes(parent, -1, -2) @ child


def _twist(turns: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(T,) radians that rotations (T, 3, 3) turn about a unit axis (3,): their twist of swing and twist."""
    quats = matrix_to_quat(turns)
    return np.unwrap(2 * np.arctan2(quats[:, :3] @ axis, quats[:, 3]))

"""A body's bones as those of tests/blender/opensim_mot.py's model, which plays MOT files."""

import numpy as np

from kinelift.export.axes import OPENSIM
from kinelift.export.mot import HIPS_IN_PELVIS_M
from kinelift.kinematics import stature_from_offsets
from kinelift.records import Motion
from kinelift.skeleton import BODY26

BODIES = {"femur": "hip", "tibia": "knee", "talus": "ankle", "toe": "toe", "humerus": "shoulder", "ulna": "elbow",
          "hand": "wrist"}  # fmt: skip


def bones(motion: Motion) -> dict[str, list[float]]:
    """OpenSim's bodies in their parents at its zero pose: standing, arms hanging."""
    offset = {name: motion.offsets[i] @ OPENSIM.T for i, name in enumerate(BODY26.joints)}
    hips = HIPS_IN_PELVIS_M * stature_from_offsets(motion.offsets) / 1.70
    out = {"pelvis": np.zeros(3), "torso": hips + offset["spine"]}
    for side, s in (("left", "l"), ("right", "r")):
        out[f"femur_{s}"] = hips + offset[f"{side}_hip"]
        out[f"humerus_{s}"] = offset["chest"] + offset[f"{side}_shoulder"]
        out |= {f"{body}_{s}": offset[f"{side}_{joint}"] for body, joint in (("tibia", "knee"), ("talus", "ankle"))}
        out[f"toe_{s}"] = offset[f"{side}_toe"]
        out[f"ulna_{s}"] = np.array([0, -np.linalg.norm(offset[f"{side}_elbow"]), 0])
        out[f"hand_{s}"] = np.array([0, -np.linalg.norm(offset[f"{side}_wrist"]), 0])
        out[f"radius_{s}"] = np.zeros(3)
    return {name: place.tolist() for name, place in out.items()}

"""A lifter of your own, as code, through the whole path.

    python examples/03_own_lifter.py walk.mp4
    PYTHONPATH=examples kinelift animate walk.mp4 -o out --lifter 03_own_lifter:ForeshorteningLifter

A bone of known length that looks short in the picture must point towards the camera or away from it (Taylor 2000).
How far is Pythagoras, which way is a guess: knees and hands towards the camera. It is a poor lifter that shows what is
asked of one. Single frames, 17 joints, unit scale, no uncertainty, no gravity, no contacts: kinelift fills the rest.
"""

import sys
from typing import Any

import numpy as np

import kinelift
from kinelift.camera import Camera
from kinelift.kinematics import reference_offsets
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26, H36M17, joint_map

# Towards the camera is -z. What is not named keeps its parent's depth.
TOWARDS = {"LKnee": -1, "RKnee": -1, "LFoot": 1, "RFoot": 1, "LWrist": -1, "RWrist": -1}


def rest_lengths() -> np.ndarray:
    """(17,) bone lengths of the average body, from kinelift's own rest pose."""
    rest = np.zeros((len(BODY26), 3))
    for j, parent in enumerate(BODY26.parents[1:], 1):
        rest[j] = rest[parent] + reference_offsets(1.0)[j]
    rest = joint_map(BODY26, H36M17) @ rest
    return np.linalg.norm(rest - rest[[max(p, 0) for p in H36M17.parents]], axis=-1)


class ForeshorteningLifter:
    """2D to root-relative 3D by foreshortening, each frame by itself."""

    name = "foreshortening"
    skeleton = H36M17  # kinelift maps every detector's key points to these joints before it calls lift()

    def lift(self, pose: Pose2D, camera: Camera) -> Lifted:
        """Positions (T, 17, 3) in camera axes (x right, y down, z forward), relative to the hip, in body heights."""
        rays = camera.unproject(np.nan_to_num(pose.xy))  # (T, 17, 2): x/z, y/z, lens removed
        bones = rest_lengths()
        parents = [max(p, 0) for p in H36M17.parents]
        seen = pose.seen & pose.seen[:, parents] & (bones > 0)
        length = np.where(seen, np.linalg.norm(rays - rays[:, parents], axis=-1), 0.0)
        # The picture's size of one body height: bones look at most as long as they are.
        size = np.percentile(length[:, 1:] / bones[1:], 85, axis=1)[:, None]
        flat = (rays - rays[:, :1]) / np.maximum(size, 1e-6)[..., None]
        depth = np.zeros(flat.shape[:2])
        for j, parent in enumerate(H36M17.parents[1:], 1):
            short = np.sqrt(np.maximum(bones[j] ** 2 - (length[:, j] / np.maximum(size[:, 0], 1e-6)) ** 2, 0))
            depth[:, j] = depth[:, parent] + TOWARDS.get(H36M17.joints[j], 0) * short
        positions = np.concatenate([flat, depth[..., None]], -1)
        positions[~pose.seen] = np.nan  # "I do not know": the solve goes by the rest
        return Lifted(H36M17, positions - positions[:, :1], pose.times, scale="unit")

    def provenance(self) -> dict[str, Any]:
        """What motion.npz says of it."""
        return {"name": self.name, "licence": "Apache-2.0", "training_data": "none"}


def main(path: str) -> None:
    take = kinelift.animate(path, lifter=f"{__name__}:ForeshorteningLifter")
    print("filled by the solve:", ", ".join(take.report["filled_joints"]))
    print(f"key points are met within {take.report['reprojection_error_px']:.1f} px (median)")


if __name__ == "__main__":
    main(sys.argv[1])

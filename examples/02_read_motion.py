"""Read a motion.npz with NumPy alone: no kinelift is needed where it is used.

    python examples/02_read_motion.py out/motion.npz

Prints when each foot is on the floor, how fast the person moves, and how far the motion, seen by the file's own
camera, lies from the key points it was fitted to.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        motion = {key: file[key] for key in file.files}
    assert str(motion["format"]) == "kinelift-motion/1"
    times, positions = motion["times"], motion["positions"]  # (T,) seconds, (T, J, 3) metres, Y up
    joints = motion["joint_names"].tolist()
    print(f"{len(times)} frames, {times[-1] - times[0]:.2f} s, from {json.loads(str(motion['meta']))['input']}")

    # Contacts: probabilities of a few joints. A stance is a run of frames with heel or toe on the floor.
    touching = [joints[j] for j in motion["contact_joints"]]
    for side in ("left", "right"):
        columns = [i for i, name in enumerate(touching) if name.startswith(side)]
        planted = motion["contacts"][:, columns].max(1) > 0.5
        edges = np.flatnonzero(np.diff(np.concatenate([[0], planted.astype(int), [0]])))
        stances = [f"{times[a]:.2f}-{times[b - 1]:.2f}" for a, b in edges.reshape(-1, 2)]
        print(f"{side} foot on the floor, s: {', '.join(stances) or 'never'}")

    # Times may be uneven (variable frame rate), so differences are taken over them, never over frame numbers.
    ground = motion["root"][:, [0, 2]]
    if len(times) > 1:
        speed_m_s = np.linalg.norm(np.diff(ground, axis=0), axis=1) / np.diff(times)
        print(f"speed over the floor: {np.median(speed_m_s):.2f} m/s (median)")

    # The camera: x_cam = R_cam_world @ x_world + t_cam_world, then K. A lens distortion is not applied here.
    shared = [name for name in motion["xy_joint_names"].tolist() if name in joints]
    x_world = positions[:, [joints.index(name) for name in shared]]
    x_cam = x_world @ motion["R_cam_world"].T + motion["t_cam_world"]
    pixels = (x_cam @ motion["K"].T)[..., :2] / x_cam[..., 2:]
    found = motion["xy"][:, [motion["xy_joint_names"].tolist().index(name) for name in shared]]
    print(f"reprojection: {np.nanmedian(np.linalg.norm(pixels - found, axis=-1)):.1f} px (median)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""World axes of other fields' tools, as rotations of ours (right-handed, Y up, facing the camera = +Z, left = +X)."""

from __future__ import annotations

import numpy as np

# OpenSim: X forward, Y up, Z to the right of who faces forward. `x_opensim = OPENSIM @ x_world`.
OPENSIM = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
# Laboratories (C3D) and Blender: Z up, who faces the camera faces -Y. `x_lab = LABORATORY @ x_world`.
LABORATORY = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])

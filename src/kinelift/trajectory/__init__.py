"""Module 5: from a root-relative pose and rays to a path in the world: root translation, gravity, ground."""

from kinelift.trajectory.root import solve_root
from kinelift.trajectory.world import Ground, calibrated_ground, find_ground

__all__ = ["Ground", "calibrated_ground", "find_ground", "solve_root"]

"""Odometry: how a hand-held or panning camera moved, from the surroundings with the people left out."""

from kinelift.trajectory.odometry.path import CameraPath
from kinelift.trajectory.odometry.track import MODES, track_camera

__all__ = ["MODES", "CameraPath", "track_camera"]

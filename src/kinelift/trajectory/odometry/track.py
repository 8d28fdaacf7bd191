"""`track_camera`: a clip's frames in, the camera's path out."""

from __future__ import annotations

from collections.abc import Iterable

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.records import Frame, Pose2D
from kinelift.trajectory.odometry.path import CameraPath
from kinelift.trajectory.odometry.pictures import Lens, Small, scale_of, small_frames
from kinelift.trajectory.odometry.solve import solve_path
from kinelift.trajectory.odometry.still import StillWatch, Verdict
from kinelift.trajectory.odometry.tracks import Tracker

MODES = ("auto", "static", "moving")
_LOOK_EVERY_S = 0.2
_LOOKS = 2  # in a row that must see motion
_HELD_FRAMES = 90  # small pictures kept at most until the static test has decided


def track_camera(frames: Iterable[Frame], pose: Pose2D, camera: Camera, mode: str = "auto") -> CameraPath:
    """How the camera moved, from the surroundings of the person.

    Args:
        frames: Pictures with the times of `pose`, read once and not kept.
        pose: Key points of the person, T frames, who is left out of the surroundings.
        camera: The lens: K in pixels of the pictures, and distortion. Its pose is not used.
        mode: "auto" finds out whether the camera moves, "static" returns at once, "moving" always tracks.

    Raises `InputError` for an unknown mode only; pictures that tell nothing lower `confidence` and warn.
    """
    if mode not in MODES:
        raise InputError(f"unknown camera mode '{mode}'; known: {', '.join(MODES)}")
    count = len(pose.times)
    if mode == "static" or count < 2:
        return CameraPath.still(count)
    follower = _Follower(pose, camera, mode)
    for small in small_frames(frames, pose):
        follower.add(small)
    return follower.path(count)


class _Follower:
    """Looks now and then while the camera stands still; follows every frame once it has moved.

    Frames since the last look that saw it still are held back, so that none is missing when it starts to move.
    """

    def __init__(self, pose: Pose2D, camera: Camera, mode: str) -> None:
        self._mode, self._times = mode, pose.times
        self._tracker = Tracker(Lens(camera, scale_of(pose.image_size)))
        self._watch: StillWatch | None = None
        self._following = mode == "moving"
        self._held: list[Small] = []
        self._looked_s, self._moved, self._looks, self._blank = -1e9, 0, 0, 0

    def add(self, small: Small) -> None:
        """Take the next frame."""
        if self._following:
            self._tracker.add(small)
            return
        self._held = [*self._held[1 - _HELD_FRAMES :], small]
        if self._watch is None:
            self._watch = StillWatch(small)
        time = float(self._times[small.index])
        if time - self._looked_s >= _LOOK_EVERY_S or small.index == len(self._times) - 1:
            self._looked_s = time
            self._look(small)

    def _look(self, small: Small) -> None:
        assert self._watch is not None
        verdict = self._watch.look(small)
        self._looks += 1
        self._blank += verdict == Verdict.BLANK
        if verdict == Verdict.STILL:
            self._held, self._moved = [small], 0
        self._moved += verdict == Verdict.MOVED
        last = small.index == len(self._times) - 1
        if self._moved >= _LOOKS or (last and self._moved):
            self._following = True
            for held in self._held:
                self._tracker.add(held)
            self._held, self._watch = [], None

    def path(self, count: int) -> CameraPath:
        """What all the frames say."""
        if self._following:
            return solve_path(self._tracker.tracks(), count, self._mode)
        seen = 1 - self._blank / self._looks if self._looks else 0.0
        if seen >= 0.5:
            return CameraPath.still(count, seen)
        return CameraPath.still(
            count,
            seen,
            ("Too little is to be seen around the person to tell whether the camera moves: taken as still.",),
        )

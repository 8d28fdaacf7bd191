"""What the default detector says of a video, kept beside the results of the benchmarks."""

from __future__ import annotations

from pathlib import Path

from kinelift.detect import detect_video, make_detector
from kinelift.detect.keypoints_npz import read_keypoints_npz, write_keypoints
from kinelift.records import Pose2D


def key_points(video: Path, folder: Path) -> Pose2D:
    """Key points of FOLDER/NAME.npz; made where there are none, or only those of another detector."""
    kept = folder / f"{video.stem}.npz"
    detector = make_detector("mediapipe")
    if kept.is_file():
        pose, meta = read_keypoints_npz(kept)
        if detector.provenance().items() <= meta.items():
            return pose
    folder.mkdir(parents=True, exist_ok=True)
    write_keypoints(kept, detect_video(video, detector).pose, detector.provenance())
    return read_keypoints_npz(kept)[0]

"""The README's picture: the sample's frames with the solved skeleton, and the motion seen from another side.

python benchmarks/make_picture.py [--out docs/img/sample.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import kinelift
from kinelift.camera import Camera
from kinelift.kinematics import motion_positions
from kinelift.pipeline import sample_path
from kinelift.render.scene import Renderer
from kinelift.render.views import draw_skeleton
from kinelift.video import open_frames

SIZE = (480, 300)
SECONDS = (0.6, 1.7, 4.6, 5.6)


def side_camera(target: np.ndarray, distance_m: float = 4.8, turn_deg: float = 65.0) -> Camera:
    """A level camera that looks at a point from the given side; heading 0 is along -Z."""
    a = np.radians(turn_deg)
    back = np.array([np.sin(a), 0, np.cos(a)])
    right = np.cross([0, 1.0, 0], back)
    R = np.stack([right, [0, -1.0, 0], -back])
    position = target + back * distance_m
    K = np.array([[SIZE[0] * 0.95, 0, SIZE[0] / 2], [0, SIZE[0] * 0.95, SIZE[1] / 2], [0, 0, 1]])
    return Camera(K, R, -R @ position, SIZE, np.zeros(5))


def cropped(image: np.ndarray) -> np.ndarray:
    h, w = image.shape[:2]
    wide = int(h * SIZE[0] / SIZE[1])
    left = max((w - wide) // 2, 0)
    return cv2.resize(image[:, left : left + wide], SIZE, interpolation=cv2.INTER_AREA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/img/sample.png"))
    args = parser.parse_args()
    take = kinelift.animate(sample_path())
    motion = take.motions[0]
    positions = motion_positions(motion)
    drawn = take.camera.project(positions)
    picks = [int(np.abs(motion.times - s).argmin()) for s in SECONDS]
    with open_frames(sample_path()) as frames:
        images = [f.image for f in frames]
    middle = positions[:, 0].mean(0) * [1, 0, 1] + [0, 0.95, 0]
    renderer = Renderer(side_camera(middle))
    top = [cropped(draw_skeleton(images[i], motion.skeleton, drawn[i], np.ones(len(motion.skeleton)))) for i in picks]
    below = [renderer.frame(positions[i]) for i in picks]
    sheet = np.vstack([np.hstack(top), np.hstack(below)])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), sheet[..., ::-1])
    print(f"wrote {args.out}, {sheet.shape[1]} x {sheet.shape[0]}")


if __name__ == "__main__":
    main()

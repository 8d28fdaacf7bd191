"""The filming guide's picture: one moment filmed well and in five ways that cost accuracy.

python benchmarks/make_filming_picture.py [--out docs/img/filming.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from kinelift.camera import Camera
from kinelift.kinematics import motion_positions
from kinelift.render.sample_motion import sample_motion
from kinelift.render.scene import Renderer
from kinelift.skeleton import BODY26

SIZE = (320, 240)
FRAME = 22
GOOD, BAD = (24, 120, 60), (176, 50, 30)
# Caption, heading from the person's front in degrees, distance and height of the camera in metres, what it aims at.
SHOTS = [
    ("good: all of the body, three-quarter view", 35, 4.2, 1.2, 0.90),
    ("feet cut off: no floor", 35, 2.9, 1.3, 1.35),
    ("from the side: one arm, one leg hidden", 90, 4.2, 1.2, 0.90),
    ("from high up: depth is ambiguous", 35, 2.3, 3.3, 0.75),
    ("too near: strong perspective", 35, 1.75, 0.75, 0.88),
    ("too far: few pixels a limb", 35, 11.5, 1.4, 0.90),
]


def camera_at(person: np.ndarray, front: float, shot: tuple[float, float, float, float]) -> Camera:
    """A camera `shot` = (heading, distance, height, height of the aim) away from the person, level in its roll."""
    heading, distance, height, aim = shot
    a = front + np.radians(heading)
    target = person * [1, 0, 1] + [0, aim, 0]
    position = person * [1, 0, 1] + [distance * np.sin(a), height, distance * np.cos(a)]
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0, 1.0, 0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    return Camera.from_focal(0.85 * SIZE[0], SIZE).replaced(R_cam_world=R, t_cam_world=-R @ position)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/img/filming.png"))
    args = parser.parse_args()
    positions = motion_positions(sample_motion())[FRAME]
    left, right = positions[BODY26.indices("left_hip", "right_hip")]
    facing = np.cross(left - right, [0, 1.0, 0])
    front = float(np.arctan2(facing[0], facing[2]))
    sheet = Image.new("RGB", (3 * SIZE[0], 2 * (SIZE[1] + 26)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, *shot) in enumerate(SHOTS):
        picture = Renderer(camera_at(positions[0], front, tuple(shot))).frame(positions)
        x, y = i % 3 * SIZE[0], i // 3 * (SIZE[1] + 26)
        sheet.paste(Image.fromarray(picture), (x, y + 26))
        draw.text((x + 6, y + 5), caption, fill=BAD if i else GOOD, font_size=15)
    sheet.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(args.out, optimize=True)
    print(f"{args.out}: {sheet.width} x {sheet.height}, {args.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

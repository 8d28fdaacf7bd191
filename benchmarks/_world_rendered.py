"""Rendered clips for `world.py`: a dressed figure in a furnished room, a moving camera, the real detector, odometry.

Generated motion, 640 x 360 pixels, 30 fps, H.264. A clip is drawn and detected once and kept in WORK under a name that
holds a checksum of what decides its pictures; the camera is tracked anew in every run, from the pixels.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from _filmed import write_video
from _kept import key_points
from _protocol import FPS, Place, seeded
from _world_cases import ALONG, HAND_HELD, PAN, Case, Piece, grown, moving
from kinelift import metrics
from kinelift.camera import Camera
from kinelift.lift import mapped
from kinelift.render import Look
from kinelift.render.moving import film
from kinelift.repair import repair, within_picture
from kinelift.skeleton import BODY26
from kinelift.training.actions import generate_named_actions
from kinelift.training.rendered import Wear
from kinelift.trajectory.odometry import CameraPath, track_camera
from kinelift.video import open_frames

SECONDS = 3.0
# Motion and camera of each clip.
SHOTS = (("walk", PAN), ("walk", ALONG), ("squat", HAND_HELD), ("jump", PAN), ("run", ALONG))
PLACE = Place(40, 3.4, 1.4, 0.85, (640, 360))


def rendered_cases(work: Path, at_most: int) -> list[Case]:
    """The first clips, drawn and detected where WORK has none yet, each with the path that odometry sees."""
    return [_case(i, action, move, work) for i, (action, move) in enumerate(SHOTS[:at_most])]


def _case(number: int, action: str, move: str, work: Path) -> Case:
    piece = _piece(number, action)
    camera = moving(move, PLACE, piece.truth, seeded("rendered", number, "camera"))
    video = _drawn(piece, camera, f"{number}-{action}-{move.replace(' ', '-')}", work)
    seen = key_points(video, work / "keypoints")
    lens = Camera.from_focal(camera.focal_px, camera.image_size)
    with open_frames(video) as frames:
        path = track_camera(frames, seen, lens)
    pose = mapped(repair(within_picture(seen)[0])[0], BODY26)
    at = np.round(pose.times * FPS).astype(int)
    posed = camera.replaced(R_cam_world=camera.R_cam_world[at], t_cam_world=camera.t_cam_world[at])
    return Case(
        "rendered", video.stem, action, piece.stature_m, piece.truth[at], piece.contact[at], posed, pose, path, move
    )


def _piece(number: int, action: str) -> Piece:
    rng = seeded("rendered", number)
    p, contact, _ = generate_named_actions(rng, 1, round(SECONDS * FPS), only=action)
    return grown(number, "rendered", f"rendered {number}", action, p[0].astype(float), contact[0] > 0.5)


def _drawn(piece: Piece, camera: Camera, name: str, work: Path) -> Path:
    """The clip's video, drawn where there is none of this checksum."""
    crc = 0
    for x in (piece.truth, camera.R_cam_world, camera.t_cam_world, camera.K):
        crc = zlib.crc32(np.round(x * 1e4).astype(np.int64).tobytes(), crc)
    video = work / "rendered" / f"{name}-{crc:08x}.mp4"
    if video.is_file():
        return video
    video.parent.mkdir(parents=True, exist_ok=True)
    rng = seeded("rendered", piece.number, "look")
    reach = np.abs(np.concatenate([piece.truth[..., ::2].reshape(-1, 2), camera.position[:, ::2]])).max()
    look = Look.random(rng)
    look = replace(look, room_m=max(look.room_m, float(reach) + 1.0))
    times = np.arange(len(piece.truth)) / FPS
    pictures = Wear.random(rng).applied((f.image for f in film(piece.truth, times, camera, look)), rng)
    unfinished = video.with_suffix(".part.mp4")
    write_video(unfinished, pictures, camera.image_size)
    unfinished.rename(video)
    return video


def path_errors(path: CameraPath, camera: Camera) -> dict[str, float]:
    """Odometry against the truth: angles in degrees, mean distance after one scale in % of the way; the way, m."""
    true = camera.R_cam_world @ camera.R_cam_world[0].T
    cosine = (np.einsum("tij,tij->t", path.R, true) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    way = (camera.position - camera.position[0]) @ camera.R_cam_world[0].T
    length = metrics.path_length(way)
    scale = (path.position * way).sum() / max((path.position**2).sum(), 1e-12)
    miss = np.linalg.norm(scale * path.position - way, axis=-1).mean()
    return {"mean": angle.mean(), "largest": angle.max(), "miss": 100 * miss / max(length, 1e-9), "way": length}

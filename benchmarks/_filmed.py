"""The clips of `end_to_end.py`: motion that training never saw, phone cameras, drawn figures, H.264 and truth.

Everything about clip i of a seed is drawn from (seed, i). World axes are Y up, metres, the floor at y = 0. A clip is
drawn once: its folder keeps the video, the truth and a fingerprint of all that decided the pictures.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from _protocol import Place, cmu_action, pieces, placed, touching, with_face_and_hands
from kinelift.camera import Camera
from kinelift.datasets.mocap import SOLES, Clip
from kinelift.errors import InputError
from kinelift.kinematics import bone_lengths, reference_offsets, stature_from_offsets
from kinelift.records import CONTACT_JOINTS
from kinelift.render import Look
from kinelift.skeleton import BODY26
from kinelift.training.actions import generate_named_actions
from kinelift.training.rendered import Scene, Wear, with_trunk
from kinelift.training.temporal import held_out

FPS = 30.0
SECONDS = (3.0, 4.0)
SHORTEST_S = 2.0  # of a mocap clip that is used whole
TRAVEL_M = 5.0  # who goes farther is drawn again: no still phone would film them
STATURE_M = (1.6, 1.9)
MOCAP = "mocap"
# A motion, by its name in `training.actions.ACTIONS` or `MOCAP`, and how the phone is held.
SHOTS = (
    ("walk", "landscape"),
    ("squat", "portrait"),
    (MOCAP, "landscape"),
    ("sit", "landscape"),
    ("reach", "portrait"),
    ("beam", "steep"),
    (MOCAP, "portrait"),
    ("lunge", "landscape"),
    ("jump", "landscape"),
    ("balance", "portrait"),
    (MOCAP, "landscape"),
    ("run", "landscape"),
    ("kick", "low"),
    (MOCAP, "landscape"),
    ("bend", "landscape"),
)
TURNS = sum(motion == MOCAP for motion, _ in SHOTS)
_WORD = zlib.crc32(b"end to end")  # keeps these draws apart from every other seeded draw
_B = BODY26.index
_TRIES = 200


@dataclass(frozen=True, eq=False)
class Filmed:
    """One clip: what is so, before anybody looks at it.

    Attributes:
        name: Of its folder; starts with its number.
        action: What the table calls it.
        motion: "generated", or the mocap clip's name.
        stature_m: Of the person, by `kinematics.stature_from_offsets` of their bones.
        scene: Motion, camera and looks; 30 frames a second; spine and chest are NaN for mocap.
    """

    name: str
    action: str
    motion: str
    stature_m: float
    scene: Scene

    @property
    def in_camera(self) -> np.ndarray:
        """(T, 26, 3) true metres in the camera's axes."""
        return self.scene.camera.to_camera(self.scene.positions)

    @property
    def view(self) -> str:
        """From which side the camera mostly sees the person: front, side (60 to 120 degrees round), or back."""
        p, camera = self.scene.positions, self.scene.camera.position
        across = (p[:, _B("left_hip")] - p[:, _B("right_hip")])[:, ::2]
        facing = across @ [1j, -1]  # as x + iz, a quarter turn from the left hip's side
        seen = (camera - p[:, 0])[:, ::2] @ [1, 1j]
        turn = np.degrees(np.median(np.abs(np.angle(facing / seen))))
        return "front" if turn < 60 else "back" if turn > 120 else "side"

    def fingerprint(self) -> str:
        """Eight hex digits of all that decides the pictures, lengths to 0.1 mm."""
        s = self.scene
        numbers = (s.positions, s.camera.K, s.camera.R_cam_world, s.camera.t_cam_world, [s.fps, s.seed])
        crc = zlib.crc32(repr((s.camera.image_size, s.look, s.wear)).encode())
        for x in numbers:
            crc = zlib.crc32(np.round(np.nan_to_num(np.asarray(x, float), nan=-99.0) * 1e4).astype(np.int64), crc)
        return f"{crc:08x}"


def stature(positions: np.ndarray) -> float:
    """Stature in metres of the body whose BODY26 positions (T, 26, 3) these are; a missing spine counts as straight."""
    lengths = np.nanmedian(bone_lengths(BODY26, with_trunk(positions)), 0)
    return stature_from_offsets(lengths[:, None] * [1.0, 0, 0])


def films(seed: int, count: int, mocap: list[Clip]) -> list[Filmed]:
    """So many clips, spread evenly over `SHOTS`, or more than once through them; without mocap only generated motion.

    Raises `InputError` where none of the mocap clips is held out.
    """
    kept = [c for c in mocap if held_out(c)]
    if mocap and not kept:
        raise InputError("none of the mocap clips is held out of training: give all of cmu.npz")
    shots = [i for i, (motion, _) in enumerate(SHOTS) if kept or motion != MOCAP]
    if count < len(shots):
        shots = [shots[int(k)] for k in np.linspace(0, len(shots) - 1, count)]
    numbers = (i + len(SHOTS) * lap for lap in range(-(-count // len(shots))) for i in shots)
    return [film(seed, number, kept) for number, _ in zip(numbers, range(count), strict=False)]


def film(seed: int, number: int, kept: list[Clip]) -> Filmed:
    """Clip `number` of a seed, with mocap out of these clips."""
    rng = np.random.default_rng([_WORD, seed, number])
    motion, held = SHOTS[number % len(SHOTS)]
    if motion == MOCAP:
        turn = sum(m == MOCAP for m, _ in SHOTS[: number % len(SHOTS)]) + number // len(SHOTS) * TURNS
        p, contact, action, motion = _mocap_window(rng, kept, _order(seed, kept), turn)
        kind = MOCAP
    else:
        (p, contact), action, motion, kind = _generated(rng, motion), motion, "generated", "generated"
    height = float(rng.uniform(*STATURE_M))
    p *= height / stature(p)
    p -= [*(p[:, 0].min(0) + p[:, 0].max(0)) / 2 * [1, 0, 1]]
    camera = placed(_place(rng, held, number), p)
    room = max(np.abs(p[..., ::2]).max(where=np.isfinite(p[..., ::2]), initial=0), np.abs(camera.position[::2]).max())
    look = Look.random(rng)
    look = dataclasses.replace(look, room_m=max(look.room_m, float(room + rng.uniform(0.3, 2))))
    scene = Scene(kind, p, contact, FPS, camera, look, Wear.random(rng), int(rng.integers(2**31)))
    return Filmed(f"{number:02d}-{action.replace(' ', '-')}", action, motion, height, scene)


def _frames(rng: np.random.Generator) -> int:
    return round(rng.uniform(*SECONDS) * FPS)


def _travel(p: np.ndarray) -> float:
    return float(np.linalg.norm(np.ptp(p[:, 0, ::2], axis=0)))


def _generated(rng: np.random.Generator, action: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, 26, 3) and contacts (T, 4): the first draw that stays near, else its nearest 2 s or more."""
    frames = _frames(rng)
    p, contact, _ = generate_named_actions(rng, 8, frames, only=action)
    near = [i for i in range(len(p)) if _travel(p[i]) <= TRAVEL_M]
    if near:
        return p[near[0]].astype(float), contact[near[0]]
    i, fewer = int(np.argmin([_travel(x) for x in p])), frames
    while fewer > SHORTEST_S * FPS and _travel(p[i, :fewer]) > TRAVEL_M:
        fewer -= 1
    return p[i, :fewer].astype(float), contact[i, :fewer]


def _order(seed: int, kept: list[Clip]) -> list[str]:
    """The actions of held-out mocap in this seed's order."""
    actions = sorted({cmu_action(c.name) for c in kept})
    return [actions[i] for i in np.random.default_rng([_WORD, seed]).permutation(len(actions))]


def _mocap_window(
    rng: np.random.Generator, kept: list[Clip], actions: list[str], turn: int
) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Positions, contacts, action and name of a window of held-out mocap, near and on the floor.

    `turn` says whose turn it is among the actions. Raises `InputError` where no window will do.
    """
    for attempt in range(_TRIES):
        action = actions[(turn + attempt // 20 * TURNS) % len(actions)]  # not one whose turn it is elsewhere
        of_action = [c for c in kept if cmu_action(c.name) == action]
        clip = of_action[rng.integers(len(of_action))]
        whole = pieces(clip)
        p = whole[rng.integers(len(whole))]
        frames = _frames(rng)
        start = int(rng.integers(max(len(p) - frames, 0) + 1))
        p = p[start : start + frames]
        lowest = p[:, SOLES, 1].min(1)
        if len(p) >= SHORTEST_S * FPS and _travel(p) <= TRAVEL_M and np.quantile(lowest, 0.8) < 0.08:
            return _dressed(p, rng), touching(p[:, SOLES]).astype(float), action, clip.name
    raise InputError("the held-out mocap has no window of two seconds that stays on the floor and near")


def _dressed(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy with head and hands, and forearms of a usual length where the markers have them short."""
    out, rest = p.copy(), np.linalg.norm(reference_offsets(), axis=-1)
    for side in ("left", "right"):
        elbow, wrist = _B(f"{side}_elbow"), _B(f"{side}_wrist")
        forearm = p[:, wrist] - p[:, elbow]
        short = rest[wrist] / float(np.median(np.linalg.norm(forearm, axis=-1)))
        out[:, wrist] = p[:, elbow] + forearm * max(short, 1.0)
    return with_face_and_hands(out, rng)


def _place(rng: np.random.Generator, held: str, number: int) -> Place:
    """How a person might hold the phone; headings are spread by the golden angle."""
    distance, focal = rng.uniform(2.8, 4.8), rng.uniform(0.7, 1.1)
    figure_px = rng.uniform(270, 400)
    longer = float(np.clip(figure_px * distance / (1.6 * focal), 480, 800))
    shorter = longer * (9 / 16 if rng.random() < 0.6 else 3 / 4)
    size = (shorter, longer) if held == "portrait" else (longer, shorter)
    return Place(
        turn_deg=float((137.508 * number + rng.uniform(-20, 20)) % 360),
        distance_m=float(distance),
        height_m=float(rng.uniform(0.25, 0.4) if held == "low" else rng.uniform(1.0, 1.7)),
        focal=float(focal),
        size=(2 * round(size[0] / 2), 2 * round(size[1] / 2)),
        look_down_deg=float(rng.uniform(26, 34)) if held == "steep" else None,
        roll_deg=float(rng.normal(0, 2)),
        aside_deg=float(rng.normal(0, 3)),
        above_deg=float(rng.normal(5 if held == "low" else 0, 2)),
    )


def drawn(clip: Filmed, work: Path, fresh: bool = False) -> tuple[Path, bool]:
    """The clip's video in its folder under `work`, and whether it was drawn now; a drawn one of this fingerprint stays.

    Beside it lies `truth.npz`. `fresh` draws again: for a changed renderer, which the fingerprint does not know.
    """
    folder = work / clip.name
    video, truth, mark = folder / "clip.mp4", folder / "truth.npz", clip.fingerprint()
    if not fresh and video.is_file() and fingerprint_of(truth) == mark:
        return video, False
    folder.mkdir(parents=True, exist_ok=True)
    truth.unlink(missing_ok=True)
    write_video(video, clip.scene.pictures(), clip.scene.camera.image_size)
    camera = clip.scene.camera
    np.savez_compressed(
        truth,
        positions=clip.scene.positions.astype(np.float32),
        contacts=clip.scene.contact.astype(np.float32),
        contact_joint_names=np.array(CONTACT_JOINTS),
        joint_names=np.array(BODY26.joints),
        times=np.arange(len(clip.scene.positions)) / FPS,
        K=camera.K,
        R_cam_world=camera.R_cam_world,
        t_cam_world=camera.t_cam_world,
        image_size=np.array(camera.image_size),
        height_m=clip.stature_m,
        motion=clip.motion,
        fingerprint=mark,
    )
    return video, True


def fingerprint_of(truth: Path) -> str | None:
    """The fingerprint in a truth file; None where there is no such file."""
    try:
        with np.load(truth, allow_pickle=False) as data:
            return str(data["fingerprint"])
    except (OSError, KeyError, ValueError, EOFError):
        return None


def write_video(path: Path, pictures: Iterator[np.ndarray], size: tuple[int, int]) -> None:
    """H.264 of (H, W, 3) uint8 RGB pictures at 30 frames a second, as a phone's messenger would send it."""
    rate, ticks = int(FPS), 512
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, rate * ticks)
        stream.options = {"crf": "23", "preset": "medium", "threads": "1"}
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = i * ticks, stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def lens(clip: Filmed) -> Camera:
    """The clip's camera as a lifter may know it: its lens, not its place."""
    return Camera.from_focal(clip.scene.camera.focal_px, clip.scene.camera.image_size)

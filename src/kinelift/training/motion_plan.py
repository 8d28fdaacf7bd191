"""What a generated movement is before it becomes a body: curves of angles, feet and balance, for many windows at once.

Arrays are (n windows, T frames, ...); angles are degrees, lengths metres, time is 30 fps, Y is up. In the body's own
frame +Z is ahead and +X to the left; a positive yaw turns left. Arms and feet carry an axis of two: left, right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from kinelift.kinematics import STATURE_PRIOR_M
from kinelift.skeleton import BODY26

FPS = 30.0
SIDE = np.array([1.0, -1.0])
MIDLINE = (
    "yaw",
    "lean",
    "side",
    "roll",
    "spine_flex",
    "spine_side",
    "spine_twist",
    "neck_flex",
    "neck_side",
    "neck_twist",
)
ARM = ("shoulder_flex", "shoulder_abduct", "shoulder_twist", "elbow_flex", "wrist_flex", "wrist_side")


@dataclass(frozen=True, eq=False)
class Body:
    """Segment lengths of n people, metres.

    Attributes:
        offsets: (n, 26, 3) rest offsets.
        thigh, shank, ankle, heel, toe: (n,) lengths; ankle is its height over the sole, heel and toe reach along it.
    """

    offsets: np.ndarray
    thigh: np.ndarray
    shank: np.ndarray
    ankle: np.ndarray
    heel: np.ndarray
    toe: np.ndarray

    @classmethod
    def of(cls, offsets: np.ndarray) -> Body:
        """Read the lengths off rest offsets (n, 26, 3); left and right must agree."""
        knee, ankle, heel, toe = (
            offsets[:, i] for i in BODY26.indices("left_knee", "left_ankle", "left_heel", "left_toe")
        )
        return cls(offsets, -knee[:, 1], -ankle[:, 1], -toe[:, 1], -heel[:, 2], toe[:, 2])

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, rows: np.ndarray) -> Body:
        return Body.of(self.offsets[rows])

    @property
    def leg(self) -> np.ndarray:
        """(n, 1) thigh and shank."""
        return (self.thigh + self.shank)[:, None]

    @property
    def stand(self) -> np.ndarray:
        """(n, 1) height of the hips in relaxed standing."""
        return self.ankle[:, None] + 0.9955 * self.leg

    @property
    def hip(self) -> np.ndarray:
        """(n,) half the distance between the hip joints."""
        return self.offsets[:, BODY26.index("left_hip"), 0]


class Plan:
    """Curves of n windows of T frames, each settable by name.

    Attributes:
        Every name of `MIDLINE`: (n, T) degrees.
        Every name of `ARM`: (n, T, 2) degrees, generate.py's conventions.
        hang: (n, T) 0..1, how far arms keep to the vertical as the trunk bends.
        root: (n, T, 2) x, z of the pelvis where `balance` is 0.
        com: (n, T, 2) x, z of the centre of mass where `balance` is 1.
        balance: (n, T).
        height: (n, T) of the hips; lowered by the solver where legs do not reach.
        foot: (n, T, 2, 3) the point under each ankle on the flat sole, y its clearance.
        ground: (n, T, 2) height of the floor or step beneath each foot.
        foot_yaw, foot_pitch: (n, T, 2) degrees; pitch > 0 stands on the toe, < 0 on the heel.
        tied: (n, T, 2) 0..1, the foot hangs on the pelvis at `swing` instead of standing at `foot`.
        swing: (n, T, 2, 3) ankle from the pelvis, in the frame that turns with yaw.
        loose: (n, T, 2) 0..1, the foot follows its shank instead of `foot_yaw` and `foot_pitch`.
        loose_flex: (n, T, 2) degrees of dorsiflexion of a loose foot.
        knee_out: (n, T, 2) degrees that the knee points outwards from where its foot does.
        hand: (n, T, 2, 3) world wrist, used as far as `hold` (n, T, 2) says.
    """

    def __init__(self, body: Body, frames: int):
        n = len(body)
        self.curves: dict[str, np.ndarray] = {k: np.zeros((n, frames)) for k in (*MIDLINE, "hang", "balance")}
        self.curves |= {k: np.zeros((n, frames, 2)) for k in ARM}
        self.curves |= {k: np.zeros((n, frames, 2)) for k in ("root", "com", "foot_yaw", "foot_pitch", "tied", "loose")}
        self.curves |= {k: np.zeros((n, frames, 2)) for k in ("loose_flex", "knee_out", "hold", "ground")}
        self.curves |= {k: np.zeros((n, frames, 2, 3)) for k in ("foot", "swing", "hand")}
        self.curves["height"] = np.repeat(body.stand, frames, 1)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["curves"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "curves":
            self.__dict__[name] = value
        else:
            self.curves[name][...] = value

    @property
    def shape(self) -> tuple[int, int]:
        """Windows and frames."""
        n, frames = self.curves["yaw"].shape
        return n, frames

    def rows(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The curves of some windows."""
        return {k: v[rows] for k, v in self.curves.items()}

    def put(self, rows: np.ndarray, other: Plan) -> None:
        """Take some windows from another plan."""
        for k, v in other.curves.items():
            self.curves[k][rows] = v


def minjerk(u: np.ndarray) -> np.ndarray:
    """0 to 1 over u in 0..1, at rest at both ends (Flash and Hogan 1985)."""
    u = np.clip(u, 0, 1)
    return u**3 * (10 - 15 * u + 6 * u * u)


def bump(u: np.ndarray) -> np.ndarray:
    """0 to 1 and back over u in 0..1, with flat ends."""
    u = np.clip(u, 0, 1)
    return (4 * u * (1 - u)) ** 2


def seconds(frames: int) -> np.ndarray:
    """(1, frames) times."""
    return np.arange(frames)[None] / FPS


def draw(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    """(n, 1) uniform values."""
    return rng.uniform(low, high, (n, 1))


def chance(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    """(n, 1) floats, 1 in this share of the windows, else 0."""
    return (rng.random((n, 1)) < share).astype(float)


def wander(rng: np.random.Generator, shape: tuple[int, ...], slow: float = 0.12, fast: float = 0.7) -> np.ndarray:
    """Unit-variance smooth noise (n, T, ...) of three sines with frequencies between slow and fast, Hz."""
    n, frames, rest = shape[0], shape[1], shape[2:]
    rate = np.exp(rng.uniform(np.log(slow), np.log(fast), (n, 1, *rest, 3)))
    phase = rng.uniform(0, 2 * np.pi, rate.shape)
    size = rng.normal(0, np.sqrt(2 / 3), rate.shape)
    t = seconds(frames).reshape(1, frames, *(1 for _ in rest), 1)
    return (size * np.sin(2 * np.pi * rate * t + phase)).sum(-1)


class Timing:
    """A random rhythm of holds and moves, shared by all curves of a window.

    `timing(values)` joins key values (n, count, ...) by minimum-jerk moves.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        n: int,
        frames: int,
        move: tuple[float, float] = (0.4, 1.3),
        hold: tuple[float, float] = (0.0, 0.8),
    ):
        base = np.exp(rng.uniform(np.log(move[0]), np.log(move[1]), (n, 1)))
        self.count = int(frames / FPS / (0.75 * move[0])) + 3
        moves = base * rng.uniform(0.75, 1.25, (n, self.count))
        holds = rng.uniform(hold[0], hold[1], (n, self.count)) * rng.uniform(0.1, 1, (n, 1))
        end = np.cumsum(moves + holds, 1)
        t = seconds(frames) + rng.uniform(0, 1, (n, 1)) * end[:, :1]
        self.index = np.minimum((t[:, :, None] >= end[:, None]).sum(-1), self.count - 2)
        start = np.take_along_axis(end - moves, self.index, 1)
        self.part = minjerk((t - start) / np.take_along_axis(moves, self.index, 1))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n, T, ...) curves through key values (n, count, ...)."""
        rows = np.arange(len(values))[:, None]
        part = self.part.reshape(*self.part.shape, *(1,) * (values.ndim - 2))
        return values[rows, self.index] * (1 - part) + values[rows, self.index + 1] * part

    def reps(self, rng: np.random.Generator) -> np.ndarray:
        """(n, T) from 0 up to about 1 and back, over and over; the first key is either."""
        n = len(self.index)
        odd = (np.arange(self.count)[None] + rng.integers(0, 2, (n, 1))) % 2
        return self(odd * rng.uniform(0.8, 1.0, (n, self.count)))


class Loop:
    """A movement that repeats: k key poses, each held for no time, with spans (n, k) seconds from each to the next.

    `loop(values)` runs smoothly through key values (n, k, ...): cubic Hermite, slopes from the neighbouring keys.
    """

    def __init__(self, rng: np.random.Generator, spans: np.ndarray, frames: int):
        n, self.keys = spans.shape
        turns = int(frames / FPS / spans.sum(1).min()) + 3
        vary = rng.uniform(0.88, 1.12, (n, turns, 1))
        self.spans = (spans[:, None] * vary).reshape(n, -1)
        self.times = np.cumsum(self.spans, 1) - self.spans
        now = seconds(frames) + spans.sum(1, keepdims=True) * (0.2 + rng.random((n, 1)))
        self.index = (now[:, :, None] >= self.times[:, None, 1:]).sum(-1)
        self.span = np.take_along_axis(self.spans, self.index, 1)
        self.u = (now - np.take_along_axis(self.times, self.index, 1)) / self.span

    def __call__(self, values: np.ndarray, slopes: np.ndarray | None = None) -> np.ndarray:
        """(n, T, ...) through values (n, k, ...); finite slopes (n, k, ...) per second replace its own."""
        rest = (1,) * (values.ndim - 2)
        spans = self.spans[:, : self.keys].reshape(len(values), self.keys, *rest)
        near = (np.roll(values, -1, 1) - np.roll(values, 1, 1)) / (spans + np.roll(spans, 1, 1))
        flat = (np.roll(values, -1, 1) - values) * (values - np.roll(values, 1, 1)) <= 0
        slope = np.where(flat, 0.0, near)
        if slopes is not None:
            slope = np.where(np.isfinite(slopes), slopes, slope)
        rows = np.arange(len(values))[:, None]
        a, b = self.index % self.keys, (self.index + 1) % self.keys
        u, span = (x.reshape(*x.shape, *rest) for x in (self.u, self.span))
        v = 1 - u
        ends = v * v * (1 + 2 * u) * values[rows, a] + u * u * (1 + 2 * v) * values[rows, b]
        return ends + span * u * v * (v * slope[rows, a] - u * slope[rows, b])

    def during(self, key: int) -> np.ndarray:
        """(n, T) 0..1 through the span after this key, -1 outside."""
        return np.where(self.index % self.keys == key, self.u, -1.0)


def lean_com(plan: Plan, prefer: np.ndarray | float = 0.5, smooth: float = 0.0, unload: float = 1.0) -> None:
    """Put the centre of mass over the standing feet.

    Args:
        plan: Changed in place: com and balance.
        prefer: (n, T) share of the weight on the left foot where both stand.
        smooth: Frames by which the centre of mass is smoothed.
        unload: How far a lifted foot's place stops to count; below 1 the body falls into its step.
    """
    up = np.clip(np.maximum((plan.foot[..., 1] - plan.ground) / 0.02, 3 * plan.tied), 0, 1)
    up = unload * gaussian_filter1d(maximum_filter1d(up, 9, axis=1), 4.0, axis=1)
    share = np.stack(np.broadcast_arrays(prefer, 1 - np.asarray(prefer)), -1) * (1.0001 - up)
    share = share / share.sum(-1, keepdims=True)
    yaw = np.radians(plan.foot_yaw)
    forward = 0.022 * STATURE_PRIOR_M + 0.08 * minjerk(plan.foot_pitch / 30)
    ahead = forward[..., None] * np.stack([np.sin(yaw), np.cos(yaw)], -1)
    com = (share[..., None] * (plan.foot[..., ::2] + ahead)).sum(2)
    plan.com = gaussian_filter1d(com, smooth, axis=1) if smooth else com
    plan.balance = 1.0


def join(first: Plan, second: Plan, start_s: np.ndarray, span_s: np.ndarray) -> None:
    """Let each window go over from one plan into another, in place; feet step across one after the other.

    Args:
        first: Becomes the joined plan.
        second: Is moved and turned to where the first one is at the change.
        start_s, span_s: (n,) seconds.
    """
    n, frames = first.shape
    t = seconds(frames)
    rows = np.arange(n)
    middle = np.clip(((start_s + span_s / 2) * FPS).astype(int), 0, frames - 1)
    turn = (first.yaw - second.yaw)[rows, middle]
    _carry(second, turn, first.com[rows, middle], second.com[rows, middle])
    mix = minjerk((t - start_s[:, None]) / span_s[:, None])
    for k, v in first.curves.items():
        if not k.startswith("foot"):
            m = mix.reshape(n, frames, *(1,) * (v.ndim - 2))
            v += m * (second.curves[k] - v)
    half = 0.55 * span_s[:, None]
    for side in range(2):
        begin = start_s[:, None] + side * 0.45 * span_s[:, None]
        u = (t - begin) / half
        m = minjerk(u)
        away = second.foot[:, :, side] - first.foot[:, :, side]
        far = np.linalg.norm(away[rows, middle][:, ::2], axis=-1)[:, None]
        first.foot[:, :, side] += m[..., None] * away
        first.foot[:, :, side, 1] += bump(u) * np.clip(0.4 * far, 0, 0.1)
        spin = (second.foot_yaw - first.foot_yaw)[:, :, side]
        first.foot_yaw[:, :, side] += m * ((spin + 180) % 360 - 180)
        first.foot_pitch[:, :, side] += m * (second.foot_pitch - first.foot_pitch)[:, :, side]


def _carry(plan: Plan, turn: np.ndarray, to: np.ndarray, origin: np.ndarray) -> None:
    """Turn windows by degrees (n,) about `origin` (n, 2) and put that point on `to` (n, 2)."""
    c, s = (f(np.radians(turn))[:, None] for f in (np.cos, np.sin))
    for name in ("root", "com", "foot", "hand"):
        v = plan.curves[name]
        shape = (len(c), 1, *(1,) * (v.ndim - 3))
        here, there = (p.reshape(len(c), *(1,) * (v.ndim - 2), 2) for p in (origin, to))
        cc, ss = c.reshape(shape), s.reshape(shape)
        x, z = v[..., 0] - here[..., 0], v[..., -1] - here[..., 1]
        v[..., 0], v[..., -1] = cc * x + ss * z + there[..., 0], -ss * x + cc * z + there[..., 1]
    plan.yaw += turn[:, None]
    plan.foot_yaw += turn[:, None, None]

"""What a clip is fitted to: everything known of it, in the world, and how much each kind counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.cleanup.sway import Sway, swayed
from kinelift.errors import UnknownNameError

# Kinds of evidence, each of which `Weights.without` turns off; "level" and "balance" are of the ground's.
TERMS = (
    "rays",
    "lifted",
    "contact_speed",
    "contact_height",
    "below_floor",
    "acceleration",
    "limits",
    "depth",
    "level",
    "balance",
)


# Who touches nothing for longer rests on what is not seen: nobody jumps higher than 1.2 m.
_LONGEST_FLIGHT_S = 1.0
# One that rises 8 cm; steps of a run take half of it.
_HIGH_FLIGHT_S = 0.25
# How long before and after a flight the body is pushed up or caught most.
_PUSH_S = 0.12


@dataclass(frozen=True)
class Weights:
    """Standard deviations of each kind of evidence; SI units.

    For ablations `Weights().without("contact_speed", "limits")` leaves out kinds by their names in `TERMS`: `rays` (key
    points), `lifted` (the lifter's pose), `contact_speed` and `contact_height` (planted points), `below_floor`,
    `acceleration`, `limits` (ranges of motion), `depth` (of the pelvis, where given), `level` (planted soles turn the
    world until they lie level) and `balance` (who stands does not fall: of the pose and of the level). Where the root
    starts, from rays and the lifter's pose, needs both and keeps them.

    Attributes:
        ray: Key point error as a fraction of the person's apparent stature.
        lifted: Multiplies the lifter's sigma, whose errors repeat from frame to frame.
        contact_speed_m_s: Speed of a planted point.
        contact_height_m: Height of a planted sole above what it stands on.
        contact_height_bend_m: From where on that height counts less than its square.
        below_floor_m: Depth of any sole below the floor.
        acceleration_m_s2: Acceleration of joints, in flight beside gravity's; the cost grows slower than the square
            from 0.6 of it on.
        balance_m: Of the zero moment point from the support, across the floor, of who is carried by the feet.
        limit: Radians beyond a joint's range of motion.
        depth: Multiplies the sigma of measured depths, whose errors repeat from frame to frame.
        depth_cue: The lifter's own depth of the root, as a fraction of it; infinite: not used.
        turn_step: Radians a joint may turn in one Gauss-Newton step without cost.
        off: Kinds left out.
    """

    ray: float = 0.012
    lifted: float = 1.0
    contact_speed_m_s: float = 0.02
    contact_height_m: float = 0.035
    contact_height_bend_m: float = 0.05
    below_floor_m: float = 0.006
    acceleration_m_s2: float = 8.0
    balance_m: float = 0.03
    limit: float = 0.1
    depth: float = 4.0
    depth_cue: float = np.inf
    turn_step: float = 0.5
    off: frozenset[str] = frozenset()

    def without(self, *terms: str) -> Weights:
        """The same without some kinds of evidence.

        Raises:
            UnknownNameError: a name is none of `TERMS`.
        """
        for term in terms:
            if term not in TERMS:
                raise UnknownNameError("term", term, TERMS)
        return replace(self, off=self.off | set(terms))


@dataclass(eq=False)
class Evidence:
    """What a clip is fitted to, in the world.

    Attributes:
        offsets: (26, 3) metres.
        times: (T,) seconds.
        rays: (T, 26, 2) key points as rays of the camera.
        ray_weight: (T, 26) 1 = fully trusted, 0 = not seen.
        lifted: (T, 26, 3) metres, root-relative, world axes; NaN where not given.
        sigma_m: (T, 26) of `lifted`.
        contact: (T, 8) in [0, 1] of `body.SUPPORTS`: soles, hands, knees.
        support_y: (T, 4) metres, height of what each sole stands on.
        drift: (T, 3) m/s, velocity of what is stood on.
        floor_y: Height of the floor.
        R_cam_world, t_cam_world: The camera, (3, 3) and (3,), or (T, 3, 3) and (T, 3) where it moves.
        stature_m: Of the person.
        depth: (T,) metres, the root's depth in camera axes; NaN where unknown.
        depth_sigma: (T,) metres.
        sway: How the cameras may be off; None: they are where they are.
        flight: (T, 2) of `flights` in the whole clip that this is a slice of; None: this is the whole clip.
    """

    offsets: np.ndarray
    times: np.ndarray
    rays: np.ndarray
    ray_weight: np.ndarray
    lifted: np.ndarray
    sigma_m: np.ndarray
    contact: np.ndarray
    support_y: np.ndarray
    drift: np.ndarray
    floor_y: float
    R_cam_world: np.ndarray
    t_cam_world: np.ndarray
    stature_m: float
    depth: np.ndarray
    depth_sigma: np.ndarray
    sway: Sway | None = None
    flight: np.ndarray | None = None

    def flown(self) -> np.ndarray:
        """(T, 2) of `flights`."""
        seen = np.asarray((self.ray_weight > 0).any(1))
        return flights(self.contact, self.times, seen) if self.flight is None else self.flight

    def sliced(self, frames: slice) -> Evidence:
        """The same for some of the frames."""
        names = ["times", "rays", "ray_weight", "lifted", "sigma_m", "contact", "support_y", "drift"]
        names += ["depth", "depth_sigma"]
        if self.R_cam_world.ndim == 3:
            names += ["R_cam_world", "t_cam_world"]
        sway = None if self.sway is None else self.sway.sliced(frames)
        return replace(self, **{n: getattr(self, n)[frames] for n in names}, flight=self.flown()[frames], sway=sway)

    @property
    def centre(self) -> np.ndarray:
        """The camera in the world, (3,) or (T, 3) metres."""
        return -(np.swapaxes(self.R_cam_world, -1, -2) @ self.t_cam_world[..., None])[..., 0]

    def sway_by(self, frames: slice, step: np.ndarray) -> None:
        """Cameras of some frames corrected by a further step (N, 6), or (N, 0) where they are not off; in place."""
        if self.sway is not None:
            self.sway.so_far[frames] += step
            moved = swayed(self.R_cam_world[frames], self.t_cam_world[frames], step)
            self.R_cam_world[frames], self.t_cam_world[frames] = moved

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (T, J, 3) in the axes of each frame's camera."""
        t = self.t_cam_world[:, None] if self.t_cam_world.ndim == 2 else self.t_cam_world
        return points @ np.swapaxes(self.R_cam_world, -1, -2) + t


def flights(contact: np.ndarray, times: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(T, 2) in [0, 1]: how surely a body flies, and how near in time a high flight is, push-off and landing included.

    Of the contact (T, N) of all that may touch; `seen` (T,) bool. A flight is between two contacts at most
    `_LONGEST_FLIGHT_S` apart, seen in every frame: elsewhere a lack of contact says that none was found.
    """
    free = 1 - np.clip(contact, 0, 1).max(1)  # heels and toes leave the floor together, so no product
    edges = np.diff(np.concatenate([[False], free > 0.5, [False]]).astype(int))
    flying, near = np.zeros(len(free)), np.zeros(len(free))
    for start, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
        if start == 0 or stop == len(free) or not seen[start:stop].all():
            continue
        duration = times[stop] - times[start - 1]
        if duration > _LONGEST_FLIGHT_S:
            continue
        flying[start:stop] = free[start:stop]
        first, last = times[start], times[stop - 1]
        around = slice(*np.searchsorted(times, [first - _PUSH_S, last + _PUSH_S]))
        away_s = np.maximum(first - times[around], times[around] - last).clip(0)
        high = min(duration / _HIGH_FLIGHT_S, 1) ** 2
        near[around] = np.maximum(near[around], high * (1 - away_s / _PUSH_S))
    beside = np.pad(flying, 1)
    return np.stack([(beside[:-2] + 2 * flying + beside[2:]) / 4, near], -1)

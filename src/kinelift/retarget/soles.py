"""What of a character's foot can touch the floor: by its skin where there is one, else by joints and proportions.

Heel and ball are where it stands, at rest on the floor. Toes bend up as far as keeps them out of the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.kinematics import rotvec_to_matrix
from kinelift.retarget.skin import outermost
from kinelift.retarget.transfer import Puppet

# Shares of the hip joint's height of .530 of stature: ankle to ball, ankle to heel, ball to the toes' tip
# (Winter 2009, table 4.1, and conventions.md).
_BALL, _HEEL, _TIP = 0.085 / 0.530, 0.028 / 0.530, 0.039 / 0.530
MOST_BENT = np.radians(70)


@dataclass(frozen=True, eq=False)
class Soles:
    """One foot at rest; metres from its ankle, axes of the world.

    Attributes:
        heel, ball: (3,) where it stands.
        toes: (3,) the toes' joint, or None: then the foot is one piece.
        under: (K, 3) its outermost points without the toes.
        tips: (M, 3) those of the toes, from their joint.
    """

    heel: np.ndarray
    ball: np.ndarray
    toes: np.ndarray | None
    under: np.ndarray
    tips: np.ndarray

    def stands(self, foot: np.ndarray, clear: np.ndarray | None = None) -> np.ndarray:
        """Heel and ball (T, 2, 3) from the ankle, of a foot turned by (T, 3, 3); see `bent`."""
        ball = foot @ self.ball
        if self.toes is not None:
            # Under a raised heel the toes stay flat: the foot turns about their joint.
            bent = self.bent(foot, np.zeros(len(foot)) if clear is None else clear)
            ball = foot @ self.toes + bent @ (self.ball - self.toes)
        return np.stack([foot @ self.heel, ball], 1)

    def lowest(self, foot: np.ndarray) -> np.ndarray:
        """(T,) height of the lowest point over the ankle, toes bent as far up as they need when the ball stands."""
        low = (foot[:, 1] @ self.under.T).min(1)
        if self.toes is None:
            return np.asarray(low)
        bent = self.bent(foot, np.zeros(len(foot)))
        return np.asarray(np.minimum(low, foot[:, 1] @ self.toes + (bent[:, 1] @ self.tips.T).min(1)))

    def bent(self, foot: np.ndarray, clear: np.ndarray) -> np.ndarray:
        """Turns (T, 3, 3) of the toes: straight, or bent up so that they point no more than `clear` (T,) down.

        `clear` is the sine of the angle under the horizontal at which their tip meets the floor. A foot that lies on
        its back bends nothing.
        """
        along = self.ball * [1, 0, 1] / max(float(np.linalg.norm(self.ball[::2])), 1e-9)
        ahead = foot[:, 1] @ along
        down = np.arcsin(np.clip(-ahead, -1, 1))
        down = np.where(foot[:, 1, 1] < 0, np.pi - down, down)  # past the vertical
        bend = np.clip(down - np.arcsin(np.clip(clear, 0, 1)), 0, MOST_BENT)
        bend *= np.clip(1 + foot[:, 1, 1] / 0.4, 0, 1)
        return foot @ rotvec_to_matrix(-bend[:, None] * np.cross([0, 1.0, 0], along))


def soles_of(doll: Puppet, skins: list[np.ndarray], side: str) -> Soles:
    """The soles of one foot; `skins` as of `skins_of`."""
    ankle = doll.rest[doll.at[f"{side}_foot"]]
    size = float(np.mean([doll.rest[doll.at[f"{s}_upper_leg"], 1] for s in ("left", "right")]))
    toes = doll.rest[doll.at[f"{side}_toes"]] - ankle if f"{side}_toes" in doll.at else None
    level = np.array([0, 0, _BALL * size]) if toes is None else toes * [1, 0, 1]
    along = level / max(float(np.linalg.norm(level)), 1e-9)
    down = np.array([0, -ankle[1], 0])
    skin = skins[doll.at[f"{side}_foot"]]
    skin_toes = np.empty((0, 3)) if toes is None else skins[doll.at[f"{side}_toes"]] + toes
    if len(skin) + len(skin_toes):
        reach = np.concatenate([skin, skin_toes])
        sole = reach[reach[:, 1] < reach[:, 1].min() + 0.04 * size] @ along
        heel, tip = down + sole.min() * along, down + sole.max() * along
    else:
        heel, tip = down - _HEEL * size * along, down + level + _TIP * size * along
        # The back of the foot, as high over the toes' joint as the sole is under it.
        skin = np.array([down + level, *([] if toes is None else [2 * toes - down - level])])
        skin_toes = np.array([tip])
    if toes is None:
        # A foot in one piece rolls over its tip.
        return Soles(heel, tip, None, outermost(np.concatenate([[heel, tip], skin, skin_toes])), np.empty((0, 3)))
    tips = outermost(np.concatenate([[tip], skin_toes])) - toes
    return Soles(heel, down + level, toes, outermost(np.concatenate([[heel, down + level], skin])), tips)

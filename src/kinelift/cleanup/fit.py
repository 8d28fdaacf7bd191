"""The fit of one stretch in which a person is seen: scale, bones, root, ground, then solves and contacts in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.camera import Camera
from kinelift.cleanup.body import SOLES
from kinelift.cleanup.contacts import SeenSoles, plant
from kinelift.cleanup.evidence import Evidence
from kinelift.cleanup.moving import Views, find_root, weighed
from kinelift.cleanup.rig import constant_bones, first_rotations
from kinelift.cleanup.settings import Given, Settings
from kinelift.cleanup.solve import path_step, solve
from kinelift.cleanup.sway import expected_sway, swayed
from kinelift.cleanup.uncertainty import posterior_sigma
from kinelift.errors import InputError
from kinelift.kinematics import forward_kinematics, mass_weights, shortest_arc
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26
from kinelift.trajectory import Ground, calibrated_ground, find_ground, solve_root
from kinelift.trajectory.world import SOLE_NOISE_AFTER_M, levelled, mean_direction, standing_lean

_B = BODY26.index
# What a detector's key point is worth beside a limb joint: derived points repeat others; detectors place ears, noses
# and toe tips elsewhere on the body than the rig does.
_RAY_WORTH = {"pelvis": 0.0, "neck": 0.0, "head": 0.0, "nose": 0.15, "ear": 0.15, "hand": 0.5, "heel": 0.5, "toe": 0.3}
# Relative to the reference body: the error assumed of a joint whose lifter states none.
_SIGMA_UNSTATED = 0.06
# Metres: the error stated of a joint that the lifter does not give.
_SIGMA_FILLED_M = 0.15
# Metres below the floor from which a sole says that the floor is lower, planted or not.
_BELOW_M = 0.03
# How often contacts and the level of the floor are found anew from the solution so far.
_PASSES = 2


@dataclass(frozen=True, eq=False)
class Fitted:
    """A solved stretch.

    Attributes:
        offsets: (26, 3) metres.
        local: (T, 26, 3, 3) local rotations.
        root: (T, 3) metres, in the ground's world.
        contact: (T, 4) in [0, 1].
        sigma_m: (T, 26) metres.
        ground: World and floor, with the clip's first camera.
        views: How the camera moved from there.
        views_sigma: Standard deviation of the scale of `views`.
        scale: Metres per unit of the lifter's output.
        sway: (T, 6) of `Sway`, what the views turned out to be off by; None for a camera that stands still.
    """

    offsets: np.ndarray
    local: np.ndarray
    root: np.ndarray
    contact: np.ndarray
    sigma_m: np.ndarray
    ground: Ground
    views: Views
    views_sigma: float
    scale: float
    sway: np.ndarray | None

    def scaled(self, factor: float) -> Fitted:
        """The same motion of a body `factor` times as large, seen from as much further away."""
        return replace(
            self,
            offsets=self.offsets * factor,
            root=self.root * factor,
            sigma_m=self.sigma_m * factor,
            ground=self.ground.scaled(factor),
            views=replace(self.views, scale=self.views.scale * factor),
            views_sigma=self.views_sigma * factor,
            scale=self.scale * factor,
            sway=None if self.sway is None else self.sway * ([factor] * 3 + [1] * 3),
        )


class Fit:
    """One stretch and what is known of it; `run()` fits it.

    `lifted` in body26, `height_m` of the body that is fitted, which is `1 / enlarged` of the person's; `given` has
    the frames of `pose`.
    """

    def __init__(
        self, lifted: Lifted, pose: Pose2D, camera: Camera, height_m: float, enlarged: float, calibrated: bool,
        views: Views, given: Given, settings: Settings,
    ) -> None:  # fmt: skip
        self.lifted, self.pose, self.camera, self.height_m, self.enlarged = lifted, pose, camera, height_m, enlarged
        self.calibrated, self.views, self.given, self.settings = calibrated, views, given, settings
        self.views_sigma = np.inf
        self.unseen_s = _unseen_seconds(pose)
        self.down, self.gravity_source = self._gravity()

    def run(self, iterations: int) -> Fitted:
        """Scale, root and ground, then solves with contacts, level and path found anew between them."""
        e, local, root, ground, scale = self._start()
        weights = self.settings.solving()
        self._measure_depth(e, root, scale)
        for k in range(_PASSES):
            local, root = solve(e, local, root, iterations, weights)
            positions = forward_kinematics(BODY26, e.offsets, local, root)[0]
            self._plant(e, positions)
            if self.views.translating:
                told = path_step(e, local, root, self._way(ground), weights) if k == _PASSES - 1 else None
                root = self._rescaled_path(e, positions, root, ground, told)
            if not self.calibrated:
                local, root, ground = self._relevelled(e, local, root, ground)
            self._measure_depth(e, root, scale)
        local, root = solve(e, local, root, iterations, weights)
        sigma_m = posterior_sigma(e, local, root, weights)
        if not self.calibrated:
            origin = root[0] * [1, 0, 1]
            root, ground = root - origin, ground.moved(origin)
        contact = np.clip(e.contact[:, : len(SOLES)], 0, 1)
        sway = None if e.sway is None else e.sway.so_far
        return Fitted(e.offsets, local, root, contact, sigma_m, ground, self.views, self.views_sigma, scale, sway)

    def _start(self) -> tuple[Evidence, np.ndarray, np.ndarray, Ground, float]:
        """Evidence, first rotations and root in the world, the world, and metres per unit of the lifter."""
        lifted, pose = self.lifted, self.pose
        sigma = lifted.sigma if lifted.sigma is not None else np.full(lifted.positions.shape[:2], _SIGMA_UNSTATED)
        filled = ~np.isfinite(lifted.positions).all(-1)
        trust = np.where(filled, 0.0, pose.detected[:, None] / np.maximum(sigma, 0.01) ** 2)
        offsets = constant_bones(lifted.positions, trust, self.height_m, self.settings.asymmetric)
        scale = _lifter_scale(lifted.positions, offsets, trust)
        unit = 1.0 if lifted.sigma is not None or lifted.scale == "metric" else 1 / scale
        sigma_m = np.clip(sigma * unit * scale, 0.015, 0.5) * growth(self.unseen_s)[:, None]
        sigma_m = np.where(filled, np.maximum(sigma_m, _SIGMA_FILLED_M), sigma_m)
        rays = self.camera.unproject(pose.xy)
        worth = np.array([next((w for word, w in _RAY_WORTH.items() if j.endswith(word)), 1.0) for j in BODY26.joints])
        ray_weight = np.where(np.isfinite(rays).all(-1), pose.confidence * worth, 0.0)

        relative = self._righted(self.views.carried(lifted.positions * scale))
        local = first_rotations(relative)
        shape, _ = forward_kinematics(BODY26, offsets, local, np.zeros((len(local), 3)))
        contact = lifted.contact
        if self.views.moving:
            likely = np.full((len(shape), len(SOLES)), 0.5) if contact is None else contact
            path = find_root(shape, rays, ray_weight, pose.times, self.views, shape[:, SOLES], likely)
            self.views, self.views_sigma, root = replace(self.views, scale=path.scale), path.sigma, path.root
        else:
            root = solve_root(shape, rays, ray_weight, pose.times)
        soles = shape[:, SOLES] + root[:, None]
        if contact is None:
            contact = _contact_along(soles, self.down, pose.times, self.height_m)
        contact = contact * self._fading()
        ground = self._first_ground(soles, contact, shape + root[:, None])
        R, t = self.views.cameras(ground.R_cam_world, ground.t_cam_world)
        R_first = ground.R_cam_world
        local[:, 0] = R_first.T @ local[:, 0]
        T = len(local)
        contact = np.zeros_like(contact) if self.settings.foot_lock == "never" else contact
        evidence = Evidence(
            offsets, pose.times, rays, ray_weight, relative @ R_first, sigma_m,
            np.concatenate([contact, np.zeros((T, 4))], 1), np.full((T, 4), ground.floor_y), np.zeros((T, 3)),
            ground.floor_y, R, t, self.height_m, np.full(T, np.nan), np.full(T, np.nan),
            expected_sway(self.views.R, self.views.t, pose.times, self.views.scale) if self.views.moving else None,
        )  # fmt: skip
        self._override(evidence)
        return evidence, local, (root - ground.t_cam_world) @ R_first, ground, scale

    def _gravity(self) -> tuple[np.ndarray, str]:
        """Down in the first camera's axes, and what says so."""
        detected = self.pose.detected.astype(float)
        if self.lifted.gravity is not None:
            return mean_direction(self.views.carried(self.lifted.gravity), np.maximum(detected, 1e-3)), "lifter"
        # A lifter without gravity: cameras are held upright and people stand; the mean trunk says which way is up.
        trunk = self.lifted.positions[:, 0] - self.lifted.positions[:, _B("neck")]
        trunk = trunk / np.maximum(np.linalg.norm(trunk, axis=-1, keepdims=True), 1e-9)
        upright = self.views.carried(np.nan_to_num(trunk) + np.array([0, 2.0, 0]))
        return mean_direction(upright, detected + 1e-3), "upright camera"

    def _righted(self, relative: np.ndarray) -> np.ndarray:
        """Root-relative positions (T, 26, 3), first camera's axes, of frames whose lifter misjudges the lean.

        Gravity does not change in a clip; where a frame's strays from it, the figure leans about half as far with it.
        """
        if self.lifted.gravity is None:
            return relative
        down = -self.camera.R_cam_world[:, 1] if self.calibrated else self.down
        said = self.views.carried(self.lifted.gravity)
        half = said + down
        length = np.linalg.norm(half, axis=-1, keepdims=True)
        turn = shortest_arc(said, np.where(length > 1, half / np.maximum(length, 1), said))  # none beyond 120 degrees
        return relative @ np.swapaxes(turn, -1, -2)

    def _first_ground(self, soles: np.ndarray, contact: np.ndarray, body: np.ndarray) -> Ground:
        if self.calibrated:
            return calibrated_ground(self.camera, soles, contact, body)
        if "level" in self.settings.weights.off:
            contact = np.where(contact > 0.6, 0.6, contact)
        return find_ground(self.down, soles, contact, body[0, 0], self.gravity_source, body)

    def _fading(self) -> np.ndarray:
        return np.exp(-self.unseen_s / 0.2)[:, None]

    def _plant(self, e: Evidence, positions: np.ndarray) -> None:
        """Contact, support and drift anew from the solution so far, in place."""
        seen = SeenSoles(e.rays[:, SOLES], e.ray_weight[:, SOLES], e.R_cam_world, e.t_cam_world)
        found = plant(
            self.lifted.contact, positions[:, SOLES], e.times, self.height_m, self.settings.foot_lock,
            floor_y=e.floor_y, body=positions, seen=seen, treadmill=self.settings.treadmill,
        )  # fmt: skip
        e.contact = np.concatenate([found.contact, found.others], 1) * self._fading()
        e.support_y, e.drift = found.support_y.copy(), found.drift
        self._override(e)

    def _override(self, e: Evidence) -> None:
        """What a person said of contact and support wins, in place."""
        if self.given.contact is not None:
            said = np.isfinite(self.given.contact)
            e.contact[:, : len(SOLES)] = np.where(said, self.given.contact, e.contact[:, : len(SOLES)])
        if self.given.support_y is not None:
            said = np.isfinite(self.given.support_y)
            e.support_y = np.where(said, self.given.support_y / self.enlarged, e.support_y)

    def _measure_depth(self, e: Evidence, root: np.ndarray, scale: float) -> None:
        """The root's depth from outside, fitted to the solution by one scale (and shift), and the lifter's; in place.

        `scale` metres per unit of the lifter. Sources are averaged by their certainty.
        """
        sources = []
        if (depth := self.given.depth) is not None:
            z = e.to_camera(root[:, None])[:, 0, 2]
            fitted, gain = _fitted_depth(depth.z, z, not depth.metric)
            sources.append((fitted, self.settings.weights.depth * gain * depth.sigma))
        if (cue := self.lifted.depth_cue) is not None:
            sources.append((scale * cue, self.settings.weights.depth_cue * scale * cue))
        known = [np.isfinite(d) & np.isfinite(s) & (s > 0) for d, s in sources]
        w = [np.where(k, 1 / np.where(k, s, 1) ** 2, 0) for k, (_, s) in zip(known, sources, strict=True)]
        total = np.where(sum(w) > 0, sum(w), np.nan) * np.ones(len(root))
        e.depth = sum(x * np.where(k, d, 0) for x, k, (d, _) in zip(w, known, sources, strict=True)) / total
        e.depth_sigma = 1 / np.sqrt(total)

    def _way(self, ground: Ground) -> np.ndarray:
        """(T, 3) world: where the camera's centre goes as the path's scale grows by 1."""
        return -np.einsum("tji,tj->ti", self.views.R, self.views.t) @ ground.R_cam_world

    def _rescaled_path(
        self, e: Evidence, positions: np.ndarray, root: np.ndarray, ground: Ground, told: tuple[float, float] | None
    ) -> np.ndarray:
        """The camera path's scale anew from the solution so far; the root follows, and `e` in place.

        `told` is by how much it should grow as the whole solve has it, with a standard deviation.
        """
        relative = (positions - root[:, None]) @ ground.R_cam_world.T
        weight, contact = e.ray_weight, e.contact[:, : len(SOLES)]
        path = find_root(relative, e.rays, weight, e.times, self.views, relative[:, SOLES], contact)
        if told is not None:
            path = weighed(path, self.views.scale + told[0], told[1])
        root = root + (path.scale - self.views.scale) * path.by_scale @ ground.R_cam_world
        self.views, self.views_sigma = replace(self.views, scale=path.scale), path.sigma
        self._aim(e, ground)
        return root

    def _aim(self, e: Evidence, ground: Ground) -> None:
        """The cameras of `e` in the world, in place."""
        e.R_cam_world, e.t_cam_world = self.views.cameras(ground.R_cam_world, ground.t_cam_world)
        if e.sway is not None:
            e.R_cam_world, e.t_cam_world = swayed(e.R_cam_world, e.t_cam_world, e.sway.so_far)

    def _relevelled(
        self, e: Evidence, local: np.ndarray, root: np.ndarray, ground: Ground
    ) -> tuple[np.ndarray, np.ndarray, Ground]:
        """The solution in a world turned and shifted until its planted soles are level at y = 0; `e` follows."""
        positions = forward_kinematics(BODY26, e.offsets, local, root)[0]
        soles, contact = positions[:, SOLES], e.contact[:, : len(SOLES)]
        planted = (contact > 0.6) & (np.abs(e.support_y - e.floor_y) < 0.01)
        low = soles[..., 1] < np.minimum(e.support_y, e.floor_y) - _BELOW_M
        planted, firm = planted | low, np.maximum(contact, 0.6 * low)
        if planted.sum() < 10 or "level" in self.settings.weights.off:
            return local, root, ground
        lean = standing_lean(positions, soles, contact, e.times, mass_weights())
        lean = None if "balance" in self.settings.weights.off else lean
        R = levelled(ground.R_cam_world, soles[planted], firm[planted], self.down, SOLE_NOISE_AFTER_M, lean)
        turn = R.T @ ground.R_cam_world
        rise = np.array([0, np.median((soles[planted] @ turn.T)[:, 1]), 0])
        ground = replace(ground, R_cam_world=R).moved(rise)
        if e.sway is not None:
            e.sway.turned(turn)
        self._aim(e, ground)
        e.lifted, e.drift = e.lifted @ turn.T, e.drift @ turn.T
        local = local.copy()
        local[:, 0] = turn @ local[:, 0]
        return local, root @ turn.T - rise, ground


def _unseen_seconds(pose: Pose2D) -> np.ndarray:
    """(T,) seconds to the nearest frame that shows the person: what is filled is trusted less the further it is."""
    seen = pose.times[pose.detected]
    k = np.clip(np.searchsorted(seen, pose.times), 1, max(len(seen) - 1, 1))
    return np.minimum(np.abs(pose.times - seen[k - 1]), np.abs(pose.times - seen[np.minimum(k, len(seen) - 1)]))


def growth(unseen_s: np.ndarray) -> np.ndarray:
    """By how much standard deviations grow, so many seconds from the nearest sight of the person."""
    return 1 + unseen_s / 0.15


def _lifter_scale(positions: np.ndarray, offsets: np.ndarray, trust: np.ndarray) -> float:
    """Metres per unit of the lifter: total length of the bones it gives, in the rig and in its own median."""
    lengths = np.linalg.norm(positions - positions[:, [max(p, 0) for p in BODY26.parents]], axis=-1)
    given = np.isfinite(lengths).any(0) & (trust.sum(0) > 0)
    given[0] = False
    limbs = [
        j for j in np.flatnonzero(given) if any(w in BODY26.joints[j] for w in ("knee", "ankle", "elbow", "wrist"))
    ]
    if not limbs:
        raise InputError("the lifter gives no knee, ankle, elbow or wrist: no bone says how large the person is")
    return float(np.linalg.norm(offsets[limbs], axis=-1).sum() / max(np.nanmedian(lengths[:, limbs], 0).sum(), 1e-6))


def _contact_along(soles: np.ndarray, down: np.ndarray, times: np.ndarray, height_m: float) -> np.ndarray:
    """Contact (T, 4) before any solve and without the lifter's word: from the motion of soles along gravity."""
    upright = np.stack([soles[..., 0], -(soles @ down), soles[..., 2]], -1)
    return plant(None, upright, times, height_m).contact


def _fitted_depth(given: np.ndarray, z: np.ndarray, shifted: bool) -> tuple[np.ndarray, float]:
    """Given depths (T,) brought to the solution's z (T,) by a robust scale, and shift if `shifted`; and the scale.

    A scale below 0.2 or above 5 times the ratio of the medians says that the two do not vary alike; then only the
    medians are brought together.
    """
    known = np.isfinite(given)
    if not known.any():
        return given, 1.0
    x, y = given[known], z[known]
    usual = np.median(y) / max(abs(float(np.median(x))), 1e-6)
    gain, shift = usual, 0.0
    for _ in range(5 if shifted else 0):
        miss = y - gain * x - shift
        w = 1 / (1 + (miss / (2 * np.median(np.abs(miss)) + 1e-3)) ** 2)
        mx, my = (w * x).sum() / w.sum(), (w * y).sum() / w.sum()
        gain = (w * (x - mx) * (y - my)).sum() / max((w * (x - mx) ** 2).sum(), 1e-9)
        gain = gain if usual / 5 < gain < usual * 5 else usual
        shift = my - gain * mx
    if not shifted:
        gain = float(np.median(y / x))
    return gain * given + shift, float(gain)

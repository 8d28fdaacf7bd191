"""Quality over time: one row a frame, from a motion, its camera and its key points.

`report.json` holds means over these series (`quality.py`), `quality.csv` the series themselves, the plots draw them and
the advice reads them, so that all say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import StringIO

import numpy as np

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.kinematics import motion_positions, stature_from_offsets
from kinelift.records import Motion, Pose2D, Take
from kinelift.skeleton import BODY26

PLANTED = 0.5
# A foot planted this far above the floor stands on something: a step, a box, a beam.
RAISED_M = 0.08
_LIMBS = BODY26.indices(*metrics.LIMBS)
Span = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Series:
    """What is known of each of T frames; NaN where there is nothing to measure.

    Attributes:
        times: (T,) seconds.
        observed: (T,) bool, the person was found in the picture.
        confidence: (T, 12) in [0, 1] of the limb joints (`metrics.LIMBS`), after repair.
        reprojection_px: (T,) median distance of limb joints from their key points.
        stature_px: (T,) the person's height as it would appear at the pelvis' depth.
        depth_m: (T,) the pelvis in front of the camera.
        inside: (T, 26) bool, the joint as solved lies in the picture.
        soles: (T, 4, 3) metres, sole points in the world, heights above the floor.
        footing: (T, 4, 3) metres, the same relative to what feet stand on: heights above supports given by hand, and
            on a treadmill less the way of its belt.
        sole_speed: (T, 4) m/s.
        contacts: (T, 4) in [0, 1].
        raised: (T, 4) bool, planted on something above the floor.
        sliding: (T, 4) mm a frame at 30 fps, horizontal step of a sole planted now and in the frame before.
        jitter: (T,) 10 m/s^3, mean third difference of the joints.
        root: (T, 3) metres, the height above the floor.
        speed: (T,) m/s of the root over the floor.
        sigma_m: (T, 26) metres, the stated uncertainty of each joint.
        camera_step_m, camera_turn_deg: (T,) the camera's motion since the frame before; 0 where it stands.
        swapped: (T,) bool, left and right were exchanged in what the detector said.
        joints: Names of the 26 joints; `contact_joints` of the four soles.
    """

    times: np.ndarray
    observed: np.ndarray
    confidence: np.ndarray
    reprojection_px: np.ndarray
    stature_px: np.ndarray
    depth_m: np.ndarray
    inside: np.ndarray
    soles: np.ndarray
    footing: np.ndarray
    sole_speed: np.ndarray
    contacts: np.ndarray
    raised: np.ndarray
    sliding: np.ndarray
    jitter: np.ndarray
    root: np.ndarray
    speed: np.ndarray
    sigma_m: np.ndarray
    camera_step_m: np.ndarray
    camera_turn_deg: np.ndarray
    swapped: np.ndarray
    joints: tuple[str, ...]
    contact_joints: tuple[str, ...]

    @property
    def reprojection_percent(self) -> np.ndarray:
        """(T,) reprojection in percent of the person's height in the picture."""
        return np.asarray(100 * self.reprojection_px / self.stature_px)

    @property
    def sliding_mm(self) -> np.ndarray:
        """(T,) mean of `sliding` over planted soles; NaN where none is planted."""
        return _mean(self.sliding)

    @property
    def penetration_mm(self) -> np.ndarray:
        """(T,) mean depth of the four sole points below the floor."""
        return np.asarray(1000 * np.maximum(-self.soles[..., 1], 0).mean(1))

    @property
    def float_mm(self) -> np.ndarray:
        """(T,) height of the lowest sole above what it stands on; NaN without a contact, or on a step of its own."""
        on = (self.contacts > PLANTED) & ~self.raised
        return np.where(on.any(1), 1000 * np.maximum(self.footing[..., 1].min(1), 0), np.nan)

    @property
    def sigma_mm(self) -> np.ndarray:
        """(T,) median over the limb joints of their stated uncertainty."""
        return np.asarray(1000 * np.median(self.sigma_m[:, _LIMBS], axis=1))


@dataclass(frozen=True, eq=False)
class Known:
    """What is known beside motion, camera and key points.

    Attributes:
        floor_y: The floor's height in the world, metres: 0 but for a calibration's own world.
        treadmill: Whether feet stand on a belt that moves at an even speed.
        swapped: (T,) bool, frames whose sides had to be exchanged; None: none.
        support_m: (T, 4) height above the floor of what soles stand on, given by hand; NaN or None: the floor.
    """

    floor_y: float = 0.0
    treadmill: bool = False
    swapped: np.ndarray | None = None
    support_m: np.ndarray | None = None


def over_time(motion: Motion, camera: Camera, pose: Pose2D | None, known: Known | None = None) -> Series:
    """Series of a motion of `BODY26`; `pose` in the same joints as the solve saw it, or None."""
    known = known or Known()
    t, fps = len(motion.times), motion.fps
    positions = motion_positions(motion)
    soles = positions[:, motion.contact_joints] - [0, known.floor_y, 0]
    footing = _footing(soles, motion, known)
    at_camera = camera.to_camera(positions)
    xy = camera.project_camera(at_camera)
    miss, confidence = np.full(t, np.nan), np.zeros((t, len(_LIMBS)))
    if pose is not None:
        away = np.linalg.norm(xy - pose.xy, axis=-1)[:, _LIMBS]
        miss = _median(np.where(pose.seen[:, _LIMBS], away, np.nan))
        confidence = pose.confidence[:, _LIMBS]
    depth = at_camera[:, 0, 2]
    step, turn = _camera_motion(camera, t)
    return Series(
        times=motion.times,
        observed=motion.observed,
        confidence=confidence,
        reprojection_px=miss,
        stature_px=camera.focal_px * stature_from_offsets(motion.offsets) / np.where(depth > 0.05, depth, np.nan),
        depth_m=depth,
        inside=np.all((xy >= 0) & (xy <= np.array(camera.image_size) - 1), axis=-1),
        soles=soles,
        footing=footing,
        sole_speed=np.linalg.norm(_rate(soles, motion.times), axis=-1),
        contacts=motion.contacts,
        raised=_raised(footing, motion),
        sliding=_sliding(footing, motion),
        jitter=_jitter(positions, fps),
        root=motion.root - [0, known.floor_y, 0],
        speed=np.linalg.norm(_rate(motion.root[:, ::2], motion.times), axis=-1),
        sigma_m=motion.sigma_m,
        camera_step_m=step,
        camera_turn_deg=turn,
        swapped=np.zeros(t, bool) if known.swapped is None else known.swapped,
        joints=motion.skeleton.joints,
        contact_joints=tuple(motion.skeleton.joints[j] for j in motion.contact_joints),
    )


def series_of(take: Take, index: int = 0) -> tuple[Series, Pose2D | None]:
    """Series of one person of a take, which may come from a `motion.npz`, and the body26 key points the solve saw.

    Key points are repaired and edited again as `meta` says; None where the take has none.
    """
    from kinelift.lift import mapped
    from kinelift.repair import repair, within_picture
    from kinelift.repair.edits import parsed_edits

    motion, meta = take.motions[index], take.meta
    floor_y, options = meta.get("floor_y", 0.0), meta.get("options")
    edits = parsed_edits(meta.get("edits") or {}, "the take's edits")
    known = Known(
        float(floor_y) if isinstance(floor_y, int | float) else 0.0,
        isinstance(options, dict) and options.get("treadmill") is True,
        support_m=edits.support_y(motion.times) - (edits.floor_y or 0.0),
    )
    if index >= len(take.poses_2d) or len(take.poses_2d[index].times) != len(motion.times):
        return over_time(motion, take.camera, None, known), None
    pose = take.poses_2d[index]
    if meta.get("image_size_source", "stated") == "stated":
        pose = within_picture(pose)[0]
    out = edits.hidden(edits.swapped(repair(pose)[0]))
    known = replace(known, swapped=_exchanged(pose, out))
    body = mapped(out, BODY26)
    return over_time(motion, take.camera, body, known), body


def _exchanged(before: Pose2D, after: Pose2D) -> np.ndarray:
    """(T,) bool: frames in which some point has become what its mirror image was."""
    mirror = np.array(before.skeleton.mirror)
    other, moved = after.xy == before.xy[:, mirror], after.xy != before.xy
    return np.asarray((other & moved & (mirror != np.arange(len(mirror)))[:, None]).all(-1).any(1))


def _footing(soles: np.ndarray, motion: Motion, known: Known) -> np.ndarray:
    """(T, F, 3) sole points relative to what they stand on."""
    out = soles.copy()
    if known.support_m is not None:
        out[..., 1] -= np.nan_to_num(known.support_m)
    planted = motion.contacts > PLANTED
    if known.treadmill and planted.any():
        belt = np.median(_rate(soles, motion.times)[planted], axis=0) * [1, 0, 1]
        out -= ((motion.times - motion.times[0])[:, None] * belt)[:, None]
    return out


def spans(mask: np.ndarray, times: np.ndarray, least_s: float = 0.0, join_s: float = 0.1) -> list[Span]:
    """Stretches (from, to) in seconds where a mask (T,) holds, `to` being the first time after it.

    Stretches less than `join_s` apart are one; those shorter than `least_s` are left out.
    """
    if not mask.any():
        return []
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    ends = np.append(times[1:], times[-1] + step)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]]))).reshape(-1, 2)
    out: list[Span] = []
    for a, b in edges:
        start, end = float(times[a]), float(ends[b - 1])
        if out and start - out[-1][1] < join_s:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return [s for s in out if s[1] - s[0] >= least_s - 1e-9]


def csv_text(s: Series) -> str:
    """`quality.csv`: a header with units, one row a frame, nothing where there is nothing to measure."""
    columns = {
        "time_s": s.times,
        "observed": s.observed,
        "confidence": s.confidence.mean(1),
        "reprojection_px": s.reprojection_px,
        "reprojection_percent": s.reprojection_percent,
        "sliding_mm_per_frame": s.sliding_mm,
        "penetration_mm": s.penetration_mm,
        "float_mm": s.float_mm,
        "jitter_10m_s3": s.jitter,
        **{f"root_{a}_m": s.root[:, i] for i, a in enumerate("xyz")},
        "root_speed_m_s": s.speed,
        "depth_m": s.depth_m,
        "camera_step_m": s.camera_step_m,
        "camera_turn_deg": s.camera_turn_deg,
        **{f"{n}_contact": s.contacts[:, i] for i, n in enumerate(s.contact_joints)},
        **{f"{n}_height_m": s.soles[:, i, 1] for i, n in enumerate(s.contact_joints)},
        **{f"{n}_speed_m_s": s.sole_speed[:, i] for i, n in enumerate(s.contact_joints)},
        **{f"{n}_sigma_mm": 1000 * s.sigma_m[:, i] for i, n in enumerate(s.joints)},
    }
    text = StringIO()
    np.savetxt(
        text, np.column_stack(list(columns.values())), ["%.9f", "%d"] + ["%.5g"] * (len(columns) - 2), ",",
        header=",".join(columns), comments="",
    )  # fmt: skip
    return text.getvalue().replace("nan", "")


def _mean(x: np.ndarray) -> np.ndarray:
    """(T,) mean of (T, N) over what is not NaN; NaN where nothing is."""
    given = np.isfinite(x)
    return np.where(given.any(1), np.where(given, x, 0).sum(1) / np.maximum(given.sum(1), 1), np.nan)


def _median(x: np.ndarray) -> np.ndarray:
    """(T,) median of (T, N) over what is not NaN; NaN where nothing is."""
    out = np.full(len(x), np.nan)
    some = np.isfinite(x).any(1)
    if some.any():
        out[some] = np.nanmedian(x[some], axis=1)
    return out


def _rate(x: np.ndarray, times: np.ndarray) -> np.ndarray:
    return np.gradient(x, times, axis=0) if len(times) > 1 else np.zeros_like(x)


def _sliding(soles: np.ndarray, motion: Motion) -> np.ndarray:
    out = np.full(soles.shape[:2], np.nan)
    step = np.linalg.norm(np.diff(soles[..., ::2], axis=0), axis=-1) * motion.fps / 30 * 1000
    planted = motion.contacts > PLANTED
    out[1:] = np.where(planted[1:] & planted[:-1], step, np.nan)
    return out


def _raised(soles: np.ndarray, motion: Motion) -> np.ndarray:
    """(T, F) bool: frames of stances whose median height is over `RAISED_M`."""
    out = np.zeros(soles.shape[:2], bool)
    for frames, f in metrics.stances(motion.contacts, motion.times, 0.0):
        out[frames, f] = np.median(soles[frames, f, 1]) > RAISED_M
    return out


def _jitter(positions: np.ndarray, fps: float) -> np.ndarray:
    out = np.full(len(positions), np.nan)
    if len(positions) > 3:
        out[2:-1] = np.linalg.norm(np.diff(positions, 3, axis=0), axis=-1).mean(1) * fps**3 / 10
    return out


def _camera_motion(camera: Camera, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(T,) metres and (T,) degrees from one frame to the next."""
    step, turn = np.zeros(frames), np.zeros(frames)
    if camera.t_cam_world.ndim == 2 or camera.R_cam_world.ndim == 3:
        place = np.broadcast_to(camera.position, (frames, 3))
        step[1:] = np.linalg.norm(np.diff(place, axis=0), axis=-1)
    if camera.R_cam_world.ndim == 3:
        R = camera.R_cam_world
        trace = np.einsum("tij,tij->t", R[1:], R[:-1])
        turn[1:] = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    return step, turn

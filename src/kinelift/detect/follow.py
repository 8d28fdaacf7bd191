"""One person out of many, through the whole clip.

`Follower` joins the persons of successive frames into tracks by where they are and how large (a track survives a few
missed frames), then joins tracks into persons across longer absences by the colours of their clothes, and never
bridges a change of person: a gap stays a gap. Which person is meant is decided last, when all have been seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kinelift.detect.base import Candidate
from kinelift.errors import InputError
from kinelift.records import Pose2D
from kinelift.skeleton import Skeleton

TRUST = 0.3  # key points surer than this span a person's box
MAX_GAP_S = 0.6  # a track unseen for longer ends; a person may still come back as another track
MAX_LOOK_CHANGE = 0.45  # Bhattacharyya distance of clothes beyond which two sightings are two persons
MIN_SHARE = 0.05  # of the clip's frames: who is seen less does not count as a person, if anybody else does
LASTING = 0.3  # "largest" and "central" choose among those seen at least this share of the longest seen one's frames
PERSON_RULES = ("largest", "central")


@dataclass(eq=False)
class _Track:
    """Sightings of one person: frame indices, candidates, and what is needed to recognise the next."""

    frames: list[int] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    centres: list[np.ndarray] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    look: np.ndarray | None = None

    def predicted(self, time: float) -> np.ndarray:
        """Centre at a time, by the velocity of the last sightings, damped."""
        if len(self.times) < 2:
            return self.centres[-1]
        k = max(0, len(self.times) - 4)
        velocity = (self.centres[-1] - self.centres[k]) / (self.times[-1] - self.times[k])
        return self.centres[-1] + velocity * min(time - self.times[-1], 0.25)

    def size(self) -> float:
        return float(np.median(self.sizes[-9:]))

    def add(self, frame: int, time: float, candidate: Candidate, look: np.ndarray | None) -> None:
        centre, size = _place(candidate)
        self.frames.append(frame)
        self.times.append(time)
        self.candidates.append(candidate)
        self.centres.append(centre)
        self.sizes.append(size)
        if look is not None:
            self.look = look if self.look is None else 0.9 * self.look + 0.1 * look


class Follower:
    """Collects the persons of each frame; `pose` gives one of them.

    Args:
        skeleton: The detector's.
        image_size: (width, height) pixels.
    """

    def __init__(self, skeleton: Skeleton, image_size: tuple[int, int]) -> None:
        self._skeleton = skeleton
        self._image_size = image_size
        self._times: list[float] = []
        self._live: list[_Track] = []
        self._tracks: list[_Track] = []

    def add(
        self, time: float, candidates: Sequence[Candidate], image: np.ndarray | None = None, new_shot: bool = False
    ) -> None:
        """Take the next frame's persons.

        Args:
            time: Seconds, later than the last.
            candidates: Who is seen.
            image: (H, W, 3) uint8 RGB: clothes are looked at in it; None for key points without pictures.
            new_shot: A cut: nobody carries on from the frame before.
        """
        frame = len(self._times)
        self._times.append(time)
        self._live = [] if new_shot else [t for t in self._live if time - t.times[-1] <= self._patience()]
        people = [c for c in candidates if _usable(c)]
        looks = [None if image is None else _look(c, self._skeleton, image) for c in people]
        pairs = sorted(
            (cost, i, k)
            for i, track in enumerate(self._live)
            for k, person in enumerate(people)
            if (cost := _cost(track, time, person, looks[k])) is not None
        )
        used_tracks: set[int] = set()
        used_people: set[int] = set()
        for _, i, k in pairs:
            if i not in used_tracks and k not in used_people:
                used_tracks.add(i)
                used_people.add(k)
                self._live[i].add(frame, time, people[k], looks[k])
        new = [k for k in range(len(people)) if k not in used_people]
        for k in sorted(new, key=lambda k: float(_place(people[k])[0][0])):
            track = _Track()
            track.add(frame, time, people[k], looks[k])
            self._live.append(track)
            self._tracks.append(track)

    def _patience(self) -> float:
        """Seconds that a track may be unseen: at low frame rates at least a few frames."""
        steps = np.diff(self._times[-10:])
        return max(MAX_GAP_S, 2.5 * float(np.median(steps)) if len(steps) else 0.0)

    def persons(self) -> list[list[_Track]]:
        """Tracks by person, in the order of their first sighting (from left to right in one frame)."""
        people: list[list[_Track]] = []
        for track in self._tracks:
            back = [(cost, i) for i, p in enumerate(people) if (cost := _return_cost(p, track)) is not None]
            if back:
                people[min(back)[1]].append(track)
            else:
                people.append([track])
        least = max(3, MIN_SHARE * len(self._times))
        lasting = [p for p in people if sum(len(t.frames) for t in p) >= least]
        return lasting or people

    def pose(self, person: str | int = "largest") -> Pose2D:
        """One person's key points through the clip, NaN where that person is not seen.

        Args:
            person: "largest" (in the picture, median over their frames), "central" (nearest to the picture's middle,
                mean), both among those who are seen for long; or a number: 0, 1, ... by first appearance, from left
                to right.

        Raises `InputError` if there is nobody, or not so many.
        """
        people = self.persons()
        if not people:
            raise InputError("nobody was found in it; a person must be visible, at least about 60 pixels tall")
        number = self._chosen(people, person)
        t, j = len(self._times), len(self._skeleton)
        xy = np.full((t, j, 2), np.nan)
        confidence = np.zeros((t, j))
        d3 = np.full((t, j, 3), np.nan)
        for track in people[number]:
            for frame, candidate in zip(track.frames, track.candidates, strict=True):
                seen = np.isfinite(candidate.xy).all(1) & (candidate.confidence > 0)
                xy[frame, seen] = candidate.xy[seen]
                confidence[frame, seen] = np.clip(candidate.confidence[seen], 0, 1)
                if candidate.detector_3d is not None:
                    d3[frame] = candidate.detector_3d
        return Pose2D(
            skeleton=self._skeleton,
            xy=xy,
            confidence=confidence,
            times=np.array(self._times),
            image_size=self._image_size,
            person_id=number,
            detector_3d=d3 if np.isfinite(d3).any() else None,
        )

    def _chosen(self, people: list[list[_Track]], person: str | int) -> int:
        check_person(person)
        if isinstance(person, int):
            if person >= len(people):
                known = ", ".join(map(str, range(len(people))))
                raise InputError(f"person {person}: only {len(people)} seen; known: {known}")
            return person
        counts = np.array([sum(len(t.frames) for t in p) for p in people])
        if person == "largest":
            score = [-float(np.median([s for t in p for s in t.sizes])) for p in people]
        else:
            middle = (np.array(self._image_size) - 1) / 2
            score = [float(np.mean([np.linalg.norm(c - middle) for t in p for c in t.centres])) for p in people]
        return int(np.argmin(np.where(counts >= LASTING * counts.max(), score, np.inf)))


def check_person(person: str | int) -> None:
    """Raise `InputError` for a rule that is none."""
    if isinstance(person, bool) or (person not in PERSON_RULES if isinstance(person, str) else person < 0):
        raise InputError(f"person '{person}': expected {', '.join(PERSON_RULES)} or a number from 0")


def _usable(candidate: Candidate) -> bool:
    return int((np.isfinite(candidate.xy).all(1) & (candidate.confidence > 0)).sum()) >= 3


def _place(candidate: Candidate) -> tuple[np.ndarray, float]:
    """Centre (2,) and diagonal of the box around the sure points, pixels."""
    finite = np.isfinite(candidate.xy).all(1) & (candidate.confidence > 0)
    sure = finite & (candidate.confidence >= TRUST)
    points = candidate.xy[sure if sure.sum() >= 3 else finite]
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, max(1.0, float(np.linalg.norm(high - low)))


def _cost(track: _Track, time: float, person: Candidate, look: np.ndarray | None) -> float | None:
    """How badly a sighting continues a track; None if it cannot."""
    centre, size = _place(person)
    gap = time - track.times[-1]
    reference = max(track.size(), 0.7 * size)
    off = float(np.linalg.norm(centre - track.predicted(time))) / reference
    grown = abs(float(np.log(size / track.size())))
    if off > 0.3 + min(1.2 * gap, 0.6) or grown > 0.8:
        return None
    changed = _look_change(track.look, look)
    if changed is not None and changed > MAX_LOOK_CHANGE and (gap > 0.15 or off > 0.3):
        return None
    return off + 0.5 * grown + 0.5 * (changed or 0.0)


def _return_cost(person: list[_Track], track: _Track) -> float | None:
    """How badly a new track is the return of a person who was lost; None if it cannot be."""
    before = person[-1]
    gap = track.times[0] - before.times[-1]
    if gap <= 0:
        return None
    grown = abs(float(np.log(track.sizes[0] / before.size())))
    changed = _look_change(before.look, track.look)
    if changed is None:  # no pictures: only what a walk in the meantime explains
        off = float(np.linalg.norm(track.centres[0] - before.centres[-1])) / before.size()
        return None if off > 0.3 + min(gap, 1.5) or grown > 0.7 else off + grown
    return None if changed > 0.8 * MAX_LOOK_CHANGE or grown > 1.2 else changed


def _look(candidate: Candidate, skeleton: Skeleton, image: np.ndarray) -> np.ndarray | None:
    """(64,) root of the colour histogram of the torso and thighs; None where they are out of the picture."""
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_knee", "right_knee")
    if not all(n in skeleton.joints for n in names):
        return None
    ls, rs, lh, rh, lk, rk = (candidate.xy[skeleton.index(n)] for n in names)
    u, v = (a.reshape(-1, 1) for a in np.meshgrid(np.linspace(0.15, 0.85, 8), np.linspace(0.1, 0.9, 10)))
    torso = (1 - v) * ((1 - u) * ls + u * rs) + v * ((1 - u) * lh + u * rh)
    along = np.linspace(0.1, 0.8, 20)[:, None]
    points = np.concatenate([torso, (1 - along) * lh + along * lk, (1 - along) * rh + along * rk])
    points = np.round(points[np.isfinite(points).all(1)])
    height, width = image.shape[:2]
    points = points[((points >= 0) & (points < (width, height))).all(1)].astype(int)
    if len(points) < 30:
        return None
    colours = image[points[:, 1], points[:, 0]].astype(int) // 64
    histogram = np.bincount(colours @ (16, 4, 1), minlength=64) / len(points)
    # Neighbouring colours are alike: spread a little, so that light on a fold is no other shirt.
    cube = np.pad(histogram.reshape(4, 4, 4), 1)
    spread = 0.7 * cube
    for axis in range(3):
        spread += 0.05 * (np.roll(cube, 1, axis) + np.roll(cube, -1, axis))
    inner = spread[1:-1, 1:-1, 1:-1].ravel()
    return np.sqrt(inner / inner.sum())


def _look_change(a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    """Distance of two looks in [0, 1] (Bhattacharyya's, in Hellinger's form); None if one is unknown."""
    if a is None or b is None:
        return None
    overlap = float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))
    return float(np.sqrt(max(0.0, 1.0 - overlap)))

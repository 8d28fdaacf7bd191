"""The result: scores of methods by protocol, action and seed; printed as text, written as CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinelift.errors import InputError
from kinelift.evaluate.protocols import PROTOCOLS
from kinelift.skeleton import H36M17

AVERAGE = "average"
_INVERSION = "INVERSION ALLOWED (±z): of every pose the better of z and -z about the root counts"


@dataclass(frozen=True, eq=False)
class Score:
    """What one method reaches by one protocol.

    Attributes:
        method: The row's name.
        protocol: A key of `PROTOCOLS`.
        seeds: (S, A) each seed's mean over the poses of each action, mm or per cent.
    """

    method: str
    protocol: str
    seeds: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """(A + 1,) means over the seeds, of each action and last of the average over actions."""
        return self._with_average().mean(0)

    @property
    def spreads(self) -> np.ndarray:
        """(A + 1,) standard deviations over the seeds (of a sample), NaN for a single one."""
        s = self._with_average()
        return s.std(0, ddof=1) if len(s) > 1 else np.full(s.shape[1], np.nan)

    @property
    def average(self) -> float:
        """The mean over actions, every action counting alike, and over seeds."""
        return float(self.means[-1])

    @property
    def spread(self) -> float:
        """The standard deviation of `average` over seeds, NaN for a single one."""
        return float(self.spreads[-1])

    def _with_average(self) -> np.ndarray:
        return np.concatenate([self.seeds, self.seeds.mean(1, keepdims=True)], 1)


@dataclass(frozen=True, eq=False)
class Table:
    """Methods on one data set.

    Attributes:
        data: The data set's name.
        actions: A names.
        poses: (A,) poses of each action.
        left_out_joints: Joints that a lifter is not told about or does not give.
        unit_scale: Methods whose answers have no scale of their own and were given the truth's.
        allow_inversion: Whether the better of z and -z counts.
        scores: One for each method and protocol.
    """

    data: str
    actions: tuple[str, ...]
    poses: tuple[int, ...]
    left_out_joints: tuple[str, ...]
    unit_scale: tuple[str, ...]
    allow_inversion: bool
    scores: tuple[Score, ...]

    def score(self, method: str, protocol: str) -> Score:
        """One cell. Raises `KeyError`."""
        for s in self.scores:
            if (s.method, s.protocol) == (method, protocol):
                return s
        raise KeyError(f"{method}, {protocol}")

    @property
    def methods(self) -> list[str]:
        """Names of the rows."""
        return list(dict.fromkeys(s.method for s in self.scores))

    @property
    def protocols(self) -> list[str]:
        """Names of the columns."""
        return list(dict.fromkeys(s.protocol for s in self.scores))

    @property
    def heading(self) -> list[str]:
        """Lines that say what the numbers are of."""
        joints = len(H36M17) - len(self.left_out_joints)
        actions = f", mean over {len(self.actions)} actions" if len(self.actions) > 1 else ""
        lines = [f"{self.data}: {sum(self.poses)} poses, {joints} joints{actions}"]
        if self.allow_inversion:
            lines.append(_INVERSION)
        if self.left_out_joints:
            lines.append(
                f"joints left out, not told to or not given by every lifter: {', '.join(self.left_out_joints)}"
            )
            if "seed" in self.protocols:
                lines.append(f"(the authors' own number is the seed's over all {len(H36M17)} joints)")
        if self.unit_scale and {"mpjpe", "pck", "auc"} & set(self.protocols):
            lines.append(f"scale taken from the truth's x and y for: {', '.join(self.unit_scale)}")
        if any(len(s.seeds) > 1 for s in self.scores):
            lines.append("± is the standard deviation over seeds (in brackets: how many)")
        return lines

    def __str__(self) -> str:
        """The heading, methods by protocols, and where there are several actions, actions by methods."""
        marks = " (±z)" if self.allow_inversion else ""
        rows = [["", *(PROTOCOLS[p].title + marks for p in self.protocols)]]
        for m in self.methods:
            n = len(self.score(m, self.protocols[0]).seeds)
            name = f"{m} ({n})" if n > 1 else m
            rows.append([name, *(_cell(s.average, s.spread) for s in (self.score(m, p) for p in self.protocols))])
        blocks = ["\n".join(self.heading), _aligned(rows)]
        if len(self.actions) > 1:
            blocks += [self._by_action(p, marks) for p in self.protocols]
        return "\n\n".join(blocks)

    def _by_action(self, protocol: str, marks: str) -> str:
        scores = [self.score(m, protocol) for m in self.methods]
        rows = [[PROTOCOLS[protocol].title + marks, *self.methods]]
        for i, action in enumerate((*self.actions, AVERAGE)):
            rows.append([action, *(_cell(s.means[i], s.spreads[i]) for s in scores)])
        return _aligned(rows)

    def write_csv(self, path: Path) -> None:
        """A line for each method, protocol and action, the average last. Raises `InputError`."""
        head = ("data", "method", "seeds", "protocol", "inversion", "joints", "action", "poses", "mean", "spread")
        try:
            with path.open("w", newline="", encoding="utf-8") as f:
                out = csv.writer(f)
                out.writerow(head)
                out.writerows(self._csv_rows())
        except OSError as e:
            raise InputError(f"{path}: cannot be written ({e.strerror})") from None

    def _csv_rows(self) -> list[list[str | int]]:
        inversion = "allowed" if self.allow_inversion else "no"
        joints = len(H36M17) - len(self.left_out_joints)
        rows: list[list[str | int]] = []
        for s in self.scores:
            first: list[str | int] = [self.data, s.method, len(s.seeds), s.protocol, inversion, joints]
            counts = (*self.poses, sum(self.poses))
            for action, n, mean, spread in zip((*self.actions, AVERAGE), counts, s.means, s.spreads, strict=True):
                rows.append([*first, action, n, f"{mean:.4f}", "" if np.isnan(spread) else f"{spread:.4f}"])
        return rows


def _cell(mean: float, spread: float) -> str:
    return f"{mean:.1f}" if np.isnan(spread) else f"{mean:.1f} ± {spread:.1f}"


def _aligned(rows: list[list[str]]) -> str:
    """Columns padded with blanks: the first to the left, the others to the right."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ["  ".join([r[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(r[1:], widths[1:]))]) for r in rows]
    return "\n".join(line.rstrip() for line in lines)

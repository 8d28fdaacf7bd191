"""How large the person is: all that says so, weighed together in log-space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The person's stature, which sets every length of the result.

    Attributes:
        height_m: Barefoot, floor to crown, metres.
        sigma_m: Its standard deviation, metres.
        source: What it was found from, in plain words for the report.
    """

    height_m: float
    sigma_m: float
    source: str

"""The same views disturbed in ways that a lifter should not mind: turned, refocused, at half the rate, with gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from _protocol import FPS, KEY_POINTS, MIDDLES, View, in_runs, seeded
from kinelift.skeleton import BODY26


def turned(view: View) -> View:
    """The picture turned by 90 degrees clockwise: width and height, pixels and axes exchanged accordingly."""
    w, h = view.pose.image_size
    R = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    xy = np.stack([h - 1 - view.pose.xy[..., 1], view.pose.xy[..., 0]], -1)
    (fx, _, cx), (_, fy, cy), _ = view.camera.K
    K = np.array([[fy, 0, h - 1 - cy], [0, fx, cx], [0, 0, 1]])
    return replace(
        view,
        pose=view.pose.replaced(xy=xy, image_size=(h, w), detector_3d=None),
        camera=view.camera.replaced(K=K, image_size=(h, w)),
        truth=view.truth @ R.T,
        gravity=R @ view.gravity,
    )


def refocused(view: View, factor: float) -> View:
    """The lifter is told a focal length wrong by `factor`."""
    K = view.camera.K * np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]])
    return replace(view, camera=view.camera.replaced(K=K))


def halved(view: View) -> View:
    """Every second frame."""
    keep = slice(None, None, 2)
    contact = None if view.contact is None else view.contact[keep]
    return replace(view, pose=view.pose.sliced(keep), truth=view.truth[keep], contact=contact)


def thinned(view: View, share: float = 0.2, seconds: float = 0.3) -> View:
    """A fifth of the key points gone, in runs of frames, each joint at other times; middle ones go with their pair."""
    pose, t = view.pose, len(view.pose.times)
    rate = (t - 1) / (pose.times[-1] - pose.times[0]) if t > 1 else FPS
    rng = seeded("thinned", t, int(np.nan_to_num(pose.xy).sum()))
    gone = np.zeros((t, len(BODY26)), bool)
    gone[:, KEY_POINTS] = in_runs(rng, (t, len(KEY_POINTS)), share, seconds * rate / FPS)
    for middle, pair in MIDDLES.items():
        gone[:, BODY26.index(middle)] = gone[:, pair].any(1)
    xy = np.where(gone[..., None], np.nan, pose.xy)
    return replace(view, pose=pose.replaced(xy=xy, confidence=np.where(gone, 0.0, pose.confidence)))

"""What the projection lifters' training programs share: poses as tensors, metrics, checkpoints, a quick CPU."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinelift.datasets.base import PoseSet
from kinelift.errors import InputError, UnknownNameError
from kinelift.lift.projection import normalised
from kinelift.training.projection.export import FORMAT

log = logging.getLogger(__name__)

# glibc's mallopt: do not give freed memory back, and take blocks of up to 32 MB from what is kept.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _KEPT_BYTES, _BLOCK_BYTES = -1, -3, 1 << 30, 1 << 25


@dataclass(frozen=True, eq=False)
class Poses:
    """A set of poses as tensors, each normalised on its own.

    Attributes:
        flat: (N, 34) float32 interleaved x, y.
        truth: (N, 17, 3) float32: 3D from the hip, divided by the mean distance on x, y; None: 2D only.
        scale_mm: (N,) float32, that distance in mm; None: 2D only.
    """

    flat: Tensor
    truth: Tensor | None
    scale_mm: Tensor | None

    @classmethod
    def of(cls, data: PoseSet, device: torch.device | str = "cpu") -> Poses:
        """Poses whose joints do not all coincide. Raises `InputError` where there is none."""
        flat, spread = normalised(data.rays())
        whole = np.isfinite(spread) & (spread > 0)
        truth = scale = None
        if data.positions is not None:
            xyz = data.positions.astype(np.float64)
            _, scale = normalised(xyz[..., :2])
            whole &= scale > 0
            truth = (xyz - xyz[:, :1]) / np.where(scale > 0, scale, 1)[:, None, None]
        if not whole.any():
            raise InputError(f"{data.name}: no pose to train on or to check with")

        def tensor(x: np.ndarray) -> Tensor:
            return torch.from_numpy(x[whole].astype(np.float32)).to(device)

        return cls(
            tensor(flat.reshape(len(flat), -1)),
            None if truth is None else tensor(truth),
            None if scale is None else tensor(1000 * scale),
        )

    def __len__(self) -> int:
        return len(self.flat)


def of_action(data: PoseSet, action: str) -> PoseSet:
    """The poses of one action, or of "all". Raises `UnknownNameError`."""
    if action == "all":
        return data
    if action not in data.actions:
        raise UnknownNameError(f"action in {data.name}", action, [*sorted(set(data.actions.tolist())), "all"])
    return data.sliced(data.actions == action)


@torch.no_grad()
def validated(net: torch.nn.Module, poses: Poses) -> dict[str, float]:
    """The seed's measures of a lifter (B, 34) -> depths (B, 17): z MSE (normalised units) and mean error in mm.

    x and y are taken from the input. NaN where the poses have no 3D.
    """
    if poses.truth is None or poses.scale_mm is None:
        return {"val_z_mse": float("nan"), "val_mm": float("nan")}
    was = net.training
    net.eval()
    square, error = [], []
    parts = (poses.flat.split(4096), poses.truth.split(4096), poses.scale_mm.split(4096))
    for flat, truth, scale in zip(*parts, strict=True):
        said = torch.cat([flat.reshape(len(flat), -1, 2), net(flat)[..., None]], -1)
        square.append((said - truth)[..., 2].square().mean(1))
        error.append((said - truth).norm(dim=-1).mean(1) * scale)
    net.train(was)
    return {"val_z_mse": torch.cat(square).mean().item(), "val_mm": torch.cat(error).mean().item()}


class Journal:
    """Rows of metrics, one an epoch, to a CSV and to Fabric's loggers."""

    def __init__(self, fabric: Any, path: Path, done: int):
        """Goes on after `done` epochs; what the file says of later ones, which no checkpoint knows, is dropped."""
        self.fabric, self.path = fabric, path
        self.rows: list[dict[str, Any]] = []
        if done and path.is_file():
            with path.open(newline="") as f:
                self.rows = [r for r in csv.DictReader(f) if r.get("epoch", "").isdigit() and int(r["epoch"]) <= done]

    def write(self, row: dict[str, float]) -> None:
        """Add a row with an `epoch`."""
        self.rows.append({k: v if k in ("epoch", "iteration") else f"{v:.6g}" for k, v in row.items()})
        part = self.path.with_suffix(".part")
        with part.open("w", newline="") as f:
            writer = csv.DictWriter(f, list(row), lineterminator="\n", restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)
        part.replace(self.path)
        self.fabric.log_dict({k: v for k, v in row.items() if k != "epoch" and v == v}, step=int(row["epoch"]))
        log.info(" ".join(f"{k}={v:.4g}" for k, v in row.items()))


def loggers(out: Path) -> list[Any]:
    """TensorBoard where it is installed."""
    try:
        from lightning_fabric.loggers import TensorBoardLogger

        return [TensorBoardLogger(out, name="tensorboard")]
    except ModuleNotFoundError:
        return []


def save_checkpoint(path: Path, state: dict[str, Any], config: dict[str, Any], data: PoseSet, epoch: int) -> None:
    """Write a checkpoint that carries its options and which data it saw."""
    about = {"format": FORMAT, "config": config, "data": [data.name, len(data)], "epoch": epoch}
    part = path.with_suffix(".part")
    torch.save(about | state, part)
    part.replace(path)


def load_checkpoint(path: Path, config: dict[str, Any], data: PoseSet, free: tuple[str, ...]) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, or None where there is no file.

    Raises `InputError` where its options differ other than in those that are `free`, or its data.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        was, (name, count) = dict(state["config"]), state["data"]
    except Exception as e:  # torch's and its unpickler's own types
        reason = (str(e).splitlines() or [type(e).__name__])[0][:120]
        raise InputError(f"{path}: cannot be resumed ({reason})") from None
    other = sorted(k for k in was.keys() | config.keys() if k not in free and was.get(k) != config.get(k))
    if other:
        told = ", ".join(f"{k} was {was.get(k)}, is {config.get(k)}" for k in other)
        raise InputError(f"{path}: cannot be resumed with other options ({told})")
    if (name, count) != (data.name, len(data)):
        raise InputError(f"{path}: cannot be resumed with other data (was {name}, {count} poses; is "
                         f"{data.name}, {len(data)})")  # fmt: skip
    return state


@contextlib.contextmanager
def quick_cpu(threads: int) -> Iterator[None]:
    """Torch on some threads, tiny numbers flushed to zero, and (glibc) freed memory kept.

    Every step frees and takes as many megabytes as the network has weights; given back to the system, they come as
    thousands of page faults a step, which took a quarter of its time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_MMAP_THRESHOLD, _BLOCK_BYTES)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)

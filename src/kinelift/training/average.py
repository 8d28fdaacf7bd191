"""`kinelift train average`: one lifter whose weights are the mean of several.

Runs that go on from the same weights stay in one valley of the loss, and the middle of a valley lies lower than its
sides (Izmailov et al. 2018, "Averaging weights leads to wider optima"; Wortsman et al. 2022, "Model soups"). Weights
of runs that began apart do not average.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from kinelift.errors import InputError
from kinelift.training.calibrate import calibrated
from kinelift.training.checkpoint import read_network
from kinelift.training.detector_data import read_detector_data
from kinelift.training.export import export
from kinelift.training.temporal import held_out_batches, read_clips, validate


def average(
    lifters: Sequence[Path],
    data: Sequence[Path],
    out: Path,
    shares: Sequence[float] | None = None,
    detector_data: Sequence[Path] = (),
) -> tuple[Path, dict[str, dict[str, float]]]:
    """Write the mean of lifters that `train temporal` made; returns the path and all their metrics by file name.

    Args:
        lifters: Two or more ONNX lifters of one network.
        data: Mocap npz files or folders, whose held-out clips measure and calibrate.
        out: The ONNX file to write.
        shares: Of each lifter in the mean, any positive numbers; None: all alike.
        detector_data: Folders of rendered clips, held out likewise.

    Raises `InputError` for files that are no such lifters, or are of different networks.
    """
    shares = [1.0] * len(lifters) if shares is None else list(shares)
    if len(lifters) < 2:
        raise InputError("a mean needs at least two lifters")
    if len(shares) != len(lifters) or not all(0 < s < float("inf") for s in shares):
        raise InputError(f"{len(lifters)} lifters need as many positive shares, got {len(shares)}")
    sources = [read_network(path) for path in lifters]
    states = [s.net.state_dict() for s in sources]
    for path, source, state in zip(lifters, sources, states, strict=True):
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in states[0].items()}:
            raise InputError(f"{path}: is of another size than {lifters[0]}")
        if source.reads_own_3d != sources[0].reads_own_3d:
            raise InputError(f"{path} and {lifters[0]}: only one of them reads the detector's own 3D")
    rendered = [c for d in detector_data for c in read_detector_data(d)]
    checks = held_out_batches(read_clips(list(data)), rendered, sources[0].reads_own_3d)
    net = copy.deepcopy(sources[0].net)
    total = sum(shares)
    net.load_state_dict({k: sum(s / total * x[k] for s, x in zip(shares, states, strict=True)) for k in states[0]})
    measured = {path.name: validate(s.net, checks) for path, s in zip(lifters, sources, strict=True)}
    measured["mean"] = validate(net, checks)
    config = {**sources[0].config(), "mean_of": [round(s / total, 4) for s in shares]}
    said = sources[0].about.get("training_data", "unknown")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    export(calibrated(net, checks), part, config, measured["mean"], sources[0].reads_own_3d, said)
    return part.replace(out), measured

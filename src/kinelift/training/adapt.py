"""`kinelift adapt`: fine-tune a lifter on the user's own footage, without any 3D, and say whether that helped.

The last fifth of every clip is held out: its reprojection before and after decides, together with made motion whose
truth is known, on which the lifter must not get worse. The shipped weights stay as they are; the product is a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from kinelift.datasets.mocap import Clip, contact_labels
from kinelift.errors import InputError, MissingExtraError
from kinelift.lift.rays import RATE_HZ
from kinelift.training.actions import generate_actions
from kinelift.training.detected import DROPPED, Detected
from kinelift.training.detector_data import DetectorClip, read_detector_data
from kinelift.training.footage import Footage, Progress, View, draw, read_footage
from kinelift.training.generate import generate
from kinelift.training.vary import add_extremities
from kinelift.training.views import Batch, Sources, make_batch, observe, windows

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None

from kinelift.training import temporal
from kinelift.training.calibrate import calibrated
from kinelift.training.checkpoint import named_network
from kinelift.training.export import export
from kinelift.training.network import Prediction, TemporalNet
from kinelift.training.precision import native_bfloat16
from kinelift.training.prior import PosePrior
from kinelift.training.unlabelled import (
    Terms,
    implausibility,
    random_turns,
    reprojection,
    seen_rays,
    turned,
    uneven_bones,
    unlabelled_losses,
    weighted,
)

FRAMES = 64
# What counts as help: held-out reprojection lower by a part, made motion's PA-MPJPE not higher by another.
BETTER, FORGOTTEN = 0.01, 0.003
_SPREAD_MM = 450.0  # a person of 1.70 m: see network.read_heads


@dataclass(frozen=True)
class AdaptConfig:
    """One adaptation.

    Attributes:
        steps: Optimiser steps.
        own: Windows of 64 frames of the user's footage a step.
        made: Windows with known 3D a step, so that nothing is forgotten.
        learning_rate: AdamW's, falling to nothing by a cosine.
        terms: Weights of the losses without 3D.
        seed: Seeds numpy and torch.
        threads: Torch threads.
    """

    steps: int = 300
    own: int = 8
    made: int = 16
    learning_rate: float = 2e-4
    terms: Terms = field(default_factory=lambda: Terms(reprojection=0.3))
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name, value in (("--steps", self.steps), ("--threads", self.threads)):
            if value < 1:
                raise InputError(f"{name} {value}: expected 1 or more")


@dataclass(frozen=True, eq=False)
class AdaptReport:
    """What an adaptation did.

    Attributes:
        helped: Whether held-out reprojection fell by 1 % or more and made motion is lifted as well as before.
        before, after: `reprojection_mm` of held-out frames for a person of 1.70 m, `uneven_bones_mm`, `implausible`
            (nats below the average real pose, where a prior was given) and PA-MPJPE in mm on windows whose 3D is known.
        clips: Names of the files used; `seconds` of them learned from, `held_out_s` held out.
        ignored: Files of the folder that are no video or key points.
        lifter: The new lifter, or None where it did not help and was not kept.
    """

    helped: bool
    before: dict[str, float]
    after: dict[str, float]
    clips: tuple[str, ...]
    seconds: float
    held_out_s: float
    ignored: tuple[str, ...]
    lifter: Path | None

    def line(self) -> str:
        """One sentence for the user."""
        a, b = self.before["reprojection_mm"], self.after["reprojection_mm"]
        said = f"held-out reprojection {a:.1f} -> {b:.1f} mm ({b / a - 1:+.1%})"
        if self.helped:
            return f"adapting helped: {said}"
        kept = "written all the same" if self.lifter else "no lifter is written (--keep writes it)"
        return (
            f"adapting did not help: {said}; made motion {_made(self.before):.1f} -> {_made(self.after):.1f} mm; {kept}"
        )


def adapt(
    folder: Path,
    out: Path,
    lifter: str = "temporal",
    config: AdaptConfig | None = None,
    view: View | None = None,
    data: list[Path] | None = None,
    prior: PosePrior | None = None,
    detector_data: list[Path] | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> AdaptReport:
    """Fine-tune `lifter` (a name, or an ONNX file) on a folder of videos and key points; what came of it goes to `out`.

    `report.json` is always written, `lifter.onnx` only where it helped, or with `keep`. `data` (mocap) and
    `detector_data` (made by `train detector-data`) join made motion in the part with known 3D. Raises `InputError` for
    a folder without usable footage, a file in it that cannot be read, and a lifter that cannot be trained on.
    """
    config, tell = config or AdaptConfig(), progress or (lambda stage, done, total: None)
    _check_places(folder, out)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    path, source = named_network(lifter, "adapted")
    footage, ignored = read_footage(folder, view or View(), tell)
    clips = temporal.read_clips(data) if data else []
    rendered = [c for d in detector_data or [] for c in read_detector_data(d)]
    checks = _checks([c for c in clips if temporal.held_out(c)], rendered[::16])
    sources = _sources(
        [c for c in clips if not temporal.held_out(c)], [c for i, c in enumerate(rendered) if i % 16], config
    )
    before = _judge(source.net, footage, checks, prior)
    _fine_tune(source.net, footage, sources, prior, config, tell)
    after = _judge(source.net, footage, checks, prior)
    helped = _has_helped(before, after)
    out.mkdir(parents=True, exist_ok=True)
    seconds = sum(f.learned for f in footage) / RATE_HZ
    product = None
    if helped or keep:
        made_from = hashlib.sha256(path.read_bytes()).hexdigest()
        about = source.config() | {"adapted_from": made_from, "adapt": asdict(config)}
        said = f"{source.about.get('training_data', 'unknown')}; adapted to {seconds:.0f} s of footage without 3D"
        part = out / ".lifter.onnx"
        export(calibrated(source.net, checks), part, about, after, source.reads_own_3d, said)
        product = out / "lifter.onnx"
        os.replace(part, product)  # noqa: PTH105
    names = tuple(dict.fromkeys(f.name for f in footage))
    held_s = sum(len(f.features) - f.learned for f in footage) / RATE_HZ
    report = AdaptReport(helped, before, after, names, seconds, held_s, ignored, product)
    _write(out / "report.json", report, config, source.about, path)
    return report


def _check_places(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give the one that holds your videos or key point files")
    if out.resolve() == folder.resolve() or folder.resolve() in out.resolve().parents:
        raise InputError(f"{out}: lies in the footage's folder; choose another --out")
    if (out / "lifter.onnx").exists():
        raise InputError(f"{out}: already holds a lifter.onnx; choose another --out or move it away")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder")


def _sources(clips: list[Clip], rendered: list[DetectorClip], config: AdaptConfig) -> Sources:
    rng = np.random.default_rng((config.seed, 1))
    amount = min(400, config.made * config.steps)
    detected = Detected(rendered, FRAMES) if rendered else None
    return Sources(clips, generate(rng, amount, FRAMES), generate_actions(rng, amount, FRAMES), detected)


def _lesson(rng: np.random.Generator, sources: Sources, n: int) -> Batch:
    """Windows with known 3D: as `make_batch` mixes them where there is mocap, else made motion and rendered clips."""
    if sources.clips or sources.random is None or sources.actions is None:
        return make_batch(rng, sources, n, FRAMES)
    random = sources.random[rng.integers(0, len(sources.random), n // 3)].astype(np.float64)
    chosen = rng.integers(0, len(sources.actions[0]), n - n // 3)
    positions = np.concatenate([random, sources.actions[0][chosen].astype(np.float64)])
    contact = np.concatenate([contact_labels(random, 30.0), sources.actions[1][chosen]])
    batch = observe(rng, positions, contact, sources.detected)
    return Batch.joined([batch, sources.detected.windows(rng, max(n // 8, 1))]) if sources.detected else batch


def _fine_tune(
    net: TemporalNet,
    footage: list[Footage],
    sources: Sources,
    prior: PosePrior | None,
    config: AdaptConfig,
    tell: Progress,
) -> None:
    """Train the network in place."""
    rng = np.random.default_rng(config.seed)
    # How far to follow key points cannot be learned from how well the answer follows them.
    learned = [p for name, p in net.named_parameters() if not name.startswith("trust.")]
    optimiser = torch.optim.AdamW(learned, config.learning_rate, weight_decay=0.0)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    for step in range(config.steps):
        lesson = {k: torch.from_numpy(v) for k, v in vars(_lesson(rng, sources, config.made)).items()}
        features, opinion = (torch.from_numpy(x) for x in draw(rng, footage, config.own, FRAMES))
        opinion = opinion * torch.from_numpy(rng.random((config.own, 1, 1)) >= DROPPED)
        with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16()):
            taught = net(lesson["features"], lesson["opinion"])
            losses = unlabelled_losses(net, features, opinion, prior, rng)
        loss = temporal._loss(taught, lesson) + weighted(losses, config.terms)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        plan.step()
        tell("adapt", step + 1, config.steps)


def _checks(clips: list[Clip], rendered: list[DetectorClip]) -> dict[str, Batch]:
    """Fixed windows whose 3D is known and that are not learned from."""
    rng, n = np.random.default_rng(4321), 48
    random = generate(rng, n, FRAMES).astype(np.float64)
    acted, touch = generate_actions(rng, n, FRAMES)
    sets = {
        "random": observe(rng, random, contact_labels(random, 30.0)),
        "actions": observe(rng, acted.astype(np.float64), touch),
    }
    if clips:
        real, contact = windows(rng, clips, n, FRAMES)
        sets["mocap"] = observe(rng, add_extremities(rng, real.astype(np.float64)), contact)
    if rendered:
        sets["rendered"] = Detected(rendered, FRAMES).windows(rng, n)
    return sets


@torch.no_grad()
def _judge(
    net: TemporalNet, footage: list[Footage], checks: dict[str, Batch], prior: PosePrior | None
) -> dict[str, float]:
    """Numbers of `AdaptReport`, the footage's over held-out frames, each weighing the same."""
    out = {f"{k}_pa_mm": v for k, v in _pa(net, checks).items()}
    net.eval()
    rows, counts = [], []
    for clip in (f for f in footage if f.learned < len(f.features)):
        features, opinion = (torch.from_numpy(x.copy())[None] for x in (clip.features, clip.opinion))
        held = slice(clip.learned, None)
        said = Prediction(*(x[:, held] for x in net(features, opinion)))
        features = features[:, held]
        row = {
            "reprojection_mm": _SPREAD_MM * float(reprojection(said, features)),
            "uneven_bones_mm": 1000 * float(uneven_bones(said.positions)),
        }
        if prior is not None:
            turns = random_turns(np.random.default_rng(0), 16)
            many = Prediction(*(x.expand(16, *x.shape[1:]) for x in said))
            shown = seen_rays(features)[1].expand(16, -1, -1)
            row["implausible"] = float(
                implausibility(prior, turned(many, shown, turns, torch.full((16, 1), 4.0)).poses)
            )
        rows.append(row)
        counts.append(features.shape[1])
    net.train()
    return {k: float(np.average([r[k] for r in rows], weights=counts)) for k in rows[0]} | out


def _pa(net: TemporalNet, checks: dict[str, Batch]) -> dict[str, float]:
    measured = temporal.validate(net, checks)
    return {name: measured[f"{name}_pa"] for name in checks}


def _made(numbers: dict[str, float]) -> float:
    """Mean PA-MPJPE over the sets whose 3D is known."""
    return float(np.mean([v for k, v in numbers.items() if k.endswith("_pa_mm")]))


def _has_helped(before: dict[str, float], after: dict[str, float]) -> bool:
    better = after["reprojection_mm"] <= (1 - BETTER) * before["reprojection_mm"]
    return better and _made(after) <= (1 + FORGOTTEN) * _made(before)


def _write(path: Path, report: AdaptReport, config: AdaptConfig, about: dict[str, str], lifter: Path) -> None:
    facts = {
        **asdict(report),
        "lifter": report.lifter.name if report.lifter else None,
        "said": report.line(),
        "config": asdict(config),
        "adapted_from": {"name": lifter.stem, "training_data": about.get("training_data", "unknown")},
    }
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(facts, indent=2) + "\n")
    os.replace(part, path)  # noqa: PTH105

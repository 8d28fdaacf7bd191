"""Lifters that never see 3D: the seed's projection GAN and what goes past it, all from the same exact 2D.

    python benchmarks/unsupervised.py --data DATA --work WORK [--stage NAME ...] [--device cuda] [--quick]

DATA holds `mocap/cmu.npz`, `mocap/bandai_eval.npz` and `poses2d/mpii_poses.npy`. Trained on the training clips of
`cmu.npz` through virtual cameras (every second frame), tested on its held-out clips and on `bandai_eval.npz` (first
camera of each clip; nothing is selected on it). Every stage leaves a file in WORK and is skipped where that lies there
already; an estimated 100 minutes on two CPU cores, the three runs of the seed's method 45 of them.

Protocols: seed (x, y of the input, depths at the truth's scale), N-MPJPE (scale of each frame), PA-MPJPE (similarity of
each frame, no reflection); mm, mean over actions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter

import numpy as np

from _unsupervised_sheet import sheet
from kinelift.camera import Camera
from kinelift.datasets import PoseSet, mpii, views17
from kinelift.evaluate import evaluate
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import H36M17
from kinelift.training.projection import clips, elepose, gan, varied
from kinelift.training.projection.body import bone_lengths
from kinelift.training.projection.seen import Seen

EVERY = 2  # of 30 frames a second
PROTOCOLS = ("seed", "n-mpjpe", "pa-mpjpe")
SPEED_STEPS = 400
# MPII's annotators click the outside of the hips, 1.28 times as far apart as the joints' centres.
HIP_WIDTH = 0.78
# MPII's nose is the head's middle and its hips lie low; single pictures say little of bones, nothing of the camera.
PHOTOGRAPHS = {"nose_ahead": 0.0, "proportions": 20.0, "level": 4.0, "as_seen": True}
ORIGINAL_PER_S = 3.2  # of the authors' Chainer code on two cores


@dataclass(frozen=True)
class Budget:
    """How long everything trains: epochs of the seed's method, steps of ElePose's, of the clips' fit; poses at most."""

    epochs: int = 5
    steps: int = 3000
    flow_steps: int = 1500
    width: int = 512
    varied_steps: int = 2000
    photograph_steps: int = 2000
    fit: clips.Terms = field(default_factory=clips.Terms)
    poses: int | None = None


QUICK = Budget(1, 6, 6, 32, 6, 6, clips.Terms(rounds=1, steps=4, views=2), 160)


@dataclass(frozen=True, eq=False)
class Bench:
    """Data, folder and budget of one run.

    Attributes:
        data: Folder of the data.
        work: Folder of the stages' products.
        budget: How long to train.
        device: Where ElePose and the clips' fit run.
    """

    data: Path
    work: Path
    budget: Budget
    device: str = "cpu"

    @cached_property
    def training(self) -> PoseSet:
        """2D of the training clips; its 3D is for the supervised row and for progress only."""
        return self._mocap("cmu", "train")

    @cached_property
    def tests(self) -> dict[str, PoseSet]:
        """Sets to test on, by name."""
        bandai = self._mocap("bandai_eval", "all")
        return {"cmu held out": self._mocap("cmu", "test"), "bandai": first_cameras(bandai)}

    @cached_property
    def photographs(self) -> tuple[PoseSet, PoseSet]:
        """MPII's poses, to train on and to test on."""
        path = self.data / "poses2d" / "mpii_poses.npy"
        train, test = (self._some(mpii.read(path, split)) for split in ("train", "test"))
        return hips_inwards(train), hips_inwards(test)

    def _mocap(self, name: str, split: str) -> PoseSet:
        return self._some(views17.read(self.data / "mocap" / f"{name}.npz", split, every=EVERY))

    def _some(self, poses: PoseSet) -> PoseSet:
        return poses if self.budget.poses is None else poses.sliced(slice(self.budget.poses))


def first_cameras(poses: PoseSet) -> PoseSet:
    """Every fourth sequence: one camera of each piece of a clip."""
    return poses.sliced(poses.sequence % views17.CAMERAS == 0)


def hips_inwards(poses: PoseSet) -> PoseSet:
    """Poses with the hips moved towards their middle, onto the joints' centres."""
    xy, hips = poses.xy.copy(), H36M17.indices("RHip", "LHip")
    xy[:, hips] = xy[:, :1] + HIP_WIDTH * (xy[:, hips] - xy[:, :1])
    return poses.replaced(xy=xy)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Answers that lie in a file, as a lifter that is asked for the sequences in the set's order."""

    name: str
    positions: np.ndarray
    skeleton = H36M17

    def __post_init__(self) -> None:
        object.__setattr__(self, "_left", [self.positions])

    def lift(self, pose: Pose2D, camera: Camera) -> Lifted:
        """The next frames, as many as asked for."""
        (left,) = self._left  # type: ignore[attr-defined]
        count = len(pose.times)
        self._left[0] = left[count:]  # type: ignore[attr-defined]
        return Lifted(H36M17, left[:count] - left[:count, :1], pose.times, "unit")

    def provenance(self) -> dict[str, object]:
        """See `kinelift.lift.Lifter`."""
        return {"name": self.name}


def seed_config(bench: Bench, kind: str) -> gan.Config:
    """The authors' options: unsupervised without and with the heuristic loss, supervised with batch norm and ReLU."""
    more = {
        "plain": {},
        "heuristic": {"heuristic_loss": 1.0},
        "supervised": {"mode": "supervised", "batch_norm": True, "activation": "relu"},
    }[kind]
    return gan.Config(epochs=bench.budget.epochs, **more)  # type: ignore[arg-type]


def train_seed(kind: str) -> Callable[[Bench, Path], None]:
    def run(bench: Bench, out: Path) -> None:
        held_out = bench.tests["cmu held out"]
        gan.train(seed_config(bench, kind), bench.training, held_out, out.parent, resume=True, progress=told(out))

    return run


def train_elepose(published: bool) -> Callable[[Bench, Path], None]:
    def run(bench: Bench, out: Path) -> None:
        train_on(bench, bench.training, bench.tests["cmu held out"], out, published)

    return run


def train_varied(bench: Bench, out: Path) -> None:
    """Ours, trained further on the bodies it lifts, varied."""
    vary(bench, "ours", bench.training, bench.tests["cmu held out"], bench.budget.varied_steps, out)


def train_photographs(bench: Bench, out: Path) -> None:
    more = PHOTOGRAPHS | {"steps": bench.budget.photograph_steps}
    train_on(bench, *bench.photographs, out, published=False, **more)


def vary_photographs(bench: Bench, out: Path) -> None:
    vary(bench, "photographs", *bench.photographs, bench.budget.varied_steps // 2, out)


def vary(bench: Bench, model: str, data: PoseSet, held_out: PoseSet, steps: int, out: Path) -> None:
    config = varied.Config(steps=steps, device=bench.device)
    varied.train(config, bench.work / model / "elepose.pt", data, held_out, out.parent, told(out))


def train_on(bench: Bench, data: PoseSet, held_out: PoseSet, out: Path, published: bool, **other: float) -> None:
    b = bench.budget
    made = {"steps": b.steps, "flow_steps": b.flow_steps, "width": b.width, "device": bench.device, **other}
    config = elepose.Config.published(**made) if published else elepose.Config(**made)  # type: ignore[arg-type]
    elepose.train(config, data, held_out, out.parent, resume=True, progress=told(out))


def lift_tests(model: str, whole_clips: bool) -> Callable[[Bench, Path], None]:
    """Answers to every test set, by its name, frame by frame or clip by clip."""

    def run(bench: Bench, out: Path) -> None:
        trained = elepose.load_trained(bench.work / model / "elepose.pt", bench.device)
        answers = {}
        for name, poses in bench.tests.items():
            seen = Seen.of(poses, bench.device)
            if whole_clips:
                x = clips.lift_clips(trained, seen, bench.budget.fit, told(out))
            else:
                x = seen.in_camera(trained.lift(seen))
            answers[name] = x.cpu().numpy()
        save(out, answers)

    return run


def lift_photographs(bench: Bench, out: Path) -> None:
    """Single frames: a picture is no clip, and the fit makes more wrong than right of it."""
    trained = elepose.load_trained(bench.work / "photographs-varied" / "elepose.pt", bench.device)
    save(out, {"x": trained.lift(Seen.of(bench.photographs[1], bench.device)).cpu().numpy()})


def draw_photographs(bench: Bench, out: Path) -> None:
    with np.load(bench.work / "photographs-varied" / "lifted.npz") as data:
        x = data["x"]
    which = np.linspace(0, len(x) - 1, min(24, len(x))).astype(int)
    out.write_bytes(sheet(bench.photographs[1].xy[which], x[which]))


def time_seed(bench: Bench, out: Path) -> None:
    """Iterations a second of the seed's configuration: batch 16, heuristic loss."""
    poses = bench.training.sliced(slice(16 * SPEED_STEPS if bench.budget.poses is None else 160))
    held_out = bench.tests["cmu held out"].sliced(slice(64))
    config = gan.Config(epochs=2, heuristic_loss=1.0)
    marks: list[tuple[float, int]] = []
    gan.train(config, poses, held_out, out.parent, progress=lambda done, _: marks.append((perf_counter(), done)))
    half = marks[len(marks) // 2 :]
    speed = (half[-1][1] - half[0][1]) / (half[-1][0] - half[0][0])
    save(out, {"iterations_per_s": np.array(speed)})


STAGES: dict[str, tuple[str, Callable[[Bench, Path], None]]] = {
    "seed-plain": ("seed-plain/lifter.onnx", train_seed("plain")),
    "seed-heuristic": ("seed-heuristic/lifter.onnx", train_seed("heuristic")),
    "seed-supervised": ("seed-supervised/lifter.onnx", train_seed("supervised")),
    "elepose": ("elepose/lifter.onnx", train_elepose(published=True)),
    "elepose-lift": ("elepose/lifted.npz", lift_tests("elepose", whole_clips=False)),
    "ours": ("ours/lifter.onnx", train_elepose(published=False)),
    "ours-frames": ("ours/frames.npz", lift_tests("ours", whole_clips=False)),
    "varied": ("varied/lifter.onnx", train_varied),
    "varied-frames": ("varied/frames.npz", lift_tests("varied", whole_clips=False)),
    "varied-clips": ("varied/clips.npz", lift_tests("varied", whole_clips=True)),
    "photographs": ("photographs/lifter.onnx", train_photographs),
    "photographs-varied": ("photographs-varied/lifter.onnx", vary_photographs),
    "photographs-lift": ("photographs-varied/lifted.npz", lift_photographs),
    "photographs-sheet": ("photographs-varied/sheet.png", draw_photographs),
    "speed": ("speed/speed.npz", time_seed),
}
ROWS = {
    "seed, unsupervised": "seed-plain/lifter.onnx",
    "seed, with heuristic": "seed-heuristic/lifter.onnx",
    "seed, supervised": "seed-supervised/lifter.onnx",
    "ElePose": "elepose/lifted.npz",
    "ours, single frames": "ours/frames.npz",
    "ours, varied": "varied/frames.npz",
    "ours, whole clips": "varied/clips.npz",
}


def told(out: Path) -> Callable[[int, int], None]:
    """Progress on one line, at most once a second."""
    last = [0.0]

    def progress(done: int, total: int) -> None:
        if perf_counter() - last[0] > 1 or done == total:
            last[0] = perf_counter()
            print(f"\r  {out.parent.name} {done}/{total} ", end="" if done < total else "\n", flush=True)

    return progress


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as f:
        np.savez(f, **arrays)
    part.replace(path)


def scores(bench: Bench) -> list[tuple[str, str, dict[str, float]]]:
    """(set, row, mm by protocol) of every row whose file is there."""
    out = []
    for name, poses in bench.tests.items():
        for row, file in ROWS.items():
            path = bench.work / file
            if not path.is_file():
                continue
            if path.suffix == ".npz":
                with np.load(path) as data:
                    lifter = Recorded(row, data[name])
                table = evaluate([lifter], poses, PROTOCOLS)
            else:
                table = evaluate([str(path)], poses, PROTOCOLS)
            out.append((name, row, {s.protocol: s.average for s in table.scores}))
    return out


def report(bench: Bench) -> None:
    """Print every number whose stage is done."""
    rows = scores(bench)
    print(f"\n{'':44s}{'seed':>9s}{'N-MPJPE':>9s}{'PA-MPJPE':>9s}   mm, no reflection")
    for name, row, mm in rows:
        print(f"{name:16s}{row:28s}" + "".join(f"{mm[p]:9.1f}" for p in PROTOCOLS))
    found = {(name, row): mm for name, row, mm in rows}
    for name in bench.tests:
        ours, seed = (found.get((name, r)) for r in ("ours, whole clips", "seed, with heuristic"))
        if ours and seed:
            n, pa = (ours[p] / seed[p] for p in ("n-mpjpe", "pa-mpjpe"))
            print(f"{name}: N-MPJPE {n:.2f} x (at most 0.60), PA-MPJPE {pa:.2f} x (at most 0.70) the seed's")
    if (lifted := bench.work / "photographs-varied" / "lifted.npz").is_file():
        with np.load(lifted) as data:
            print(f"MPII: left/right bone difference {100 * asymmetry(data['x']):.1f} % (under 10, median)")
    if (speed := bench.work / "speed" / "speed.npz").is_file():
        with np.load(speed) as data:
            s = float(data["iterations_per_s"])
        print(f"seed's configuration: {s:.1f} iterations/s at batch 16, {s / ORIGINAL_PER_S:.1f} x the original's")


def asymmetry(x: np.ndarray) -> float:
    """Median over poses (N, 17, 3) and pairs of the difference of left and right limb bones over their mean."""
    import torch

    ends = {s: [H36M17.index(s + j) - 1 for j in ("Knee", "Foot", "Elbow", "Wrist")] for s in "LR"}
    bones = bone_lengths(torch.from_numpy(np.asarray(x, np.float32))).numpy()
    left, right = bones[:, ends["L"]], bones[:, ends["R"]]
    return float(np.median(2 * np.abs(left - right) / (left + right)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stage", nargs="*", choices=STAGES, help="only these (default: all)")
    parser.add_argument("--device", default="cpu", help="of ElePose and the clips' fit; cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few poses, to see that it runs")
    args = parser.parse_args()
    bench = Bench(args.data, args.work, QUICK if args.quick else Budget(), args.device)
    for name in args.stage or STAGES:
        file, run = STAGES[name]
        out = bench.work / file
        if out.is_file():
            print(f"{name}: there already")
            continue
        out.parent.mkdir(parents=True, exist_ok=True)
        began = perf_counter()
        run(bench, out)
        print(f"{name}: {(perf_counter() - began) / 60:.1f} minutes", flush=True)
    report(bench)


if __name__ == "__main__":
    main()

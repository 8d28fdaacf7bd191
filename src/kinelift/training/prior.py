"""What real people look like in pictures: a normalising flow over 2D poses, fitted to poses without 3D.

A pose is centred on the hips' middle and divided by its size, so place, distance and focal length drop out. PCA makes
the flow's input white (ElePose, Wandt et al. 2022, does so too); affine couplings (RealNVP, Dinh et al. 2017) do the
rest. A lifted pose that is turned and projected is judged by its likelihood here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kinelift import metrics
from kinelift.errors import InputError, MissingExtraError
from kinelift.lift.rays import INPUT_JOINTS
from kinelift.safe.npz import read_npy, read_npz, reason
from kinelift.skeleton import BODY26

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor, nn

FORMAT = "kinelift-prior/1"
PRIOR_JOINTS = (*metrics.LIMBS, "head")
_HIPS = [PRIOR_JOINTS.index(f"{s}_hip") for s in ("left", "right")]
_MIRROR = [PRIOR_JOINTS.index(BODY26.joints[BODY26.mirror[BODY26.index(j)]]) for j in PRIOR_JOINTS]
DIMENSIONS = 2 * len(PRIOR_JOINTS)

# The columns of a file of 17 MPII poses, in the order of Kudo et al.'s code. Column 7, called spine there, lies on the
# shoulders' middle; column 9 is the middle between thorax and crown, as near to the middle of the ears as it goes.
_FILE_JOINTS = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "neck", "thorax", "head",
    "crown", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
# MPII's annotators click the outside of the hips: 0.434 of the mean limb distance apart, joint centres are 0.340.
_HIP_WIDTH = 0.78
# A pose is blurred by this much of its size while learning: annotations are no better, and densities stay finite.
_BLUR = 0.02


def read_mpii(path: Path) -> np.ndarray:
    """(N, 13, 2) pixels of `PRIOR_JOINTS`, from an (N, 34) array of 17 MPII joints in the seed's order.

    Hips are moved inwards to the joints' centres. Raises `InputError`.
    """
    array = read_npy(path, "cannot be read as an .npy file of poses")
    if array.ndim != 2 or array.shape[1] != 2 * len(_FILE_JOINTS):
        raise InputError(f"{path}: expected poses (N, {2 * len(_FILE_JOINTS)}), got {array.shape}")
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise InputError(f"{path}: expected finite numbers; leave out poses with missing joints")
    if len(array) < 2:
        raise InputError(f"{path}: holds {len(array)} poses; at least 2 are needed")
    poses = array.astype(np.float64).reshape(len(array), -1, 2)
    poses = poses[:, [_FILE_JOINTS.index(j) for j in PRIOR_JOINTS]]
    middle = poses[:, _HIPS].mean(1, keepdims=True)
    poses[:, _HIPS] = middle + _HIP_WIDTH * (poses[:, _HIPS] - middle)
    size = np.linalg.norm(poses - middle, axis=-1).mean(1)
    return poses[size > 0]


def as_rays(rng: np.random.Generator, poses: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 13, 2) as people who stand still: rays (N, frames, 21, 2), confidence (N, frames, 21).

    Their cameras are unknown: 2 to 10 m away and about 10 degrees off the axis, drawn at random. A network's input of
    limbs only; what the poses lack has confidence 0.
    """
    relative = poses - poses[:, _HIPS].mean(1, keepdims=True)
    limbs = [PRIOR_JOINTS.index(j) for j in metrics.LIMBS]
    size = np.linalg.norm(relative[:, limbs], axis=-1).mean(1)[:, None, None]
    distance = np.exp(rng.uniform(np.log(2), np.log(10), (len(poses), 1, 1)))
    centre = np.clip(rng.normal(0, 0.18, (len(poses), 1, 2)), -0.5, 0.5)
    rays = np.zeros((len(poses), len(INPUT_JOINTS), 2))
    confidence = np.zeros((len(poses), len(INPUT_JOINTS)))
    columns = [INPUT_JOINTS.index(j) for j in metrics.LIMBS]
    rays[:, columns] = centre + relative[:, limbs] / size * 0.45 / distance  # 0.45 m: see network.read_heads
    confidence[:, columns] = 1
    return (np.repeat(a[:, None], frames, 1) for a in (rays, confidence))  # type: ignore[return-value]


def normalised(poses: Tensor) -> Tensor:
    """(..., 26): poses (..., 13, 2), y down, centred on the hips' middle, divided by the mean distance from it."""
    centred = poses - poses[..., _HIPS, :].mean(-2, keepdim=True)
    size = centred.square().sum(-1).add(1e-12).sqrt().mean(-1)[..., None, None]
    return (centred / size).flatten(-2)


class Coupling(nn.Module):
    """y_b = x_b exp(s(x_a)) + t(x_a), a and b halves chosen by a fixed permutation; |s| < 1.5."""

    order: Tensor

    def __init__(self, dimensions: int, hidden: int, order: Tensor):
        super().__init__()
        self.kept = dimensions // 2
        self.register_buffer("order", order)
        outputs = 2 * (dimensions - self.kept)
        self.inner, self.outer = nn.Linear(self.kept, hidden), nn.Linear(hidden, outputs)
        with torch.no_grad():
            self.outer.weight.mul_(0.1)
            self.outer.bias.zero_()

    def _change(self, a: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.outer(torch.relu(self.inner(a))).chunk(2, -1)
        return 1.5 * torch.tanh(s / 1.5), t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y (N, D) of x (N, D), and log |dy/dx| (N,)."""
        x = x[:, self.order]
        a, b = x[:, : self.kept], x[:, self.kept :]
        s, t = self._change(a)
        return torch.cat([a, b * torch.exp(s) + t], 1), s.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """x of y."""
        a, b = y[:, : self.kept], y[:, self.kept :]
        s, t = self._change(a)
        x = torch.cat([a, (b - t) * torch.exp(-s)], 1)
        return x[:, self.order.argsort()]


class PosePrior(nn.Module):
    """A density of 2D poses.

    Attributes:
        typical: Mean log-density of held-out real poses, as `log_prob` gives it.
    """

    mean: Tensor
    basis: Tensor
    typical: Tensor

    def __init__(self, dimensions: int, hidden: int = 256, layers: int = 8):
        super().__init__()
        self.register_buffer("mean", torch.zeros(DIMENSIONS))
        self.register_buffer("basis", torch.zeros(DIMENSIONS, dimensions))
        self.register_buffer("typical", torch.zeros(()))
        g = torch.Generator().manual_seed(0)
        orders = [torch.randperm(dimensions, generator=g) for _ in range(layers)]
        self.couplings = nn.ModuleList(Coupling(dimensions, hidden, order) for order in orders)

    def _layers(self) -> list[Coupling]:
        return [c for c in self.couplings if isinstance(c, Coupling)]

    def forward(self, white: Tensor) -> tuple[Tensor, Tensor]:
        """Standard normal z (N, D) of whitened poses (N, D), and log |dz/dx| (N,)."""
        total = torch.zeros_like(white[:, 0])
        for coupling in self._layers():
            white, change = coupling(white)
            total = total + change
        return white, total

    def inverse(self, z: Tensor) -> Tensor:
        """Whitened poses (N, D) of z (N, D)."""
        for coupling in reversed(self._layers()):
            z = coupling.inverse(z)
        return z

    def whiten(self, poses: Tensor) -> Tensor:
        """Whitened principal components (N, D) of poses (..., 13, 2)."""
        return (normalised(poses).reshape(-1, DIMENSIONS) - self.mean) @ self.basis

    def log_prob(self, poses: Tensor) -> Tensor:
        """Log-density (...) of poses (..., 13, 2) of `PRIOR_JOINTS`, y down, any place and scale; nats, whitened."""
        z, change = self(self.whiten(poses))
        density = change - 0.5 * z.square().sum(1) - 0.5 * z.shape[1] * float(np.log(2 * np.pi))
        return density.reshape(poses.shape[:-2])


def _components(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (26,) and whitening basis (26, D) of poses (N, 26); directions that hardly vary are left out."""
    mean = flat.mean(0)
    variance, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat) + _BLUR**2 / 2 * torch.eye(26))
    keep = variance > 2 * _BLUR**2
    return mean, vectors[:, keep] / variance[keep].sqrt()


def fit_prior(
    poses: np.ndarray, steps: int = 1500, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> PosePrior:
    """A prior of real poses (N, 13, 2), y down. A tenth, at least one, is held out to measure `typical`.

    Maximum likelihood of poses mirrored at random and blurred by 2 % of their size; AdamW, cosine rate.
    """
    torch.manual_seed(seed)
    poses = poses[np.random.default_rng(seed).permutation(len(poses))]
    kept = max(len(poses) // 10, 1)
    test, train = (torch.tensor(p, dtype=torch.float32) for p in (poses[:kept], poses[kept:]))
    flip = torch.tensor([-1.0, 1.0])
    mean, basis = _components(torch.cat([normalised(train), normalised(train[:, _MIRROR] * flip)]))
    prior = PosePrior(basis.shape[1])
    prior.mean.copy_(mean)
    prior.basis.copy_(basis)
    optimiser = torch.optim.AdamW(prior.couplings.parameters(), 1e-3, weight_decay=1e-4)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        x = train[torch.randint(len(train), (256,))]
        x = torch.where((torch.rand(len(x)) < 0.5)[:, None, None], x[:, _MIRROR] * flip, x)
        loss = -prior.log_prob(_blurred(x)).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(prior.parameters(), 5.0)
        optimiser.step()
        plan.step()
        if progress:
            progress(step + 1, steps)
    with torch.no_grad():
        prior.typical.copy_(prior.log_prob(_blurred(test)).clamp(min=-200).mean())
    return prior.eval().requires_grad_(False)


def _blurred(poses: Tensor) -> Tensor:
    size = (poses - poses.mean(1, keepdim=True)).square().sum(-1).sqrt().mean(1)[:, None, None]
    return poses + _BLUR * size * torch.randn_like(poses)


def save_prior(prior: PosePrior, path: Path) -> None:
    """Write a prior as npz."""
    with path.open("wb") as f:
        np.savez(f, format=np.array(FORMAT), **{k: v.numpy() for k, v in prior.state_dict().items()})


def load_prior(path: Path) -> PosePrior:
    """A prior that `save_prior` wrote. Raises `InputError`."""
    try:
        data = read_npz(path, "cannot be read as a pose prior")
        if str(data.pop("format", "")) != FORMAT:
            raise InputError(f"{path}: is no pose prior ({FORMAT})")
        state = {k: torch.from_numpy(a) for k, a in data.items()}
        layers = len({k.split(".")[1] for k in state if k.startswith("couplings.")})
        prior = PosePrior(state["basis"].shape[1], len(state["couplings.0.inner.bias"]), layers)
        prior.load_state_dict(state)
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as e:
        raise InputError(f"{path}: cannot be read as a pose prior ({reason(e)})") from None
    return prior.eval().requires_grad_(False)

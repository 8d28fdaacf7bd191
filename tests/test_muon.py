"""Muon: steps are orthogonal, as large as stated, tap by tap, and repeat after a save."""

import copy

import pytest

torch = pytest.importorskip("torch")

from kinelift.training.muon import Muon, orthogonal  # noqa: E402


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (30, 30)])
def test_singular_values_become_alike_and_directions_stay(shape):
    torch.manual_seed(0)
    u, _, vt = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = u @ torch.diag(torch.linspace(0.2, 3, min(shape))) @ vt
    turned = orthogonal(matrix).float()
    assert turned.shape == shape
    along = u.T @ turned @ vt.T
    assert (along.diagonal() > 0.5).all() and (along.diagonal() < 1.35).all()
    assert (along - torch.diag(along.diagonal())).abs().max() < 0.06


def test_each_tap_is_followed_by_itself():
    """A tap with a gradient a thousand times smaller moves as far as the others; without taps it hardly moves."""
    torch.manual_seed(1)
    gradient = torch.cat([torch.randn(24, 16), torch.randn(24, 16) * 1e-3], 1)
    moved = []
    for taps in (2, 1):
        p = torch.nn.Parameter(torch.zeros(24, 32))
        p.grad = gradient.clone()
        Muon([p], 0.1, {p: taps}, weight_decay=0).step()
        moved.append([p[:, :16].norm().item(), p[:, 16:].norm().item()])
    assert moved[0][1] == pytest.approx(moved[0][0], rel=0.15)
    assert moved[1][1] < 0.2 * moved[1][0]


def test_it_goes_downhill_and_forgets_what_is_not_needed():
    torch.manual_seed(2)
    target = torch.randn(8, 12)
    p = torch.nn.Parameter(torch.zeros(8, 12))
    optimiser = Muon([p], 0.03, {})
    first = (p - target).norm().item()
    for _ in range(200):
        optimiser.zero_grad()
        (p - target).square().mean().backward()
        optimiser.step()
    assert (p - target).norm().item() < 0.3 * first
    idle = torch.nn.Parameter(torch.ones(4, 4))
    idle.grad = torch.zeros(4, 4)
    Muon([idle], 0.1, {}, weight_decay=0.5).step()
    torch.testing.assert_close(idle.data, torch.full((4, 4), 0.95))


def test_a_saved_state_goes_on_alike():
    torch.manual_seed(3)
    gradients = [torch.randn(6, 9) for _ in range(6)]
    p = torch.nn.Parameter(torch.zeros(6, 9))
    whole = Muon([p], 0.02, {p: 3})
    for i, g in enumerate(gradients):
        if i == 3:
            q = torch.nn.Parameter(p.detach().clone())
            again = Muon([q], 0.02, {q: 3})
            again.load_state_dict(copy.deepcopy(whole.state_dict()))
        p.grad = g.clone()
        whole.step()
    for g in gradients[3:]:
        q.grad = g.clone()
        again.step()
    assert torch.equal(p, q)

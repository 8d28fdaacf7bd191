"""Laws of generated actions: rigid bones, planted soles, a floor, balance, joints inside their ranges, no pops."""

from __future__ import annotations

import numpy as np
import pytest

from kinelift.kinematics import bone_lengths, mass_weights
from kinelift.skeleton import BODY26
from kinelift.training.actions import ACTIONS, generate_actions, generate_named_actions

FRAMES = 48


@pytest.fixture(scope="module", params=ACTIONS)
def made(request: pytest.FixtureRequest) -> tuple[str, np.ndarray, np.ndarray]:
    positions, contacts, names = generate_named_actions(np.random.default_rng(5), 40, FRAMES, only=request.param)
    assert set(names) == {request.param}
    return request.param, positions.astype(float), contacts.astype(float)


def test_bones_keep_their_length(made: tuple[str, np.ndarray, np.ndarray]) -> None:
    _, p, _ = made
    assert np.isfinite(p).all()
    assert np.ptp(bone_lengths(BODY26, p), axis=1).max() < 1e-5


def test_seed_decides_everything() -> None:
    first, second = (generate_actions(np.random.default_rng(3), 20, FRAMES) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first[0].shape == (20, FRAMES, 26, 3) and first[0].dtype == np.float32
    assert first[1].shape == (20, FRAMES, 4) and first[1].min() >= 0 and first[1].max() <= 1


def test_standing_is_balanced() -> None:
    p, contacts, _ = generate_named_actions(np.random.default_rng(5), 40, FRAMES, only="standing")
    com = np.einsum("ntji,j->nti", p, mass_weights())
    soles = p[:, :, BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")]
    assert contacts.min() > 0.9
    outside = np.maximum(soles.min(2) - com, com - soles.max(2))[..., [0, 2]]
    assert outside.max() < 0.02

"""Training's precision follows what the machine multiplies quickly."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from kinelift.training import precision  # noqa: E402
from kinelift.training.muon import orthogonal  # noqa: E402


@pytest.mark.parametrize(
    ("capabilities", "wanted"),
    [
        ({"architecture": "x86_64", "avx512_bf16": True}, "bf16-mixed"),
        ({"architecture": "x86_64", "amx_bf16": True}, "bf16-mixed"),
        ({"architecture": "x86_64", "avx512_f": True}, "32-true"),
        ({"architecture": "aarch64", "bf16": True}, "bf16-mixed"),
        ({}, "32-true"),
    ],
)
def test_a_cpu_without_bfloat16_trains_in_float32(monkeypatch, capabilities, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    precision.native_bfloat16.cache_clear()
    try:
        assert precision.mixed("cpu") == wanted
        assert precision.mixed("cuda") == "bf16-mixed"
        m = orthogonal(torch.randn(12, 40, generator=torch.Generator().manual_seed(0)))
        assert m.dtype == (torch.bfloat16 if wanted == "bf16-mixed" else torch.float32)
        sizes = torch.linalg.svdvals(m.float())
        assert sizes.min() > 0.6 and sizes.max() < 1.4
    finally:
        precision.native_bfloat16.cache_clear()

"""Training's precision follows what the machine multiplies quickly."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from kinelift.training import precision  # noqa: E402


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
    finally:
        precision.native_bfloat16.cache_clear()

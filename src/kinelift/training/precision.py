"""How precisely training computes: in bfloat16 where the machine can, in float32 where it would only pretend to.

A CPU without bfloat16 instructions emulates them, which takes several times as long as float32.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch


@cache
def native_bfloat16(device: str = "cpu") -> bool:
    """Whether a kind of device (`torch.device.type`) multiplies bfloat16 matrices no slower than float32's."""
    if device != "cpu":
        return True
    can: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if can.get("architecture") == "x86_64":
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return bool(can.get("bf16"))


def mixed(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """Fabric's precision for an accelerator as `--accelerator` names it."""
    elsewhere = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not elsewhere)
    return "bf16-mixed" if not on_cpu or native_bfloat16() else "32-true"

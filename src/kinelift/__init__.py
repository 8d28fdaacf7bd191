"""kinelift: ordinary monocular video in, engine-ready world-space 3D skeleton animation out.

The public names are loaded when first used, so that `import kinelift` stays light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "animate": "kinelift.pipeline",
    "Options": "kinelift.pipeline",
    "load_motion": "kinelift.export.npz",
    "save": "kinelift.export",
    "KineliftError": "kinelift.errors",
    "Skeleton": "kinelift.skeleton",
    "BODY26": "kinelift.skeleton",
    "Camera": "kinelift.camera",
    "Pose2D": "kinelift.records",
    "Lifted": "kinelift.records",
    "Motion": "kinelift.records",
    "Take": "kinelift.records",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kinelift' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__

"""What is installed here, for `kinelift info`."""

from __future__ import annotations

import platform
from importlib import metadata

from kinelift import __version__

_PACKAGES = ("numpy", "scipy", "onnxruntime", "av", "opencv-python-headless", "mediapipe", "pygltflib", "torch")


def installed() -> list[str]:
    """Lines: versions, optional parts, weights with hash and licence."""
    from kinelift.detect import DETECTORS
    from kinelift.detect.base import sha256
    from kinelift.detect.blazepose import LICENCE, weights
    from kinelift.export import EXPORTERS
    from kinelift.lift import LIFTERS, load_lifter

    lines = [f"kinelift {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    for name in _PACKAGES:
        try:
            lines.append(f"  {name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"  {name} not installed")
    lines += [f"detectors: {', '.join(DETECTORS)}", f"formats: {', '.join(EXPORTERS)}"]
    lines.append(f"detector mediapipe: {LICENCE}, sha256 {sha256(weights('heavy'))[:16]}")
    for name in LIFTERS:
        about = load_lifter(name).provenance()
        lines.append(f"lifter {name}: {about.get('licence', 'licence unknown')}, sha256 {about.get('sha256', '')[:16]}")
        if "training_data" in about:
            lines.append(f"  trained on {about['training_data']}")
    return lines

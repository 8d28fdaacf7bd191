"""FBX through an installed Blender: the GLB's rig, body and motion, for tools that know nothing else.

FBX is a closed format, and Blender's exporter the one that is open, so it writes the file: from `$KINELIFT_BLENDER`
(the program, or a Python that has `bpy`), else `blender` on the path, else `bpy` in this Python. Metres, Y up, one
key a frame at a constant rate.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from kinelift.errors import InputError
from kinelift.export import gltf
from kinelift.export.resample import at_constant_rate
from kinelift.records import Take

suffix = ".fbx"

ABSENT = (
    "FBX is written by Blender, and none is found: install it (blender.org, or pip install bpy), "
    "or name it in KINELIFT_BLENDER; BVH and GLB need none"
)
# Starting takes seconds, a clip about as long as it lasts.
START_S, SECONDS_A_FRAME = 120.0, 0.2


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion; `fps` None takes the source's nearest constant rate.

    Raises `InputError` where there is no Blender, or it fails.
    """
    command = blender()
    motion, rate = at_constant_rate(take.motions[index], fps)
    frames = len(motion.times)
    # Blender turns a GLB's seconds into frames at whole rates only.
    motion = motion.replaced(times=np.arange(frames) / max(round(rate), 1))
    with tempfile.TemporaryDirectory(prefix="kinelift-") as folder:
        glb, fbx = Path(folder) / "motion.glb", Path(folder) / "motion.fbx"
        gltf.write(take.replaced(motions=(motion,)), 0, glb, None)
        try:
            done = subprocess.run(
                [*command, "--", str(glb), str(fbx), repr(rate), str(frames)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=START_S + SECONDS_A_FRAME * frames,
            )
        except subprocess.TimeoutExpired as e:
            raise InputError(f"{command[0]}: Blender did not write the FBX within {e.timeout:.0f} s") from None
        except OSError as e:
            raise InputError(f"{command[0]}: Blender does not start ({e.strerror or e})") from None
        if done.returncode or not fbx.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise InputError(f"{command[0]}: Blender did not write the FBX ({last[:200]})")
        shutil.copyfile(fbx, path)


def blender() -> list[str]:
    """The command that runs the script in Blender; raises `InputError` where there is none."""
    script = str(Path(__file__).with_name("blender_fbx.py"))
    program = os.environ.get("KINELIFT_BLENDER") or shutil.which("blender")
    if program is None and importlib.util.find_spec("bpy"):
        program = sys.executable
    if program is None:
        raise InputError(ABSENT)
    if Path(program).stem.lower().startswith("python"):
        return [program, script]
    return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python", script]

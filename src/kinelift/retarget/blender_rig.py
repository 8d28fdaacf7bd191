"""A user's own FBX character through an installed Blender: its bones at rest, and the file again with new motion.

Blender reads and writes the whole file (mesh, skin, materials, embedded textures, shape keys, extra objects); here is
only what it says of the bones, and what goes onto them. Blender's world is Z up, in metres; its bones' axes are the
file's own. `inside_blender.py` is the half that runs in Blender.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from kinelift.errors import InputError
from kinelift.export import fbx
from kinelift.kinematics import continuous_quats, matrix_to_quat, nearest_rotation, quat_to_matrix
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import MAX_BONES, Character, Source, Surface

SCRIPT = Path(__file__).with_name("inside_blender.py")
MAX_BYTES = 1 << 30
# What Blender may take beyond starting, for each megabyte of the file.
SECONDS_A_MB = 1.0


def read(path: Path) -> Character:
    """The armature of an FBX that has the most bones, in Blender's world: metres, Z up; no roles.

    Raises `InputError` where there is no Blender, or it finds no armature in the file.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e})") from None
    if size > MAX_BYTES:
        raise InputError(f"{path}: over {MAX_BYTES >> 20} MB")
    with tempfile.TemporaryDirectory(prefix="kinelift-") as folder:
        out = Path(folder) / "rig.npz"
        _run(path, out, "read", SECONDS_A_MB * size / 1e6, path.resolve(), out)
        try:
            with np.load(out, allow_pickle=False) as file:
                said = dict(file)
        except (OSError, ValueError, zipfile.BadZipFile) as e:
            raise InputError(f"{path}: Blender's answer cannot be read ({e})") from None
    return _character(path, said)


def _character(path: Path, said: dict[str, np.ndarray]) -> Character:
    rest, world, parents = said["rest"], said["world"], said["parents"]
    if not 0 < len(rest) <= MAX_BONES:
        raise InputError(f"{path}: expected 1 to {MAX_BONES} bones, got {len(rest)}")
    # The armature's own place is folded into the bones without a parent.
    place = np.where((parents < 0)[:, None, None], world @ rest, np.linalg.inv(rest[parents]) @ rest)
    stretch = np.cbrt(np.abs(np.linalg.det(place[:, :3, :3])))
    if not np.isfinite(place).all() or not (stretch > 0).all():
        raise InputError(f"{path}: a bone's rest transform is not finite, or has scale 0")
    return Character(
        tuple(said["names"].tolist()),
        parents,
        place[:, :3, 3],
        nearest_rotation(place[:, :3, :3] / stretch[:, None, None]),
        stretch,
        1.0,
        Source("fbx", path),
        surface=Surface(said["points"], said["strongest"]) if len(said["points"]) else None,
    )


def write(character: Character, animation: Animation, path: Path) -> None:
    """The character's FBX again with this animation on its bones, at the animation's mean rate, one key a frame.

    Raises `InputError` where there is no Blender, or it fails.
    """
    frames = np.maximum(animation.times - animation.times[0], 0) * animation.fps
    rotations, moved, locations = from_rest(character, animation)
    with tempfile.TemporaryDirectory(prefix="kinelift-") as folder:
        keys, out = Path(folder) / "motion.npz", Path(folder) / "out.fbx"
        np.savez(
            keys,
            frames=frames,
            fps=animation.fps,
            last=max(round(float(frames[-1])), 0),
            rotations=rotations[..., [3, 0, 1, 2]],  # Blender's order: w x y z
            moved=[moved],
            locations=locations[:, None],
        )
        rig = character.source.path
        limit_s = fbx.SECONDS_A_FRAME * len(frames) + SECONDS_A_MB * rig.stat().st_size / 1e6
        _run(rig, out, "write", limit_s, rig.resolve(), keys, out)
        shutil.copyfile(out, path)


def from_rest(character: Character, animation: Animation) -> tuple[np.ndarray, int, np.ndarray]:
    """Turns (T, B, 4) xyzw of every bone away from rest in its own axes, the bone that moves, and its way (T, 3)."""
    t = len(animation.times)
    rotations = np.zeros((t, len(character.bones), 4))
    rotations[..., 3] = 1
    own = np.swapaxes(character.rotation[animation.driven], 1, 2)
    turns = matrix_to_quat(own @ quat_to_matrix(animation.rotations))
    rotations[:, animation.driven] = continuous_quats(turns)
    root = animation.root
    way = (animation.translation - character.local[root]) @ character.rotation[root] / character.stretch[root]
    return rotations, root, way


def _run(path: Path, out: Path, what: str, limit_s: float, *arguments: Path) -> None:
    """Run the script in Blender, `limit_s` longer than it takes to start.

    Raises `InputError` with Blender's last word where `out` is not there afterwards.
    """
    limit_s += fbx.START_S
    command = [*fbx.blender()[:-1], str(SCRIPT), "--", what, *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: Blender did not {what} it within {limit_s:.0f} s") from None
    except OSError as e:
        raise InputError(f"{command[0]}: Blender does not start ({e.strerror or e})") from None
    if done.returncode or not out.is_file():
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise InputError(f"{path}: Blender cannot {what} it ({last[:200]})")

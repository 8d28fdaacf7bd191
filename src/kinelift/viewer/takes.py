"""What there is to show: `motion.npz` files of one take, read together, and their video where it is found."""

from __future__ import annotations

from pathlib import Path

from kinelift.errors import InputError
from kinelift.export.npz import load_motion
from kinelift.records import Take
from kinelift.video import natural_key

MAX_PEOPLE = 64


def read_people(source: Take | Path | str) -> list[Take]:
    """One take of one motion for each person: of a take, of a folder's `motion*.npz`, or of one file.

    Raises `InputError` for a folder without motions, motions of several takes, or a motion without frames.
    """
    if isinstance(source, Take):
        name = "the take"
        poses = {pose.person_id: pose for pose in source.poses_2d}
        people = [
            source.replaced(motions=(m,), poses_2d=(poses[m.person_id],) if m.person_id in poses else ())
            for m in source.motions
        ]
    else:
        name = str(source)
        people = [load_motion(path) for path in _files(Path(source))]
        _check_one_take(name, people)
    if not people:
        raise InputError(f"{name}: holds no motion to show")
    for person in people:
        times, camera = person.motions[0].times, person.camera
        if len(times) == 0:
            raise InputError(f"{name}: a motion has no frames, there is nothing to show")
        moving = ((camera.K, 2), (camera.R_cam_world, 2), (camera.t_cam_world, 1))
        if any(array.ndim > still and len(array) != len(times) for array, still in moving):
            raise InputError(f"{name}: expected a camera of the motion's {len(times)} frames")
    return people


def find_video(people: list[Take], source: Take | Path | str, page: Path) -> Path | None:
    """The video that the motions' meta names, beside them, one folder up, beside the page or here; None if not there.

    Only the name's last part is used: a file from a stranger cannot point elsewhere.
    """
    name = Path(str(people[0].meta.get("input") or "").replace("\\", "/")).name
    if not name:
        return None
    folders = [page.parent, Path.cwd()]
    if not isinstance(source, Take):
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        folders = [folder, folder.parent, *folders]
    for folder in folders:
        try:
            if (folder / name).is_file():
                return folder / name
        except (OSError, ValueError):  # a name that the system cannot have
            return None
    return None


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    files = sorted((p for p in source.glob("motion*.npz") if p.is_file()), key=natural_key)
    if not files:
        raise InputError(f"{source}: holds no motion.npz; make one with kinelift animate VIDEO -o {source}")
    if len(files) > MAX_PEOPLE:
        raise InputError(f"{source}: holds {len(files)} motions, more than {MAX_PEOPLE}; name one of the files")
    return files


def _check_one_take(name: str, people: list[Take]) -> None:
    if len({str(person.meta.get("take_id")) for person in people}) > 1:
        raise InputError(f"{name}: holds motions of different videos; name one of the files")

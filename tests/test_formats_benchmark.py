"""The formats benchmark: what is written comes back, a wrong file shows, an absent judge leaves its row empty."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from judges import absent
from kinelift.camera import Camera
from kinelift.export import EXPORTERS
from kinelift.records import Take
from kinelift.render.sample_motion import sample_motion


@pytest.fixture(scope="module")
def formats():
    folder = str(Path(__file__).resolve().parent.parent / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("formats")
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def take() -> Take:
    return Take((sample_motion(10),), Camera.from_focal(900, (1280, 720)), ())


@pytest.mark.parametrize("name", ["npz", "csv"])
def test_what_is_written_comes_back(formats, take, name, tmp_path):
    (row,) = formats.measured(name, take, tmp_path)
    assert row.error_mm < 0.1 and row.fps == pytest.approx(10) and row.joints == 26 and row.kilobytes > 1


def test_a_file_that_is_wrong_shows(formats, take, tmp_path, monkeypatch):
    read = formats.by_numpy_csv
    monkeypatch.setattr(formats, "by_numpy_csv", lambda *a: (*read(*a)[:2], read(*a)[2] + [0.003, 0, 0], 10.0))
    assert formats.measured("csv", take, tmp_path)[0].error_mm == pytest.approx(3, abs=0.01)


def test_an_absent_judge_leaves_its_row_empty(formats, take, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "judge", lambda *a: pytest.skip("no ezc3d: pip install it"))
    (row,) = formats.measured("c3d", take, tmp_path)
    assert np.isnan(row.error_mm) and "no ezc3d" in row.judge and row.kilobytes > 1
    assert "no ezc3d" in formats.table([row])


def test_every_format_is_known(formats):
    assert all(f'"{name}": [lambda' in Path(formats.__file__).read_text() for name in EXPORTERS)


@pytest.mark.blender
def test_usd_gets_blenders_word_beside_pixars(formats, take, tmp_path):
    if not formats.blender_python().exists():
        absent(f"no Blender at {formats.blender_python()}: run scripts/blender_env.sh")
    first, second = formats.measured("usda", take, tmp_path)
    assert first.judge.startswith("Blender") and first.joints == 19 and first.error_mm < 0.1
    assert "usd-core" in second.judge

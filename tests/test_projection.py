"""The single-frame lifter against weights and answers that the real Chainer wrote, and files that are none."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError, UnknownNameError
from kinelift.lift import Lifter, load_lifter
from kinelift.lift.projection import ProjectionLifter, normalised
from kinelift.records import Pose2D
from kinelift.skeleton import H36M17

CHAINER = Path(__file__).parent / "fixtures" / "chainer"


@pytest.fixture(scope="module")
def answers():
    with np.load(CHAINER / "answers.npz") as data:
        return dict(data)


def weights(name="plain"):
    with np.load(CHAINER / f"{name}.npz") as data:
        return dict(data)


@pytest.mark.parametrize("activation", ["leaky_relu", "relu"])
@pytest.mark.parametrize("file", ["plain", "batch_norm"])
def test_it_answers_as_chainer_does(answers, file, activation):
    lifter = load_lifter(f"{CHAINER / file}.npz?activation={activation}")
    expected = answers[f"{file}_{activation}"]
    assert np.abs(expected).max() > 0.5  # small answers would agree with anything
    np.testing.assert_allclose(lifter.lift_normalised(answers["input"].reshape(-1, 17, 2)), expected, atol=2e-6)
    assert isinstance(lifter, Lifter) and lifter.provenance()["batch_norm"] == (file == "batch_norm")


def test_activations_differ_so_that_the_wrong_one_would_show(answers):
    for file in ("plain", "batch_norm"):
        assert np.abs(answers[f"{file}_relu"] - answers[f"{file}_leaky_relu"]).max() > 0.1


def test_published_weights_are_leaky_unless_the_options_beside_them_say_otherwise(tmp_path):
    path = tmp_path / "gen_epoch_20.npz"
    path.write_bytes((CHAINER / "plain.npz").read_bytes())
    assert load_lifter(str(path)).activation == "leaky_relu"
    options = tmp_path / "options.json"
    options.write_text(json.dumps({"activate_func": "relu", "use_bn": False}))
    assert load_lifter(str(path)).activation == "relu"
    assert load_lifter(f"{path}?activation=leaky_relu").activation == "leaky_relu"
    for broken in ("{", "[" * 100_000, '{"activate_func": 3}', "\x00"):
        options.write_text(broken)
        with pytest.raises(InputError, match=r"options\.json"):
            load_lifter(str(path))
    options.write_text('{"activate_func": "tanh"}')
    with pytest.raises(UnknownNameError, match="leaky_relu, relu"):
        load_lifter(str(path))


@pytest.mark.parametrize("option", ["?", "?activation=", "?activation=tanh", "?act=relu", "?relu"])
def test_options_that_are_none_are_refused(option):
    with pytest.raises(InputError, match="relu"):
        load_lifter(f"{CHAINER / 'plain.npz'}{option}")


def test_normalising_drops_place_and_size_and_nothing_else():
    xy = np.random.default_rng(0).normal(0, 50, (5, 17, 2))
    flat, spread = normalised(xy)
    np.testing.assert_allclose(flat[:, 0], 0)
    np.testing.assert_allclose(np.linalg.norm(flat[:, 1:], axis=-1).mean(1), 1)
    np.testing.assert_allclose(flat * spread[:, None, None] + xy[:, :1], xy)
    other, _ = normalised(xy * 0.01 + [300, -20])
    np.testing.assert_allclose(other, flat, atol=1e-9)


def test_normalising_a_point_or_a_gap_is_defined():
    xy = np.random.default_rng(0).normal(0, 1, (3, 17, 2))
    xy[0], xy[1, 5] = 3.0, np.nan
    flat, spread = normalised(xy)
    assert not flat[0].any() and spread[0] == 0
    assert np.isnan(flat[1]).all() and np.isfinite(flat[2]).all()
    assert normalised(np.zeros((0, 17, 2)))[0].shape == (0, 17, 2)
    depths = ProjectionLifter(CHAINER / "plain.npz").lift_normalised(flat)
    assert np.isnan(depths[1]).all() and np.isfinite(depths[[0, 2]]).all()


def test_a_clip_is_lifted_frame_by_frame_and_the_camera_does_not_matter():
    rng = np.random.default_rng(1)
    camera = Camera.from_focal(900, (1280, 720))
    people = np.array([0.3, 0, 4]) + rng.normal(0, 0.4, (6, 17, 3))
    xy = camera.project(people)
    confidence = np.ones((6, 17))
    xy[2, 4], confidence[2, 4] = np.nan, 0
    pose = Pose2D(H36M17, xy, confidence, np.arange(6) / 30, (1280, 720))
    lifter = ProjectionLifter(CHAINER / "plain.npz")
    lifted = lifter.lift(pose, camera)
    assert lifted.scale == "unit" and lifted.skeleton is H36M17 and np.isfinite(lifted.positions).all()
    flat, _ = normalised(people[..., :2] / people[..., 2:])
    z = lifter.lift_normalised(flat)
    whole = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(lifted.positions[whole, :, :2], flat[whole], atol=1e-6)
    np.testing.assert_allclose(lifted.positions[whole, :, 2], (z - z[:, :1])[whole], atol=1e-5)
    zoomed = camera.replaced(K=camera.K * [[2, 1, 1], [1, 2, 1], [1, 1, 1]])
    known = pose.replaced(xy=np.where(np.isfinite(xy), zoomed.project(people), np.nan))
    np.testing.assert_allclose(lifter.lift(known, zoomed).positions[whole], lifted.positions[whole], atol=1e-5)


def test_a_clip_in_which_nobody_is_seen_is_an_error():
    pose = Pose2D(H36M17, np.full((3, 17, 2), np.nan), np.zeros((3, 17)), np.arange(3) / 30, (1280, 720))
    with pytest.raises(InputError, match=r"plain\.npz"):
        ProjectionLifter(CHAINER / "plain.npz").lift(pose, Camera.from_focal(900, (1280, 720)))


def changed(name="plain", **changes):
    """The fixture's weights with some arrays replaced, or left out where None; `l1_W` stands for `l1/W`."""
    arrays = weights(name) | {k.replace("_", "/", 1): v for k, v in changes.items()}
    return {k: v for k, v in arrays.items() if v is not None}


CAUSES = {
    "lacks a layer": (changed(l4_W=None), r"has no l4/W"),
    "lacks a statistic": (changed("batch_norm", bn2_avg_var=None), r"lacks bn2/avg_var"),
    "a negative variance": (changed("batch_norm", bn2_avg_var=np.full(16, -1.0, np.float32)), "variances"),
    "another skeleton": (changed(l1_W=np.zeros((16, 32), np.float32)), r"l1/W: expected floats \(16, 34\)"),
    "a wider layer": (changed(l2_W=np.zeros((16, 17), np.float32)), r"l2/W: expected floats \(16, 16\)"),
    "a scalar": (changed(l1_b=np.float32(0)), r"l1/"),
    "no width": (changed(l1_b=np.zeros(0, np.float32)), r"l1/W"),
    "not finite": (changed(l3_b=np.full(16, np.nan, np.float32)), r"l3/b: expected finite"),
    "integers": (changed(l3_b=np.zeros(16, int)), r"l3/b: expected floats"),
    "an object": (changed(l3_b=np.array([{}] * 16)), "Chainer npz"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_arrays_that_are_no_generator_are_refused(tmp_path, cause):
    arrays, said = CAUSES[cause]
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match=said) as error:
        load_lifter(str(tmp_path / "x.npz"))
    assert "x.npz" in str(error.value) and "\n" not in str(error.value)


def test_a_discriminators_weights_say_that_they_are():
    with pytest.raises(InputError, match="discriminator"):
        load_lifter(str(CHAINER / "discriminator.npz"))


def _bomb():
    """A few kB that say they unpack to a gigabyte."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z, z.open("l1/W.npy", "w", force_zip64=True) as f:
        for _ in range(1 << 10):
            f.write(bytes(1 << 20))
    return out.getvalue()


def _huge_header():
    """An array header of 2^40 floats before no data."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name in weights():
            buffer = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                buffer, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
            )
            z.writestr(f"{name}.npy", buffer.getvalue())
    return out.getvalue()


HOSTILE = {
    "empty": lambda: b"",
    "text": lambda: b"hello",
    "cut": lambda: (CHAINER / "plain.npz").read_bytes()[:3000],
    "flipped": lambda: (
        (d := bytearray((CHAINER / "plain.npz").read_bytes())).__setitem__(
            slice(300, 400), bytes(x ^ 0xFF for x in d[300:400])
        )
        or bytes(d)
    ),
    "one array": lambda: (b := io.BytesIO(), np.save(b, np.zeros(3)))[0].getvalue(),
    "bomb": _bomb,
    "huge header": _huge_header,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_one_line(tmp_path, kind):
    path = tmp_path / "x.npz"
    path.write_bytes(HOSTILE[kind]())
    with pytest.raises(InputError, match=r"x\.npz") as error:
        load_lifter(str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_lifter(str(tmp_path / "none.npz"))


def test_weights_that_overflow_are_an_error_not_numbers(tmp_path):
    np.savez(tmp_path / "x.npz", **changed(l4_W=np.full((17, 16), 3e38, np.float32)))
    with pytest.raises(InputError, match="not finite"):
        load_lifter(str(tmp_path / "x.npz")).lift_normalised(np.full((2, 17, 2), 1e6))

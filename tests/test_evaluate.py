"""Evaluation by its laws: lifters that know the truth, or spoil it in a known way, get the known numbers."""

import csv
from pathlib import Path

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.datasets.base import PoseSet, View
from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.errors import InputError, UnknownNameError
from kinelift.evaluate import PROTOCOLS, FrameLifter, Method, evaluate, read_method
from kinelift.evaluate.answers import prior_camera
from kinelift.lift import Lifter, load_lifter
from kinelift.lift.projection import normalised
from kinelift.records import Lifted
from kinelift.skeleton import BODY26, H36M17, joint_map
from kinelift.training.generate import generate

ALL = tuple(PROTOCOLS)
ERRORS = ("seed", "mpjpe", "n-mpjpe", "pa-mpjpe")


def seen(world, camera, action, parallel=False):
    """A view of BODY26 world positions; `parallel` rays instead of perspective ones."""
    x = joint_map(BODY26, H36M17) @ (world @ camera.R_cam_world.T + camera.t_cam_world)
    if parallel:
        x = x - x[:, :1] + [0, 0, 1e6]
        camera = Camera.from_focal(1e9, camera.image_size)
    return View(camera.project_camera(x), x, action, camera)


@pytest.fixture(scope="module")
def motion():
    return generate(np.random.default_rng(5), 6, 40).astype(float)


@pytest.fixture(scope="module")
def poses(motion, look_at):
    """Six clips of three actions, of generated motion, each through a camera of its own."""
    spots = [(4, 1.4, 1), (-3, 1, 3), (0, 2, 5), (5, 0.5, -2), (1, 1.2, -4), (-4, 1.6, 0.5)]
    views = [
        seen(m, look_at(s, m[0, 0]), a)
        for m, s, a in zip(motion, spots, ("Walk", "Walk", "Sit", "Eat", "Eat", "Eat"), strict=True)
    ]
    return PoseSet.from_views("made", views, 30.0)


@pytest.fixture(scope="module")
def parallel(motion, look_at):
    """The same without perspective: there x and y are the input's, whatever the depth."""
    views = [seen(m, look_at((3, 1, 4), m[0, 0]), f"a{i}", parallel=True) for i, m in enumerate(motion)]
    return PoseSet.from_views("parallel", views, 30.0)


class Knowing:
    """Answers sequence after sequence with the truth, changed by `spoil` (T, 17, 3)."""

    skeleton = H36M17

    def __init__(self, data, spoil=lambda x: x, scale="metric", name="knowing"):
        self.name, self.data, self.spoil, self.scale, self.asked = name, data, spoil, scale, []

    def lift(self, pose, camera):
        rows = self.data.sequence == len(self.asked) % len(self.data.cameras)
        self.asked.append((pose, camera))
        x = self.data.positions[rows].astype(float)
        x = self.spoil(x - x[:, :1])
        return Lifted(H36M17, x - x[:, :1], pose.times, self.scale)

    def provenance(self):
        return {"name": self.name}


class KnowingDepth:
    """A single-frame lifter: the truth's depths over its spread, changed by `spoil`."""

    name = "depths"

    def __init__(self, data, spoil=lambda z: z):
        x = data.positions.astype(float) - data.positions[:, :1]
        self.depths = spoil(x[..., 2] / normalised(x[..., :2])[1][:, None])

    def lift_normalised(self, flat):
        return self.depths


def flipped(x):
    return x * [1, 1, -1]


def scores(table, method):
    return {p: table.score(method, p).average for p in table.protocols}


def is_perfect(found):
    return all(
        v == pytest.approx(100 if p in ("pck", "auc") else 0, abs=2e-2 if p != "auc" else 1e-6)
        for p, v in found.items()
    )


def test_the_doubles_are_lifters(poses):
    assert isinstance(Knowing(poses), Lifter) and isinstance(KnowingDepth(poses), FrameLifter)


@pytest.mark.parametrize("scale", ["metric", "unit"])
def test_a_perfect_lifter_is_perfect_in_every_protocol(parallel, scale):
    unit = 1.0 if scale == "metric" else 7.3
    assert is_perfect(scores(evaluate([Knowing(parallel, lambda x: x * unit, scale)], parallel), "knowing"))


def test_perspective_costs_the_seeds_number_only(poses):
    """x and y of the picture are not those of the body where the camera is near: the seed's protocol pays for it."""
    found = scores(evaluate([Knowing(poses)], poses), "knowing")
    assert found.pop("seed") > 5
    assert is_perfect(found)


def test_a_perfect_single_frame_lifter(parallel):
    assert is_perfect(scores(evaluate([KnowingDepth(parallel)], parallel), "depths"))


def test_mirrored_depths_are_bad_unless_inversion_is_allowed(parallel):
    lifters = [Knowing(parallel, flipped), KnowingDepth(parallel, np.negative)]
    plain, allowed = (evaluate(lifters, parallel, ALL, allow_inversion=a) for a in (False, True))
    for m in ("knowing", "depths"):
        assert min(plain.score(m, p).average for p in ERRORS) > 50
        assert plain.score(m, "auc").average < 60
        assert is_perfect(scores(allowed, m))
    assert "INVERSION" in str(allowed) and "INVERSION" not in str(plain)
    assert all("±z" in line for line in str(allowed).splitlines() if "MPJPE mm" in line)


def test_inversion_is_chosen_pose_by_pose(parallel):
    """Half of the poses mirrored: no constant sign mends it, a sign for every pose does, and never makes it worse."""
    half = np.arange(len(parallel)) % 2 == 0
    lifter = KnowingDepth(parallel, lambda z: np.where(half[:, None], -z, z))
    assert is_perfect(scores(evaluate([lifter], parallel, ALL, allow_inversion=True), "depths"))
    rng = np.random.default_rng(0)
    noisy = KnowingDepth(parallel, lambda z: z + rng.normal(0, 0.5, z.shape))
    plain, allowed = (scores(evaluate([noisy], parallel, ALL, a), "depths") for a in (False, True))
    assert all(allowed[p] <= plain[p] for p in ERRORS)
    assert allowed["pck"] >= plain["pck"] and allowed["auc"] >= plain["auc"]


def test_pa_never_reflects(parallel):
    """A mirror image about any plane stays wrong."""
    left = Knowing(parallel, lambda x: x * [-1, 1, 1])
    assert evaluate([left], parallel, ["pa-mpjpe"]).score("knowing", "pa-mpjpe").average > 50


def test_scale_matters_to_metres_only(poses):
    found = scores(evaluate([Knowing(poses, lambda x: 1.2 * x)], poses), "knowing")
    size = np.linalg.norm(poses.positions - poses.positions[:, :1], axis=-1).mean(1)
    actions = np.unique(poses.actions)
    expected = np.mean([size[poses.actions == a].mean() for a in actions]) * 0.2 * 1000
    assert found["mpjpe"] == pytest.approx(expected, rel=1e-4)
    assert found["n-mpjpe"] == pytest.approx(0, abs=1e-3) and found["pa-mpjpe"] == pytest.approx(0, abs=1e-3)
    unit = scores(evaluate([Knowing(poses, lambda x: 1.2 * x, "unit")], poses), "knowing")
    assert unit["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert "knowing" in "".join(evaluate([Knowing(poses, scale="unit")], poses).heading)
    assert "scale" not in "".join(evaluate([Knowing(poses)], poses).heading)


def test_known_offsets_give_known_numbers(poses):
    """One joint 100 mm off, one 200: of 16 besides the root 15 are within 150 mm; 11 of 31 thresholds hold 100."""

    def spoil(x):
        x = x.copy()
        x[:, 3, 0] += 0.1
        x[:, 10, 1] -= 0.2
        return x

    found = scores(evaluate([Knowing(poses, spoil)], poses, ("mpjpe", "pck", "auc")), "knowing")
    assert found["mpjpe"] == pytest.approx(300 / 17, abs=1e-3)
    assert found["pck"] == pytest.approx(100 * 15 / 16)
    assert found["auc"] == pytest.approx(100 * (14 + 11 / 31) / 16)


def test_the_seeds_number_by_hand(poses):
    """Input x and y with guessed depths, both over their own spread, times the truth's: root-relative, 17 joints."""
    rng = np.random.default_rng(3)
    z = rng.normal(0, 1, (len(poses), 17))
    z -= z[:, :1]
    found = evaluate([KnowingDepth(poses, lambda _: z)], poses, ["seed"])
    by_action = dict(zip((*found.actions, "all"), found.score("depths", "seed").means, strict=True))
    for action in ("Walk", "Sit", "Eat"):
        errors = []
        for i in np.flatnonzero(poses.actions == action):
            x = poses.positions[i].astype(float) - poses.positions[i, 0]
            ray = poses.cameras[poses.sequence[i]].unproject(poses.xy[i].astype(float))
            ray -= ray[0]
            scale = np.hypot(*x[1:, :2].T).mean()
            said = np.column_stack([ray / np.hypot(*ray[1:].T).mean(), z[i]]) * scale
            errors.append(1000 * np.sqrt(((said - x) ** 2).sum(1)).mean())
        assert by_action[action] == pytest.approx(np.mean(errors), rel=1e-6)


def test_actions_count_alike(poses):
    """Only sitting, a sixth of the poses, is 30 mm off: a third of the average over three actions."""
    sits = poses.actions == "Sit"
    wrong = KnowingDepth(poses)
    true = evaluate([wrong], poses, ["mpjpe"])
    wrong.depths = wrong.depths + np.where(sits, 1.0, 0.0)[:, None] * (np.arange(17) > 0)
    table = evaluate([wrong], poses, ["mpjpe"])
    assert table.actions == ("Eat", "Sit", "Walk") and table.poses == (120, 40, 80)
    before, after = (t.score("depths", "mpjpe").means for t in (true, table))
    np.testing.assert_allclose(after[[0, 2]], before[[0, 2]])
    assert after[3] - before[3] == pytest.approx((after[1] - before[1]) / 3)
    assert after[1] - before[1] > 100


def test_seeds_have_a_mean_and_a_spread(poses):
    seeds = tuple(Knowing(poses, lambda x, k=k: x + np.eye(17)[3, :, None] * [0, 0, k]) for k in (0.017, 0.034, 0.085))
    table = evaluate([Method("mine", seeds), Knowing(poses)], poses, ["mpjpe", "pck"])
    score = table.score("mine", "mpjpe")
    assert score.average == pytest.approx(8 / 3, abs=1e-3)
    assert score.spread == pytest.approx(np.std([1, 2, 5], ddof=1), abs=1e-3)
    assert np.isnan(table.score("knowing", "mpjpe").spread)
    assert "mine (3)" in str(table) and "2.7 ± 2.1" in str(table)


def test_csv_holds_every_cell(poses, tmp_path):
    table = evaluate([Method("a,b", (Knowing(poses), Knowing(poses, lambda x: 1.1 * x))), Knowing(poses)], poses)
    table.write_csv(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 2 * len(ALL) * 4
    for r in rows:
        score = table.score(r["method"], r["protocol"])
        k = [*table.actions, "average"].index(r["action"])
        assert float(r["mean"]) == pytest.approx(score.means[k], abs=1e-4)
        assert (r["spread"] == "") == (r["method"] == "knowing") == (r["seeds"] == "1")
        assert r["inversion"] == "no" and r["joints"] == "17"
    assert {r["poses"] for r in rows if r["action"] == "average"} == {"240"}
    with pytest.raises(InputError, match="cannot be written"):
        table.write_csv(tmp_path / "no" / "t.csv")


def test_the_text_lists_methods_and_actions(poses):
    text = str(evaluate([Knowing(poses), Knowing(poses, name="other")], poses, ["mpjpe", "auc"]))
    head, averages, *by_action = text.split("\n\n")
    assert "made: 240 poses, 17 joints, mean over 3 actions" in head
    assert averages.splitlines()[0].split() == ["MPJPE", "mm", "AUC", "0-150", "%"]
    assert [line.split()[0] for line in averages.splitlines()[1:]] == ["knowing", "other"]
    assert len(by_action) == 2
    assert [line.split()[0] for line in by_action[0].splitlines()[1:]] == ["Eat", "Sit", "Walk", "average"]


def test_whole_sequences_through_their_camera_at_their_rate(poses):
    lifter = Knowing(poses)
    evaluate([lifter], poses.replaced(fps=50.0), ["mpjpe"])
    assert len(lifter.asked) == 6
    for (pose, camera), known in zip(lifter.asked, poses.cameras, strict=True):
        assert camera is known and len(pose.times) == 40
        np.testing.assert_allclose(np.diff(pose.times), 0.02)


def test_an_unknown_lens_is_the_priors(poses):
    blind = poses.replaced(cameras=(None,) * 6)
    lifter = Knowing(blind)
    found = scores(evaluate([lifter], blind, ("mpjpe", "n-mpjpe")), "knowing")
    assert found["n-mpjpe"] == pytest.approx(0, abs=1e-3)
    for pose, camera in lifter.asked:
        w, h = camera.image_size
        assert (pose.xy <= [w - 1, h - 1]).all() and camera.K[0, 0] == pytest.approx(0.85 * max(w, h))


def test_the_priors_picture_holds_points_about_any_origin():
    xy = np.array([[[-50.0, 3], [20, 90]]])
    camera = prior_camera(xy)
    assert camera.image_size == (71, 91)
    np.testing.assert_allclose(camera.K[:2, 2], [-15, 45])


class Body(Knowing):
    """The truth in BODY26, nose and all."""

    skeleton = BODY26

    def lift(self, pose, camera):
        said = super().lift(pose, camera)
        assert pose.skeleton.name == "body26" and not pose.seen[:, BODY26.index("nose")].any()
        x = np.full((len(pose.times), 26, 3), np.nan)
        x[:] = np.einsum("ij,tjc->tic", joint_map(H36M17, BODY26), said.positions)
        x[:, BODY26.index("nose")] = 9.0
        return Lifted(BODY26, x, pose.times, self.scale)


def test_body26_is_compared_on_the_joints_that_both_know(poses):
    """The nose is made up, since the 17 joints do not tell it: neither it nor the crown drawn from it counts."""
    table = evaluate([Body(poses, name="body"), Knowing(poses)], poses, ("mpjpe", "pck"))
    assert table.left_out_joints == ("NeckNose", "Head")
    assert "NeckNose, Head" in str(table)
    assert scores(table, "body")["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert evaluate([Knowing(poses)], poses).left_out_joints == ()


def test_rows_from_what_the_user_writes(tmp_path):
    tmp_path = tmp_path / "run"
    tmp_path.mkdir()
    for name in ("a-0.onnx", "a-1.onnx", "b.npz"):
        (tmp_path / name).touch()
    a0, a1, b = (str(tmp_path / n) for n in ("a-0.onnx", "a-1.onnx", "b.npz"))
    for text, name, lifters in (
        ("temporal", "temporal", ("temporal",)),
        (a0, "a-0", (a0,)),
        (f"mine={a0},{a1}", "mine", (a0, a1)),
        (f"mine={tmp_path}/a-*.onnx,temporal", "mine", (a0, a1, "temporal")),
        (f"{tmp_path}/a-[01].onnx", f"{tmp_path}/a-[01].onnx", (a0, a1)),
        (f"{tmp_path.parent}/r*/b.npz", f"{tmp_path.parent}/r*/b.npz", (b,)),
        (f"{b}?activation=relu", f"{b}?activation=relu", (f"{b}?activation=relu",)),
        (f"mine={tmp_path}/*.npz?activation=relu", "mine", (f"{b}?activation=relu",)),
        ("my.code:Class", "my.code:Class", ("my.code:Class",)),
    ):
        method = read_method(text)
        assert (method.name, method.lifters) == (name, lifters)
    for text in ("", "mine=", f"mine={a0},", "=x.onnx"):
        with pytest.raises(InputError, match="expected LIFTER"):
            read_method(text)
    with pytest.raises(InputError, match="no file fits"):
        read_method(f"{tmp_path}/c-*.onnx")


def test_rows_are_told_apart(poses, monkeypatch):
    monkeypatch.setattr("kinelift.evaluate.answers.load_lifter", lambda name, threads: Knowing(poses, name=name))
    table = evaluate(["one/lifter", "two/lifter", "both=one/lifter,two/lifter"], poses, ["mpjpe"])
    assert table.methods == ["one/lifter", "two/lifter", "both"]
    with pytest.raises(InputError, match="NAME="):
        evaluate([Knowing(poses), Knowing(poses)], poses)


def test_what_cannot_be_evaluated_is_said(poses):
    with pytest.raises(UnknownNameError, match="pa-mpjpe"):
        evaluate([Knowing(poses)], poses, ["pa"])
    with pytest.raises(InputError, match="no protocol"):
        evaluate([Knowing(poses)], poses, [])
    with pytest.raises(InputError, match="at least one lifter"):
        evaluate([], poses)
    with pytest.raises(InputError, match="made: holds no 3D truth"):
        evaluate([Knowing(poses)], poses.replaced(positions=None))
    with pytest.raises(InputError, match="no poses"):
        evaluate([Knowing(poses)], poses.sliced(slice(0, 0)))
    with pytest.raises(UnknownNameError, match="tempral"):
        evaluate(["tempral"], poses)
    with pytest.raises(InputError, match="is no lifter"):
        evaluate([Method("thing", (object(),))], poses)


def test_wrong_answers_are_said(poses):
    short, wild = KnowingDepth(poses, lambda z: z[:-1]), KnowingDepth(poses, lambda z: z * np.nan)
    with pytest.raises(InputError, match=r"expected depths \(240, 17\), got \(239, 17\)"):
        evaluate([short], poses)
    with pytest.raises(InputError, match="not finite"):
        evaluate([wild], poses)
    with pytest.raises(InputError, match="too few joints"):
        evaluate([Knowing(poses, lambda x: x * np.nan)], poses)
    mixed = Knowing(poses)
    mixed.spoil = lambda x: setattr(mixed, "scale", "unit" if mixed.scale == "metric" else "metric") or x
    with pytest.raises(InputError, match="in metres for some"):
        evaluate([mixed], poses)


FLAT_CODE = """
import numpy as np
from kinelift.records import Lifted
from kinelift.skeleton import H36M17

class Flat:
    name, skeleton = "flat", H36M17

    def lift(self, pose, camera):
        rays = camera.unproject(pose.xy)
        rays = rays - rays[:, :1]
        return Lifted(H36M17, np.concatenate([rays, 0 * rays[..., :1]], -1), pose.times, "unit")

    def provenance(self):
        return {"name": "flat"}
"""


@pytest.fixture
def flat_onnx(tmp_path):
    """A lifter file of layout root-spread: all depths 0."""
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"])], "flat",
        [helper.make_tensor_value_info("x", number, ["T", 34])],
        [helper.make_tensor_value_info("z", number, ["T", 17])],
        [onnx.numpy_helper.from_array(np.zeros((34, 17), np.float32), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"format": "kinelift-lifter/1", "layout": "root-spread"})
    onnx.save(model, str(tmp_path / "zeros.onnx"))
    return tmp_path / "zeros.onnx"


def test_lifters_of_every_family_in_one_table(poses, flat_onnx, tmp_path, monkeypatch):
    """A name, an ONNX file, the authors' weights and somebody's code; three ways to say nothing of depth are one."""
    (tmp_path / "somebody.py").write_text(FLAT_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    authors = Path(__file__).parent / "fixtures" / "chainer" / "plain.npz"
    table = evaluate(["temporal", str(flat_onnx), str(authors), "code=somebody:Flat"], poses)
    assert table.methods == ["temporal", "zeros", "plain", "code"]
    assert table.unit_scale == ("zeros", "plain", "code")
    zeros, code = scores(table, "zeros"), scores(table, "code")
    alone = evaluate([KnowingDepth(poses, np.zeros_like)], poses).score("depths", "mpjpe").average
    assert zeros == pytest.approx(code, rel=1e-4)
    assert alone != pytest.approx(zeros["mpjpe"], rel=1e-3), "17 joints there, 15 here"
    assert scores(table, "plain") != pytest.approx(zeros, rel=1e-2)


def test_the_shipped_lifter_on_generated_motion(poses):
    """Far better than the flat figure that says nothing of depth, and it does not invert."""
    flat = KnowingDepth(poses, np.zeros_like)
    table = evaluate(["temporal", flat], poses)
    lifted, nothing = scores(table, "temporal"), scores(table, "depths")
    assert all(lifted[p] < 0.7 * nothing[p] for p in ERRORS)
    assert 15 < lifted["pa-mpjpe"] < lifted["n-mpjpe"] <= lifted["mpjpe"] + 1 < 110
    assert lifted["pck"] > 85 and lifted["auc"] > nothing["auc"] + 10
    inverted = evaluate(["temporal"], poses, ["n-mpjpe"], allow_inversion=True)
    assert inverted.score("temporal", "n-mpjpe").average > 0.9 * lifted["n-mpjpe"]


@pytest.mark.data
def test_the_shipped_lifter_on_mocap(data, look_at):
    """Three seconds of every ninth clip of cmu.npz, which has toes but no face: 12 limb joints, trunk from them."""
    with np.load(data / "mocap" / "cmu.npz") as f:
        names, positions, fps = [str(n) for n in f["joint_names"]], f["positions"], f["clip_fps"]
        starts = np.concatenate([[0], np.cumsum(f["clip_lengths"])])
    body = np.full((26, len(names)), 0.0)
    for joint in (*MOCAP_JOINTS, "pelvis", "head"):
        body[BODY26.index(joint), names.index(joint)] = 1
    body[BODY26.index("neck"), [names.index(f"{s}_shoulder") for s in ("left", "right")]] = 0.5
    body[BODY26.index("nose"), names.index("head")] = 1
    views = []
    for i in range(0, len(fps), 9):
        x = body @ positions[starts[i] : starts[i + 1]][:: round(fps[i] / 30)][:90].astype(float)
        middle, far = x[:, 0].mean(0), 3 + np.ptp(x[:, 0], axis=0).max()
        views.append(seen(x, look_at(middle + far * np.array([np.cos(i), 0.2, np.sin(i)]), middle), "all"))
    table = evaluate(["temporal"], PoseSet.from_views("cmu", views, 30.0), ("seed", "n-mpjpe", "pa-mpjpe", "auc"))
    found = scores(table, "temporal")
    assert 15 < found["pa-mpjpe"] < 55 and found["pa-mpjpe"] < found["n-mpjpe"] < 75
    assert found["auc"] > 60


def test_single_pictures_are_lifted_too(poses):
    """Sequences of one frame and no frame rate, as in a set of photographs."""
    still = poses.sliced(np.arange(0, 240, 20)).replaced(fps=None)
    assert len(still.cameras) == 12
    found = scores(evaluate([load_lifter("temporal")], still, ("n-mpjpe", "pa-mpjpe")), "temporal")
    assert found["pa-mpjpe"] < found["n-mpjpe"] < 150

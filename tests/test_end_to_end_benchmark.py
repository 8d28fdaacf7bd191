"""The end-to-end benchmark as a yardstick: zero for the truth, known numbers for known errors, fixed clips."""

import csv
import dataclasses
import importlib
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.datasets.mocap import MOCAP_JOINTS, Clip
from kinelift.errors import InputError
from kinelift.kinematics import matrix_to_quat, reference_offsets, rotvec_to_matrix
from kinelift.lift.rays import aim
from kinelift.records import Motion, Take
from kinelift.skeleton import BODY26

pytest.importorskip("torch", reason="the benchmark's generated motion and held-out clips are the training's")
LIMBS = BODY26.indices(*metrics.LIMBS)
FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in ("_filmed", "end_to_end")}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def filmed(modules):
    return modules["_filmed"]


@pytest.fixture(scope="module")
def end_to_end(modules):
    return modules["end_to_end"]


@pytest.fixture(scope="module")
def clip(filmed):
    """One generated clip, not drawn."""
    return filmed.film(3, 0, [])


@pytest.fixture(scope="module")
def names(filmed):
    """Mocap clips' names, kept ones and held-out ones."""
    every = [f"set/{i:02d}_01" for i in range(60)]
    held = [n for n in every if filmed.held_out(Clip(n, np.zeros((1, 26, 3)), 30.0))]
    assert 2 < len(held) < 20
    return sorted(set(every) - set(held)), held


def mocap_file(path, walk, names):
    """An npz of marker mocap: the same walk under each name, faster from clip to clip, which tells them apart."""
    clips = [
        walk(np.arange(130) / 30.0 * (0.8 + 0.01 * i))[:, BODY26.indices(*MOCAP_JOINTS)] for i in range(len(names))
    ]
    np.savez(
        path,
        positions=np.concatenate(clips).astype(np.float32),
        joint_names=np.array(MOCAP_JOINTS),
        clip_lengths=np.array([len(c) for c in clips]),
        clip_names=np.array(names),
        clip_fps=np.full(len(clips), 30.0),
    )
    return path


def test_camera_errors_of_known_changes(end_to_end, walk):
    true = walk(np.arange(30) / 30.0)[:, LIMBS]
    hips = true[:, list(end_to_end.HIPS)].mean(1, keepdims=True)
    exact = end_to_end.camera_errors(true + np.array([3.0, 1.0, 2.0]), true)
    assert exact["mpjpe"] == pytest.approx(0, abs=1e-6) and exact["pa"] == pytest.approx(0, abs=1e-6)
    away = np.linalg.norm(true - hips, axis=-1).mean() * 1000
    larger = end_to_end.camera_errors(1.2 * true, true)
    assert larger["mpjpe"] == pytest.approx(0.2 * away) and larger["pa"] == pytest.approx(0, abs=1e-6)
    turned = end_to_end.camera_errors(true @ rotvec_to_matrix(np.array([0, np.pi, 0])).T, true)
    from_axis = np.linalg.norm((true - hips)[..., ::2], axis=-1).mean() * 1000
    assert turned["mpjpe"] == pytest.approx(2 * from_axis) and turned["pa"] == pytest.approx(0, abs=1e-6)


def test_frames_without_an_answer_are_left_out_and_counted(end_to_end, walk):
    true = walk(np.arange(20) / 30.0)[:, LIMBS]
    found = 1.1 * true
    found[:5, 3] = np.nan
    some, rest = end_to_end.camera_errors(found, true), end_to_end.camera_errors(found[5:], true[5:])
    assert some["frames"] == 75 and some["mpjpe"] == pytest.approx(rest["mpjpe"]) and some["mpjpe"] > 0
    assert end_to_end.camera_errors(np.full_like(found, np.nan), true) == {"frames": 0}


def test_a_turn_and_a_shift_along_the_floor_are_forgiven_a_tilt_and_a_rise_are_not(end_to_end, walk):
    true = walk(np.arange(45) / 30.0)[:, LIMBS]
    moved = true @ rotvec_to_matrix(np.array([0, 2.2, 0])).T + [4.0, 0, -1.0]
    assert end_to_end.on_floor(moved, true) == pytest.approx(true, abs=1e-9)
    raised = end_to_end.on_floor(moved + np.array([0, 0.07, 0]), true) - true
    assert np.linalg.norm(raised, axis=-1) == pytest.approx(0.07)
    tilted = moved @ rotvec_to_matrix(np.array([0.1, 0, 0])).T
    assert np.linalg.norm(end_to_end.on_floor(tilted, true) - true, axis=-1).mean() > 0.03
    assert metrics.abs_mpjpe(tilted, true) == pytest.approx(0, abs=1e-6)


def test_world_errors_of_known_changes(end_to_end, walk, walk_rig):
    times = np.arange(60) / 30.0
    true, contact = walk(times), walk_rig(times)[3]
    exact = end_to_end.world_errors(true, true, contact, 30.0)
    assert exact == pytest.approx(dict.fromkeys(("rigid", "floor", "slide", "below", "path"), 0), abs=1e-6)
    drifting = true + np.stack([0 * times, 0 * times - 0.02, 0.3 * times], -1)[:, None]
    found = end_to_end.world_errors(drifting, true, contact, 30.0)
    assert found["slide"] == pytest.approx(10, rel=1e-6)  # 0.3 m/s at 30 frames a second
    assert found["path"] == pytest.approx(100 * 0.3 / 0.9, rel=0.01)
    assert found["below"] > 9  # soles spend more than half of the walk on the floor, now 2 cm lower
    assert np.isnan(end_to_end.world_errors(true[:20], true[:20], contact[:20], 30.0)["path"])  # too short to tell


def test_trembling_is_no_path(end_to_end):
    times = np.arange(90) / 30.0
    straight = np.stack([0 * times, 0 * times + 1, times], -1)
    shaken = straight + 0.02 * (-1.0) ** np.arange(90)[:, None]
    assert end_to_end.path_m(straight, 30.0) == pytest.approx(2.8)  # the last whole step ends after 2.8 s
    assert end_to_end.path_m(shaken, 30.0) == pytest.approx(2.8, rel=0.01)


def as_take(local, root, contact, camera, first=0):
    """A take of one motion: rotations (T, 26, 3, 3) and a path (T, 3) from frame `first` on, 30 a second."""
    times = (first + np.arange(len(root))) / 30.0
    motion = Motion(
        BODY26, reference_offsets(), matrix_to_quat(local), root, contact,
        BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe"), np.ones(len(times), bool),
        np.full((len(times), 26), 0.01), times,
    )  # fmt: skip
    return Take((motion,), camera, ())


@pytest.fixture(scope="module")
def walker(clip, walk, walk_rig, look_at):
    """A clip whose truth is a walk by rule, and the walk's rotations, path and contacts."""
    times = np.arange(40) / 30.0
    local, _, root, contact = walk_rig(times)
    camera = look_at((1.0, 1.4, 5.0), (0, 0.9, 0.6))
    scene = dataclasses.replace(clip.scene, positions=walk(times), contact=contact, camera=camera)
    return dataclasses.replace(clip, scene=scene), local, root, contact


def test_the_true_motion_has_no_error_and_a_leaning_world_only_its_own(end_to_end, walker):
    clip, local, root, contact = walker
    camera = clip.scene.camera
    exact = end_to_end.take_errors(as_take(local, root, contact, camera), clip)
    zero = {k: v for k, v in exact.items() if k not in ("f1", "frames")}
    assert zero == pytest.approx(dict.fromkeys(zero, 0), abs=1e-4) and {"slide", "below", "path"} < set(zero)
    assert exact["f1"] == 1 and exact["frames"] == 100
    # The same answer in the camera's axes, in a world that leans by 5 degrees and faces elsewhere.
    lean = rotvec_to_matrix(np.radians([0, 0, 5.0])) @ rotvec_to_matrix(np.array([0, 1.0, 0]))
    turned = local.copy()
    turned[:, 0] = lean @ local[:, 0]
    leaning = camera.replaced(R_cam_world=camera.R_cam_world @ lean.T)
    found = end_to_end.take_errors(as_take(turned, root @ lean.T, contact, leaning), clip)
    for same in ("mpjpe", "pa", "rigid"):
        assert found[same] == pytest.approx(0, abs=1e-4)
    assert found["gravity"] == pytest.approx(5, abs=1e-6) and found["floor"] > 20


def test_frames_are_paired_by_time(end_to_end, walker):
    clip, local, root, contact = walker
    part = slice(10, 30)
    found = end_to_end.take_errors(as_take(local[part], root[part], contact[part], clip.scene.camera, 10), clip)
    assert found["mpjpe"] == pytest.approx(0, abs=1e-4) and found["f1"] == 1 and found["frames"] == 50


def test_favoured_undoes_what_an_aimed_camera_and_another_scale_do(end_to_end, walk, look_at):
    camera = look_at((2.0, 3.0, 4.0), (1.2, 0.5, 0))
    true = camera.to_camera(walk(np.arange(20) / 30.0))
    hips = true[:, BODY26.indices("left_hip", "right_hip")].mean(1)
    own = 0.8 * np.einsum("tji,tnj->tni", aim(hips[:, :2] / hips[:, 2:]), true - hips[:, None])
    given = end_to_end.camera_errors(own[:, LIMBS], true[:, LIMBS])
    assert given["mpjpe"] > 50 and given["pa"] == pytest.approx(0, abs=1e-6)
    assert end_to_end.favoured(own, true) == pytest.approx(true - hips[:, None], abs=1e-9)
    assert end_to_end.to_true_bones(own, true) == pytest.approx(own / 0.8)
    unseen = own.copy()
    unseen[3:6] = np.nan
    for fitted in (end_to_end.favoured, end_to_end.to_true_bones):
        assert fitted(unseen, true) == pytest.approx(np.where(np.isnan(unseen), np.nan, fitted(own, true)), nan_ok=True)
        assert np.isnan(fitted(np.full_like(own, np.nan), true)).all()


def test_a_clip_is_the_same_whichever_others_are_made(filmed, clip):
    few, every = filmed.films(3, 2, []), filmed.films(3, 11, [])
    marks = {c.name: c.fingerprint() for c in every}
    assert len(marks) == 11 and all(marks[c.name] == c.fingerprint() for c in few)
    assert few[0].fingerprint() == clip.fingerprint()
    assert clip.fingerprint() != filmed.film(4, 0, []).fingerprint()
    assert {m for m, _ in filmed.SHOTS} - {filmed.MOCAP} == {c.action for c in every}


def test_another_picture_has_another_fingerprint(clip):
    s = clip.scene
    nearer = s.camera.replaced(t_cam_world=s.camera.t_cam_world + np.array([0, 0, 0.01]))
    moved = s.positions + np.eye(len(s.positions))[5][:, None, None] * 0.001
    others = [
        dataclasses.replace(s, **change)
        for change in (
            {"camera": nearer}, {"positions": moved}, {"look": dataclasses.replace(s.look, girth=1.01)},
            {"wear": dataclasses.replace(s.wear, quality=s.wear.quality + 1)}, {"seed": s.seed + 1},
        )
    ]  # fmt: skip
    marks = {dataclasses.replace(clip, scene=o).fingerprint() for o in [s, *others]}
    assert len(marks) == 6


def test_clips_are_such_as_a_phone_takes(filmed, names, walk, tmp_path):
    mocap = filmed_mocap(filmed, walk, names[1], tmp_path)
    clips = filmed.films(5, len(filmed.SHOTS), mocap)
    sizes = [c.scene.camera.image_size for c in clips]
    assert all(480 <= max(s) <= 800 and s[0] % 2 == s[1] % 2 == 0 for s in sizes)
    assert {np.sign(w - h) for w, h in sizes} == {1, -1}
    for c, (motion, held) in zip(clips, filmed.SHOTS, strict=True):
        camera, height = c.scene.camera, c.scene.camera.position[1]
        assert 0.7 <= camera.focal_px / max(camera.image_size) <= 1.1
        assert c.action == motion or (motion == filmed.MOCAP and c.scene.kind == "mocap")
        assert {"low": 0.2 < height < 0.5, "steep": height > 1.8}.get(held, 0.9 < height < 1.8)
        assert 1.6 <= c.stature_m <= 1.9 and filmed.stature(c.scene.positions) == pytest.approx(c.stature_m)
        assert 60 <= len(c.scene.positions) <= 120 and filmed._travel(c.scene.positions) < 1.2 * filmed.TRAVEL_M
        xy = camera.project(c.scene.positions[:, LIMBS])
        assert ((xy > 0) & (xy < camera.image_size)).all(-1).mean() > 0.9
        assert np.abs(camera.position[::2]).max() < c.scene.look.room_m


@pytest.mark.parametrize(("turn_deg", "view"), [(10, "front"), (-90, "side"), (85, "side"), (170, "back")])
def test_views_are_named_by_the_side_that_is_seen(filmed, clip, walk, turn_deg, view):
    positions = walk(np.arange(40) / 30.0, heading=0.7)
    camera = filmed.placed(filmed.Place(turn_deg, 4.0, 1.4, 0.85), positions)
    scene = dataclasses.replace(clip.scene, positions=positions, camera=camera)
    assert dataclasses.replace(clip, scene=scene).view == view


def filmed_mocap(filmed, walk, names, folder):
    from kinelift.datasets.mocap import read_mocap

    return read_mocap(mocap_file(folder / "mocap.npz", walk, names))


def test_no_clip_of_training_is_filmed(filmed, names, walk, tmp_path):
    kept, held = names
    mocap = filmed_mocap(filmed, walk, sorted(kept + held), tmp_path)
    clips = filmed.films(0, 2 * len(filmed.SHOTS), mocap)
    used = [c for c in clips if c.scene.kind == "mocap"]
    assert len(used) == 2 * filmed.TURNS and {c.motion for c in used} <= set(held)
    # The motion is the named clip's: its walking speed is no other clip's.
    for c in used:
        source = next(m for m in mocap if m.name == c.motion)
        legs = BODY26.indices("left_hip", "left_knee", "left_ankle", "left_toe")
        a, b = (bent(x[:, legs]) for x in (c.scene.positions, source.positions.astype(float)))
        gap = [np.abs(a - b[i : i + len(a)]).max() for i in range(len(b) - len(a) + 1)]
        assert min(gap) < 1e-4
    with pytest.raises(InputError, match="held out"):
        filmed.films(0, 3, [m for m in mocap if m.name in kept])


def bent(chain):
    """(T, K-2) cosines of the angles of chains of joints (T, K, 3): no place, heading or size."""
    d = np.diff(chain, axis=1)
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    return (d[:, 1:] * d[:, :-1]).sum(-1)


def test_a_clip_is_drawn_once(filmed, clip, tmp_path, monkeypatch):
    small = Camera.from_focal(70, (64, 96)).replaced(
        R_cam_world=clip.scene.camera.R_cam_world, t_cam_world=clip.scene.camera.t_cam_world
    )
    scene = dataclasses.replace(
        clip.scene, positions=clip.scene.positions[:3], contact=clip.scene.contact[:3], camera=small
    )
    short = dataclasses.replace(clip, scene=scene)
    video, now = filmed.drawn(short, tmp_path)
    assert now and [p.name for p in sorted(tmp_path.rglob("*.*"))] == ["clip.mp4", "truth.npz"]
    with av.open(str(video)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 3 and (frames[0].width, frames[0].height) == (64, 96)
    assert [f.time for f in frames] == pytest.approx([0, 1 / 30, 2 / 30])
    drawn = next(iter(scene.pictures())).astype(float)
    assert np.abs(frames[0].to_ndarray(format="rgb24") - drawn).mean() < 12
    with np.load(video.with_name("truth.npz")) as truth:
        assert truth["positions"] == pytest.approx(scene.positions, abs=1e-5) and float(truth["height_m"]) > 1.5
        there = Camera(truth["K"], truth["R_cam_world"], truth["t_cam_world"], (64, 96), np.zeros(5))
        assert there.project(truth["positions"].astype(float)) == pytest.approx(
            small.project(scene.positions), abs=1e-2
        )
    monkeypatch.setattr(filmed, "write_video", lambda *a: pytest.fail("drawn again"))
    assert filmed.drawn(short, tmp_path) == (video, False)
    other = dataclasses.replace(short, scene=dataclasses.replace(scene, seed=scene.seed + 1))
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        filmed.drawn(other, tmp_path)


def test_true_key_points_from_end_to_end(end_to_end, tmp_path, monkeypatch, capsys):
    """A detector that says the truth: every row of the table is there, and rows with the same input agree."""

    def perfect(video, clip, fresh):
        video.parent.mkdir(parents=True, exist_ok=True)
        end_to_end.write_keypoints(video.with_name("seen.npz"), end_to_end.true_2d(clip))
        return video.with_name("seen.npz"), 0.5

    monkeypatch.setattr(end_to_end, "drawn", lambda clip, work, fresh: (work / clip.name / "clip.mp4", False))
    monkeypatch.setattr(end_to_end, "look", perfect)
    table = tmp_path / "numbers.csv"
    monkeypatch.setattr(
        sys, "argv", ["end_to_end.py", "--clips", "2", "--work", str(tmp_path / "work"), "--csv", str(table)]
    )
    end_to_end.main()
    printed = capsys.readouterr().out
    assert "Bars" in printed and "00-walk" in printed and "14-bend" in printed
    rows = {(r["set"], r["row"], r["lifter"], r["metric"]): float(r["value"]) for r in csv.DictReader(table.open())}
    for metric in ("mpjpe", "pa", "rigid", "floor", "slide", "gravity", "f1"):
        pair = [rows["all", "mean", row, metric] for row in (end_to_end.KNOWN, end_to_end.PERFECT)]
        assert pair[0] == pytest.approx(pair[1]) and np.isfinite(pair).all()
    assert 0 < rows["all", "mean", end_to_end.SOLVED, "pa"] < 90
    assert np.isnan(rows["all", "mean", end_to_end.DETECTOR, "pa"])  # key points without a detector's 3D
    clips = [rows["clip", name, end_to_end.SOLVED, "pa"] for name in ("00-walk", "14-bend")]
    assert rows["all", "mean", end_to_end.SOLVED, "pa"] == pytest.approx(np.mean(clips), abs=1e-3)
    assert rows["all", "mean", end_to_end.TRUTH, "slide"] < 1


@pytest.mark.parametrize("wrong", [["--clips", "0"], ["--mocap", "nothing.npz"], ["--lifter", "nothing.onnx"]])
def test_bad_input_is_one_line(end_to_end, wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(end_to_end, "drawn", lambda *a: pytest.fail("drawn before all is known to be usable"))
    monkeypatch.setattr(sys, "argv", ["end_to_end.py", "--clips", "1", "--work", str(tmp_path), *wrong])
    with pytest.raises(SystemExit) as stop:
        end_to_end.main()
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and wrong[1] in said[-1] and "Traceback" not in "".join(said)

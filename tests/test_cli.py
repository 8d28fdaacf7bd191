"""The real command on bad input, odd input and Ctrl-C: exit codes, one line, nothing half-written, files untouched."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from kinelift.detect import write_keypoints
from kinelift.export.npz import load_motion
from kinelift.pipeline import sample_path
from kinelift.records import Pose2D
from kinelift.skeleton import BODY26, BODY_25

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
SMALL = (320, 180)
FPS = 30


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str
    folder: Path

    @property
    def written(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir()) if self.folder.is_dir() else []

    @property
    def report(self) -> dict:
        return json.loads((self.folder / "report.json").read_text())


def kinelift(*arguments):
    """A fresh process."""
    command = [sys.executable, "-m", "kinelift.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    return done.returncode, done.stdout, done.stderr


# Importing takes a second or two: a process that has imported forks one child a command.
SERVER = """
import json, os, sys
from kinelift import cli, pipeline
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["kinelift", *job["arguments"]]
        cli.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def forked(tmp_path_factory):
    """Like `kinelift`, without the time to import."""
    folder = tmp_path_factory.mktemp("forked")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )

    def run(*arguments):
        out, err = folder / f"{time.monotonic_ns()}.out", folder / f"{time.monotonic_ns()}.err"
        job = {"arguments": [str(a) for a in arguments], "out": str(out), "err": str(err)}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline()), out.read_text(), err.read_text()

    yield run
    server.stdin.close()
    server.wait(timeout=10)
    server.stdout.close()


@pytest.fixture
def animate(tmp_path, forked):
    """Runs `kinelift animate ARGUMENTS -o OUT`; all other files below tmp_path must stay as they were."""

    def state():
        files = [p for p in tmp_path.rglob("*") if p.is_file() and folder not in p.parents]
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}

    def run(*arguments, out=None, fresh=False, pages=False):
        target = folder if out is None else out
        before = state()
        more = () if pages else ("--no-pages",)
        done = (kinelift if fresh else forked)("animate", *arguments, "-o", target, *more)
        assert state() == before
        return Done(*done, Path(target))

    folder = tmp_path / "results" / "out"
    return run


def refused(done, *names):
    """Exit 2, one line on standard error that says all of `names`, nothing written."""
    assert done.code == 2, done.err
    assert len(done.err.splitlines()) == 1, done.err
    for name in names:
        assert str(name) in done.err
    assert done.out == ""
    assert not done.folder.exists() or not done.folder.is_dir()
    assert not (done.folder.parent / "results").exists()


def finished(done, *warnings):
    """Exit 0, everything written, and a warning that says each of `warnings`."""
    assert done.code == 0, done.err
    assert done.written == ["motion.bvh", "motion.csv", "motion.glb", "motion.npz", "report.json"]
    lines = done.err.splitlines()
    assert lines == [f"warning: {w}" for w in done.report["warnings"]]
    for words in warnings:
        assert any(words in line for line in lines), done.err
    (motion,) = load_motion(done.folder / "motion.npz").motions
    assert np.isfinite(motion.root).all()
    return motion


@pytest.fixture(scope="session")
def frames():
    """The sample's pictures, small: list of (180, 320, 3) uint8."""
    with av.open(str(sample_path())) as container:
        return [
            f.to_ndarray(format="rgb24", width=SMALL[0], height=SMALL[1])
            for f in container.decode(video=0)
            if f.time < 2.0 or 5.2 < f.time < 6.2
        ]


@pytest.fixture(scope="session")
def room(frames):
    """The sample's room with nobody in it: what most of its pictures agree on."""
    return np.median(np.stack(frames[::4]), 0).astype(np.uint8)


def write_video(path, pictures, fps=FPS, **options):
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("h264", rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast", "g": "10"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def clip(frames, tmp_path_factory):
    """Two thirds of a second of the sample, small."""
    return write_video(tmp_path_factory.mktemp("clip") / "walk.mp4", frames[10:30])


@pytest.fixture(scope="session")
def points(walk, look_at, tmp_path_factory):
    """A walk as key points, where pixels are not the point."""
    times = np.arange(20) / FPS
    camera = look_at((0.5, 1.5, 4.0), (0, 0.9, 0))
    path = tmp_path_factory.mktemp("points") / "walk.npz"
    write_keypoints(path, Pose2D(BODY26, camera.project(walk(times)), np.ones((20, 26)), times, camera.image_size))
    return path


# Refused.


def test_missing_file(animate, tmp_path):
    refused(animate(tmp_path / "gone.mp4", fresh=True), "gone.mp4", "no such file")


def test_text_named_mp4(animate, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("not a video\n" * 50)
    refused(animate(path, fresh=True), "notes.mp4")


def test_empty_video_file(animate, tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    refused(animate(path), "empty.mp4")


@pytest.mark.parametrize("size", [(160, 120), (16, 16)])
def test_video_with_nobody_in_it(animate, tmp_path, size):
    grey = np.linspace(60, 180, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    path = write_video(tmp_path / "room.mp4", [grey] * 8)
    refused(animate(path, fresh=True), "room.mp4")


def test_empty_json(animate, tmp_path):
    path = tmp_path / "points.json"
    path.touch()
    refused(animate(path, fresh=True), "points.json")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"[1, 2", b"\xff\xfe\x00", b"null", b'[{"keypoints": "no"}]'])
def test_json_of_something_else(animate, tmp_path, content):
    path = tmp_path / "points.json"
    path.write_bytes(content)
    refused(animate(path), "points.json")


def test_broken_motion_file(animate, tmp_path):
    path = tmp_path / "motion.npz"
    path.write_bytes(b"PK\x03\x04 not an archive")
    refused(animate(path), "motion.npz")


def test_empty_folder(animate, tmp_path):
    (tmp_path / "pictures").mkdir()
    refused(animate(tmp_path / "pictures"), "pictures")


def test_broken_picture(animate, tmp_path):
    path = tmp_path / "me.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 broken")
    refused(animate(path), "me.jpg")


def test_output_below_a_file(animate, tmp_path, points):
    (tmp_path / "file").write_text("mine")
    done = animate(points, out=tmp_path / "file" / "out", fresh=True)
    refused(done, tmp_path / "file", "-o")


def test_output_is_a_file(animate, tmp_path, points):
    (tmp_path / "file").write_text("mine")
    refused(animate(points, out=tmp_path / "file"), tmp_path / "file", "-o")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc")
def test_output_where_nobody_may_write(animate, points):
    refused(animate(points, out="/proc/kinelift"), "/proc/kinelift", "-o")


def test_unwritable_output_is_said_before_the_work(animate, tmp_path):
    (tmp_path / "file").write_text("mine")
    began = time.monotonic()
    refused(animate("--sample", out=tmp_path / "file" / "out"), "-o")
    assert time.monotonic() - began < 8  # the sample's detection alone takes longer


@pytest.mark.parametrize(
    "options, names",
    [
        (("--height", "17"), ("--height 17", "metres", "1.75")),
        (("--height", "nan"), ("--height",)),
        (("--height", "-1"), ("--height",)),
        (("--height", "tall"), ("--height",)),
        (("--focal", "0"), ("--focal",)),
        (("--fov", "200"), ("--fov",)),
        (("--focal", "900", "--fov", "60"), ("--focal", "--fov")),
        (("--calibration", "gone.toml"), ("gone.toml",)),
        (("--lifter", "tempral"), ("unknown lifter", "tempral", "temporal")),
        (("--lifter", "gone.onnx"), ("gone.onnx",)),
        (("--lifter", "no.such.module:Class"), ("no.such.module",)),
        (("--lifter", "json:loads"), ("json:loads",)),
        (("--formats", "bvh,fbz"), ("unknown format", "fbz", "bvh")),
        (("--formats", ","), ("--formats",)),
        (("--person", "tallest"), ("tallest", "largest")),
        (("--threads", "0"), ("--threads",)),
        (("--image-size", "large"), ("--image-size", "large")),
        (("--keypoints-format", "body_26"), ("body_26",)),
        (("--detector", "mediapip"), ("unknown detector", "mediapip", "rtmpose")),
        (("--colour", "red"), ("--colour",)),
    ],
    ids=lambda v: " ".join(v) if v and v[0].startswith("--") else "",
)
def test_bad_option(animate, points, clip, options, names):
    pixels = options[0] == "--detector"
    refused(animate(clip if pixels else points, *options), *names)


def test_rtmpose_without_its_model(animate, clip):
    refused(animate(clip, "--detector", "rtmpose"), "--pose-model")


def test_rtmpose_with_a_model_that_is_none(animate, tmp_path, clip):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no network")
    refused(animate(clip, "--detector", "rtmpose", "--pose-model", path), "model.onnx")


def test_lifter_file_that_is_none(animate, tmp_path, points):
    path = tmp_path / "lifter.onnx"
    path.write_bytes(b"no network" * 100)
    refused(animate(points, "--lifter", path, fresh=True), "lifter.onnx")


def test_network_that_is_no_lifter(animate, tmp_path, points):
    onnx = pytest.importorskip("onnx")
    tensor = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "other", tensor[:1], tensor[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "other.onnx"
    onnx.save(model, str(path))
    refused(animate(points, "--lifter", path), "other.onnx", "no lifter")


def test_input_and_sample_both(animate, points):
    refused(animate(points, "--sample"), "--sample")


def test_neither_input_nor_sample(animate):
    refused(animate(), "--sample")


def test_start_after_the_end(animate, clip):
    refused(animate(clip, "--start", "5"), "walk.mp4", "start")
    refused(animate(clip, "--start", "0.5", "--end", "0.2"), "start", "end")


def test_results_of_before_survive_a_refusal(animate, tmp_path, points):
    done = animate(points, "--formats", "npz")
    assert done.code == 0
    before = {p.name: p.read_bytes() for p in done.folder.iterdir()}
    assert animate(points, "--height", "17").code == 2
    path = tmp_path / "points.json"
    path.touch()
    assert animate(path).code == 2
    assert {p.name: p.read_bytes() for p in done.folder.iterdir()} == before


@pytest.mark.parametrize(
    "arguments, names",
    [
        (("gone.npz", "walk.bvh"), ("gone.npz",)),
        (("walk.txt", "walk.bvh"), ("walk.txt",)),
        (("walk.npz", "walk.fbz"), ("fbz",)),
        (("walk.npz", "no/such/folder/walk.bvh"), ("no/such/folder",)),
    ],
)
def test_convert_refuses(tmp_path, animate, forked, points, arguments, names):
    assert animate(points, "--formats", "npz").code == 0
    (tmp_path / "results/out/motion.npz").rename(tmp_path / "walk.npz")
    (tmp_path / "walk.txt").write_text("no motion")
    before = sorted(tmp_path.rglob("*"))
    code, _, err = forked("convert", *(tmp_path / a for a in arguments))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert all(name in err for name in names)
    assert sorted(tmp_path.rglob("*")) == before


# Done, with a warning.


def test_truncated_video(animate, tmp_path, frames):
    # The index goes first, as phones' cloud copies have it, so that what precedes the cut can be read.
    whole = write_video(tmp_path / "whole.mp4", frames[:40], movflags="faststart").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    motion = finished(animate(path), "cut.mp4")
    assert 10 <= len(motion.times) < 40


def test_person_who_leaves_for_two_seconds(animate, tmp_path, frames, room):
    path = write_video(tmp_path / "away.mp4", [*frames[:30:3], *[room] * 20, *frames[30:60:3]], fps=10)
    motion = finished(animate(path), "unseen for 2.", "not found in")
    assert len(motion.times) == 40
    assert not motion.observed[12:28].any()
    assert motion.observed[:9].all()
    assert motion.observed[-8:].all()


def test_a_black_second(animate, tmp_path, frames):
    black = np.zeros_like(frames[0])
    path = write_video(tmp_path / "black.mp4", [*frames[:30:3], *[black] * 10, *frames[30:60:3]], fps=10)
    finished(animate(path), "not found in 10 of 30 frames")


def test_video_of_one_frame(animate, tmp_path, frames):
    path = write_video(tmp_path / "one.mp4", frames[20:21])
    motion = finished(animate(path), "single frame")
    assert len(motion.times) == 1


def test_openpose_folder_with_empty_people(animate, tmp_path, walk, look_at):
    times = np.arange(24) / FPS
    pixels = look_at((0.5, 1.5, 4.0), (0, 0.9, 0)).project(walk(times))
    folder = tmp_path / "openpose"
    folder.mkdir()
    for i, frame in enumerate(pixels):
        of = {n: frame[BODY26.index(n)] for n in BODY26.joints}
        of |= {"mid_hip": of["pelvis"], "left_big_toe": of["left_toe"], "right_big_toe": of["right_toe"]}
        row = [[*of[n], 0.9] if n in of else [0, 0, 0] for n in BODY_25.joints]
        people = [] if i in (7, 8, 15) else [{"pose_keypoints_2d": np.ravel(row).tolist()}]
        (folder / f"walk_{i:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))
    motion = finished(animate(folder, "--fps", FPS, "--image-size", "1920x1080"), "not seen in 3 of 24 frames")
    assert np.flatnonzero(~motion.observed).tolist() == [7, 8, 15]


def test_shot_cut(animate, tmp_path, frames):
    # Another place: the sample's last second mirrored, upside the light.
    other = [255 - p[:, ::-1] // 2 for p in frames[62:74]]
    path = write_video(tmp_path / "cut.mp4", [*frames[:24], *other])
    motion = finished(animate(path), "shot")
    assert len(motion.times) <= 24


def test_warnings_are_in_the_report(animate, points):
    finished(animate(points), "--height")
    done = animate(points, "--height", "1.8")
    finished(done)
    assert not [w for w in done.report["warnings"] if "--height" in w]


def test_formats_chosen_are_the_only_ones(animate, points):
    done = animate(points, "--formats", "BVH, .npz")
    assert done.code == 0
    assert done.written == ["motion.bvh", "motion.npz", "report.json"]


def test_pages_are_written_with_the_rest(animate, clip):
    done = animate(clip, "--mp4", pages=True)
    assert done.code == 0, done.err
    pages = ["quality.csv", "quality.png", "quality.svg", "report.html", "report.json", "view.html", "view.mp4"]
    assert done.written == ["motion.bvh", "motion.csv", "motion.glb", "motion.npz", *pages]


def test_summary_is_a_few_lines(animate, points):
    done = animate(points, "--height", "1.8")
    assert 3 <= len(done.out.splitlines()) <= 8
    assert "1.80 m" in done.out
    assert "motion.bvh" in done.out


# Stopped.


def stopped_in_the_middle(arguments, out, send):
    """Start, wait until the first progress beyond opening the file, send a signal; (code, stdout, stderr)."""
    code = (
        "import sys, kinelift.detect.follow as follow\n"
        "add = follow.Follower.add\n"
        "count = [0]\n"
        "def told(self, *a, **k):\n"
        "    count[0] += 1\n"
        "    if count[0] == 3:\n"
        "        print('detecting', flush=True)\n"
        "    return add(self, *a, **k)\n"
        "follow.Follower.add = told\n"
        "from kinelift.cli import main\n"
        "main()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, "animate", *map(str, arguments), "-o", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "detecting\n"
        child.send_signal(send)
        rest, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    return child.returncode, rest, errors


@pytest.mark.parametrize(
    "arguments, names",
    [
        (("train", "temporal", "--data", "gone.npz", "--out", "run"), ("gone.npz",)),
        (("train", "temporal", "--data", ".", "--out", "run"), ("no mocap",)),
        (("train", "temporal", "--data", ".", "--out", "run", "--network", "gpt"), ("--network gpt", "videopose3d")),
        (("train", "detector-data", "--data", "gone.npz", "--out", "run"), ("gone.npz",)),
        (("train", "prior", "--poses", "gone.npy", "--out", "prior.safetensors"), ("gone.npy",)),
        (("adapt", "gone", "-o", "run"), ("gone",)),
        (("adapt", ".", "-o", "run"), ("--steps 0",)),
    ],
)
def test_training_refuses(tmp_path, forked, monkeypatch, arguments, names):
    pytest.importorskip("torch", reason="training needs torch")
    monkeypatch.chdir(tmp_path)
    code, _, err = forked(*arguments, *(["--steps", "0"] if names == ("--steps 0",) else []))
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert all(n in err for n in names), err
    assert not (tmp_path / "run" / "lifter.onnx").exists()


@pytest.mark.parametrize("send", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_detecting(tmp_path, send):
    out = tmp_path / "results" / "out"
    code, rest, errors = stopped_in_the_middle(["--sample"], out, send)
    assert code == 130
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1
    assert rest == ""
    assert not out.parent.exists()


def test_stopped_keeps_results_of_before(tmp_path, animate, points):
    done = animate(points, "--formats", "npz")
    before = {p.name: p.read_bytes() for p in done.folder.iterdir()}
    code, _, _ = stopped_in_the_middle(["--sample"], done.folder, signal.SIGINT)
    assert code == 130
    assert {p.name: p.read_bytes() for p in done.folder.iterdir()} == before


def test_view_writes_a_page_beside_the_motion(animate, forked, points, tmp_path):
    done = animate(points)
    code, out, err = forked("view", done.folder, "--no-video")
    page = done.folder / "view.html"
    assert (code, err) == (0, "")
    assert out == f"wrote {page}\n"
    assert page.read_text().lower().startswith("<!doctype html>")
    page.unlink()
    code, _, err = forked("view", done.folder, "--no-video", "--embed-video")
    assert code == 2
    assert not page.exists()


def test_view_says_when_the_video_is_not_there(animate, forked, clip):
    done = animate(clip)
    code, out, err = forked("view", done.folder)
    assert code == 0
    assert out == f"wrote {done.folder / 'view.html'}\n"
    assert err == f"note: {clip.name} is not beside the motion: no video shown; give --video FILE\n"


def test_view_without_a_motion_is_one_line(forked, tmp_path):
    code, _, err = forked("view", tmp_path)
    assert code == 2
    assert "holds no motion.npz" in err
    assert list(tmp_path.iterdir()) == []

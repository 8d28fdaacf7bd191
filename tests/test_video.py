"""Frames come in order, upright and at the container's times; what cannot be read says so in one line."""

import signal
import weakref
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from kinelift.detect.shots import ShotDetector, shot_cuts
from kinelift.errors import InputError
from kinelift.records import Frame
from kinelift.video import natural_key, open_frames


def picture(i: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A dark picture, red in its top left corner, with a white bar that moves right."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[: height // 4, : width // 4] = (220, 30, 30)
    image[height // 2 :, 2 * i % width : 2 * i % width + 8] = 255
    return image


def write_video(path: Path, times_ms: list[int], codec: str = "mpeg4", images: list | None = None, **options) -> Path:
    images = images or [picture(i) for i in range(len(times_ms))]
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream(codec, rate=30)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 5
        stream.codec_context.time_base = Fraction(1, 1000)
        for ms, image in zip(times_ms, images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = ms, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def rotate_in_header(path: Path, degrees: int) -> Path:
    """Write a display matrix into the MP4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    c, s = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = [c << 16, s << 16, 0, -s << 16, c << 16, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(data)
    return path


EVEN = [round(i * 1000 / 30) for i in range(30)]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
def test_all_frames_in_order_with_their_content(tmp_path, suffix):
    with open_frames(write_video(tmp_path / f"a.{suffix}", EVEN)) as source:
        assert source.image_size == (96, 64)
        frames = list(source)
    assert len(frames) == 30
    assert source.warnings == []
    np.testing.assert_allclose(np.diff([f.time for f in frames]), 1 / 30, atol=2e-3)
    for i in (0, 13, 29):
        assert np.abs(frames[i].image.astype(int) - picture(i)).mean() < 6


def test_webm(tmp_path):
    try:
        path = write_video(tmp_path / "a.webm", EVEN[:8], codec="libvpx-vp9")
    except av.FFmpegError:
        pytest.skip("this FFmpeg has no VP9 encoder")
    assert len(list(open_frames(path))) == 8


def test_variable_frame_rate_is_honoured(tmp_path):
    times = [0, 33, 66, 400, 420, 1000, 1040, 1500]
    source = open_frames(write_video(tmp_path / "vfr.mkv", times))
    np.testing.assert_allclose([f.time for f in source], np.array(times) / 1000, atol=1e-6)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_agrees_with_opencv(tmp_path, degrees):
    path = rotate_in_header(write_video(tmp_path / "r.mp4", EVEN[:3]), degrees)
    source = open_frames(path)
    image = next(source).image
    capture = cv2.VideoCapture(str(path))
    judge = capture.read()[1][..., ::-1]
    assert source.image_size == (image.shape[1], image.shape[0])
    assert image.shape == judge.shape
    assert np.abs(image.astype(int) - judge).mean() < 4
    assert source.metadata["rotation_deg"] in (90, 180, 270)


def test_start_and_end_are_a_half_open_interval(tmp_path):
    path = write_video(tmp_path / "a.mp4", EVEN)
    whole = [f.time for f in open_frames(path)]
    source = open_frames(path, start=0.4, end=0.7)
    part = list(source)
    assert [f.time for f in part] == [t for t in whole if 0.4 <= t < 0.7]
    assert np.abs(part[0].image.astype(int) - picture(12)).mean() < 6
    assert source.warnings == []
    assert abs(source.frame_count - len(part)) <= 1


def test_truncated_file_gives_what_can_be_read_and_a_warning(tmp_path):
    path = write_video(tmp_path / "a.mp4", EVEN, movflags="faststart")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    source = open_frames(path)
    frames = list(source)
    assert 5 < len(frames) < 30
    assert any("a.mp4" in w and ("early" in w or "damaged" in w) for w in source.warnings)


def test_damaged_packets_are_skipped(tmp_path):
    path = write_video(tmp_path / "a.mkv", EVEN)
    data = bytearray(path.read_bytes())
    for share in (0.4, 0.5, 0.6):
        at = int(len(data) * share)
        data[at : at + 60] = bytes(60)
    path.write_bytes(data)
    times = [f.time for f in open_frames(path)]
    assert len(times) >= 10
    assert (np.diff(times) > 0).all()


def test_frames_stream_and_none_is_kept(tmp_path):
    source = open_frames(write_video(tmp_path / "a.mp4", EVEN))
    first = weakref.ref(next(source))
    next(source)
    assert first() is None
    source.close()
    source.close()


def test_pixels_that_are_not_square_are_made_square(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        out.mux(stream.encode(None))
    assert open_frames(path).image_size == (128, 64)


class FakeCapture:
    """Gives a picture every 10 ms of a clock that only it moves."""

    clock = 0.0

    def __init__(self, index):
        FakeCapture.clock = 0.0
        self.released = False

    def isOpened(self):
        return True

    def get(self, what):
        return 100.0

    def read(self):
        FakeCapture.clock += 0.01
        return True, np.full((4, 6, 3), (255, 0, 0), np.uint8)  # BGR: blue

    def release(self):
        self.released = True


def test_webcam_ends_at_its_time_or_at_ctrl_c(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr("kinelift.video.time.monotonic", lambda: FakeCapture.clock)
    before = signal.getsignal(signal.SIGINT)
    with open_frames("webcam:0", end=0.5) as source:
        frames = list(source)
    assert 45 <= len(frames) <= 50
    assert frames[0].image[0, 0].tolist() == [0, 0, 255]
    with open_frames(0) as source:
        taken = []
        for frame in source:
            taken.append(frame.time)
            if len(taken) == 5:
                signal.raise_signal(signal.SIGINT)
    assert len(taken) == 5  # kept, not lost to a KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is before


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


BAD = {
    "missing": (lambda p: p / "no.mp4", "no such file"),
    "text": (lambda p: _text(p / "notes.mp4", "hello, I am a text\n" * 50), "cannot be read as a video"),
    "empty": (lambda p: _text(p / "empty.mp4", ""), "empty"),
    "sound": (lambda p: write_sound(p / "sound.mp4"), "sound only"),
    "headless": (lambda p: _cut(write_video(p / "cut.mp4", EVEN), 0.7), "cut off"),
    "playlist": (lambda p: _text(p / "list.mp4", "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "cannot be read as a video"),
    "bad image": (lambda p: _text(p / "a.png", "no image"), "cannot be read as an image"),
    "no images": (lambda p: p, "holds no images"),
}


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_names_the_thing(tmp_path, case):
    make, says = BAD[case]
    path = make(tmp_path)
    with pytest.raises(InputError, match=says) as e:
        list(open_frames(path))
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("start", "end", "says"), [(2, 1, "before end"), (5, None, "no frame at or after"), (-1, 2, "least 0")]
)
def test_bad_interval(tmp_path, start, end, says):
    with pytest.raises(InputError, match=says):
        open_frames(write_video(tmp_path / "a.mp4", EVEN), start=start, end=end)


def test_single_image_is_turned_upright_and_tells_its_focal_length(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    exif.get_ifd(0x8769)[0xA405] = 26
    Image.fromarray(picture(0)).save(tmp_path / "p.jpg", exif=exif, quality=95)
    source = open_frames(tmp_path / "p.jpg")
    frames = list(source)
    assert len(frames) == 1
    assert source.image_size == (64, 96)
    assert source.metadata["focal_35mm"] == 26
    assert frames[0].image[5, -5, 0] > 180  # red was top left, now it is top right
    assert frames[0].image[-5, -5, 0] < 80


def test_folder_of_images_in_natural_order(tmp_path):
    for i in (1, 2, 10):
        Image.fromarray(np.full((20, 30, 3), i * 10, np.uint8)).save(tmp_path / f"f{i}.png")
    source = open_frames(tmp_path, fps=10)
    frames = list(source)
    assert [int(f.image[0, 0, 0]) for f in frames] == [10, 20, 100]
    assert [f.time for f in frames] == [0.0, 0.1, 0.2]
    assert [f.image[0, 0, 0] for f in open_frames(tmp_path, start=0.1, end=0.2, fps=10)] == [20]
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "f11.png")
    with pytest.raises(InputError, match=r"f11\.png.*10 x 10"):
        list(open_frames(tmp_path))


def test_natural_key():
    names = ["b1", "a10", "a9", "a", "10", "9"]
    assert sorted(names, key=lambda n: natural_key(Path(n))) == ["9", "10", "a", "a9", "a10", "b1"]


def test_webcam_that_is_absent():
    with pytest.raises(InputError, match="webcam:97"):
        open_frames("webcam:97")


def textured(seed: int, shift: int = 0, light: float = 1.0) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 255, (12, 40, 3))
    wide = np.kron(blocks, np.ones((10, 10, 1)))
    return np.clip(wide[:, shift : shift + 160] * light, 0, 255).astype(np.uint8)


def test_cut_is_found_but_neither_pan_nor_flash():
    pan = [textured(0, shift) for shift in range(0, 160, 16)]
    flash = [textured(0, 144, light) for light in (*[1.0] * 6, 1.6, 2.0, 1.0, 0.4, *[1.0] * 4)]
    other = [textured(1)] * 5
    frames = [Frame(image, i / 30) for i, image in enumerate([*pan, *flash, *other])]
    assert shot_cuts(frames) == [24]
    assert shot_cuts([]) == []


@pytest.mark.data
def test_no_cut_in_real_clips_one_where_two_are_joined(data):
    names = ["media/pose_squats.mp4", "media/sports2d_demo.mp4", "real/balancing/cam01.mp4"]
    clips = {n: [f.image[::4, ::4] for f in open_frames(data / n)] for n in names}
    for images in clips.values():
        for step in (1, 5):  # every fifth frame: motion five times as fast
            detector = ShotDetector()
            for image in images[::step]:
                detector.add(image)
            assert detector.cuts == []
    joined = [*clips["real/balancing/cam01.mp4"][:40], *clips["media/pose_squats.mp4"][:20]]
    detector = ShotDetector()
    for image in joined:
        detector.add(cv2.resize(image, (180, 320)))
    assert detector.cuts == [40]

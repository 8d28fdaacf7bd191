"""The viewer's page: whole, escaped, small; and in a real Chromium it plays, scrubs and shows what motion.npz holds."""

import html.parser
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from kinelift.errors import InputError
from kinelift.export import export
from kinelift.export.npz import load_motion
from kinelift.export.rig import BODY_RIG
from kinelift.kinematics import matrix_to_quat, motion_positions
from kinelift.records import Motion, Take
from kinelift.skeleton import BODY26, make_skeleton
from kinelift.video import open_frames
from kinelift.viewer import film, view
from kinelift.viewer.proxy import browser_plays

HOSTILE = '</script><script>window.hacked=1</script><img src=x onerror="hacked=1">\'{{script}}.mp4'
# Uneven, and not from zero: 30 to 60 ms between frames.
TIMES = 0.4 + np.cumsum(np.random.default_rng(7).uniform(0.03, 0.06, 50))


@pytest.fixture(scope="session")
def take(walk_rig, look_at):
    def build(times=TIMES, person_id=0, aside=0.0, meta=None) -> Take:
        local, offsets, root, contact = walk_rig(times, stature_m=1.75)
        motion = Motion(
            BODY26, offsets, matrix_to_quat(local), np.add(root, [aside, 0, 0]), contact,
            np.array(BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")),
            np.ones(len(times), bool), np.full((len(times), 26), 0.02), times, person_id,
        )  # fmt: skip
        camera = look_at((1.0, 1.5, 7.0), (0, 0.9, 1.0), 300.0, (320, 240))
        return Take((motion,), camera, (), meta or {"input": "walk.mp4", "height_m": 1.75, "take_id": "one"})

    return build


@pytest.fixture(scope="session")
def browser():
    """Chromium under Playwright; without either a visible skip, in CI a failure."""
    path = os.environ.get("KINELIFT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None or importlib.util.find_spec("playwright") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium or Playwright is not installed (scripts/test.sh installs them)")
        pytest.skip("Chromium or Playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Opens a page from disk; in the end no error may have been logged and nothing asked of a network."""
    said, asked, contexts = [], [], []

    def opened(path: Path, width=900, height=600, video=True, **options):
        contexts.append(context := browser.new_context(viewport={"width": width, "height": height}, **options))
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto(path.as_uri())
        until(page, "window.kinelift?.ready")
        if video:
            until(page, "document.getElementById('video').readyState >= 2")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert {url.split(":")[0] for url in asked} <= {"file", "blob", "data"}


def until(page, expression: str, seconds: float = 60) -> None:
    """Ask until it is true: Playwright's own wait would evaluate text in the page, which its policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within {seconds} s: {expression}"
        page.wait_for_timeout(50)


def _grey(frame: int) -> int:
    return 40 + 4 * frame


def write_video(path: Path, times: np.ndarray, size=(320, 240), codec="libx264", pix_fmt="yuv420p") -> Path:
    """A film whose grey rises with time; its upper left quarter is red."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=30, width=size[0], height=size[1])
        tick = Fraction(1, 10000)  # MPEG-4 knows no finer
        stream.pix_fmt, stream.codec_context.time_base = pix_fmt, tick
        stream.options = {"bf": "0", "preset": "ultrafast"} if codec == "libx264" else {}
        for i, seconds in enumerate(times - times[0]):
            image = np.full((size[1], size[0], 3), _grey(i), np.uint8)
            image[: size[1] // 2, : size[0] // 2] = (220, 30, 30)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = round(seconds / tick), tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


class Scripts(html.parser.HTMLParser):
    """The page as a browser's parser sees it."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.data = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, text):
        tag, attrs = self.tags[-1] if self.tags else ("", {})
        self.data[attrs.get("id") or tag] = self.data.get(attrs.get("id") or tag, "") + text


def test_no_text_of_the_users_can_act(take, tmp_path):
    path = view(take(meta={"input": HOSTILE, "take_id": "one"}), tmp_path / "page.html")
    seen = Scripts(path.read_text(encoding="utf-8"))
    assert [attrs.get("type") for tag, attrs in seen.tags if tag == "script"] == [
        "application/json",
        "text/plain",
        None,
    ]
    assert not [tag for tag, _ in seen.tags if tag == "img"]
    assert seen.data["title"].strip() == HOSTILE
    assert json.loads(seen.data["take"])["people"][0]["joints"] == list(BODY26.joints)
    for _, attrs in seen.tags:
        assert not [name for name in attrs if name.startswith("on")]


def test_the_bundle_can_lie_in_a_page():
    assets = Path(view.__code__.co_filename).parent / "assets"
    script = (assets / "viewer.js").read_text(encoding="utf-8")
    assert "</script" not in script.lower() and "<!--" not in script
    assert not re.search(r"\beval\(|new Function\(|importScripts|XMLHttpRequest\(|WebSocket\(", script)
    assert "Copyright" in script and "MIT" in script
    assert "three.js" in (assets / "three-LICENSE.txt").read_text(encoding="utf-8")


def test_five_minutes_are_small_and_quick(take, tmp_path, opened):
    """Size, and the page's own thread: its processor time, which a busy machine does not change."""
    path = view(take(np.arange(9000) / 30), tmp_path / "long.html")
    assert path.stat().st_size < 15e6 / 4  # so that four people fit too
    page = opened(path, video=False)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds() -> dict[str, float]:
        return {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}

    page.reload()
    until(page, "window.kinelift?.ready")
    opening = seconds()
    assert opening["TaskDuration"] < 2
    page.evaluate("kinelift.play()")
    until(page, "kinelift.timing.count > 5")
    playing = seconds()
    frames = page.evaluate("kinelift.timing.count")
    assert (playing["ScriptDuration"] - opening["ScriptDuration"]) / frames < 8e-3


def test_the_bundle_is_built_from_its_sources(tmp_path):
    web = Path(__file__).resolve().parents[1] / "web"
    if not (web / "node_modules").is_dir() or shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("web/node_modules is not there (scripts/test.sh runs npm ci)")
        pytest.skip("web/node_modules is not there: npm ci --prefix web")
    subprocess.run(["node", "build.mjs", tmp_path], cwd=web, check=True, timeout=120)
    assets = Path(view.__code__.co_filename).parent / "assets"
    for name in ("viewer.js", "style.css", "page.html", "three-LICENSE.txt"):
        assert (tmp_path / name).read_bytes() == (assets / name).read_bytes(), f"{name}: run npm run build in web/"


def test_odd_names_and_numbers(take, tmp_path):
    """No name makes the page impossible; numbers that cannot be drawn are one clear line."""
    for i, name in enumerate(("\ud800.mp4", "a\0b", "x" * 5000, "..", "", {"a": 1})):
        path = view(take(meta={"input": name}), tmp_path / f"{i}.html")
        assert "<title>" in path.read_text(encoding="utf-8")
    far = take().motions[0].replaced(root=np.full((50, 3), 1e200))
    with pytest.raises(InputError, match="cannot be shown"):
        view(take().replaced(motions=(far,)), tmp_path / "far.html")


def test_same_take_same_page(take, tmp_path):
    a, b = (view(take(), tmp_path / f"{n}.html", video=False).read_bytes() for n in "ab")
    assert a == b


@pytest.mark.parametrize("bad", ["no motion", "two takes", "suffix", "folder", "no video", "sound"])
def test_bad_input_is_one_line_and_leaves_nothing(take, tmp_path, bad):
    out = tmp_path / "out"
    out.mkdir()
    (out / "words.mp4").write_text("no video at all")
    if bad != "no motion":
        export(take(), out / "motion.npz")
    if bad == "two takes":
        export(take(meta={"take_id": "two"}), out / "motion_p2.npz")
    page = {"suffix": out / "page.pdf", "folder": out / "none" / "page.html"}.get(bad, out / "page.html")
    video = {"no video": out / "absent.mp4", "sound": out / "words.mp4"}.get(bad)
    before = sorted(out.rglob("*"))
    with pytest.raises(InputError) as error:
        view(out, page, video)
    assert "\n" not in str(error.value)
    assert sorted(out.rglob("*")) == before


def test_a_motion_cannot_name_a_file_elsewhere(take, tmp_path):
    write_video(tmp_path / "secret.mp4", TIMES)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    page = view(take(meta={"input": "../../../secret.mp4"}), deep / "page.html").read_text(encoding="utf-8")
    assert json.loads(Scripts(page).data["take"])["video"] is None


def test_scrubbing_shows_the_motion(take, tmp_path, opened):
    """Joints as the page reports them, and the drawn body's bones, are where motion.npz has them, within 1 mm."""
    export(take(), tmp_path / "motion.npz")
    motion = load_motion(tmp_path / "motion.npz").motions[0]
    page = opened(view(tmp_path, tmp_path / "view.html"), video=False)
    truth = motion_positions(motion)
    for frame in (0, 1, 17, 33, 49):
        inside = motion.times[frame] + 0.01  # a frame is shown until the next one starts
        page.evaluate(f"kinelift.seek({inside})")
        assert page.evaluate("kinelift.frame") == frame
        assert np.abs(np.array(page.evaluate("kinelift.positions()")) - truth[frame]).max() < 1e-3
        bones = page.evaluate("kinelift.bones()")
        for name, _, joint in BODY_RIG:
            if joint is not None:
                assert np.abs(np.array(bones[name]) - truth[frame, BODY26.index(joint)]).max() < 1e-3, name


def test_it_plays_by_key_and_stops(take, tmp_path, opened):
    page = opened(view(take(), tmp_path / "view.html"), video=False)
    page.keyboard.press("Space")
    until(page, "kinelift.frame > 3")
    until(page, "kinelift.timing.summary.frames > 2")
    page.keyboard.press("Space")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('frame').textContent === '2 / 50'")
    assert page.evaluate("kinelift.time") == pytest.approx(TIMES[1])
    page.keyboard.press("?")
    assert "one frame back" in page.inner_text("dialog")


def test_pointer_scrubs(take, tmp_path, opened):
    page = opened(view(take(), tmp_path / "view.html"), video=False)
    box = page.locator("#curves").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 9, box["y"] + 60)
    until(page, "kinelift.frame >= 48")
    page.mouse.click(box["x"] + 53, box["y"] + 60)
    until(page, "kinelift.frame === 0")


def picture_of(page, selector: str) -> np.ndarray:
    """(H, W, 3) of one element on the screen."""
    png = page.locator(selector).screenshot(timeout=60_000)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (380, "light")])
def test_something_is_drawn_and_fits(take, tmp_path, opened, width, scheme):
    page = opened(view(take(), tmp_path / "view.html"), width, 760, video=False, color_scheme=scheme)
    assert len(np.unique(picture_of(page, "#room").reshape(-1, 3), axis=0)) > 500
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.locator(".transport button").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 28


def test_linked_video_is_the_clock(take, tmp_path, opened):
    write_video(tmp_path / "walk.mp4", TIMES)
    walk = take(TIMES - TIMES[0])
    export(walk, tmp_path / "motion.npz")
    page = opened(view(tmp_path, tmp_path / "view.html"))
    assert page.get_attribute("#video", "src") == "walk.mp4"
    page.evaluate(f"kinelift.seek({walk.motions[0].times[20]})")
    until(page, "!document.getElementById('video').seeking")
    shown = page.evaluate("document.getElementById('video').currentTime")
    assert walk.motions[0].times[20] <= shown < walk.motions[0].times[21]
    page.wait_for_timeout(300)
    shot = picture_of(page, "#video").astype(int)
    np.testing.assert_allclose(shot[int(0.6 * len(shot)), int(0.9 * shot.shape[1])], _grey(20), atol=2)
    page.evaluate("kinelift.play()")
    until(page, "kinelift.frame > 22 && document.getElementById('video').currentTime > 0")
    page.evaluate("kinelift.pause()")


def test_a_lost_video_can_be_chosen(take, tmp_path, opened, browser):
    lost = write_video(tmp_path / "a walk?.mp4", TIMES)
    path = view(take(TIMES - TIMES[0]), tmp_path / "view.html", lost)
    moved = lost.replace(tmp_path / "elsewhere.mp4")
    context = browser.new_context()  # the missing file is an error in the console, so not `opened`
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#missing:not([hidden])")
    assert "a walk?.mp4" in page.inner_text("#missing")
    page.set_input_files("#choose", moved)
    until(page, "document.getElementById('video').readyState >= 2")
    page.wait_for_selector("#missing", state="hidden")
    context.close()


def rotated(path: Path) -> Path:
    """A quarter turn in the MP4's track header, as phones write it."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("embed", [True, False])
def test_a_phones_video_gets_an_upright_copy(take, tmp_path, opened, embed):
    phone = rotated(write_video(tmp_path / "phone.mov", TIMES))
    assert not browser_plays(phone)
    times = TIMES[10:40] - TIMES[0]
    page_path = view(take(times), tmp_path / "view.html", phone, embed=embed, longest_side=160)
    copy = tmp_path / "view.video.mp4"
    assert copy.exists() is not embed
    page = opened(page_path)
    assert page.evaluate("[video.videoWidth, video.videoHeight]") == [120, 160]
    offset = json.loads(page.evaluate("document.getElementById('take').textContent"))["video"]["offset_s"]
    assert offset == pytest.approx(times[0], abs=1e-3)
    if not embed:
        with open_frames(copy) as source:
            frames = list(source)
            assert source.metadata["codec"] == "h264" and source.metadata["rotation_deg"] == 0
        np.testing.assert_allclose([f.time + offset for f in frames], times, atol=1e-3)
        assert (frames[0].image[10, 110] - np.array([220, 30, 30.0])).max() < 30  # red is now upper right
        assert browser_plays(copy)


@pytest.mark.parametrize(("codec", "suffix", "plays"), [("libx264", "mp4", True), ("mpeg4", "mp4", False)])
def test_who_plays_what(tmp_path, codec, suffix, plays):
    assert browser_plays(write_video(tmp_path / f"a.{suffix}", TIMES[:4], codec=codec)) is plays


def test_hevc_gets_a_copy(take, tmp_path):
    if "libx265" not in av.codecs_available:
        pytest.skip("this PyAV writes no HEVC")
    phone = write_video(tmp_path / "phone.mp4", TIMES[:4], codec="libx265")
    view(take(TIMES[:4] - TIMES[0]), tmp_path / "view.html", phone)
    with open_frames(tmp_path / "view.video.mp4") as source:
        assert source.metadata["codec"] == "h264"


def test_several_people_in_one_world(take, tmp_path, opened):
    """The second comes later and goes earlier."""
    second = take(TIMES[10:30], person_id=1, aside=0.9).motions[0]
    both = take().replaced(motions=(take().motions[0], second))
    page = opened(view(both, tmp_path / "view.html"), video=False)
    for frame, there in ((5, False), (20, True), (40, False)):
        page.evaluate(f"kinelift.seek({TIMES[frame]})")
        places = page.evaluate("kinelift.positions(1)")
        assert (places is not None) is there
        if there:
            assert np.abs(np.array(places) - motion_positions(second)[frame - 10]).max() < 1e-3
    page.select_option("#person", "1")
    assert page.locator("#person").is_visible()


def test_moving_camera_and_another_skeleton(take, tmp_path, opened):
    """One camera a frame; a rig of three joints gets capsules; soles may be missing."""
    one = take()
    rod = make_skeleton("rod", [("base", None), ("middle", "base"), ("tip", "middle")])
    n = len(TIMES)
    turns = np.tile([0, 0, 0, 1.0], (n, 3, 1))
    turns[:, 1, 2], turns[:, 1, 3] = np.sin(TIMES / 2), np.cos(TIMES / 2)
    motion = Motion(
        rod, np.array([[0, 0, 0], [0, 0.5, 0], [0, 0.4, 0.0]]), turns, one.motions[0].root, np.zeros((n, 0)),
        np.zeros(0, int), np.ones(n, bool), np.full((n, 3), 0.02), TIMES,
    )  # fmt: skip
    camera = one.camera.replaced(
        R_cam_world=np.tile(one.camera.R_cam_world, (n, 1, 1)), t_cam_world=np.tile(one.camera.t_cam_world, (n, 1))
    )
    path = view(Take((motion,), camera, ()), tmp_path / "view.html")
    page = opened(path, video=False)
    page.evaluate(f"kinelift.seek({TIMES[-1]})")
    assert np.abs(np.array(page.evaluate("kinelift.positions()")) - motion_positions(motion)[-1]).max() < 1e-3


def test_film_of_both(take, tmp_path):
    """Times are the video's, the panes are filled, and the skeleton lies where the camera sees it."""
    times = TIMES[:6] - TIMES[0]
    walk = take(times)
    video = write_video(tmp_path / "walk.mp4", TIMES[:6])
    with open_frames(film(walk, tmp_path / "both.mp4", video, height=240)) as source:
        frames = list(source)
    np.testing.assert_allclose([f.time for f in frames], times, atol=2e-3)
    height, width = frames[0].image.shape[:2]
    assert height == 240 and width > 320
    for pane in (frames[3].image[:120, 322:], frames[3].image[120:, 322:]):
        assert len(np.unique(pane.reshape(-1, 3), axis=0)) > 100
    hip = walk.camera.project(motion_positions(walk.motions[0])[3, BODY26.index("left_hip")])
    around = frames[3].image[round(hip[1]) - 3 : round(hip[1]) + 4, round(hip[0]) - 3 : round(hip[0]) + 4].astype(int)
    assert (around[..., 2] - around[..., 0]).max() > 80  # the left is blue


def test_film_without_video_and_with_two(take, tmp_path):
    second = take(TIMES[3:8], person_id=1, aside=0.9).motions[0]
    both = take(TIMES[:8]).replaced(motions=(take(TIMES[:8]).motions[0], second))
    with open_frames(film(both, tmp_path / "both.mp4", False, height=120)) as source:
        frames = list(source)
    np.testing.assert_allclose([f.time for f in frames], TIMES[:8] - TIMES[0], atol=2e-3)
    assert np.abs(frames[5].image.astype(int) - frames[1].image).max() > 60  # the second is there, and only then


@pytest.mark.parametrize("bad", ["suffix", "video", "height"])
def test_film_of_bad_input_leaves_nothing(take, tmp_path, bad):
    (tmp_path / "words.mp4").write_text("no video at all")
    path = tmp_path / ("both.avi" if bad == "suffix" else "both.mp4")
    video = tmp_path / "words.mp4" if bad == "video" else False
    with pytest.raises(InputError):
        film(take(TIMES[:4]), path, video, height=5 if bad == "height" else 120)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["words.mp4"]

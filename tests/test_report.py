"""The report: numbers are what they say, advice follows from them, the page is whole, true and harmless."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kinelift import metrics
from kinelift.errors import InputError
from kinelift.kinematics import matrix_to_quat, motion_positions, stature_from_offsets
from kinelift.records import CONTACT_JOINTS, Motion, Pose2D, Take
from kinelift.report import judged_report, limits, quality, report_page, write_report
from kinelift.report.advice import LEVELS, findings, said_spans, sure
from kinelift.report.canvas import COLOURS
from kinelift.report.charts import charts
from kinelift.report.plots import Band, Chart, Line, chart_height, png_file, svg, svg_file, thinned, ticks
from kinelift.report.series import RAISED_M, csv_text, over_time, series_of, spans
from kinelift.skeleton import BODY26

SOLES = BODY26.indices(*CONTACT_JOINTS)
KNOWN = {"scale_source": "height given", "focal_source": "given", "height_m": 1.7, "focal_px": 1200.0, "input": "a.mp4"}


@pytest.fixture(scope="session")
def made(walk_rig, look_at):
    """A take of a perfect walk past a still camera: key points are the joints themselves."""

    def make(fps=30, seconds=2.0, meta=(), report=None, camera=None, pose=None, **motion_changes):
        times = np.arange(round(seconds * fps)) / fps + 1.0
        local, offsets, root, contact = walk_rig(times, heading=1.2)
        camera = camera or look_at([1.0, 1.3, 6.5], [1.0, 0.9, 0])
        motion = Motion(
            BODY26, offsets, matrix_to_quat(local), root, contact, SOLES, np.ones(len(times), bool),
            np.full((len(times), 26), 0.02), times,
        )  # fmt: skip
        motion = motion.replaced(**{k: f(getattr(motion, k)) for k, f in motion_changes.items()})
        seen = Pose2D(
            BODY26, camera.project(motion_positions(motion)), np.full((len(times), 26), 0.95), times, camera.image_size
        )
        poses = (pose(seen) if pose else seen,)
        return Take((motion,), camera, poses, KNOWN | dict(meta), report or {})

    return make


def names(take):
    series, _ = series_of(take)
    return {f.what for f in findings(take, series, judged_report(take))}


# Series.


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_a_perfect_result_measures_as_one(made, fps):
    series, _ = series_of(made(fps))
    assert np.nanmax(series.reprojection_px) < 1e-6 and not series.swapped.any()
    assert np.nanmax(series.sliding) < 1e-6 and series.penetration_mm.max() < 1e-6 and np.nanmax(series.float_mm) < 1e-6
    np.testing.assert_allclose(series.speed, 0.9, atol=1e-6)
    assert sure(series).all() and series.inside.all() and not series.raised.any()
    assert not series.camera_step_m.any() and not series.camera_turn_deg.any()


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_sliding_is_in_millimetres_a_frame_at_30_whatever_the_rate(made, fps):
    take = made(fps, root=lambda r: r + np.outer(np.arange(len(r)) / fps, [0.06, 0, 0]))
    series, _ = series_of(take)
    np.testing.assert_allclose(series.sliding[np.isfinite(series.sliding)], 2.0, atol=1e-6)
    assert judged_report(take)["foot_sliding_mm_per_frame"] == 2.0


def test_clip_numbers_are_means_over_the_series(made):
    rng = np.random.default_rng(0)
    take = made(root=lambda r: r + rng.normal(0, 0.01, r.shape))
    motion, (series, seen) = take.motions[0], series_of(take)
    clip = judged_report(take)
    assert clip["foot_sliding_mm_per_frame"] == pytest.approx(np.nanmean(series.sliding), abs=1e-3)
    assert clip["penetration_mm"] == pytest.approx(series.penetration_mm.mean(), abs=1e-3)
    assert clip["jitter_10m_s3"] == pytest.approx(np.nanmean(series.jitter), abs=1e-3)
    floating = metrics.floating(series.soles, motion.contacts)
    assert clip["float_mm"] == pytest.approx(floating, abs=1e-3) and floating > 1
    drift = [metrics.stance_drift(series.soles, s) for s in metrics.stances(motion.contacts, motion.times)]
    assert clip["stance_drift_max_mm"] == pytest.approx(max(drift), abs=0.01)
    assert clip["sigma_mm"] == dict.fromkeys(BODY26.joints, 20.0)
    assert {k: v for k, v in clip.items() if k in quality(motion, take.camera, seen)} == quality(
        motion, take.camera, seen
    )


def test_reprojection_in_pixels_and_in_body_heights(made):
    take = made(pose=lambda p: p.replaced(xy=p.xy + np.array([3.0, 4.0])))
    series, _ = series_of(take)
    np.testing.assert_allclose(series.reprojection_px, 5.0, atol=1e-6)
    motion, camera = take.motions[0], take.camera
    depth = camera.to_camera(motion.root)[:, 2]
    tall = camera.focal_px * stature_from_offsets(motion.offsets) / depth
    np.testing.assert_allclose(series.reprojection_percent, 100 * 5.0 / tall, rtol=1e-6)
    assert judged_report(take)["reprojection_error_px"] == 5.0


@pytest.mark.parametrize("rise_m, raised", [(0.05, False), (RAISED_M + 0.05, True)])
def test_a_foot_on_a_box_stands_and_one_a_little_high_floats(made, rise_m, raised):
    series, _ = series_of(made(root=lambda r: r + np.array([0, rise_m, 0])))
    assert series.raised[series.contacts > 0.5].all() == raised
    if raised:
        assert np.isnan(series.float_mm).all()
    else:
        np.testing.assert_allclose(series.float_mm[np.isfinite(series.float_mm)], 1000 * rise_m, atol=1)


def test_a_calibrations_floor_is_not_at_zero(made):
    sunk = made(root=lambda r: r - [0, 0.3, 0])
    assert series_of(sunk)[0].penetration_mm.mean() > 200
    told = sunk.replaced(meta=sunk.meta | {"floor_y": -0.3})
    assert series_of(told)[0].penetration_mm.max() < 1e-6
    assert series_of(told)[0].root[0, 1] == pytest.approx(sunk.motions[0].root[0, 1] + 0.3)


def test_a_support_told_by_hand_is_what_a_foot_stands_on(made):
    high = made(root=lambda r: r + np.array([0, 0.06, 0]))
    told = high.replaced(meta=high.meta | {"edits": {"support": [{"soles": "feet", "height_m": 0.06}]}})
    assert "feet_float" in names(high) and "feet_float" not in names(told)
    assert judged_report(told)["float_mm"] < 1


def test_on_a_treadmill_standing_is_moving_with_the_belt(made):
    def back(r):
        return r - np.outer(np.arange(len(r)) / 30, [0.9 * np.sin(1.2), 0, 0.9 * np.cos(1.2)])

    walked = made(root=back)
    belt = walked.replaced(meta=walked.meta | {"options": {"treadmill": True}})
    assert judged_report(walked)["foot_sliding_mm_per_frame"] == pytest.approx(30, abs=0.1)
    assert judged_report(belt)["foot_sliding_mm_per_frame"] < 0.01 and judged_report(belt)["stance_drift_max_mm"] < 0.1
    assert "feet_slide" in names(walked) and "feet_slide" not in names(belt)


def test_a_moving_cameras_path_and_turn(made, look_at):
    still = look_at([1.0, 1.3, 6.5], [1.0, 0.9, 0])
    angle = np.radians(0.5) * np.arange(60)
    turn = np.zeros((60, 3, 3))
    turn[:, 0, 0] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 1], turn[:, 0, 2], turn[:, 2, 0] = 1, np.sin(angle), -np.sin(angle)
    R = turn @ still.R_cam_world
    place = still.position + np.outer(np.arange(60), [0.01, 0, 0])
    camera = still.replaced(R_cam_world=R, t_cam_world=-np.einsum("tij,tj->ti", R, place))
    take = made(camera=camera)
    clip = judged_report(take)
    assert clip["camera_motion"] == {"moving": True, "path_m": 0.59, "turn_deg": 29.5}
    assert ("camera_moves" in names(take) and "Camera&#x27;s motion" in report_page(take)) or "0.59" in report_page(
        take
    )


def test_exchanged_sides_are_found_again(made):
    def exchange(p):
        legs = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("hip", "knee", "ankle", "heel", "toe")))
        xy = p.xy.copy()
        xy[20:30, legs] = p.xy[20:30][:, [BODY26.mirror[j] for j in legs]]
        return p.replaced(xy=xy)

    series, _ = series_of(made(pose=exchange))
    assert set(np.flatnonzero(series.swapped)) == set(range(20, 30))
    assert np.nanmax(series.reprojection_px) < 1e-6


def test_edits_in_meta_are_part_of_what_the_solve_saw(made):
    edits = {"hide": [{"from": 2.0, "to": 2.5, "joints": ["left_leg"]}]}
    take = made(meta={"edits": edits})
    series, _ = series_of(take)
    knee = metrics.LIMBS.index("left_knee")
    hidden = (series.times >= 2.0) & (series.times < 2.5)
    assert (series.confidence[hidden, knee] == 0).all() and (series.confidence[~hidden, knee] > 0).all()
    assert "left_leg_hidden" in names(take)
    assert "Edited by hand" in report_page(take) and "Edited by hand" not in report_page(made())


def test_spans_join_and_leave_out():
    times = np.arange(10) / 10
    mask = np.array([1, 1, 0, 0, 0, 1, 0, 0, 1, 1], bool)
    np.testing.assert_allclose(spans(mask, times), [(0, 0.2), (0.5, 0.6), (0.8, 1.0)])
    np.testing.assert_allclose(spans(mask, times, join_s=0.25), [(0, 0.2), (0.5, 1.0)])
    np.testing.assert_allclose(spans(mask, times, least_s=0.15), [(0, 0.2), (0.8, 1.0)])
    assert spans(~np.ones(10, bool), times) == []


def test_csv_is_the_series(made):
    series, _ = series_of(made())
    rows = list(csv.DictReader(io.StringIO(csv_text(series))))
    assert len(rows) == len(series.times)

    def column(name):
        return np.array([float(r[name]) if r[name] else np.nan for r in rows])

    np.testing.assert_allclose(column("time_s"), series.times, atol=1e-8)
    np.testing.assert_allclose(column("left_toe_height_m"), series.soles[:, 1, 1], rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(column("root_speed_m_s"), series.speed, rtol=1e-4)
    np.testing.assert_allclose(column("right_knee_sigma_mm"), 20.0)
    np.testing.assert_array_equal(np.isnan(column("sliding_mm_per_frame")), np.isnan(series.sliding_mm))
    assert rows[0]["sliding_mm_per_frame"] == "" and "nan" not in csv_text(series)
    assert all(name.endswith(("_s", "observed", "confidence", "_px", "_percent", "frame", "_mm", "_s3", "_m", "_deg",
                              "_contact")) for name in rows[0])  # fmt: skip


# Advice.


def unseen(frames):
    return lambda o: np.where(np.isin(np.arange(len(o)), np.arange(len(o))[frames]), False, o)


def faint(joints, frames):
    def pose(p):
        c = p.confidence.copy()
        c[frames, BODY26.indices(*joints)[0]] = 0.05
        c[frames, BODY26.indices(*joints)[1]] = 0.05
        return p.replaced(confidence=c)

    return pose


def slip(r):
    out = r.copy()
    out[20:30] += np.linspace(0, 0.15, 10)[:, None] * [0, 0, 1]
    out[30:] += [0, 0, 0.15]
    return out


TROUBLE = {
    "person_not_seen": dict(observed=unseen(slice(20, 40))),
    "left_arm_hidden": dict(pose=faint(("left_elbow", "left_wrist"), slice(20, 40))),
    "right_leg_hidden": dict(pose=faint(("right_knee", "right_ankle"), slice(20, 40))),
    "feet_slide": dict(root=slip),
    "feet_sink": dict(root=lambda r: r - [0, 0.03, 0]),
    "feet_float": dict(root=lambda r: r + np.array([0, 0.04, 0])),
    "feet_raised": dict(root=lambda r: r + np.array([0, 0.3, 0])),
    "floor_unsure": dict(contacts=lambda c: 0 * c),
    "far_from_picture": dict(pose=lambda p: p.replaced(xy=p.xy + np.array([12.0, 0]))),
    "not_in_pose": dict(pose=lambda p: p.replaced(xy=p.xy + np.where(np.arange(60) < 20, 30.0, 0)[:, None, None])),
    "trembles": dict(root=lambda r: r + np.random.default_rng(0).normal(0, 0.01, r.shape)),
    "unsure": dict(sigma_m=lambda s: 0 * s + 0.09),
    "seen_badly": dict(pose=lambda p: p.replaced(confidence=0 * p.confidence + 0.4)),
    "few_frames": dict(fps=12),
    "single_frame": dict(seconds=0.03),
    "height_assumed": dict(meta={"scale_source": "prior height 1.7 m +- 6%"}),
    "lens_assumed": dict(meta={"focal_source": "prior (0.85 x long side)"}),
    "size_assumed": dict(meta={"image_size_source": "extent of the key points"}),
}
VIEWS = {
    "camera_steep": ([1.0, 5.0, 4.5], [1.0, 0.9, 0]),
    "camera_height": ([1.0, 4.6, 9.0], [1.0, 0.9, 0]),
    "person_small": ([1.0, 1.3, 16.0], [1.0, 0.9, 0]),
    "too_near": ([1.0, 1.3, 2.0], [1.0, 0.9, 0]),
    "feet_outside": ([1.0, 1.3, 4.0], [1.0, 1.75, 0]),
    "head_outside": ([1.0, 1.3, 3.0], [1.0, -0.2, 0]),
    "hands_outside": ([4.3, 1.3, 4.0], [4.3, 0.9, 0]),
}


@pytest.mark.parametrize("what", [*TROUBLE, *VIEWS])
def test_each_trouble_is_named_and_nothing_of_it_where_all_is_well(made, look_at, what):
    assert names(made()) == set()
    take = made(camera=look_at(*VIEWS[what])) if what in VIEWS else made(**TROUBLE[what])
    series, _ = series_of(take)
    found = findings(take, series, judged_report(take))
    (finding,) = [f for f in found if f.what == what]
    assert finding.text.endswith(".") and finding.do.endswith(".")
    for a, b in finding.spans:
        assert series.times[0] <= a < b <= series.times[-1] + 0.04
        assert f"{a:.2f}" in finding.text or len(finding.spans) > 4
    if finding.limit is not None and what != "camera_height":
        beyond = abs(finding.measured) - finding.limit
        assert (
            beyond < 0
            if what in ("seen_badly", "few_frames", "person_small", "too_near", "floor_unsure")
            else beyond > 0
        )
    assert [LEVELS.index(f.level) for f in found] == sorted((LEVELS.index(f.level) for f in found), reverse=True)
    page = report_page(take)
    assert re.sub("<[^>]+>", "", page).count(finding.text.replace("'", "&#x27;")) == 1


def test_the_time_of_the_trouble_is_said(made):
    take = made(observed=unseen(slice(30, 45)))
    (finding,) = [f for f in findings(take, series_of(take)[0], judged_report(take)) if f.what == "person_not_seen"]
    assert "from 2.00 to 2.50 s" in finding.text
    assert finding.spans == ((pytest.approx(2.0), pytest.approx(2.5)),) and finding.measured == 0.5
    cut = made(observed=unseen(slice(45, 60)))
    (finding,) = [f for f in findings(cut, series_of(cut)[0], judged_report(cut)) if f.what == "person_not_seen"]
    assert "--start 1.00 --end 2.50" in finding.do


def test_what_size_and_lens_are_sure_to_is_said_as_meta_states_it(made):
    take = made(meta={"height_sigma_m": 0.068, "focal_sigma": 0.12})
    found = {f.what: f for f in findings(take, series_of(take)[0], judged_report(take))}
    assert found["height_assumed"].measured == 4.0 and found["lens_assumed"].measured == 12.0
    assert "±4.0 % on all lengths" in report_page(take) and "±12 %, and distances" in report_page(take)
    assert names(made(meta={"height_sigma_m": 0.017, "focal_sigma": 0.02})) == set()


def test_verdict_is_that_of_the_worst(made):
    assert judged_report(made())["verdict"] == {"grade": "Good", "level": "note", "sure_percent": 100.0}
    assert judged_report(made(**TROUBLE["height_assumed"]))["verdict"]["level"] == "note"
    assert judged_report(made(**TROUBLE["feet_float"]))["verdict"]["level"] == "care"
    half = judged_report(made(observed=unseen(slice(15, 45))))
    assert half["verdict"] == {"grade": "Check before you use it", "level": "bad", "sure_percent": 50.0}


def test_few_stretches_are_said_and_many_are_counted():
    many = [(float(i), i + 0.5) for i in range(6)]
    assert said_spans(many[:1]) == "from 0.00 to 0.50 s"
    assert said_spans(many[:2]) == "from 0.00 to 0.50 s and from 1.00 to 1.50 s"
    assert said_spans(many).endswith("from 3.00 to 3.50 s and 2 more") and said_spans([]) == ""


# Plots.


@pytest.mark.parametrize("low, high", [(0, 1), (0, 7.6), (-3, 12), (0.001, 0.0042), (1e4, 1.7e4), (5, 5)])
def test_ticks_are_round_numbers_inside(low, high):
    t = ticks(low, high, 5)
    assert len(t) <= 7 and (t >= low - 1e-9).all() and (t <= high + 1e-9).all()
    if len(t) > 1:
        step = np.diff(t)[0]
        assert step / 10 ** np.floor(np.log10(step) + 1e-9) == pytest.approx(1) or round(
            float(step / 10 ** np.floor(np.log10(step) + 1e-9))
        ) in (2, 5)


def test_a_thinned_curve_keeps_its_peaks_and_its_gaps():
    x = np.arange(50_000.0)
    y = np.sin(x / 5_000)
    y[31_234], y[7_777] = 9.0, -9.0
    y[20_000:25_000] = np.nan
    a, b = thinned(x, y, 300)
    assert len(a) <= 900 and (np.diff(a) > 0).all()
    assert np.nanmax(b) == 9 and np.nanmin(b) == -9 and a[np.nanargmax(b)] == 31_234
    gap = (a >= 20_200) & (a < 24_800)
    assert np.isnan(b[gap]).all() and gap.any()
    np.testing.assert_allclose(np.interp(x[:7_000], a[~np.isnan(b)], b[~np.isnan(b)]), y[:7_000], atol=0.04)
    np.testing.assert_array_equal(thinned(x[:500], y[:500], 300)[1], y[:500])


def coordinates(element):
    for e in element.iter():
        tag = e.tag.rpartition("}")[2]
        if tag == "polyline":
            yield from (tuple(map(float, p.split(","))) for p in e.get("points").split())
        elif tag == "circle":
            yield float(e.get("cx")), float(e.get("cy"))
        elif tag == "rect" and not e.get("width").endswith("%"):
            x, y = float(e.get("x")), float(e.get("y"))
            yield from ((x, y), (x + float(e.get("width")), y + float(e.get("height"))))


@pytest.mark.parametrize("width", [340, 720])
def test_every_chart_is_sound_svg_within_its_bounds(made, width):
    series, _ = series_of(made(observed=unseen(slice(0, 10)), root=slip))
    for name, chart in charts(series, made().camera).items():
        height = chart_height(chart, width)
        root = ET.fromstring(svg(chart, width, height))
        points = np.array(list(coordinates(root)))
        assert np.isfinite(points).all() and len(points) > 20, name
        assert (points >= -1).all() and (points[:, 0] <= width + 1).all() and (points[:, 1] <= height + 1).all(), name
        said = "".join(root.itertext())
        assert chart.title in said and chart.x_label in said
        assert re.search(r"\(.+\)", chart.title), "the unit"


def test_a_curve_is_drawn_where_its_numbers_say():
    curve = Line(np.array([100.0, 110.0]), np.array([0.0, 5.0]))
    root = ET.fromstring(svg(Chart("y (m)", lines=[curve], y_range=(0, 10)), 500, 300))
    line = [p for p in root.iter("polyline") if p.get("stroke") == "var(--a)"][-1]
    (x0, y0), (x1, y1) = (tuple(map(float, p.split(","))) for p in line.get("points").split())
    at = {e.text: (float(e.get("x")), float(e.get("y")) - 4) for e in root.iter("text")}
    assert (x0, x1) == pytest.approx((at["100"][0], at["110"][0]), abs=0.2)
    assert y0 == pytest.approx(at["0"][1], abs=0.2)
    assert y1 == pytest.approx((at["4"][1] + at["6"][1]) / 2, abs=0.2)


def test_shaded_stretches_lie_where_the_axis_says():
    chart = Chart("y (m)", lines=[Line(np.arange(11.0), np.zeros(11))], bands=[Band([(2.0, 4.0)], "on", "shade2")])
    root = ET.fromstring(svg(chart, 500, 300))
    band = [e for e in root.iter("rect") if e.get("fill") == "var(--shade2)" and float(e.get("height")) > 20]
    ticks_at = {e.text: float(e.get("x")) for e in root.iter("text") if e.get("text-anchor") == "middle"}
    assert float(band[0].get("x")) == pytest.approx(ticks_at["2"], abs=0.2)
    assert float(band[0].get("width")) == pytest.approx(ticks_at["4"] - ticks_at["2"], abs=0.2)


def test_pictures_are_light_or_dark_and_hold_their_colours(made):
    series, _ = series_of(made())
    drawn = list(charts(series, made().camera).values())[:2]
    for dark in (False, True):
        image = Image.open(io.BytesIO(png_file(drawn, [150, 150], 400, dark)))
        assert image.format == "PNG" and image.size == (800, 600)
        colours = {tuple(c) for c in np.asarray(image.convert("RGB")).reshape(-1, 3)}
        for role in ("paper", "a", "b", "shade2"):
            value = COLOURS[role][dark].lstrip("#")
            assert tuple(int(value[i : i + 2], 16) for i in (0, 2, 4)) in colours, role


# The page.

VOID = {"meta", "br", "link", "img", "hr", "input", "polyline", "rect", "circle"}


class Parsed(HTMLParser):
    """Checks that elements close in order; collects `data` values, tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.data, self.tags, self.attributes = [], {}, set(), []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "data":
            self.data.setdefault(dict(attrs)["class"], []).append(float(dict(attrs)["value"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def animated(tmp_path_factory, walk, look_at):
    """The whole path, from key points of a walk that leaves the picture's bottom for a while."""
    from kinelift.detect import write_keypoints
    from kinelift.pipeline import animate

    times = np.arange(45) / 30
    xy = look_at([0.6, 1.3, 5], [0.6, 0.9, 0]).project(walk(times, heading=1.2))
    xy += np.random.default_rng(0).normal(0, 1, xy.shape)
    path = tmp_path_factory.mktemp("kp") / "walk.npz"
    write_keypoints(path, Pose2D(BODY26, xy, np.full(xy.shape[:2], 0.9), times, (1920, 1080)))
    return animate(path)


def test_the_pages_numbers_are_the_reports(animated):
    """The page measures again from the take alone, with what `meta` says: both must see the same key points."""
    again = judged_report(animated.replaced(report={}))
    shared = set(again) & set(animated.report)
    assert {"reprojection_error_px", "foot_sliding_mm_per_frame", "root", "steps", "jitter_10m_s3"} <= shared
    assert {k: again[k] for k in shared} == {k: animated.report[k] for k in shared}
    page = Parsed(report_page(animated))
    r = animated.report
    for key in ("seconds", "detected_percent", "reprojection_error_px", "foot_sliding_mm_per_frame", "penetration_mm",
                "jitter_10m_s3"):  # fmt: skip
        assert set(page.data[key]) == {r[key]}, key
    assert page.data["path_m"][0] == r["root"]["path_m"]
    assert page.data["height_m"] == [r["scale"]["height_m"]] and page.data["focal_px"] == [r["focal"]["focal_px"]]
    assert page.data["camera_height_m"] == [r["world"]["camera_height_m"]]
    assert json.loads(json.dumps(again)) == again


def test_the_page_needs_nothing_else(animated):
    text = report_page(animated)
    page = Parsed(text)
    assert not page.tags & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "video",
        "audio",
        "form",
        "base",
        "use",
    }
    assert not {k for k, _ in page.attributes} & {"src", "href", "srcset", "action", "background", "style"}
    assert not re.search(r"https?:|//[a-z]|url\(|@import|data:", text)
    assert not [k for k, _ in page.attributes if k.startswith("on")]
    assert not re.search(r"\b(nan|inf|None|-0\.0+)\b", re.sub(r"<details>.*</details>", "", text))
    assert "prefers-color-scheme:dark" in text and "width=device-width" in text
    assert len(text) < 1_000_000


def test_strangers_words_are_text(made):
    bad = "<script>alert('x')</script>\"&"
    take = made(
        meta={"input": bad, "scale_source": bad, "focal_source": bad, "world_source": bad, "detector": {bad: bad},
              "source": {"title": bad}, "options": {"lifter": bad}},
        report={"warnings": [bad], "scale": {"source": bad}, "lifter": bad, "anything": {bad: [bad]}},
    )  # fmt: skip
    text = report_page(take)
    assert "<script" not in text and "alert(&#x27;x&#x27;)" in text
    assert "script" not in Parsed(text).tags


@pytest.mark.parametrize("odd", ["no key points", "one frame", "nobody", "two frames", "odd meta"])
def test_odd_takes_have_a_page_too(made, odd):
    take = {
        "no key points": lambda: made().replaced(poses_2d=()),
        "one frame": lambda: made(seconds=0.03),
        "two frames": lambda: made(seconds=0.06),
        "nobody": lambda: made(observed=unseen(slice(None)), pose=lambda p: p.replaced(confidence=0 * p.confidence)),
        "odd meta": lambda: made().replaced(meta={"floor_y": "x", "height_m": None, "input": 3, "source": 5}),
    }[odd]()
    page = Parsed(report_page(take))
    assert "svg" in page.tags
    clip = judged_report(take)
    assert json.loads(json.dumps(clip, allow_nan=False)) == clip


def test_files_are_written_whole(made, tmp_path):
    take = made()
    written = write_report(take, tmp_path)
    assert [p.name for p in written] == ["report.html", "quality.csv", "quality.svg", "quality.png"]
    assert written[0].read_text(encoding="utf-8") == report_page(take)
    assert written[1].read_text() == csv_text(series_of(take)[0])
    root = ET.fromstring(written[2].read_text())
    assert root.tag.endswith("svg") and "prefers-color-scheme:dark" in written[2].read_text()
    assert Image.open(written[3]).size[0] == 1440
    two = take.replaced(motions=take.motions * 2, poses_2d=take.poses_2d * 2)
    assert {"report_p1.html", "report_p2.html"} <= {p.name for p in write_report(two, tmp_path)}
    with pytest.raises(InputError, match="cannot be written"):
        write_report(take, tmp_path / "none")


def test_the_same_take_gives_the_same_files(made, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_report(made(), tmp_path / name)
    for file in ("report.html", "quality.csv", "quality.svg", "quality.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_long_clips_plots_stay_small(made):
    """Twice the frames are not twice the file."""
    sizes = []
    for fps in (240, 480):
        take = made(fps, seconds=8)
        drawn = list(charts(over_time(take.motions[0], take.camera, take.poses_2d[0]), take.camera).values())
        sizes.append(len(svg_file(drawn, [150] * len(drawn), 700, "")))
    assert sizes[1] < 1.25 * sizes[0] and sizes[1] < 300_000


def test_every_limit_is_documented():
    from pathlib import Path

    text = (Path(__file__).parent.parent / "docs" / "report.md").read_text()
    for finding in (*TROUBLE, *VIEWS, "sides_exchanged", "camera_moves"):
        known = finding.replace("left_arm", "SIDE_LIMB").replace("right_leg", "SIDE_LIMB")
        assert f"`{known}`" in text, finding
    assert f"{limits.SLIDING_MM:g} mm" in text and f"{limits.SMALL_PX:g} pixels" in text

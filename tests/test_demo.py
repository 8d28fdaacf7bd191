"""The demo: which moment is taken, what is lifted, and what the pictures show."""

import io

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from caffe_network import spotted, write_network
from kinelift import metrics
from kinelift.demo import DEFAULT_LIFTER, GIF, PICTURE, SHEET, TURNS_DEG, VIEW, demo, upright
from kinelift.detect import Candidate, make_detector
from kinelift.errors import InputError, UnknownNameError
from kinelift.kinematics import rotvec_to_matrix
from kinelift.lift import LIFTERS
from kinelift.lift.onnx import FORMAT
from kinelift.pipeline import sample_path
from kinelift.records import Lifted
from kinelift.render.figures import Turntable, bones, close_up, contact_sheet, pose_on_picture, turn_about_y
from kinelift.render.views import LEFT, RIGHT
from kinelift.report.sample import sample_truth
from kinelift.skeleton import BODY26, H36M17, OPENPOSE_COCO18, joint_map, make_skeleton

B = BODY26.index
SIZE = (320, 240)
ALL = {PICTURE, SHEET, GIF, *(VIEW.format(t) for t in TURNS_DEG)}


@pytest.fixture(scope="module")
def camera(look_at):
    return look_at([0, 1.0, 4], [0, 1.0, 0], 270.0, SIZE)


@pytest.fixture(scope="module")
def walked(walk):
    """(60, 26, 3) metres: a walk towards a camera on the +Z side, on the spot."""
    p = walk(np.arange(60) / 30)
    return p - p[:, :1] * [1, 0, 1]


class Known:
    """A detector that sees the walk in pictures whose red channel is the frame's number."""

    name, skeleton = "known", BODY26

    def __init__(self, xy, unseen=(), from_frame=0):
        self.xy, self.unseen, self.from_frame, self.asked = xy, BODY26.indices(*unseen), from_frame, []

    def detect(self, frames):
        for frame in frames:
            n = int(frame.image[0, 0, 0])
            self.asked.append(n)
            confidence = np.ones(26)
            confidence[self.unseen] = 0
            xy = np.where(confidence[:, None] > 0, self.xy[n], np.nan)
            yield [Candidate(xy, confidence)] if n >= self.from_frame else []

    def provenance(self):
        return {"detector": self.name}


class Flat:
    """A lifter of single frames that says depth 0, in units of its own."""

    name, skeleton = "flat", H36M17

    def __init__(self, layout="root-spread"):
        self.layout = layout

    def lift(self, pose, camera):
        rays = camera.unproject(np.nan_to_num(pose.xy))
        p = np.concatenate([rays - rays[:, :1], 0 * rays[..., :1]], -1)
        return Lifted(H36M17, 7.3 * p, pose.times, "unit")

    def provenance(self):
        return {"layout": self.layout}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """60 pictures at 30 frames/s; picture n has red = n."""
    folder = tmp_path_factory.mktemp("clip")
    for n in range(60):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((SIZE[1], SIZE[0], 3), (200, 200, n), np.uint8))
    return folder


@pytest.fixture(scope="module")
def xy(walked, camera):
    return camera.project(walked)


@pytest.fixture
def undrawn(monkeypatch):
    """Nothing is drawn: for what only asks which moment is taken."""
    monkeypatch.setattr("kinelift.demo._drawings", lambda *args: {PICTURE: b""})


def shape_of(p):
    """Limb directions in the picture's plane, of points with y up."""
    h = H36M17
    ends = [("RHip", "RKnee"), ("LKnee", "LFoot"), ("RShoulder", "RElbow"), ("LElbow", "LWrist"), ("Hip", "Thorax")]
    d = np.array([p[h.index(b)] - p[h.index(a)] for a, b in ends])[:, :2]
    return d / np.linalg.norm(d, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 30), ({"frame": 0}, 0), ({"frame": 59}, 59), ({"time": 1.0}, 30), ({"time": 1.01}, 31)],
)
def test_the_moment_is_the_one_asked_for(undrawn, clip, xy, tmp_path, options, expected):
    detector = Known(xy)
    shown = demo(clip, tmp_path / "out", Flat(), detector, **options)
    assert shown.frame.image[0, 0, 0] == expected
    assert shown.frame.time == pytest.approx(expected / 30)
    np.testing.assert_allclose(shown.pose.xy[0], xy[expected])
    assert not any("hardly seen" in w for w in shown.warnings)
    assert detector.asked == [expected]  # a single-frame lifter needs no more


def test_a_temporal_lifter_gets_the_half_seconds_around(undrawn, clip, xy, tmp_path):
    detector = Known(xy)
    demo(clip, tmp_path, Flat(layout="rays"), detector, frame=30)
    assert detector.asked == list(range(15, 46))


def test_a_video_file_gives_its_middle_frame(undrawn, xy, tmp_path):
    import av

    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=30, options={"pix_fmt": "bgr0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        for n in range(60):
            picture = np.full((SIZE[1], SIZE[0], 3), (n, 200, 200), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    assert demo(path, tmp_path / "a", Flat(), Known(xy)).frame.image[0, 0, 0] == 30
    assert demo(path, tmp_path / "b", Flat(), Known(xy), frame=44).frame.image[0, 0, 0] == 44


def test_moments_that_cannot_be(clip, xy, tmp_path):
    out = tmp_path / "out"
    for options, words in (
        ({"frame": 60}, "has 60 frames; --frame 60 is beyond"),
        ({"frame": -1}, "--frame -1"),
        ({"time": float("nan")}, "--time nan"),
        ({"time": 2.3}, "no frame at or after 2.3 s"),
        ({"time": 9.0}, "beyond the end"),
        ({"time": 1.0, "frame": 3}, "not both"),
        ({"focal_px": 300, "fov_deg": 50}, "not both"),
        ({"fov_deg": 200}, "--fov 200"),
        ({"focal_px": -4}, "--focal -4"),
        ({"person": "tallest"}, "tallest"),
        ({"person": 3}, "person 3"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            demo(clip, out, Flat(layout="rays"), Known(xy), **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="unknown lifter 'tempral'"):
        demo(clip, out, "tempral", Known(xy))
    with pytest.raises(UnknownNameError, match="unknown detector 'openpos'"):
        demo(clip, out, Flat(), "openpos")
    assert not out.exists()


def test_nobody_there_says_where_somebody_is_and_writes_nothing(undrawn, clip, xy, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"not seen at 0\.50 s, but at 0\.67 s: give --time 0\.667"):
        demo(clip, out, Flat(layout="rays"), Known(xy, from_frame=20), frame=15)
    assert demo(clip, tmp_path / "there", Flat(), Known(xy, from_frame=20), time=0.667).pose.detected.all()
    with pytest.raises(InputError, match=r"nobody was found.*looked at 0\.00 to 0\.83 s.*--time"):
        demo(clip, out, Flat(layout="rays"), Known(xy, from_frame=50), frame=10)
    picture = clip / "7.png"
    with pytest.raises(InputError, match="nobody was found") as caught:
        demo(picture, out, Flat(), Known(xy, from_frame=50))
    assert "--time" not in str(caught.value)
    assert not out.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be written"):
        demo(picture, tmp_path / "file", Flat(), Known(xy))


class Webcam:
    """A picture every 20 ms of a clock that only it moves."""

    clock, opened = 0.0, []

    def __init__(self, index):
        Webcam.clock = 0.0
        Webcam.opened.append(self)
        self.released = False

    def isOpened(self):
        return True

    def get(self, what):
        return 50.0

    def read(self):
        Webcam.clock += 0.02
        return True, np.full((SIZE[1], SIZE[0], 3), (0, 0, 20), np.uint8)

    def release(self):
        self.released = True


@pytest.mark.parametrize(("options", "expected"), [({}, 3.0), ({"time": 1.0}, 1.0)])
def test_a_webcam_is_watched_up_to_the_moment(undrawn, monkeypatch, xy, tmp_path, options, expected):
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    monkeypatch.setattr("kinelift.video.time.monotonic", lambda: Webcam.clock)
    detector = Known(xy)
    shown = demo("webcam:0", tmp_path, Flat(layout="rays"), detector, **options)
    assert shown.frame.time == pytest.approx(expected, abs=0.021)
    assert 24 <= len(detector.asked) <= 27
    assert Webcam.opened[-1].released
    with pytest.raises(InputError, match="no numbered frames"):
        demo("webcam:0", tmp_path, Flat(), detector, frame=3)


def test_everything_is_written_and_can_be_opened(clip, xy, tmp_path):
    shown = demo(clip / "12.png", tmp_path, Flat(), Known(xy))
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in shown.files} == ALL
    first, last = (np.asarray(Image.open(tmp_path / VIEW.format(t))) for t in (0, 360))
    words = first.shape[0] // 8
    np.testing.assert_array_equal(first[words:], last[words:])  # all but the label
    assert (first[:words] != last[:words]).any()
    with Image.open(tmp_path / GIF) as gif:
        assert gif.n_frames == 24
        assert gif.info["loop"] == 0
        assert 24 * gif.info["duration"] == pytest.approx(3000, abs=300)
    with Image.open(tmp_path / PICTURE) as picture:
        assert picture.size == SIZE


@pytest.mark.parametrize("name", LIFTERS)
def test_every_lifter_stands_the_figure_upright(undrawn, clip, xy, tmp_path, name, walked):
    shown = demo(clip, tmp_path, name, Known(xy), frame=20, focal_px=270.0)
    same = "Head" if shown.skeleton is H36M17 else "head"
    feet = [j for j in shown.skeleton.joints if j in ("LFoot", "RFoot", "left_toe", "right_toe")]
    p = shown.positions
    height = p[shown.skeleton.index(same), 1] - p[shown.skeleton.indices(*feet), 1].min()
    assert 1.2 < height < 2.0
    body = joint_map(shown.skeleton, BODY26) @ np.nan_to_num(p)
    limbs = BODY26.indices(*metrics.LIMBS)
    assert metrics.pa_mpjpe(body[None, limbs], walked[20][None, limbs]) < 130
    assert DEFAULT_LIFTER in LIFTERS


def test_a_unit_lifters_answer_is_scaled_to_a_body_and_keeps_the_picture(undrawn, clip, xy, tmp_path, walked):
    shown = demo(clip, tmp_path, Flat(), Known(xy), frame=10)
    expected = joint_map(BODY26, H36M17) @ walked[10]
    np.testing.assert_allclose(shape_of(shown.positions), shape_of(expected), atol=0.06)  # perspective
    thorax, hip = H36M17.index("Thorax"), H36M17.index("Hip")
    assert shown.positions[thorax, 1] - shown.positions[hip, 1] == pytest.approx(0.49, abs=0.1)
    assert shown.lifter == "flat"


def test_what_is_unseen_is_not_invented_by_a_single_frame_lifter(clip, xy, tmp_path):
    shown = demo(clip, tmp_path, Flat(), Known(xy, unseen=["left_wrist", "left_elbow"]), frame=10)
    gone = ~np.isfinite(shown.positions).all(1)
    assert [H36M17.joints[j] for j in np.flatnonzero(gone)] == ["LElbow", "LWrist"]
    assert [w for w in shown.warnings if "hardly seen" in w and w.endswith("left elbow, left wrist")]
    with pytest.raises(InputError, match="too little of the person"):
        demo(clip, tmp_path, Flat(), Known(xy, unseen=BODY26.joints[4:]), frame=10)


@pytest.mark.parametrize("askew", [(0.3, 0, 0), (0, 0, 0.6), (-0.2, 0.1, 2.5), (np.pi, 0, 0)])
def test_gravity_makes_upright_whatever_the_camera(walked, askew):
    level = (walked[3] - walked[3, 0]) * [1, -1, -1]
    R = rotvec_to_matrix(np.array(askew, float))
    lifted = Lifted(BODY26, (level @ R.T)[None], np.zeros(1), gravity=(R @ [0, 1.0, 0])[None])
    p = upright(lifted, 0, np.ones(26, bool))
    np.testing.assert_allclose(p[:, 1], walked[3][:, 1] - walked[3, 0, 1], atol=1e-9)
    reach = np.linalg.norm(level[:, [0, 2]], axis=1)
    np.testing.assert_allclose(np.linalg.norm(p[:, [0, 2]], axis=1), reach, atol=1e-9)
    assert np.linalg.det(np.linalg.lstsq(walked[3] - walked[3, 0], p, rcond=None)[0]) > 0  # never a mirror


def test_scale_of_a_unit_lifter_does_not_matter():
    p = np.random.default_rng(0).normal(size=(1, 17, 3))
    one, other = (
        upright(Lifted(H36M17, s * (p - p[:, :1]), np.zeros(1), "unit"), 0, np.ones(17, bool)) for s in (1, 40)
    )
    np.testing.assert_allclose(one, other)


def test_a_skeleton_of_ones_own_is_drawn_by_its_tree():
    tail = make_skeleton("tail", [("a", None), ("b", "a"), ("c", "b"), ("d", "c")])
    p = np.cumsum(np.eye(4, 3, k=-1), axis=0)
    shown = upright(Lifted(tail, p[None], np.zeros(1), "unit"), 0, np.ones(4, bool))
    assert np.ptp(shown, axis=0).max() == pytest.approx(1.7)
    assert bones(tail, np.array([True, True, False, True])) == [(1, 0), (3, 1)]
    assert (Turntable(shown, tail, (80, 100)).view(30) != 247).any()


def tinted(view, color):
    """(N, 2) x, y of pixels of about the hue of a side's colour."""
    x = view.astype(float) - 128
    wanted = np.array(color, float) - np.mean(color)
    hue = x - x.mean(-1, keepdims=True)
    like = hue @ wanted / np.linalg.norm(wanted) / np.maximum(np.linalg.norm(hue, axis=-1), 1e-9)
    return np.argwhere((like > 0.95) & (np.linalg.norm(hue, axis=-1) > 25))[:, ::-1]


@pytest.fixture(scope="module")
def t_pose():
    """Facing the viewer, arms out, the left foot forward."""
    from kinelift.kinematics import forward_kinematics, reference_offsets

    local = np.broadcast_to(np.eye(3), (1, 26, 3, 3)).copy()
    local[0, B("left_hip")] = rotvec_to_matrix(np.array([-0.5, 0, 0]))
    return forward_kinematics(BODY26, reference_offsets(), local, np.zeros((1, 3)))[0][0]


@pytest.mark.parametrize("skeleton", [BODY26, H36M17], ids=lambda s: s.name)
def test_sides_change_places_when_the_figure_turns(t_pose, skeleton):
    table = Turntable(joint_map(BODY26, skeleton) @ t_pose, skeleton, (240, 300))
    across = {}
    for turn in (0, 180):
        view = table.view(turn)
        across[turn] = tinted(view, LEFT)[:, 0].mean() - tinted(view, RIGHT)[:, 0].mean()
    assert across[0] > 40  # who faces us has the left on our right
    assert across[180] < -40


def test_a_turn_is_to_ones_own_left():
    np.testing.assert_allclose(turn_about_y(90) @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_every_view_is_upright_whole_and_of_one_scale(t_pose):
    lying = t_pose @ rotvec_to_matrix(np.array([np.pi / 2, 0, 0])).T
    for pose in (t_pose, lying, t_pose @ rotvec_to_matrix(np.array([0, 0.7, 0])).T):
        table = Turntable(pose, BODY26, (160, 200))
        for turn in (0, 45, 90, 135, 225, 300):
            view = table.view(turn)
            body = np.concatenate([tinted(view, LEFT), tinted(view, RIGHT)])
            assert body.min() > 2
            assert (body.max(0) < (157, 197)).all()
    # On a turntable, the highest point of what stands on its axis stays where it is.
    pole = make_skeleton("pole", [("low", None), ("high", "low")])
    views = [Turntable(np.array([[0, 0, 0], [0, 1.7, 0.0]]), pole, (160, 200)).view(t) for t in (0, 75, 200)]
    tops = [np.argwhere(v.astype(int).min(-1) < 170)[:, 0].min() for v in views]
    assert max(tops) - min(tops) <= 1


def test_what_is_farther_is_fainter(t_pose):
    table = Turntable(t_pose, BODY26, (240, 300))

    def strength(turn, color):
        view = table.view(turn)
        at = tinted(view, color)
        at = at[at[:, 1] < 110]  # the arms; the legs are on the axis
        return np.median(np.ptp(view[at[:, 1], at[:, 0]].astype(float), axis=1))

    for color, away, near in ((LEFT, 60, 300), (RIGHT, 300, 60)):
        assert strength(away, color) < 0.85 * strength(near, color)


def test_the_pose_is_drawn_where_it_is(xy):
    grey = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    confidence = np.ones(26)
    drawn = pose_on_picture(grey, xy[0], confidence)
    assert (grey == 128).all()
    for name, color in (("left_knee", LEFT), ("right_elbow", RIGHT)):
        x, y = np.round(xy[0, B(name)]).astype(int)
        np.testing.assert_allclose(drawn[y, x], color, atol=12)
    confidence[BODY26.indices("left_knee", "left_ankle", "left_heel", "left_toe")] = 0
    x, y = np.round((xy[0, B("left_knee")] + xy[0, B("left_ankle")]) / 2).astype(int)
    assert (drawn[y, x] != 128).any()
    assert (pose_on_picture(grey, xy[0], confidence)[y, x] == 128).all()
    confidence[:] = 0.2
    faint = pose_on_picture(grey, xy[0], confidence)
    x, y = np.round(xy[0, B("right_elbow")]).astype(int)
    assert 0.3 < np.ptp(faint[y, x].astype(int)) / np.ptp(RIGHT) < 0.7
    assert (pose_on_picture(grey, np.full((26, 2), np.nan), np.zeros(26)) == 128).all()


@pytest.mark.parametrize("size", [(1500, 300), (300, 1500), (40, 40)])
def test_the_sheet_holds_the_person_and_all_views(size, xy, t_pose):
    spot = xy[0] * 0.1 + 5
    picture = close_up(np.full((size[1], size[0], 3), 90, np.uint8), spot, np.ones(26), (330, 480))
    assert picture.shape[0] <= 480
    assert picture.shape[1] <= 330
    assert len(tinted(picture, LEFT)) > 30
    views = [np.full((100, 80, 3), 10 * i, np.uint8) for i in range(24)]
    sheet = contact_sheet(picture, views, cell=100)
    assert sheet.shape[0] == 500
    for i in range(24):
        assert (sheet[125 * (i // 6) + 60, sheet.shape[1] - 600 + 100 * (i % 6) + 50] == 10 * i).all()


def flat_network(path):
    """A lifter file of layout root-spread: all depths 0."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"])]
    shapes = [("x", [None, 34]), ("z", [None, 17])]
    x, z = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes)
    weights = numpy_helper.from_array(np.zeros((34, 17), np.float32), "w")
    graph = helper.make_graph(nodes, "flat", [x], [z], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"format": FORMAT, "layout": "root-spread"})
    onnx.save(model, path)
    return path


def test_openpose_files_and_a_lifter_file_from_picture_to_pose(tmp_path, walked, camera):
    """The seed's own way: Caffe network, 17 joints, lifter, pictures; the body is coloured spots at known places."""
    source = np.zeros((18, 26))
    for j, name in enumerate(OPENPOSE_COCO18.joints):
        source[j, B(name.replace("eye", "ear") if "eye" in name else name)] = 1
    body = np.array(walked[10])
    body[:, 0] *= 1.3  # so that spots of face and hips do not melt into one
    points = source @ camera.project(body)
    points[OPENPOSE_COCO18.indices("right_eye", "left_eye")] += [[-6, -14], [6, -14]]
    big = 4
    picture = spotted(points * big, (SIZE[0] * big, SIZE[1] * big))
    cv2.imwrite(str(tmp_path / "spots.png"), picture[..., ::-1])
    proto, model = write_network(tmp_path, "coco")
    detector = make_detector("openpose", proto=proto, model=model, width=1280, height=960)
    shown = demo(tmp_path / "spots.png", tmp_path / "out", str(flat_network(tmp_path / "flat.onnx")), detector)
    assert np.nanmax(np.abs(shown.pose.xy[0] / big - points)) < 2.5
    assert shown.skeleton is H36M17
    np.testing.assert_allclose(shape_of(shown.positions), shape_of(joint_map(BODY26, H36M17) @ body), atol=0.12)
    assert {p.name for p in (tmp_path / "out").iterdir()} == ALL


def test_the_sample_as_it_comes(tmp_path):
    """The default detector and lifter on the bundled clip, against its known truth."""
    shown = demo(sample_path(), tmp_path, "temporal")
    truth, times = sample_truth()
    limbs = BODY26.indices(*metrics.LIMBS)
    true = truth[np.abs(times - shown.frame.time).argmin()]
    assert metrics.pa_mpjpe(shown.positions[None, limbs], true[None, limbs]) < 70
    assert Image.open(io.BytesIO((tmp_path / SHEET).read_bytes())).size[0] > 1500

"""Key point files of every known form give the same pose; broken ones give one line that names the file."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinelift.detect import is_keypoint_input, read_keypoints, write_keypoints
from kinelift.detect.files import LAYOUTS
from kinelift.detect.keypoints_npz import read_keypoints_npz
from kinelift.errors import InputError, UnknownNameError
from kinelift.records import Pose2D
from kinelift.skeleton import BODY_25, COCO17, HALPE26, MEDIAPIPE33, Skeleton

SIZE = (640, 480)


def standing(skeleton: Skeleton, x: float = 300, count: int | None = None) -> np.ndarray:
    """(count, 3) rows of a plausible standing person: joints apart, the middle of the hips where it belongs."""
    rng = np.random.default_rng(len(skeleton))
    points = np.column_stack([x + rng.uniform(-50, 50, len(skeleton)), 240 + rng.uniform(-100, 100, len(skeleton))])
    if "mid_hip" in skeleton.joints:
        points[skeleton.index("mid_hip")] = points[skeleton.indices("left_hip", "right_hip")].mean(0)
    rows = np.column_stack([points.round(2), np.full(len(skeleton), 0.8)])
    return rows if count is None else np.vstack([rows, np.full((count - len(rows), 3), 7.0) * (1, 1, 0.1)])


def openpose_folder(folder: Path, frames: list[list[np.ndarray]], first: int = 0) -> Path:
    folder.mkdir()
    for i, people in enumerate(frames):
        people = [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()} for p in people]
        (folder / f"clip_{first + i:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))
    return folder


def write_json(path: Path, data: object) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def read(path, **options):
    return read_keypoints(path, **({"fps": 25, "image_size": SIZE} | options))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_from_an_openpose_folder(tmp_path, name):
    layout = LAYOUTS[name]
    rows = standing(layout.skeleton)
    raw = np.zeros((layout.count, 3))
    for joint, column in enumerate(layout.columns):
        if column >= 0:
            raw[column] = rows[joint]
    result = read(openpose_folder(tmp_path / "op", [[raw]] * 5))
    assert result.pose.skeleton.name == layout.skeleton.name
    seen = np.array(layout.columns) >= 0
    np.testing.assert_allclose(result.pose.xy[2, seen], rows[seen, :2])
    assert (result.pose.confidence[2] == np.where(seen, 0.8, 0)).all()
    np.testing.assert_allclose(result.pose.times, np.arange(5) / 25)
    assert result.warnings == ()


def test_empty_frames_others_and_unseen_points(tmp_path):
    person, other = standing(BODY_25, 300), standing(BODY_25, 550) * (1, 0.5, 1)
    person[3] = 0
    frames = [[person], [other, person], [], [person, other], [person]]
    result = read(openpose_folder(tmp_path / "op", frames, first=40))
    assert result.pose.detected.tolist() == [True, True, False, True, True]
    assert np.isnan(result.pose.xy[:, 3]).all()
    np.testing.assert_allclose(result.pose.xy[1, 5], person[5, :2])
    assert any("1 of 5 frames" in w for w in result.warnings)


def test_missing_frame_files_are_a_gap_in_time(tmp_path):
    folder = openpose_folder(tmp_path / "op", [[standing(BODY_25)]] * 6)
    (folder / "clip_000000000002_keypoints.json").unlink()
    np.testing.assert_allclose(read(folder).pose.times, np.array([0, 1, 3, 4, 5]) / 25)


def test_the_two_sets_of_25(tmp_path):
    folder = openpose_folder(tmp_path / "op", [[standing(BODY_25)]] * 3)
    assert read(folder).pose.skeleton is BODY_25
    assert read(folder, layout="body_25b").pose.skeleton.name == "body_25b"
    unsure = standing(BODY_25)
    unsure[8, 0] += 0.06 * np.linalg.norm(np.ptp(unsure[:, :2], axis=0))
    with pytest.raises(InputError, match=r"--keypoints-format body_25\|body_25b"):
        read(openpose_folder(tmp_path / "unsure", [[unsure]] * 3))


def test_coco_results_alphapose_and_mmpose_agree(tmp_path):
    people = [standing(COCO17, 300 + i) for i in range(4)]
    coco = [
        {"image_id": i, "category_id": 1, "keypoints": p.ravel().tolist(), "score": 0.9} for i, p in enumerate(people)
    ]
    alpha = [{"image_id": f"{i}.jpg", "keypoints": p.ravel().tolist(), "score": 2.1} for i, p in enumerate(people)]
    instances = [
        {
            "frame_id": i,
            "instances": [
                {"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist(), "bbox": [[0, 0, 9, 9]]}
            ],
        }
        for i, p in enumerate(people)
    ]
    files = {
        "coco": coco[::-1],
        "alpha": alpha,
        "mmpose": instances,
        "meta": {"meta_info": {"dataset_name": "coco"}, "instance_info": instances},
    }
    for name, data in files.items():
        pose = read(write_json(tmp_path / f"{name}.json", data)).pose
        assert pose.skeleton is COCO17
        np.testing.assert_allclose(pose.xy, np.stack(people)[..., :2])
        np.testing.assert_allclose(pose.confidence, 0.8)


def test_frames_that_no_row_names_are_empty(tmp_path):
    rows = [{"image_id": i, "keypoints": standing(COCO17).ravel().tolist()} for i in (0, 1, 2, 5, 6)]
    pose = read(write_json(tmp_path / "a.json", rows)).pose
    assert pose.detected.tolist() == [True, True, True, False, False, True, True]


def test_coco_visibility_flags_are_no_confidences_above_one(tmp_path):
    person = standing(COCO17)
    person[:, 2] = 2
    person[4, 2] = 1
    pose = read(write_json(tmp_path / "a.json", [{"image_id": 1, "keypoints": person.ravel().tolist()}])).pose
    assert pose.confidence[0, 0] == 1 and pose.confidence[0, 4] == 0.5


def test_what_the_file_leaves_open_is_said(tmp_path):
    folder = openpose_folder(tmp_path / "op", [[standing(BODY_25)]] * 3)
    result = read_keypoints(folder)
    assert any("30 frames/s assumed" in w for w in result.warnings)
    assert any("pixels assumed" in w for w in result.warnings)
    assert (np.array(result.pose.image_size) > result.pose.xy[0].max(0)).all()


GOOD = {"image_id": 0, "keypoints": [1.0, 2.0, 0.5] * 17}
DEEP = "[" * 200_000 + "]" * 200_000
BAD = {
    "empty": ("", "0 bytes"),
    "no json": ("hello", "no valid JSON"),
    "deep": (DEEP, "nested too deeply"),
    "nan": ('[{"image_id": 0, "keypoints": [NaN, 1, 1]}]', "NaN"),
    "huge": (f'[{{"image_id": 0, "keypoints": [{"1e999, 1, 1, " * 16} 1, 1, 1]}}]', "finite"),
    "long number": (f'[{{"image_id": 0, "keypoints": [{"9" * 5000}, 1, 1]}}]', "cannot be read"),
    "a number": ("7", "none of the known"),
    "an empty list": ("[]", "none of the known"),
    "text for points": ([GOOD | {"keypoints": ["a"] * 51}], "numbers"),
    "ragged": ([GOOD | {"keypoints": [[1, 2], [3]]}], "numbers"),
    "null": ([GOOD | {"keypoints": None}], "numbers|flat list"),
    "not threes": ([GOOD | {"keypoints": [1.0] * 50}], "flat list"),
    "unknown count": ([GOOD | {"keypoints": [5.0, 6.0, 1.0] * 19}], r"19 key points.*coco17 \(17\)"),
    "mixed counts": ([GOOD, GOOD | {"keypoints": [5.0, 6.0, 1.0] * 26}], "different numbers"),
    "no frame number": ([GOOD | {"image_id": "first"}], "no frame number"),
    "far frames": ([GOOD, GOOD | {"image_id": 10**11}, GOOD | {"image_id": 3}], "frame numbers"),
    "one openpose frame": ({"people": []}, "give the folder"),
    "mmpose shapes": ([{"frame_id": 0, "instances": [{"keypoints": [[1, 2]], "keypoint_scores": [1, 2]}]}], "expected"),
    "mmpose person": ([{"frame_id": 0, "instances": [7]}], "no 'keypoints'"),
    "mmpose frame": ([{"frame_id": "x", "instances": []}], "frame_id"),
    "nobody": ([{"frame_id": 0, "instances": []}], "nobody"),
    "nobody seen": ([GOOD | {"keypoints": [0.0] * 51}], "nobody"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path, case):
    data, says = BAD[case]
    path = write_json(tmp_path / "bad.json", data)
    with pytest.raises(InputError, match=says) as e:
        read(path)
    assert "bad.json" in str(e.value) and "\n" not in str(e.value)
    assert len(str(e.value)) < 400


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match="no JSON files"):
        read(tmp_path)
    folder = openpose_folder(tmp_path / "op", [[standing(BODY_25)]] * 3)
    (folder / "clip_000000000001_keypoints.json").write_text("")
    with pytest.raises(InputError, match=r"clip_000000000001_keypoints\.json.*0 bytes"):
        read(folder)
    scaled = standing(BODY_25) / (640, 480, 1)
    with pytest.raises(InputError, match="write pixels"):
        read(openpose_folder(tmp_path / "scaled", [[scaled]] * 3))
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "absent")
    with pytest.raises(UnknownNameError, match="body_25b"):
        read(folder, layout="body25")
    with pytest.raises(InputError, match="fps"):
        read(folder, fps=0)


def some_pose(d3: bool) -> Pose2D:
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 400, (6, 33, 2))
    confidence = rng.uniform(0.1, 1, (6, 33))
    xy[2], confidence[2] = np.nan, 0
    times = np.cumsum(rng.uniform(0.01, 0.05, 6))
    return Pose2D(MEDIAPIPE33, xy, confidence, times, SIZE, 3, rng.normal(size=(6, 33, 3)) if d3 else None)


@pytest.mark.parametrize("d3", [True, False])
def test_npz_round_trip(tmp_path, d3):
    pose = some_pose(d3)
    path = tmp_path / "kp.npz"
    write_keypoints(path, pose, {"detector": "mediapipe"})
    assert is_keypoint_input(path)
    again, meta = read_keypoints_npz(path)
    assert meta == {"detector": "mediapipe"}
    for name in ("xy", "confidence", "times", "detector_3d"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pose, name))
    assert (again.image_size, again.person_id, again.skeleton) == (SIZE, 3, MEDIAPIPE33)
    assert read_keypoints(path).warnings == ()
    assert [p.name for p in tmp_path.iterdir()] == ["kp.npz"]


def test_npz_never_unpickles_and_names_the_file(tmp_path):
    path = tmp_path / "kp.npz"
    np.savez(path, format="kinelift-keypoints/1", skeleton="coco17", joint_names=np.array([{"a": 1}], object))
    with pytest.raises(InputError, match=r"kp\.npz"):
        read_keypoints(path)
    np.savez(path, format="kinelift-motion/1")
    assert not is_keypoint_input(path)
    with pytest.raises(InputError, match="kinelift-keypoints/1"):
        read_keypoints(path)
    path.write_bytes(b"")
    assert not is_keypoint_input(path)
    with pytest.raises(InputError, match=r"kp\.npz"):
        read_keypoints(path)
    write_keypoints(path, some_pose(False))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"kp\.npz"):
        read_keypoints(path)


def test_unwritable_place_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_keypoints(tmp_path / "absent" / "kp.npz", some_pose(False))


def test_what_is_a_key_point_input(tmp_path):
    assert not is_keypoint_input(tmp_path / "a.mp4")
    assert not is_keypoint_input(tmp_path)
    assert is_keypoint_input(write_json(tmp_path / "a.json", "[]"))
    assert is_keypoint_input(tmp_path)
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    assert not is_keypoint_input(tmp_path)  # pictures with a stray JSON file


def test_halpe_order():
    columns = LAYOUTS["wholebody133"].columns
    assert columns[HALPE26.index("left_big_toe")] == 17
    assert columns[HALPE26.index("right_big_toe")] == 20
    assert columns[HALPE26.index("left_heel")] == 19
    assert columns[HALPE26.index("right_heel")] == 22


@pytest.mark.data
@pytest.mark.parametrize("camera", ["cam01", "cam02", "cam03", "cam04"])
def test_real_openpose_folders(data, camera):
    """BODY_25B with other people in some frames: the balancing man is followed, smoothly, in every one."""
    result = read_keypoints(data / f"real/balancing/openpose/{camera}", fps=60, image_size=(1080, 1920))
    pose = result.pose
    assert pose.skeleton.name == "body_25b"
    assert pose.detected.all()
    hips = pose.xy[:, pose.skeleton.indices("left_hip", "right_hip")].mean(1)
    assert np.abs(np.diff(hips, axis=0)).max() < 40

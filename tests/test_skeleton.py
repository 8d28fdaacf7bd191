"""Skeletons' trees, mirrors and the tables between them."""

import numpy as np
import pytest

from kinelift.errors import RecordError, UnknownNameError
from kinelift.skeleton import BODY26, COCO17, H36M17, JOINT_MAPS, MEDIAPIPE33, SKELETONS, Skeleton, joint_map

ALL = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
PAIRS = pytest.mark.parametrize("pair", JOINT_MAPS, ids="-to-".join)


@ALL
def test_mirror_exchanges_named_sides_and_keeps_the_midline(skeleton):
    for i, m in enumerate(skeleton.mirror):
        here, there = skeleton.joints[i].lower(), skeleton.joints[m].lower()
        sided = "left" in here or "right" in here or (skeleton is H36M17 and skeleton.joints[i][1].isupper())
        assert skeleton.mirror[m] == i
        assert (i != m) == sided
        if "left" in here:
            assert there == here.replace("left", "right")


@ALL
def test_mirrored_children_have_mirrored_parents(skeleton):
    for i, m in enumerate(skeleton.mirror):
        if i and m and skeleton.parents[i] != 0:
            assert skeleton.parents[m] == skeleton.mirror[skeleton.parents[i]]


@ALL
def test_children_invert_parents(skeleton):
    assert all(skeleton.parents[c] == i for i in range(len(skeleton)) for c in skeleton.children(i))
    assert sum(len(skeleton.children(i)) for i in range(len(skeleton))) == len(skeleton) - 1


@PAIRS
def test_map_keeps_points_where_they_are(pair):
    """Weights sum to one: a map commutes with translation, and gives nothing for joints it has no row for."""
    source, target = (SKELETONS[n] for n in pair)
    sums = joint_map(source, target).sum(1)
    given = np.array([j in JOINT_MAPS[pair] for j in target.joints])
    np.testing.assert_allclose(sums, given.astype(float), atol=1e-12)


@PAIRS
def test_map_commutes_with_mirroring(pair):
    source, target = (SKELETONS[n] for n in pair)
    w = joint_map(source, target)
    np.testing.assert_array_equal(w[np.ix_(target.mirror, source.mirror)], w)


@PAIRS
def test_map_carries_each_named_joint_to_its_namesake(pair):
    source, target = (SKELETONS[n] for n in pair)
    w = joint_map(source, target)
    for joint in set(source.joints) & set(target.joints) - {"neck"}:
        assert w[target.index(joint), source.index(joint)] == 1
        assert np.count_nonzero(w[target.index(joint)]) == 1


def test_h36m_and_back_keeps_limbs():
    x = np.random.default_rng(0).normal(size=(26, 3))
    back = joint_map(H36M17, BODY26) @ joint_map(BODY26, H36M17) @ x
    same = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("wrist", "elbow", "hip", "ankle")))
    np.testing.assert_allclose(back[same], x[same])


def test_same_joints_need_no_table():
    np.testing.assert_array_equal(joint_map(COCO17, COCO17), np.eye(17))


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownNameError, match=r"'left_knie'.*left_knee.*right_wrist"):
        BODY26.index("left_knie")
    with pytest.raises(UnknownNameError, match=r"'body26 -> mediapipe33'.*mediapipe33 -> body26"):
        joint_map(BODY26, MEDIAPIPE33)


@pytest.mark.parametrize(
    ("joints", "parents", "mirror", "word"),
    [
        (("a", "a"), (-1, 0), (0, 1), "repeat"),
        (("a", "b"), (0, 0), (0, 1), "parents"),
        (("a", "b"), (-1,), (0, 1), "parents"),
        (("a", "b", "c"), (-1, 2, 0), (0, 1, 2), "before"),
        (("a", "b"), (-1, 0), (0, 0), "permutation"),
        (("a", "b", "c"), (-1, 0, 0), (1, 2, 0), "undoes"),
    ],
)
def test_malformed_trees_are_refused(joints, parents, mirror, word):
    with pytest.raises(RecordError, match=word):
        Skeleton("odd", joints, parents, mirror)

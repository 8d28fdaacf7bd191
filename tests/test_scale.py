"""How large the person is, from what knows metres."""

import numpy as np
import pytest

from kinelift.errors import InputError
from kinelift.trajectory.depth import PersonDepth
from kinelift.trajectory.scale import Stature, combined, given, of_network, people


def test_a_given_height_is_the_height():
    found = combined([given(1.82), people()])
    assert found.height_m == pytest.approx(1.82, abs=0.002)
    assert found.sigma_m == pytest.approx(0.005 * 1.82, rel=0.2)
    assert found.source.startswith("height given")


def test_one_witness_is_believed_to_the_last_bit():
    assert combined([given(1.83)]).height_m == 1.83


def test_nothing_known_is_the_stated_prior():
    found = combined([people(), None])
    assert found.height_m == pytest.approx(1.70) and found.sigma_m == pytest.approx(0.06 * 1.70)
    assert found.source == "prior height 1.7 m +- 6%"


def test_witnesses_count_by_their_certainty():
    """Two equal ones meet in the middle, in logarithms, and are surer together by the root of two."""
    found = combined([Stature(1.62, 0.04, "one"), Stature(1.70, 0.04, "other")])
    assert found.height_m == pytest.approx(np.sqrt(1.62 * 1.7))
    assert found.sigma_m == pytest.approx(found.height_m * 0.04 / np.sqrt(2), rel=0.05)
    assert found.source == "one and other"
    swapped = combined([Stature(1.70, 0.04, "other"), Stature(1.62, 0.04, "one")])
    assert swapped.height_m == pytest.approx(found.height_m)


def test_contradiction_is_not_certainty():
    found = combined([Stature(1.2, 0.02, "one"), Stature(2.0, 0.02, "other")])
    assert found.sigma_m > 0.3


def test_a_network_far_off_hardly_counts():
    """Twice the size is a wrong lens, not a giant; a tenth more is a word to weigh."""
    far = combined([people(), Stature(3.40, 0.15, "net")])
    near = combined([people(), Stature(1.87, 0.15, "net")])
    assert abs(np.log(far.height_m / 1.70)) < 0.05 and far.sigma_m > near.sigma_m
    assert 1.71 < near.height_m < 1.74


def test_no_witness_is_an_error():
    with pytest.raises(InputError, match="how large"):
        combined([None])


def network(z, metric=True):
    z = np.asarray(z, float)
    return PersonDepth(z, np.where(np.isfinite(z), 0.1, np.nan), metric, "net")


def test_a_metric_network_sees_a_taller_person_further_away():
    """Geometry puts a body of 1.70 m at 4 m; who really stands at 4.4 m is 1.87 m tall. Outliers do not count."""
    z = np.full(60, 4.4)
    z[::7], z[5] = 9.0, np.nan
    found = of_network(network(z), np.full(60, 4.0))
    assert found.height_m == pytest.approx(1.87) and found.sigma == pytest.approx(0.15, rel=0.05)
    unsure = of_network(network(z), np.full(60, 4.0), focal_sigma=0.3)
    assert unsure.sigma == pytest.approx(np.hypot(0.15, 0.3), rel=0.05)
    together = combined([people(), found])
    assert 1.70 < together.height_m < 1.75 and together.sigma_m < 0.06 * 1.70


def test_a_relative_network_says_nothing_of_size():
    assert of_network(network(np.full(9, 4.0), metric=False), np.full(9, 4.0)) is None
    assert of_network(network(np.full(9, np.nan)), np.full(9, 4.0)) is None

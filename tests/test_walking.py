"""How long people take from camera to camera."""

import numpy as np
import pytest
from scipy import stats

from spoton import walking
from spoton.walking import Pace

CAMERAS = ("west", "east")
THERE, HERE = np.array([0]), np.array([1])


def asked(walks: walking.Walks, gap_s: float, way_m: float) -> tuple[float, float]:
    ways = walks, CAMERAS, THERE, HERE, np.array([gap_s]), np.array([way_m])
    return float(walking.surprise(*ways)[0]), float(walking.doubt(*ways)[0])


def test_without_any_handover_people_walk_as_people_do() -> None:
    usual_s = 10.0 * walking.DETOUR / walking.USUAL_M_S
    assert asked({}, usual_s, 10.0) == pytest.approx((0.0, 0.0))
    fast, unlikely = asked({}, usual_s / 20, 10.0)
    assert fast < -3.0
    assert unlikely > 3.0
    late, lingers = asked({}, usual_s * 20, 10.0)
    assert late > 3.0
    assert 0.0 < lingers < unlikely


def test_a_way_is_learnt_and_others_are_not() -> None:
    walks: dict[walking.Way, Pace] = {}
    for gap_s in (58.0, 60.0, 62.0, 61.0, 59.0) * 4:
        walks = walking.learned(walks, ("west", "east"), gap_s, 10.0)
    assert abs(asked(walks, 60.0, 10.0)[0]) < 0.5
    assert asked(walks, 12.0, 10.0)[0] < -2.5 < asked({}, 12.0, 10.0)[0]
    back = walking.surprise(walks, CAMERAS, HERE, THERE, np.array([60.0]), np.array([10.0]))
    assert back[0] > 1.5


def test_what_is_expected_is_the_posterior_predictive() -> None:
    """Normal-inverse-gamma, Murphy 2007, equations 86 to 110."""
    pace = [1.3, 1.7, 2.9, 1.1]
    walks: dict[walking.Way, Pace] = {}
    for each in pace:
        walks = walking.learned(walks, ("west", "east"), 10.0 * each, 10.0)
    x, k0, a0, b0, m0 = np.log(pace), 2.0, 2.0, 0.5, np.log(walking.DETOUR / walking.USUAL_M_S)
    n, mean = len(x), np.mean(x)
    kn, an = k0 + n, a0 + n / 2
    bn = b0 + ((x - mean) ** 2).sum() / 2 + k0 * n * (mean - m0) ** 2 / (2 * kn)
    mn, scale = (k0 * m0 + n * mean) / kn, np.sqrt(bn * (kn + 1) / (an * kn))
    late, doubt = asked(walks, 10.0, 10.0)
    assert late == pytest.approx((0.0 - mn) / scale)
    peak, here = (stats.t.pdf(at, 2 * an, loc=mn, scale=scale) for at in (mn, 0.0))
    # Seven in ten go straight on, and one in ten is sooner there than they should be, by whatever time.
    straight, sooner = 0.7, 0.1 / 8.0
    assert doubt == pytest.approx(np.log((straight * peak + sooner) / (straight * here + sooner)), rel=1e-9)


def test_whoever_is_there_much_too_soon_is_unlikely_and_not_impossible() -> None:
    doubts = [asked({}, gap_s, 10.0)[1] for gap_s in (5.0, 1.0, 0.1)]
    assert 0.0 < doubts[0] < doubts[1] <= doubts[2] + 0.1
    assert 3.0 < doubts[2] < 6.0


def test_ways_of_cameras_that_are_gone_say_nothing() -> None:
    walks = walking.learned({}, ("north", "east"), 600.0, 10.0)
    assert asked(walks, 10.4, 10.0) == pytest.approx(asked({}, 10.4, 10.0))


def test_the_number_of_ways_is_bounded() -> None:
    walks: dict[walking.Way, Pace] = {(f"c{n}", "east"): Pace(1) for n in range(walking.MOST)}
    walks = walking.learned(walks, ("west", "east"), 10.0, 10.0)
    assert len(walks) == walking.MOST
    assert ("west", "east") in walks

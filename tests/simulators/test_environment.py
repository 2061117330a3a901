"""The environment: one storm, one tide, one rush hour for everything that measures."""

from __future__ import annotations

import numpy as np
import pytest

from core.units import NS_PER_S
from simulators.environment import Environment

EPOCH = 1_763_942_400 * NS_PER_S  # Monday 2025-11-24 08:00 in Qingdao
HOUR = 3600 * NS_PER_S
CHANNELS = (
    "rain_mm_h", "tide_m", "temperature_c", "humidity_ratio", "wind_mps", "pressure_hpa",
    "daylight", "traffic", "people", "works", "shops", "water_demand",
)  # fmt: skip


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_is_the_same_for_one_instant_and_for_many(name: str) -> None:
    world = Environment(3, EPOCH)
    times = EPOCH + np.arange(0, 30 * HOUR, HOUR // 7)
    together = world.channel(name, times)
    assert np.array_equal(together, [float(world.channel(name, int(at))) for at in times])
    assert np.isfinite(together).all()


def test_thirty_hours_have_storms_and_dry_hours() -> None:
    for seed in range(5):
        world = Environment(seed, EPOCH)
        rain = world.channel("rain_mm_h", EPOCH + np.arange(0, 30 * HOUR, HOUR // 60))
        assert len(world.storms(EPOCH, EPOCH + 30 * HOUR)) == 3
        assert rain.max() > 15.0
        assert (rain == 0).mean() > 0.6


def test_the_tide_turns_twice_a_day() -> None:
    tide = Environment(7, EPOCH).channel("tide_m", EPOCH + np.arange(0, 25 * HOUR, HOUR // 30))
    turns = np.flatnonzero(np.diff(np.sign(np.diff(tide))))
    assert len(turns) == 4
    assert 1.5 < tide.max() - tide.min() < 4.3


def test_sites_rest_at_night_and_streets_at_weekends() -> None:
    world = Environment(7, EPOCH)
    night, noon = world.local_ns(hour=2), world.local_ns(hour=10)
    assert float(world.channel("works", night)) == 0.0
    assert float(world.channel("works", noon)) == 1.0
    saturday = noon + 5 * 24 * HOUR
    assert float(world.channel("works", saturday)) == pytest.approx(0.45)


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(KeyError, match="rainn"):
        Environment(7, EPOCH).channel("rainn", EPOCH)

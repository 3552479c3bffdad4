"""The simulated shop in four sizes: how many segments there are, that causes lie in what is watched, that noise shows."""

from itertools import combinations
from typing import Any

import msgspec
import pytest
import yaml

from models.simulate import simulate
from models.simulate.sizes import SHOP, SIZES
from models.simulate.world import PAYMENT

EVERY = [10, 300, 5_000, pytest.param(50_000, marks=pytest.mark.slow)]


def watched(text: str) -> dict[str, list[str]]:
    return {name: entry["dimensions"] for name, entry in yaml.safe_load(text)["signals"].items()}


@pytest.mark.parametrize("segments", EVERY)
def test_the_largest_signal_has_about_as_many_segments_as_the_size_says(segments: int) -> None:
    world = simulate(1, 0.01, 1.0, segments=segments)
    values = world.shop.dimensions.values
    sizes = {d: len(values[d]) for d in watched(world.signals_yml())[PAYMENT.signal]}
    sizes = {d: min(n, 5) if d == "app_version" else n for d, n in sizes.items()}
    count = 1 + sum(sizes.values()) + sum(a * b for a, b in combinations(sizes.values(), 2))
    assert 0.9 * segments <= count <= 1.6 * segments
    assert all(len(set(names)) == len(names) for names in values.values())


@pytest.mark.slow
@pytest.mark.parametrize("segments", EVERY)
def test_every_planted_cause_can_be_named_in_what_is_watched(segments: int) -> None:
    for seed in range(3):
        world = simulate(seed, 2.0, 20.0, segments=segments)
        dimensions = watched(world.signals_yml())
        assert len(world.problems) >= 4
        for problem in world.problems:
            assert set(problem.where) <= set(dimensions[problem.kind.signal])


@pytest.mark.slow
def test_a_small_shop_has_few_values_and_a_bank_many() -> None:
    seen = {}
    for segments in (10, 5_000):
        events: list[dict[str, Any]] = [
            msgspec.json.decode(line)
            for block in simulate(1, 0.05, 8.0, segments=segments).blocks()
            for line in block.splitlines()
        ]
        seen[segments] = {e["bank"] for e in events if e["kind"] == "payment"}
    assert len(seen[10]) == 4
    assert len(seen[5_000]) > 30


@pytest.mark.slow
def test_the_ordinary_shop_is_what_comes_when_no_size_is_given() -> None:
    plain, sized = simulate(3, 0.02, 12.0), simulate(3, 0.02, segments=SHOP)
    assert b"".join(plain.blocks()) == b"".join(sized.blocks())
    assert plain.signals_yml() == sized.signals_yml()


@pytest.mark.slow
def test_a_larger_shop_has_more_traffic_unless_a_rate_is_given() -> None:
    assert [simulate(1, 0.01, segments=s).rate for s in SIZES if s < 50_000] == [2.0, 12.0, 40.0]
    assert simulate(1, 0.01, 3.0, segments=5_000).rate == 3.0


def test_a_size_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="expected one of 10, 300, 5000, 50000, found 7"):
        simulate(1, 0.01, segments=7)

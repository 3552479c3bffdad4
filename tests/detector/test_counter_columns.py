"""What the Counter does by columns is what one event after the other gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import Input
from detector.counter.cells import Routes
from detector.counter.people import People
from detector.decode.buckets import Buckets
from detector.events import EventSchema
from tests.detector.counting import SHARE

REST_MS = Input().people_ms
ORDER = np.random.default_rng(7)
CUSTOMERS = [0, 1, -1, 2**12 + 1, -(2**63), *ORDER.integers(-(2**63), 2**63, 20).tolist()]
"""Among them nobody, and some who share the bits by which they are marked."""

SCHEMA = EventSchema(("kind", "bank", "channel", "city", "outcome"), ())

Event = tuple[int, int, bool]


class OneByOne:
    """People's rules, as the words have them."""

    def __init__(self) -> None:
        self.counted: dict[int, int] = {}
        self.unrecovered: dict[int, int] = {}

    def judge(self, who: int, when: int, bad: bool) -> tuple[bool, bool, bool]:
        """Return whether it is evidence, a recovery, the success of a resting customer."""
        if who == 0:
            return bad, False, False
        last = self.counted.get(who)
        if bad:
            evidence = last is None or when - last >= REST_MS
            if evidence:
                self.counted[who] = when
            self.unrecovered[who] = max(when, self.unrecovered.get(who, when))
            return evidence, False, False
        back = who in self.unrecovered and when >= self.unrecovered[who]
        if back:
            del self.unrecovered[who]
        return False, back, last is not None and 0 <= when - last < REST_MS


@pytest.mark.slow
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(CUSTOMERS), st.integers(0, 3 * REST_MS), st.booleans()), min_size=1, max_size=30
        ),
        max_size=8,
    ),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_people_are_judged_as_one_by_one(stretches: list[list[Event]], data: st.DataObject) -> None:
    people, plain = People(Input()), OneByOne()
    for events in stretches:
        customer, time_ms, bad = (np.array(column) for column in zip(*events, strict=True))
        found = zip(*(column.tolist() for column in people.judge(customer, time_ms, bad)), strict=True)
        assert list(found) == [plain.judge(*event) for event in events]
        assert (people.counted, people.unrecovered) == (plain.counted, plain.unrecovered)
        if data.draw(st.booleans()):
            restored = People(Input())
            restored.restore(people.state())
            people = restored


def test_nobody_is_passed_over_however_many_have_failed() -> None:
    people, many = People(Input()), np.unique(ORDER.integers(-(2**63), 2**63, 60_000))
    for start in range(0, len(many), 5_000):
        some = many[start : start + 5_000]
        evidence, _, _ = people.judge(some, np.full(len(some), start), np.ones(len(some), np.bool_))
        assert evidence.all()
    again = ORDER.permutation(many)
    _, back, resting = people.judge(again, np.full(len(again), 60_000), np.zeros(len(again), np.bool_))
    assert back.all() and resting.all() and people.unrecovered == {}


@given(st.lists(st.sampled_from(["a", "b", "", None, -1, -2, 0, 2**61 - 1, 1.5, "-1"]), min_size=1, max_size=40))
def test_fields_have_the_same_route_as_each_alone(values: list[object]) -> None:
    # -1 and -2, and 0 and 2**61 - 1, share their hash.
    routes, alone = (Routes(SCHEMA, (SHARE,), (), Input()) for _ in "12")
    fields: list[tuple[object, ...]] = [("payment", value, None, "Jakarta", "failure") for value in values]
    for _ in range(2):
        assert routes.of(fields).tolist() == [alone[one] for one in fields]
    assert len(routes) == len(set(values))


@given(st.lists(st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=50), max_size=6))
def test_what_is_remembered_is_right(stretches: list[set[int]]) -> None:
    known = Buckets()
    for stretch in stretches:
        prints = np.array(sorted(stretch), np.uint64)
        values = (prints >> np.uint64(1)).astype(np.int64) | 1
        found = known.of(prints)
        assert ((found == 0) | (found == values)).all()
        known.remember(prints[found == 0], values[found == 0])


def test_most_of_what_comes_again_is_remembered() -> None:
    known, prints = Buckets(), ORDER.integers(0, 2**64, 20_000, np.uint64)
    for _ in range(8):
        for some in np.split(prints, 10):
            new = some[known.of(some) == 0]
            known.remember(new, np.ones(len(new), np.int64))
    assert np.mean(known.of(prints)) > 0.99

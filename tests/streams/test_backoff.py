"""Guessing is slowed down, in bounded memory; what is noted in passing holds up nobody."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.store import audit
from streams.web import backoff, notes
from streams.web.backoff import Backoff
from streams.web.notes import Notes
from tests.servers.clocks import HandClock
from tests.servers.stores import new_store


def test_the_wait_doubles_up_to_five_minutes_and_is_forgotten() -> None:
    clock = HandClock()
    found = Backoff(clock)
    waits = []
    for _ in range(22):
        found.failed("192.0.2.1")
        waits.append(found.wait_s("192.0.2.1"))
        clock.advance(waits[-1])
    assert waits[: backoff.FREE] == [0] * backoff.FREE
    assert waits[backoff.FREE : backoff.FREE + 4] == [3, 5, 9, 17] and waits[-1] == backoff.LONGEST_S + 1
    clock.advance(backoff.FORGET_S)
    found.failed("192.0.2.2")
    assert len(found) == 1
    found.failed("192.0.2.1")
    assert found.wait_s("192.0.2.1") == 0


def test_whoever_signs_in_begins_anew() -> None:
    found = Backoff(HandClock())
    for _ in range(backoff.FREE + 1):
        found.failed("192.0.2.1")
    assert found.wait_s("192.0.2.1") > 0
    found.succeeded("192.0.2.1")
    assert found.wait_s("192.0.2.1") == 0


def test_an_ipv6_network_is_one_guesser() -> None:
    found = Backoff(HandClock())
    for n in range(backoff.FREE + 1):
        found.failed(f"2001:db8:1:2::{n:x}")
    assert found.wait_s("2001:db8:1:2:ffff::1") > 0
    assert found.wait_s("2001:db8:1:3::1") == 0
    found.failed("::ffff:192.0.2.1")
    found.failed("192.0.2.1")
    assert len(found) == 2


def test_from_many_addresses_all_wait_shortly() -> None:
    clock = HandClock()
    found = Backoff(clock)
    for n in range(int(backoff.BURST)):
        found.failed(f"198.51.{n // 256}.{n % 256}")
    assert found.wait_s("192.0.2.1") == 1
    clock.advance(1)
    assert found.wait_s("192.0.2.1") == 0


def test_memory_is_bounded() -> None:
    clock = HandClock()
    found = Backoff(clock)
    for n in range(backoff.MAX_ADDRESSES + 500):
        clock.advance(0.01)
        found.failed(f"10.{n // 65_536}.{n // 256 % 256}.{n % 256}")
    assert len(found) == backoff.MAX_ADDRESSES


@given(
    st.lists(st.tuples(st.sampled_from(["a", "::1", "192.0.2.1", "fe80::1%eth0"]), st.booleans(), st.floats(0, 500)))
)
def test_a_wait_always_ends(steps: list[tuple[str, bool, float]]) -> None:
    clock = HandClock()
    found = Backoff(clock)
    for address, good, pause_s in steps:
        (found.succeeded if good else found.failed)(address)
        wait_s = found.wait_s(address)
        assert 0 <= wait_s <= backoff.LONGEST_S + 1
        clock.advance(wait_s)
        assert found.wait_s(address) == 0
        clock.advance(pause_s)


@pytest.mark.slow
def test_a_flood_of_refusals_is_a_few_rows(tmp_path: Path) -> None:
    store, clock = new_store(tmp_path / "tocsin.db"), HandClock()
    found = Notes(store, clock)
    for _ in range(5_000):
        found.refused("nobody", "token.unknown", "")
    clock.advance(60)
    found.refused("nobody", "token.unknown", "")
    for n in range(2 * notes.MAX_KINDS):
        found.refused(f"person:{n}", "denied", "scope:admin")
    found.flush()
    found.close()
    rows = audit.newest(store, limit=10_000)
    assert len(rows) <= notes.MAX_KINDS + 5
    counted = [row.detail for row in reversed(rows) if row.what == "token.unknown"]
    assert counted[:3] == ["", "4999 more since", ""]
    assert next(row.detail for row in rows if row.who == "others") == f"{notes.MAX_KINDS} more since"


@pytest.mark.slow
def test_what_waits_is_bounded_while_the_store_is_held(tmp_path: Path) -> None:
    store = new_store(tmp_path / "tocsin.db")
    found, go = Notes(store, HandClock()), threading.Event()
    done: list[int] = []
    found.write(lambda: go.wait(20))
    for n in range(notes.MAX_WAITING + 500):
        found.write(lambda n=n: done.append(n))  # type: ignore[misc]
    go.set()
    found.close()
    assert done == list(range(notes.MAX_WAITING - 1))

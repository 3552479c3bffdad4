"""A run on a log that others append to: the same as from a file, whatever crashes, and people are answered meanwhile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.desk.records import Command, Verb
from detector.pack import pack
from streams.engines.embedded import Step
from streams.engines.live import Live
from streams.engines.session import Run, session
from streams.store import Store, open_store
from streams.store.documents import dump
from streams.store.values import Piece
from tests.streams.shop import MINUTES, START_MS, Shop, lines
from tests.streams.test_embedded_live import END_MS, World, _time_of, dumped, follow

MINUTE_MS = 60_000


class Door:
    """A clock that only waiting moves, and another process that appends events to the log as it moves."""

    def __init__(self, db: Path, *, until_ms: int, step_ms: int = 30_000) -> None:
        self.db, self.until_ms, self.step_ms, self.now = db, until_ms, step_ms, START_MS
        self.store: Store | None = None
        self.stop: Any = None
        self.left: list[tuple[int, bytes]] = []
        newest = START_MS
        for line in lines():
            newest = _time_of(line) or newest
            self.left.append((newest, line))

    def now_ms(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1_000

    def sleep(self, seconds: float) -> None:
        self.now += self.step_ms
        arrived = [line for at_ms, line in self.left if at_ms <= self.now]
        self.left = self.left[len(arrived) :]
        if arrived:
            data = b"".join(line + b"\n" for line in arrived)
            with open_store(self.db) as door:
                door.append_pieces("http", [Piece(data, len(data))], self.now)
        if self.now >= self.until_ms:
            self.stop.signal = 15


def run_live(door: Door, run: Run, watch: Callable[[Step], None] | None = None) -> None:
    with session(door.db, run, door, mode="live", watch=watch) as found:
        door.stop = found.stop
        Live(found, door, lambda text: None).run()


@pytest.mark.slow
def test_events_that_others_append_end_as_those_of_a_followed_file(shop: Shop, tmp_path: Path) -> None:
    follow(tmp_path / "followed.db", World(tmp_path / "log.ndjson", until_ms=END_MS), shop.run())
    run_live(Door(tmp_path / "live.db", until_ms=END_MS), shop.run())
    assert dumped(tmp_path / "live.db") == dumped(tmp_path / "followed.db")
    with open_store(tmp_path / "live.db") as store:
        assert sum(store.tally()["windows"].values()) >= MINUTES + 20, "time went on by ticks"
        assert sum(size for _seq, size in store.unread()[1]) == 0, "but for a tick of the last moment nothing is left"


@pytest.mark.slow
def test_a_crash_at_any_step_repeats_nothing_and_loses_nothing(shop: Shop, tmp_path: Path) -> None:
    run_live(Door(tmp_path / "whole.db", until_ms=END_MS), shop.run(commit_s=200.0))
    door, seen, crashes = Door(tmp_path / "crashed.db", until_ms=END_MS), 0, 0

    def crash(_step: Step) -> None:
        nonlocal seen
        seen += 1
        if seen % 29 == 0:
            raise InterruptedError

    for _ in range(100):
        try:
            run_live(door, shop.run(commit_s=200.0), crash)
        except InterruptedError:
            crashes += 1
        else:
            break
    assert crashes > 5
    assert dumped(tmp_path / "crashed.db") == dumped(tmp_path / "whole.db")


@pytest.mark.slow
def test_time_does_not_pass_over_rows_that_wait(shop: Shop, tmp_path: Path) -> None:
    """After an hour's rest the rows of that hour are read before any tick: none of them comes late by it."""
    db = tmp_path / "rest.db"
    door = Door(db, until_ms=START_MS + 5 * MINUTE_MS)
    run_live(door, shop.run())
    with open_store(db) as store:
        applied = sum(store.tally()["applied"].values())
    for _ in range(2 * 60):
        door.sleep(1)  # nobody works the log off
    door.until_ms = door.now + MINUTE_MS
    run_live(door, shop.run())
    with open_store(db) as store:
        found = store.tally()
    assert found.get("dropped", {}) == {}
    assert sum(found["applied"].values()) > applied + 3_000


@pytest.mark.slow
def test_a_command_is_answered_although_no_event_comes(shop: Shop, tmp_path: Path) -> None:
    db = tmp_path / "quiet.db"
    door = Door(db, until_ms=START_MS + MINUTE_MS)
    run_live(door, shop.run())
    with session(db, shop.run(commit_s=1e9), door, mode="live") as found:
        live = Live(found, door, lambda text: None)
        number = found.store.post(pack(Command(verb=Verb.ACKNOWLEDGE, case="none", by="test")))
        door.now += 1_000
        live.step()
        state, why = found.store.answer(number)
    assert state == "refused" and "none" in why


@pytest.mark.slow
def test_a_log_in_which_nothing_is_an_event_stops_nobody(shop: Shop, tmp_path: Path) -> None:
    db = tmp_path / "bad.db"
    door = Door(db, until_ms=START_MS + MINUTE_MS)
    door.left = [(START_MS, b"no event")] * 5_000
    run_live(door, shop.run())
    with open_store(db) as store:
        assert sum(store.tally()["dead"].values()) == 5_000
        assert list(dump(store)) == []

"""The feed of a store that was restored: no number is used twice, and whoever is ahead of it is told."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from streams.feeds import queue, subscriptions
from streams.feeds.log import ALL, Filter, bounds, read
from streams.net import Rules, networks
from streams.store import Store, backup, open_store
from streams.store import tables as t
from streams.store.backup import FEED_LEAP
from streams.store.retention import prune_feed
from tests.streams.commands import Tocsin
from tests.streams.feed_rows import NOW_MS, fill, live_store


@pytest.fixture
def live(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tocsin:
    """Return the commands on a live store that has told five events, with a copy of it as it was then."""
    found = Tocsin(tmp_path / "live.db", capsys)
    with live_store(found.db) as store:
        fill(store, 5)
        backup.backup(store, copy_of(found))
    return found


def copy_of(found: Tocsin) -> Path:
    return Path(found.db.with_name("copy.db"))


def tell(found: Tocsin, n: int) -> list[int]:
    """Tell `n` events more; return the numbers that are kept."""
    with open_store(found.db) as store:
        fill(store, n)
        return numbers(store)


def numbers(store: Store) -> list[int]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(t.feed.c.seq).order_by(t.feed.c.seq)).scalars())


def restore(found: Tocsin) -> str:
    said = found("db", "restore", str(copy_of(found)))
    for aside in found.db.parent.glob("*.replaced-*"):
        aside.unlink()  # its name holds the second, and the next restore comes within it
    return said


def test_no_number_comes_again_after_a_restore(live: Tocsin) -> None:
    tell(live, 4)
    assert "The feed goes on after number 10" in restore(live)
    assert tell(live, 2) == [1, 2, 3, 4, 5, 11, 12]


def test_a_store_restored_again_goes_on_behind_what_both_had_given_out(live: Tocsin) -> None:
    tell(live, 4)
    restore(live)
    assert "after number 11" in restore(live), "10 was promised, and nothing was told"
    tell(live, 3)
    restore(live)
    assert tell(live, 1) == [1, 2, 3, 4, 5, 16]


def test_a_copy_that_lacks_nothing_goes_on_without_a_hole(live: Tocsin) -> None:
    assert live.json("db", "restore", str(copy_of(live)))["feed_after"] is None
    assert tell(live, 1) == [1, 2, 3, 4, 5, 6]


def test_what_was_not_closed_counts_too(live: Tocsin, tmp_path: Path) -> None:
    with live_store(live.db) as store:
        fill(store, 4)
        crashed = tmp_path / "crashed.db"
        for suffix in ("", "-wal"):
            shutil.copy(live.db.with_name(live.db.name + suffix), crashed.with_name(crashed.name + suffix))
    live.db = crashed
    assert "after number 10" in restore(live)


@pytest.mark.parametrize("there", [pytest.param(b"x" * 8_192, id="damaged"), pytest.param(None, id="none")])
def test_where_nobody_knows_how_far_it_had_come_it_leaps_and_says_so(live: Tocsin, there: bytes | None) -> None:
    live.db.unlink()
    if there is not None:
        live.db.write_bytes(there)
    said = restore(live)
    assert "can't be read" in said if there else "no store was here" in said
    assert f"after number {5 + FEED_LEAP}," in said
    assert tell(live, 1) == [1, 2, 3, 4, 5, 6 + FEED_LEAP]


def test_a_store_with_damage_beside_its_feed_is_not_believed(live: Tocsin) -> None:
    tell(live, 4)
    data = bytearray(live.db.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    live.db.write_bytes(data)
    assert live.json("db", "restore", str(copy_of(live)))["feed_after"] == 5 + FEED_LEAP


def test_the_store_that_was_there_is_moved_aside_as_it_was(live: Tocsin) -> None:
    tell(live, 4)
    before = live.db.read_bytes()
    assert Path(live.json("db", "restore", str(copy_of(live)))["moved_aside"]).read_bytes() == before


def test_a_recording_has_no_feed_to_go_on_with(tocsin: Tocsin, tmp_path: Path) -> None:
    tocsin("db", "backup", str(tmp_path / "copy.db"))
    tocsin.db.unlink()
    assert tocsin.json("db", "restore", str(tmp_path / "copy.db"))["feed_after"] is None


def leapt(live: Tocsin) -> Store:
    """Return the store after a leap, with five events before it and two behind it."""
    live.db.unlink()
    restore(live)
    tell(live, 2)
    return open_store(live.db)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "lost"),
    [
        pytest.param(0, False, id="from the beginning"),
        pytest.param(3, False, id="within the copy"),
        pytest.param(5, False, id="the copy's last"),
        pytest.param(9, True, id="told since, and not kept"),
        pytest.param(5 + FEED_LEAP, True, id="just before it goes on"),
        pytest.param(6 + FEED_LEAP, False, id="told behind the leap"),
    ],
)
def test_who_follows_from_a_number_that_was_told_since_the_copy_hears_that_it_is_gone(
    live: Tocsin, after: int, lost: bool
) -> None:
    with leapt(live) as store:
        assert read(store, after).lost(after) is lost


@pytest.mark.parametrize("wanted", [pytest.param(ALL, id="all"), pytest.param(Filter(case="none"), id="filtered")])
def test_a_reader_comes_over_the_leap_without_a_gap(live: Tocsin, wanted: Filter) -> None:
    with leapt(live) as store:
        after, seen = 0, list[int]()
        for _ in range(4):
            page = read(store, after, wanted)
            assert not page.lost(after)
            seen += [entry.seq for entry in page.entries]
            after = page.next
        assert after == bounds(store)[1] == 7 + FEED_LEAP
        assert seen == ([1, 2, 3, 4, 5, 6 + FEED_LEAP, 7 + FEED_LEAP] if wanted is ALL else [])


def test_a_webhook_comes_over_the_leap_at_once_and_is_sent_each_event_once(live: Tocsin) -> None:
    with leapt(live) as store:
        rules = Rules(networks(["127.0.0.0/8"]), True)
        hook, _ = subscriptions.create(store, "http://127.0.0.1/", frozenset(), "cli:test", NOW_MS, rules, after=5)
        newest = bounds(store)[1]
        assert queue.fan_out(store, hook, newest, NOW_MS) == newest + 1
        found = [due.seq for due in queue.due(store, hook.id, NOW_MS, 10, ())]
    assert found == [6 + FEED_LEAP, 7 + FEED_LEAP]


def test_letting_go_of_what_is_old_steps_over_the_leap(live: Tocsin) -> None:
    with leapt(live) as store:
        assert prune_feed(store, NOW_MS + 1) == 6
        assert numbers(store) == [7 + FEED_LEAP]

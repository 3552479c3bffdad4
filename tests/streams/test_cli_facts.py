"""Telling a store of planned work, deployments and known noise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.pack import pack
from detector.watch.control import Fact, FactKind
from streams.clock import SystemClock
from streams.engines.embedded import apply_command
from streams.engines.lock import only_runner
from streams.engines.session import session
from streams.store import open_store, queries
from streams.store.documents import dump
from tests.servers.stores import new_store
from tests.streams.commands import Tocsin
from tests.streams.shop import BROKEN, MINUTES, START_MS, Shop, lines
from tests.streams.shop import rfc3339 as stamp
from tests.streams.test_embedded_live import World, follow

MINUTE_MS = 60_000
FIELDS = {"id", "kind", "signals", "where", "from", "until", "text", "by", "state"}
BNI = ("--where", "bank=BNI")


def at(minute: int) -> str:
    """A moment of the recording, in the local time of its configuration."""
    return f"2026-03-02T{9 + minute // 60:02d}:{minute % 60:02d}"


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tocsin:
    return Tocsin(tmp_path / "new.db", capsys)


# --- telling ----------------------------------------------------------------------------------------------------------


def test_a_mute_is_told_listed_and_ended(tocsin: Tocsin) -> None:
    told = tocsin.json("mute", "payment-declines", *BNI, "--for", "2h", "--reason", "BNI tests", "--by", "ani")
    assert set(told) == FIELDS
    assert (told["kind"], told["signals"], told["where"]) == ("mute", ["payment-declines"], {"bank": "BNI"})
    assert (told["text"], told["by"], told["state"]) == ("BNI tests", "ani", "active")
    assert told["from"] == stamp(START_MS + MINUTES * MINUTE_MS).replace(".000", "")
    assert tocsin.json("mute", "list") == [told] == tocsin.json("fact", "list")
    text = tocsin("mute", "list")
    for words in ("bank = BNI", "WIB", "active", "BNI tests", "ani"):
        assert words in text
    ended = tocsin.json("mute", "end", told["id"][:4], "--by", "budi")
    assert (ended["id"], ended["state"]) == (told["id"], "ended")
    assert tocsin.json("mute", "list", "--all") == [ended]


def test_the_short_form_is_the_long_one(tocsin: Tocsin) -> None:
    words = ("payment-declines", "--from", at(200), "--until", at(260))
    assert tocsin.json("mute", "add", *words)["state"] == "planned"
    tocsin("mute", *words, exits=2)
    assert "this has been told already" in tocsin.err


def test_what_was_ended_may_be_told_again(tocsin: Tocsin) -> None:
    words = ("fact", "maintenance", "--from", at(100), "--for", "3h", *BNI)
    told = tocsin.json(*words)
    tocsin("fact", "end", told["id"])
    assert tocsin.json(*words) == told
    assert [f["state"] for f in tocsin.json("fact", "list")] == ["active"]


def test_a_deployment_stands_beside_the_case_that_it_may_explain(tocsin: Tocsin) -> None:
    (case,) = tocsin.json("cases", "--all")
    assert case["facts"] == []
    told = tocsin.json("fact", "deployment", "--at", at(BROKEN.start - 4), *BNI, "--text", "connector 3.2", "--by", "a")
    shown = tocsin.json("cases", "show", case["id"])
    assert [f["id"] for f in shown["facts"]] == [told["id"]]
    last = shown["timeline"][-1]
    assert (last["what"], last["by"]) == ("deployment", "a")
    assert last["detail"].startswith("connector 3.2 (bank BNI), ")
    assert last["detail"].endswith(" min before the onset")
    assert "What was known\n  deployment: connector 3.2 (bank BNI)" in tocsin("cases", "show", case["id"])
    tocsin("fact", "end", told["id"])
    assert tocsin.json("cases", "show", case["id"])["facts"] == []


def test_times_may_state_their_zone(tocsin: Tocsin) -> None:
    one = tocsin.json("fact", "deployment", "--at", "2026-03-02T09:30", "--text", "a")
    other = tocsin.json("fact", "deployment", "--at", "2026-03-02T02:30:00Z", "--text", "b")
    assert one["from"] == other["from"] == one["until"] == "2026-03-02T02:30:00Z"


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["mute", "payment-declin", "--for", "2h"], 'did you mean "payment-declines"?', id="signal"),
        pytest.param(
            ["mute", "payment-declines", "--where", "bnk=BNI", "--for", "2h"],
            'where: expected a dimension of the signal (bank or city), found "bnk" (did you mean "bank"?)',
            id="dimension",
        ),
        pytest.param(["mute", "payment-declines", "--where", "bank", "--for", "2h"], "DIMENSION=VALUE", id="no-value"),
        pytest.param(
            ["mute", "payment-declines", *BNI, "--where", "bank=BRI", "--for", "2h"], "bank twice", id="twice"
        ),
        pytest.param(["mute", "payment-declines"], "--for: expected a duration such as 2h", id="for-ever"),
        pytest.param(["mute", "payment-declines", "--for", "two"], 'found "two"', id="no-duration"),
        pytest.param(["mute", "payment-declines", "--for", "2h", "--until", "now"], "found both", id="both"),
        pytest.param(["mute", "payment-declines", "--until", "2026-03-01T00:00"], "until: expected", id="past-end"),
        pytest.param(["fact", "maintenance", "--from", "noon", "--for", "2h"], "--from: expected a time", id="time"),
        pytest.param(["fact", "end", "abc"], "fact 'abc': there is none in", id="unknown"),
        pytest.param(["mute", "end", "abc"], "`tocsin mute list --all` lists them", id="unknown-mute"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tocsin: Tocsin, arguments: list[str], words: str) -> None:
    tocsin(*arguments, exits=2)
    assert words in tocsin.err
    assert tocsin.err.count("\n") == 1
    assert tocsin.json("fact", "list", "--all") == []


def test_a_value_that_no_event_had_is_taken_with_a_warning(tocsin: Tocsin) -> None:
    told = tocsin.json("mute", "payment-declines", "--where", "bank=BNL", "--for", "2h")
    assert told["where"] == {"bank": "BNL"}
    assert 'Warning: --where bank: no event of late had "BNL" (did you mean "BNI"?)' in tocsin.err


def test_a_mute_is_not_ended_as_long_as_its_id_is_that_of_another_kind(tocsin: Tocsin) -> None:
    told = tocsin.json("fact", "deployment", "--at", at(30))
    tocsin("mute", "end", told["id"], exits=2)
    assert tocsin.json("mute", "list", "--all") == []


# --- before, between and during runs ----------------------------------------------------------------------------------


def replay(db: Path, shop: Shop, *files: Path, **changes: Any) -> None:
    with session(db, shop.run(**changes), SystemClock(), mode="recording") as found:
        found.read([str(file) for file in files])


@pytest.mark.slow
def test_what_is_told_before_the_first_replay_counts_from_its_first_window(empty: Tocsin, shop: Shop) -> None:
    work = ("fact", "maintenance", "--from", at(0), "--for", "3h", *BNI)
    empty(*work, exits=2)
    assert "there is no store here" in empty.err
    told = empty.json(*work, "--config", str(shop.folder))
    assert told["state"] == "waiting"
    assert empty.json("fact", "list") == [told]
    empty("fact", "end", told["id"], exits=2)
    replay(empty.db, shop, shop.events)
    assert empty.json("cases", "--all") == []
    assert [f["state"] for f in empty.json("fact", "list")] == ["active"]


def test_a_store_without_events_asks_for_a_configuration(empty: Tocsin) -> None:
    new_store(empty.db).close()
    empty("fact", "maintenance", "--for", "2h", exits=2)
    assert "give --config DIR, and the first replay takes the fact first" in empty.err


def test_while_a_runner_is_at_work_it_is_left_for_it(tocsin: Tocsin) -> None:
    with only_runner(tocsin.db):
        told = tocsin.json("mute", "payment-declines", *BNI, "--for", "2h")
        assert told["state"] == "waiting"
        tocsin("mute", "payment-declines", "--where", "bnk=BNI", "--for", "2h", exits=2)
        assert tocsin.json("mute", "list") == [told]
    other = tocsin.json("mute", "payment-declines", "--where", "bank=BRI", "--for", "2h")
    assert [f["state"] for f in tocsin.json("mute", "list")] == ["active", "active"]
    with only_runner(tocsin.db):
        assert tocsin.json("mute", "end", other["id"])["state"] == "ending"


@pytest.mark.slow
def test_facts_between_two_replays_count_the_same_whatever_the_blocks(shop: Shop, tmp_path: Path) -> None:
    half = len(lines()) // 2
    files = [tmp_path / "one.ndjson", tmp_path / "two.ndjson"]
    for file, part in zip(files, (lines()[:half], lines()[half:]), strict=True):
        file.write_bytes(b"\n".join(part) + b"\n")
    told = Fact(
        id="f1",
        kind=FactKind.MUTE,
        from_ms=START_MS,
        until_ms=START_MS + (BROKEN.start + 10) * MINUTE_MS,
        where={"bank": "BNI"},
    )
    dumps = []
    for name, block_bytes in (("big", 1 << 20), ("small", 5_000)):
        db = tmp_path / f"{name}.db"
        replay(db, shop, files[0], block_bytes=block_bytes)
        with open_store(db) as store:
            assert apply_command(store, told, SystemClock())
        replay(db, shop, files[1], block_bytes=block_bytes)
        with open_store(db) as store:
            dumps.append(list(dump(store)))
            (case,) = queries.list_cases(store, finished=True)
    assert dumps[0] == dumps[1]
    assert case.detected_ms >= told.until_ms - 2 * MINUTE_MS
    assert case.facts == (told,)


@pytest.fixture
def living(shop: Shop, tmp_path: Path) -> Iterator[tuple[Path, World]]:
    until_ms = START_MS + (MINUTES + 30) * MINUTE_MS
    yield tmp_path / "live.db", World(tmp_path / "log.ndjson", until_ms=until_ms)


@pytest.mark.slow
def test_a_live_run_takes_what_is_told_while_it_works(shop: Shop, living: tuple[Path, World]) -> None:
    db, world = living
    until_ms = START_MS + (BROKEN.start + 12) * MINUTE_MS
    told = Fact(id="f1", kind=FactKind.MAINTENANCE, from_ms=START_MS, until_ms=until_ms, where={"bank": "BNI"})
    posted: list[int] = []

    def tell(_step: object) -> None:
        if not posted and world.now > START_MS + 30 * MINUTE_MS:
            with open_store(db) as store:
                posted.append(store.post(pack(told)))

    follow(db, world, shop.run(), tell)
    with open_store(db) as store:
        assert store.answer(posted[0]) == ("done", "")
        assert [known.fact for known in queries.facts(store)] == [told]
        (case,) = queries.list_cases(store, finished=True)
    assert [cause.where for cause in case.causes] == [{"bank": "BNI"}]
    assert until_ms <= case.detected_ms < until_ms + 8 * MINUTE_MS

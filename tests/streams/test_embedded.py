"""The runner: however it is cut, stopped and resumed, the same recording gives the same results."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from detector.config import Config
from detector.desk.records import CaseState, Command, Verb, Verdict
from detector.errors import UsageError
from streams.cli.replay import summary
from streams.clock import SystemClock
from streams.engines.embedded import Step, TooManyInvalidError, apply_command
from streams.engines.lock import RunnerActiveError, only_runner
from streams.engines.retry import retry
from streams.engines.session import InputFormat, Run, session
from streams.store import Store, open_store, queries
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.documents import affected_documents, dump
from tests.streams.shop import START_MS, Shop, lines, rfc3339, write

pytestmark = pytest.mark.slow

CLOCK = SystemClock()


def dumped(db: Path) -> list[dict[str, Any]]:
    with open_store(db) as store:
        return list(dump(store))


def replay(db: Path, run: Run, *files: Path, watch: Callable[[Step], None] | None = None) -> dict[str, Any]:
    with session(db, run, CLOCK, mode="recording", watch=watch) as found:
        found.read([str(file) for file in files])
        return summary(found.store)


def test_the_problem_is_found_and_its_customers_are_told_in_simulation(replayed: Path) -> None:
    with open_store(replayed) as store:
        (case,) = queries.list_cases(store, finished=True)
        assert [cause.where for cause in case.causes] == [{"bank": "BNI"}]
        assert case.notices.sent > 0
        told = [notice for notice in queries.notices(store, case.id) if notice.state == "simulated"]
        assert [d.outcome for d in queries.deliveries(store, told[0].id)] == ["simulated"]


def test_in_a_recording_a_send_is_simulated_at_its_logical_time_whatever_the_settings_say(
    replayed: Path, shop: Shop, tmp_path: Path
) -> None:
    run = shop.run()
    policy = msgspec.structs.replace(run.config.policy, send=True)
    sending = replace(run, config=msgspec.structs.replace(run.config, policy=policy))
    db = tmp_path / "sending.db"
    replay(db, sending, shop.events)
    assert dumped(db) == dumped(replayed)
    with open_store(db) as store:
        (case,) = queries.list_cases(store, finished=True)
        told = [notice for notice in queries.notices(store, case.id) if notice.decision == "send"]
        assert {d.at_ms - n.at_ms for n in told for d in queries.deliveries(store, n.id)} == {0}
        with store.reading() as connection:
            assert connection.execute(sa.select(t.outbox)).all() == []
        (in_force,) = store.in_force()
    assert in_force.hash == sending.config.hash != run.config.hash
    assert msgspec.json.decode(in_force.body, type=Config) == sending.config


@pytest.mark.slow
def test_an_erased_customer_who_fails_again_stays_erased(shop: Shop, replayed: Path, tmp_path: Path) -> None:
    db, part = tmp_path / "erased.db", tmp_path / "part.ndjson"
    data = shop.events.read_bytes()
    with half_way(shop, db, part) as store:
        (case,) = queries.list_cases(store)
        told = [n.customer for n in queries.notices(store, case.id) if n.decision == "send"]
        directory = CustomerDirectory(store)
        erased = [customer for key in told if (customer := directory.get(key)) is not None]
        assert len(erased) > 50
        for key in told:
            directory.erase(key)
        fails = [line for line in lines() if b'"declined"' in line and b"payment" in line]
        again = [msgspec.json.decode(line)["customer"] for line in fails[-400:]]
        names = {customer.id for customer in erased}
        part.write_bytes(data)
        replay(db, shop.run(customers=None), part)
        assert names & set(again)
        with store.reading() as connection:
            assert names.isdisjoint(row.id for row in connection.execute(sa.select(t.customer.c.id)))
        after = [n for key in told for n in queries.notices(store, case.id, key)]
        assert {n.reason for n in after if n.kind == "resolved"} <= {"unknown-customer"}
        listed = affected_documents(store, case.id)
    assert sum(row["customer"] == "(erased)" for row in listed) > 50
    assert names.isdisjoint(row["customer"] for row in listed)
    assert names.isdisjoint(document.get("customer") for document in dumped(db))


def test_every_record_is_counted_once_and_refused_ones_keep_their_bytes(shop: Shop, replayed: Path) -> None:
    data = shop.events.read_bytes()
    with open_store(replayed) as store:
        found = summary(store)
        assert found["events"] == data.count(b"\n")
        assert found["events"] == found["applied"] + sum(found["dropped"].values()) + sum(found["dead"].values())
        letters = queries.dead_letters(store)
    assert [letter.reason for letter in letters] == ["not-json", "missing-field"] * 2
    for letter in letters:
        assert data[letter.position :].startswith(letter.data + b"\n")
        assert letter.source == str(shop.events)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"commit_s": 1e9}, id="one commit at the end"),
        pytest.param({"block_bytes": 3_000}, id="small blocks, a commit after each"),
        pytest.param({"block_bytes": 50_000, "partitions": 3}, id="three partitions"),
    ],
)
def test_cadence_blocks_and_hash_key_change_nothing(
    shop: Shop, replayed: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    replay(tmp_path / "other.db", shop.run(**changes), shop.events)
    assert dumped(tmp_path / "other.db") == dumped(replayed)


def test_a_crash_between_any_two_steps_changes_nothing(shop: Shop, replayed: Path, tmp_path: Path) -> None:
    db, seen = tmp_path / "crashed.db", 0
    run = shop.run(block_bytes=40_000)

    def crash(_step: Step) -> None:
        nonlocal seen
        seen += 1
        if seen % 4 == 0:
            raise InterruptedError

    crashes = 0
    for _ in range(100):
        try:
            replay(db, run, shop.events, watch=crash)
        except InterruptedError:
            crashes += 1
        else:
            break
    assert crashes > 5
    assert dumped(db) == dumped(replayed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, id="term"), pytest.param(signal.SIGINT, id="int")])
def test_a_signal_stops_between_two_blocks_and_the_next_run_goes_on(
    shop: Shop, replayed: Path, tmp_path: Path, number: signal.Signals
) -> None:
    db, seen = tmp_path / "stopped.db", 0

    def stop(_step: Step) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            os.kill(os.getpid(), number)

    run = shop.run(block_bytes=40_000, commit_s=1e9)
    half = replay(db, run, shop.events, watch=stop)
    assert seen == 3
    whole = replay(db, run, shop.events)
    assert 0 < half["events"] < whole["events"]
    assert half["windows"] < whole["windows"]
    assert dumped(db) == dumped(replayed)


def test_a_finished_file_adds_nothing_and_a_grown_one_goes_on(shop: Shop, tmp_path: Path) -> None:
    data, file, db = shop.events.read_bytes(), tmp_path / "growing.ndjson", tmp_path / "grown.db"
    cut = data.index(b"\n", len(data) // 2) + 1
    file.write_bytes(data[:cut])
    first = replay(db, shop.run(), file)
    before = dumped(db)
    assert replay(db, shop.run(), file) == first
    assert dumped(db) == before
    file.write_bytes(data)
    second = replay(db, shop.run(), file)
    assert second["events"] == data.count(b"\n")


def test_several_files_are_one_recording(shop: Shop, replayed: Path, tmp_path: Path) -> None:
    data = shop.events.read_bytes()
    cuts = [0, data.index(b"\n", len(data) // 3) + 1, data.index(b"\n", len(data) // 2) + 1, len(data)]
    files = []
    for i, (start, end) in enumerate(pairwise(cuts)):
        files.append(tmp_path / f"{i}.ndjson")
        files[-1].write_bytes(data[start:end])
    replay(tmp_path / "several.db", shop.run(), *files)
    assert dumped(tmp_path / "several.db") == dumped(replayed)


def test_two_runners_on_one_store_are_one_too_many(shop: Shop, tmp_path: Path) -> None:
    db = tmp_path / "busy.db"
    open_store(db, create=True).close()
    with only_runner(db), pytest.raises(RunnerActiveError, match="another process"):
        replay(db, shop.run(), shop.events)


def test_the_configuration_in_force_is_recorded_with_its_first_window(tmp_path: Path) -> None:
    shop, db = write(tmp_path / "changing"), tmp_path / "changed.db"
    data = shop.events.read_bytes()
    cut = data.index(b"\n", len(data) // 3) + 1
    part = tmp_path / "part.ndjson"
    part.write_bytes(data[:cut])
    first = shop.run()
    replay(db, first, part)
    text = (shop.folder / "signals.yml").read_text(encoding="utf-8").replace("severity: high", "severity: critical")
    (shop.folder / "signals.yml").write_text(text, encoding="utf-8")
    second = shop.run()
    part.write_bytes(data)
    replay(db, second, part)
    with open_store(db) as store:
        found = store.in_force()
    assert [one.hash for one in found] == [first.config.hash, second.config.hash]
    starts = [one.from_window_ms or 0 for one in found]
    assert starts[0] == START_MS
    assert START_MS < starts[1] <= START_MS + 60 * 60_000


def test_another_number_of_partitions_is_refused(shop: Shop, tmp_path: Path) -> None:
    db = tmp_path / "parts.db"
    replay(db, shop.run(partitions=2), shop.events)
    with pytest.raises(UsageError, match="--partitions: expected 2"):
        replay(db, shop.run(partitions=3), shop.events)


def test_a_stream_that_is_nearly_all_invalid_stops_and_says_so(shop: Shop, tmp_path: Path) -> None:
    file, db = tmp_path / "noise.ndjson", tmp_path / "noise.db"
    good = lines()[:50]
    file.write_bytes(b"\n".join([*good, *([b"not an event"] * 20_000)]) + b"\n")
    with pytest.raises(TooManyInvalidError, match=r"no events \(most are not-json\)"):
        replay(db, shop.run(block_bytes=20_000), file)
    with open_store(db) as store:
        found = summary(store)
    assert found["applied"] > 40
    assert 1_000 <= found["dead"]["not-json"] < 5_000


def test_a_few_bad_records_among_few_stop_nothing(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "short.ndjson"
    file.write_bytes(b"not an event\n" * 999)
    assert replay(tmp_path / "short.db", shop.run(), file)["dead"] == {"not-json": 999}


def test_a_leap_into_the_future_closes_nothing_and_keeps_its_bytes(shop: Shop, replayed: Path, tmp_path: Path) -> None:
    every, file, db = lines(), tmp_path / "leap.ndjson", tmp_path / "leap.db"
    leap = b'{"id":"leap","time":"2036-01-01T00:00:00Z","kind":"payment","customer":"C-1","outcome":"approved"}'
    file.write_bytes(b"\n".join([*every[:300], leap, *every[300:]]) + b"\n")
    found = replay(db, shop.run(), file)
    assert found["dead"]["far-future"] == 1
    assert dumped(db) == dumped(replayed)
    with open_store(db) as store:
        (letter,) = queries.dead_letters(store, reason="far-future")
    assert letter.data == leap


# --- people -----------------------------------------------------------------------------------------------------------


def half_way(shop: Shop, db: Path, file: Path) -> Store:
    """Return a store in which the case is open."""
    every = lines()
    file.write_bytes(b"\n".join(every[: len(every) * 75 // 110]) + b"\n")
    replay(db, shop.run(), file)
    return open_store(db)


def test_a_command_is_applied_at_once_where_no_runner_is_at_work(shop: Shop, tmp_path: Path) -> None:
    with half_way(shop, tmp_path / "half.db", tmp_path / "half.ndjson") as store:
        (case,) = queries.list_cases(store)
        assert apply_command(store, Command(verb=Verb.ACKNOWLEDGE, case=case.id, by="ani"), CLOCK)
        (case,) = queries.list_cases(store)
        assert case.state is CaseState.ACKNOWLEDGED
        assert [entry.by for entry in queries.timeline(store, case.id) if entry.what == "acknowledged"] == ["ani"]
        with pytest.raises(UsageError, match="cannot be"):
            apply_command(store, Command(verb=Verb.ACKNOWLEDGE, case=case.id, by="ani"), CLOCK)


def test_a_command_waits_for_the_runner_that_is_at_work(shop: Shop, tmp_path: Path) -> None:
    db = tmp_path / "half.db"
    with half_way(shop, db, tmp_path / "half.ndjson") as store:
        (case,) = queries.list_cases(store)
        wish = Command(verb=Verb.DISMISS, case=case.id, by="ani", verdict=Verdict.EXPECTED)
        with only_runner(store.path):
            assert not apply_command(store, wish, CLOCK)
            assert not apply_command(store, msgspec.structs.replace(wish, case="unknown"), CLOCK)
        assert queries.list_cases(store) == [case]
        (tmp_path / "half.ndjson").write_bytes(b"\n".join(lines()) + b"\n")
        replay(db, shop.run(), tmp_path / "half.ndjson")
        assert queries.find_case(store, case.id).verdict is Verdict.EXPECTED
        assert store.answer(1) == ("done", "")
        assert store.answer(2)[0] == "refused"


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_a_dead_letter_is_taken_in_once_the_format_is_right(shop: Shop, tmp_path: Path) -> None:
    file, db = tmp_path / "shapes.ndjson", tmp_path / "shapes.db"
    moved = {"meta": {"at": rfc3339(START_MS + 109 * 60_000)}, "kind": "payment", "customer": "C-1", "bank": "BNI"}
    file.write_bytes(b"\n".join([*lines(), msgspec.json.encode(moved)]) + b"\n")
    run = shop.run()
    before = replay(db, run, file)
    mapped = InputFormat("moved", {"moved": {"time": "meta.at"}})
    with open_store(db) as store:
        letters = queries.dead_letters(store)
        found = retry(store, letters, CLOCK, (run.config, mapped))
        after = summary(store)
        assert (found.applied + sum(found.dropped.values()), found.left) == (1, 4)
        assert len(queries.dead_letters(store)) == 4
    assert after["events"] == before["events"]
    assert after["events"] == after["applied"] + sum(after["dropped"].values()) + sum(after["dead"].values())


@pytest.mark.slow
def test_a_leap_that_is_retried_alone_stays_a_dead_letter(shop: Shop, tmp_path: Path) -> None:
    every, file, db = lines(), tmp_path / "leap.ndjson", tmp_path / "leap.db"
    leap = b'{"id":"leap","time":"2036-01-01T00:00:00Z","kind":"payment","customer":"C-1","outcome":"approved"}'
    file.write_bytes(b"\n".join([*every[:300], leap, *every[300:]]) + b"\n")
    before = replay(db, shop.run(), file)
    with open_store(db) as store:
        letters = queries.dead_letters(store, reason="far-future")
        found = retry(store, letters, CLOCK, None)
        assert (found.applied, found.left) == (0, 1)
        assert summary(store)["dead"] == before["dead"]


def test_learning_only_opens_no_case(shop: Shop, tmp_path: Path) -> None:
    found = replay(tmp_path / "learn.db", shop.run(learn_only=True), shop.events)
    assert found["windows"] > 100
    assert found["cases"] == 0


def test_customers_are_taken_in_again_only_when_their_file_changed(tmp_path: Path) -> None:
    shop, db = write(tmp_path / "again"), tmp_path / "again.db"
    run = replace(shop.run(), customers=shop.folder / "customers.csv")
    for expected in (1, 0):
        (shop.folder / "customers.csv").write_text("id,phone\nC-1,nonsense\n", encoding="utf-8")
        with session(db, run, CLOCK, mode="recording") as found:
            assert len(found.bad_customers) == expected

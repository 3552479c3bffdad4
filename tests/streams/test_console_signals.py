"""The signals page: how each does, at what price; and the audit page: who did what, and that nothing was changed."""

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from detector.desk.records import CaseState, Verdict
from detector.signals import Mode
from streams.engines.operating import in_force
from streams.store import Store, audit, open_store, queries
from streams.store import tables as t
from streams.store.standing import speak
from streams.store.tokens import Scope
from streams.web.console.views import signals as views
from tests.servers.asking import Asking, asking
from tests.servers.cases import case, written
from tests.servers.pages import EVIL, escaped, page, text_of
from tests.servers.stores import new_store

END = 1_772_416_800_000 + 110 * 60_000
"""Of the run's last window."""


@pytest.fixture
def ran(replayed: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(replayed, tmp_path / "tocsin.db")
    with open_store(tmp_path / "tocsin.db") as found:
        yield found


@pytest.fixture
def ask(ran: Store) -> Iterator[Asking]:
    with asking(ran, Scope.ADMIN) as found:
        yield found


def look(store: Store) -> views.Signals:
    config = in_force(store)
    assert config is not None
    return views.signals(store, config, END, "en")


# --- how signals do ---------------------------------------------------------------------------------------------------


def test_a_signals_numbers_are_those_of_its_last_windows(ran: Store) -> None:
    found = look(ran)
    (signal,) = found.watched
    records = queries.newest_windows(ran, views.SPARK)
    counted = [int(record.signals[signal.name].total.sum()) for record in records]
    bad = [int(record.signals[signal.name].people.sum()) for record in records]
    assert signal.a_minute == pytest.approx(sum(counted) / views.SPARK)
    assert signal.bad_share == pytest.approx(sum(bad) / sum(counted))
    assert (signal.last_ms, found.last_ms) == (END, END)
    assert found.a_minute == pytest.approx(sum(record.events for record in records) / views.SPARK)
    assert signal.spark.most == max(counted) and len(signal.spark.heights) == views.SPARK
    assert signal.spark.heights[-1] == pytest.approx(counted[0] / max(counted), abs=0.001)
    assert found.refused == pytest.approx(4 / found.events)


def test_windows_are_decoded_once(ran: Store) -> None:
    first = views.windows(ran, 10)
    asked = list[str]()
    sa.event.listen(ran.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert views.windows(ran, 10) == first
    assert not [text for text in asked if "window_record.data" in text]


@given(st.dictionaries(st.integers(0, 9), st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=10))
def test_columns_are_shares_of_the_highest_and_what_is_missing_is_none(found: dict[int, tuple[int, int]]) -> None:
    made = views.spark([(at * 60, sums) for at, sums in found.items()], 9 * 60, 60, 10)
    assert len(made.heights) == len(made.bad) == 10
    assert all(0 <= value <= 1 for value in (*made.heights, *made.bad))
    for at in range(10):
        counted = found.get(at, (0, 0))[0]
        assert (made.heights[at] == 0) == (counted == 0)
        assert counted != made.most or made.most == 0 or made.heights[at] == 1


def test_thresholds_are_what_the_engines_said_and_a_recordings_own(ran: Store) -> None:
    (signal,) = look(ran).watched
    assert signal.thresholds is not None and [level.level for level in signal.thresholds.levels] == [0, 1, 2]
    level = {"level": 0, "segments": 1, "threshold_nats": 9.5, "source": "own peaks", "noise": 0.1}
    said = {"signal": signal.name, "mean": 0.1, "hours": 2, "shift_nats": -0.5, "levels": [level]}
    speak(ran, "work", 1, END, {"operating": [said]})
    (signal,) = look(ran).watched
    assert signal.thresholds == views.Thresholds(0.1, 2, -0.5, (views.Level(0, 1, 9.5, "own peaks"),))


def test_last_cases_have_their_verdicts_and_cost_the_budget(ran: Store, ask: Asking) -> None:
    false = {"verdict": Verdict.NOT_A_PROBLEM, "state": CaseState.DISMISSED, "opened_ms": END, "detected_ms": END - 1}
    written(ran, case(7, **false), case(8, **false), case(9, mode=Mode.SHADOW))
    (signal,) = look(ran).watched
    assert [(one.id, one.verdict) for one in signal.cases[:2]] == [
        (case(8).id, "not-a-problem"),
        (case(7).id, "not-a-problem"),
    ]
    live = next(budget for budget in look(ran).budgets if budget.of == "live")
    assert live.spent == 2 and not live.periods[0].kept
    said = text_of(page(ask, "/signals"))
    assert "2 of 1 spent, over" in said and "was no problem" in said
    assert "2 dari 1 terpakai, terlampaui" in text_of(page(ask, "/signals", "id"))


def test_a_store_without_windows_and_a_configuration_without_signals_say_so(tmp_path: Path) -> None:
    with new_store(tmp_path / "tocsin.db") as store, asking(store, Scope.READ) as ask:
        said = text_of(page(ask, "/signals"))
        assert "No window of events has closed yet." in said and "No case yet." in said
        assert "none in the last 60 windows" in said and "The engines have not said yet." in said


def test_each_table_of_signals_is_a_file(ran: Store, ask: Asking) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("GET", "/signals", params={"csv": "signals"}).text)))
    assert [row["signal"] for row in rows] == ["payment-declines"]
    budgets = list(csv.DictReader(io.StringIO(ask("GET", "/signals", params={"csv": "budgets"}).text)))
    assert {row["budget"] for row in budgets} == {"live"} and all(row["allowed"] == "1" for row in budgets)


@pytest.mark.slow
def test_what_others_write_never_becomes_markup_among_signals(ran: Store, ask: Asking) -> None:
    evil = case(7, title={"en": EVIL, "id": EVIL}, opened_ms=END)
    written(ran, evil)
    html = page(ask, "/signals")
    assert escaped(html) and "alert(1)" in html


# --- the audit log ----------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "audit.db") as found:
        with found.transaction() as connection:
            for n in range(120):
                who, what = ("person:ani", "case.approve") if n % 3 else ("person:budi_1", "kill-switch.on")
                audit.record(connection, "default", who, what, f"case:c{n}", f"number {n}", END + n * 3_600_000)
        yield found


def seqs(html: str) -> list[int]:
    return [int(part.partition("<")[0]) for part in html.split('<td class="num quiet">')[1:]]


@pytest.mark.slow
def test_the_log_is_for_administrators_alone(log: Store) -> None:
    for scope in (Scope.READ, Scope.OPERATE, Scope.INGEST):
        with asking(log, scope) as other:
            page(other, "/audit", status=403)
            assert scope is Scope.INGEST or 'href="/audit"' not in page(other, "/signals")


@pytest.mark.slow
def test_the_log_comes_in_pages_newest_first_and_filtered(log: Store) -> None:
    with asking(log, Scope.ADMIN) as ask:
        first = seqs(page(ask, "/audit"))
        assert len(first) == 50 and first == sorted(first, reverse=True)
        html = page(ask, "/audit", before=str(first[-1]))
        assert seqs(html)[0] == first[-1] - 1 and "First page" in html
        mine = audit.newest(log, who="budi_1", limit=500)
        assert len(mine) == 40 and seqs(page(ask, "/audit", who="budi_1", what="kill"))[:3] == [e.seq for e in mine[:3]]
        assert seqs(page(ask, "/audit", target="case:c7")) == [80, 79, 78, 77, 76, 75, 74, 73, 72, 71, 8]
        assert audit.newest(log, who="budi%", limit=5) == [] == audit.newest(log, who="bud__1", limit=5)
        day = page(ask, "/audit", since="2026-03-03", until="2026-03-03")
        assert len(seqs(day)) == 24
        assert "No row is like that." in page(ask, "/audit", who="nobody")
        for odd in ("2026-99-99", "0001-01-01", "9999-12-31", "x", "\0"):
            page(ask, "/audit", since=odd, until=odd, before=odd)
        assert 'href="/cases/c7"' in page(ask, "/audit", target="case:c7")


def test_beside_a_recording_the_log_tells_whole_dates_and_not_how_far_ahead_they_lie(ran: Store) -> None:
    with ran.transaction() as connection:
        audit.record(connection, "default", "person:ani", "signed-in", "", "", END + 264 * 86_400_000)
    with asking(ran, Scope.ADMIN) as ask:
        html = page(ask, "/audit", who="ani")
    assert "signed-in" in html and " 2026 " in text_of(html) and 'class="ago"' not in html


def test_the_log_is_checked_when_asked_and_a_change_shows(log: Store) -> None:
    with asking(log, Scope.ADMIN) as ask:
        said = text_of(page(ask, "/audit", verify="1"))
        heads = {entry.chain.hex() for entry in audit.newest(log, limit=5)}
        assert "rows follow from one another" in said and any(head in said for head in heads)
        with log.transaction() as connection:
            connection.execute(sa.update(t.audit).where(t.audit.c.seq == 60).values(who="person:eve"))
        assert "Row 60 does not follow from the one before it" in text_of(page(ask, "/audit", verify="1"))


@pytest.mark.slow
def test_the_log_is_a_file_as_it_is_filtered(log: Store) -> None:
    with asking(log, Scope.ADMIN) as ask:
        answer = ask("GET", "/audit", params={"csv": "1", "who": "budi_1"})
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(rows) == 40 and {row["who"] for row in rows} == {"person:budi_1"}


def test_what_others_write_never_becomes_markup_in_the_log(log: Store) -> None:
    with log.transaction() as connection:
        audit.record(connection, "default", EVIL, "case.approve", f"case:{EVIL}", EVIL, END)
    with asking(log, Scope.ADMIN) as ask:
        assert escaped(page(ask, "/audit")) and escaped(page(ask, "/audit", who=EVIL, what=EVIL, target=EVIL))

"""The commands that read and work on a store: their machine output, and what people see."""

import base64
import csv
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from detector.desk.records import Check, Decision, DeskEffects, Kind, NoticeState, TimelineEntry
from detector.pipeline import Effects
from detector.watch.anomaly import Cause
from streams.cli.main import main
from streams.cli.words import story, where
from streams.clock import SystemClock
from streams.engines.lock import only_runner
from streams.store import open_store, queries
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.documents import rfc3339
from streams.store.spreadsheet import guarded
from tests.streams.commands import Tocsin
from tests.streams.shop import START_MS, Shop, lines
from tests.streams.shop import rfc3339 as stamp

CASE_FIELDS = {
    "id",
    "mode",
    "title",
    "state",
    "severity",
    "signals",
    "onset",
    "detected_at",
    "opened_at",
    "ended_at",
    "resolved_at",
    "causes",
    "evidence",
    "affected",
    "notices",
    "verdict",
}


@pytest.fixture
def case(tocsin: Tocsin) -> str:
    (found,) = tocsin.json("cases", "--all")
    return str(found["id"])


# --- cases ------------------------------------------------------------------------------------------------------------


def test_cases_have_the_fixed_fields(tocsin: Tocsin) -> None:
    (found,) = tocsin.json("cases", "list", "--all")
    assert set(found) >= CASE_FIELDS
    assert found["signals"] == ["payment-declines"]
    assert found["causes"][0]["where"] == {"bank": "BNI"}
    assert set(found["evidence"]) == {"expected", "observed", "score"}
    assert set(found["affected"]) == {"confirmed", "likely", "still_failing", "recovered"}
    assert {"sent", "held", "dropped"} <= set(found["notices"])
    assert found["onset"] < found["detected_at"] <= found["opened_at"]
    assert found["onset"].endswith("Z")


def test_a_case_is_shown_with_its_evidence_and_story(tocsin: Tocsin, case: str) -> None:
    text = tocsin("cases", "show", case[:5])
    for words in ("Payments are declined", "WIB", "bank = BNI", "observed", "expected ", "opened", "confirmed"):
        assert words in text
    assert "\x1b" not in text
    assert "Why we think so\n  payment-declines, bank = BNI\n    " in text
    assert " failed where " in text and "passed the threshold of" in text
    full = tocsin.json("cases", "show", case)
    told = [(entry["at"], entry["what"]) for entry in full["timeline"]]
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    assert (full["opened_at"], "opened") in told
    (why,) = full["why"]
    assert (why["signal"], why["counted"], why["causes"][0]["where"]) == ("payment-declines", "failed", {"bank": "BNI"})
    assert why["score_nats"] > why["threshold_nats"] > 0
    assert "tried. " in why["words"]["en"] and "mencoba. " in why["words"]["id"]
    assert full["points"][0].keys() == {"signal", "window", "observed", "expected", "trials", "low", "high"}
    assert case[:8] in tocsin("cases", "--all")


def test_a_stretch_of_notices_is_one_line_of_the_story(tocsin: Tocsin, case: str) -> None:
    lines = tocsin("cases", "show", case).partition("\nStory\n")[2].splitlines()
    entries = tocsin.json("cases", "show", case)["timeline"]
    pattern = re.compile(r"notices: (?:would have )?told ([\d,]+)(?: \(dry run\))?, held ([\d,]+)")
    shown = [pattern.search(line) for line in lines]
    each = [pattern.search(f"{entry['what']}: {entry['detail']}") for entry in entries]
    for group in (1, 2):
        sums = [sum(int(m[group].replace(",", "")) for m in found if m) for found in (shown, each)]
        assert sums[0] == sums[1]
    stretches = sum(summed for summed, _ in groupby(map(bool, each)))
    assert len(lines) == each.count(None) + stretches
    assert sum(map(bool, each)) > sum(map(bool, shown)) > 0
    assert re.search(r"would have told \d+ \(dry run\), held \d+ \(2 Mar \d\d:\d\d–\d\d:\d\d\)", "\n".join(lines))


def test_what_was_only_simulated_is_not_said_to_have_gone_out(tocsin: Tocsin, case: str) -> None:
    sums, text = tocsin.json("cases", "show", case)["notices"], tocsin("cases", "show", case)
    assert sums["simulated"] == sums["sent"] > 0
    assert f"{sums['sent']:,} notices would have gone out (dry run)" in text
    assert f"notices: 0 sent, {sums['sent']:,} would have been sent (dry run)" in text
    assert not re.search(r"notices went out|notices: told", text)


def told(at: str, detail: str, what: str = "notices") -> TimelineEntry:
    at_ms = int(datetime.fromisoformat(f"2026-03-{at}+00:00").timestamp() * 1_000)
    return TimelineEntry(tenant="", case="", seq=0, n=0, at_ms=at_ms, what=what, detail=detail)


def test_a_story_keeps_its_order_and_dates_a_stretch_over_midnight() -> None:
    entries = [
        told("02T21:00:00", "login: BNI", "opened"),
        told("02T22:10:00", "told 1_000, held 0"),
        told("02T22:10:00", "told 1200, held 3"),
        told("03T06:00:00", "told 1, held 0"),
        told("03T07:00:00", "", "recovering"),
        told("03T07:01:00", "told 0, held 2"),
    ]
    assert story(entries, "UTC") == [
        "2 Mar 21:00 UTC  opened: login: BNI",
        "2 Mar 22:10 UTC  notices: told 1_000, held 0",
        "2 Mar 22:10 UTC  notices: told 1,201, held 3 (2 Mar 22:10–3 Mar 06:00)",
        "3 Mar 07:00 UTC  recovering",
        "3 Mar 07:01 UTC  notices: told 0, held 2",
    ]


def test_a_value_that_is_missing_is_told_from_one_that_says_none() -> None:
    assert where(Cause({"user": "", "known": "no"}, 1.0)) == "user = (none), known = no"
    assert where(Cause({"user": "none"}, 1.0)) == "user = none"


def test_a_case_that_is_not_there_is_wrong_usage(tocsin: Tocsin) -> None:
    tocsin("cases", "show", "nothing", exits=2)
    assert "there is none" in tocsin.err
    for command in (("affected", "nothing"), ("why", "C-1", "nothing"), ("cases", "ack", "nothing")):
        tocsin(*command, exits=2)


def test_working_on_a_case_changes_it_and_is_told(tocsin: Tocsin, case: str) -> None:
    done = tocsin.json("cases", "dismiss", case[:6], "--verdict", "expected", "--by", "ani")
    assert (done["state"], done["verdict"]) == ("dismissed", "expected")
    assert tocsin.json("cases") == []
    assert "Nothing is wrong that we can see" in tocsin("cases")
    assert "dismissed by ani" in tocsin("cases", "show", case)
    tocsin("cases", "ack", case, exits=2)
    assert "dismissed" in tocsin.err


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        pytest.param("resolve", "real", id="resolved, real"),
        pytest.param("resolve", "expected", id="resolved, expected"),
        pytest.param("dismiss", "not-a-problem", id="dismissed, no problem"),
        pytest.param("dismiss", "expected", id="dismissed, expected"),
    ],
)
def test_every_verdict_that_is_offered_is_taken(tocsin: Tocsin, case: str, command: str, verdict: str) -> None:
    assert verdict in tocsin_help(tocsin, command)
    assert tocsin.json("cases", command, case, "--verdict", verdict)["verdict"] == verdict


@pytest.mark.parametrize(("command", "verdict"), [("resolve", "not-a-problem"), ("dismiss", "real")])
def test_a_verdict_that_would_be_refused_is_not_offered(tocsin: Tocsin, case: str, command: str, verdict: str) -> None:
    assert verdict not in tocsin_help(tocsin, command)
    tocsin("cases", command, case, "--verdict", verdict, exits=2)
    assert "is not one of" in tocsin.err


def tocsin_help(tocsin: Tocsin, command: str) -> str:
    """Return the line of `--verdict` in a command's help."""
    return next(line for line in tocsin("cases", command, "--help").splitlines() if "--verdict" in line)


def two_problems() -> list[bytes]:
    """Return 80 minutes in which one bank declines, and one version's logins fail, of other customers."""
    chance, out = random.Random(1), []
    for minute in range(80):
        for i in range(120):
            kind, where, bad = ("payment", "bank", "declined") if i % 2 else ("login", "app", "failure")
            value = chance.choice("abcde")
            failed = chance.random() < (0.7 if value == "a" and minute >= 60 else 0.03)
            event = {
                "time": stamp(START_MS + minute * 60_000 + i * 500),
                "kind": kind,
                "customer": f"{kind}-{chance.randrange(2_000)}",
                "outcome": bad if failed else "fine",
                where: value,
            }
            out.append(msgspec.json.encode(event))
    return out


@pytest.fixture(scope="module")
def two_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run with two cases, both open."""
    folder = tmp_path_factory.mktemp("two")
    signal = """
  {kind}s:
    title: {{en: {kind}s fail, id: {kind} gagal}}
    events: {{kind: {kind}}}
    bad: {{outcome: {bad}}}
    measure: share
    dimensions: [{where}]
    mode: live
"""
    parts = (("payment", "declined", "bank"), ("login", "failure", "app"))
    texts = (signal.format(kind=kind, bad=bad, where=where) for kind, bad, where in parts)
    (folder / "signals.yml").write_text("signals:" + "".join(texts), encoding="utf-8")
    (folder / "events.ndjson").write_bytes(b"\n".join(two_problems()) + b"\n")
    db = folder / "two.db"
    assert main(["replay", "--config", str(folder), "--db", str(db), str(folder / "events.ndjson")]) == 0
    return db


def merged(two_cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Tocsin, Any, Any]:
    """Return a copy of the store in which the first case went into the second, and what the two were before."""
    tocsin = Tocsin(tmp_path / "merged.db", capsys)
    shutil.copy(two_cases, tocsin.db)
    capsys.readouterr()
    first, second = tocsin.json("cases")
    done = tocsin.json("cases", "merge", first["id"][:6], second["id"][:6], "--by", "ani")
    assert (done["state"], done["merged_into"]) == ("merged", second["id"])
    return tocsin, first, second


@pytest.mark.slow
def test_a_case_is_merged_into_another_that_goes_on(
    two_cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tocsin, first, second = merged(two_cases, tmp_path, capsys)
    assert first["signals"] != second["signals"]
    (left,) = tocsin.json("cases", "--all")
    assert left["id"] == second["id"]
    assert set(left["signals"]) == {"payments", "logins"}
    assert "merged by ani" in tocsin("cases", "show", first["id"])
    for source, into in ((first["id"], second["id"]), (second["id"], second["id"]), (second["id"], "nothing")):
        tocsin("cases", "merge", source, into, exits=2)
        assert tocsin.err.count("\n") == 1


@pytest.mark.slow
def test_who_was_hit_goes_with_the_case_that_is_merged(
    two_cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tocsin, first, second = merged(two_cases, tmp_path, capsys)
    (left,) = tocsin.json("cases")
    hit = [case["affected"]["confirmed"] + case["affected"]["likely"] for case in (first, second, left)]
    assert hit[2] == hit[0] + hit[1] > 100


@pytest.mark.slow
def test_a_case_is_split_again_by_the_names_of_its_anomalies(
    two_cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tocsin, first, second = merged(two_cases, tmp_path, capsys)
    anomalies = {why["signal"]: why["anomaly"] for why in tocsin.json("cases", "show", second["id"])["why"]}
    leaving, staying = (anomalies[case["signals"][0]] for case in (first, second))
    assert tocsin.json("cases", "split", second["id"], leaving[:8], "--by", "ani")["signals"] == second["signals"]
    cases = tocsin.json("cases")
    assert {tuple(case["signals"]) for case in cases} == {tuple(first["signals"]), tuple(second["signals"])}
    assert "split by ani" in tocsin("cases", "show", second["id"])
    tocsin("cases", "split", second["id"], staying, exits=2)
    assert "splitting takes" in tocsin.err and tocsin.err.count("\n") == 1


def test_a_case_is_assigned_remarked_on_held_and_approved(tocsin: Tocsin, case: str) -> None:
    assert tocsin.json("cases", "assign", case, "rina")["assignee"] == "rina"
    tocsin("cases", "assign", case, "rina", exits=2)
    assert "assigned to rina already" in tocsin.err
    tocsin("cases", "comment", case, "the bank\nknows", "--by", "ani")
    tocsin("cases", "hold", case)
    assert "is held: " in tocsin.err and "still" not in tocsin.err
    assert tocsin.json("cases", "approve", case, "--sample", "2")["approval"] == "sample"
    tocsin("cases", "approve", case, "--sample", "0", exits=2)
    shown = tocsin("cases", "show", case)
    assert "assigned to rina" in shown
    assert "approval: sample" in shown
    assert "commented by ani: the bank knows" in shown
    assert tocsin.json("cases", "approve", case)["approval"] == "approved"


def test_those_who_wait_are_told_once_that_they_can_try_again(tocsin: Tocsin, case: str) -> None:
    before = tocsin.json("cases", "show", case)["notices"]
    after = tocsin.json("cases", "try-again", case, "--by", "ani")["notices"]
    assert sum(after["dropped"].values()) + after["sent"] + after["held"] > (
        sum(before["dropped"].values()) + before["sent"] + before["held"]
    )
    tocsin("cases", "try-again", case, exits=2)
    assert "nobody who was told of it still waits" in tocsin.err


def test_a_command_beside_a_runner_is_left_for_it(tocsin: Tocsin, case: str) -> None:
    with only_runner(tocsin.db):
        tocsin("cases", "resolve", case)
    assert "left for the runner" in tocsin.err
    with open_store(tocsin.db) as store:
        assert len(store.waiting()) == 1


# --- who --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_affected_lists_who_is_hit_with_what_was_decided(tocsin: Tocsin, case: str) -> None:
    found = tocsin.json("affected", case)
    (listed,) = tocsin.json("cases", "--all")
    assert len(found) == listed["affected"]["confirmed"] + listed["affected"]["likely"]
    assert [row["customer"] for row in found] == sorted(row["customer"] for row in found)
    fields = {"customer", "grade", "state", "probability", "first_failure", "last_failure", "tries", "last_success"}
    assert set(found[0]) >= fields | {"notices"}
    notices = [notice for row in found for notice in row["notices"]]
    assert set(notices[0]) == {"kind", "channel", "state", "reason", "at"}
    assert {notice["state"] for notice in notices} >= {"simulated", "dropped"}
    table = tocsin("affected", case)
    assert found[0]["customer"] in table


def test_csv_is_the_same_list_and_computes_nothing(tocsin: Tocsin, case: str) -> None:
    rows = list(csv.DictReader(io.StringIO(tocsin("affected", case, "--csv"))))
    assert [row["customer"] for row in rows] == [row["customer"] for row in tocsin.json("affected", case)]


@pytest.mark.parametrize("text", ["=1+1", "+628123", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_cell_that_a_spreadsheet_would_compute_is_text(text: str) -> None:
    assert guarded(text) == f"'{text}"


def test_why_names_the_decision_and_every_check(tocsin: Tocsin, case: str) -> None:
    rows = tocsin.json("affected", case)
    told = next(row for row in rows if any(n["state"] == "simulated" for n in row["notices"]))
    found = tocsin.json("why", told["customer"], case)
    assert found["decision"] == "send"
    assert {"decision", "reason", "until", "checks"} <= set(found)
    assert {"rule", "decision", "reason", "detail"} <= set(found["checks"][0])
    assert tocsin.json("why", "user" + told["customer"][2:], case) == found
    not_told = next(row for row in rows if row["notices"] and row["notices"][0]["state"] == "dropped")
    found = tocsin.json("why", not_told["customer"], case)
    assert (found["decision"], found["reason"]) == ("drop", not_told["notices"][0]["reason"])
    assert not_told["notices"][0]["reason"] in tocsin("why", not_told["customer"], case)


def stale_drop(tocsin: Tocsin, case: str) -> str:
    """Return a customer who was told; what they were owed then was dropped as stale."""
    rows = tocsin.json("affected", case)
    told = next(row for row in rows if [n["kind"] for n in row["notices"] if n["state"] == "simulated"] == ["problem"])
    with open_store(tocsin.db) as store:
        key = CustomerDirectory(store).find(told["customer"])
        (problem,) = queries.notices(store, case, key)
        checks = tuple(
            Check(check.rule, Decision.DROP, "stale") if check.rule == "freshness" else check
            for check in problem.checks
        )
        owed = msgspec.structs.replace(
            problem,
            id="0" * 32,
            kind=Kind.RESOLVED,
            decision=Decision.DROP,
            state=NoticeState.DROPPED,
            reason="stale",
            at_ms=problem.at_ms + 1,
            checks=checks,
        )
        store.commit(Effects(desk=DeskEffects(notices=[owed])))
    return str(told["customer"])


def test_why_shows_every_notice_with_its_own_checks_and_the_rule_that_decided(tocsin: Tocsin, case: str) -> None:
    customer = stale_drop(tocsin, case)
    found = tocsin.json("why", customer, case)
    assert (found["kind"], found["decision"], found["rule"]) == ("problem", "send", None)
    assert {check["decision"] for check in found["checks"]} == {"send"}
    problem, owed = found["notices"]
    assert problem["checks"] == found["checks"]
    assert (owed["kind"], owed["decision"], owed["reason"], owed["rule"]) == ("resolved", "drop", "stale", "freshness")
    assert [c["rule"] for c in owed["checks"] if c["decision"] == "drop"] == ["freshness"]
    text = tocsin("why", customer, case)
    first, second = text.index("problem: send"), text.index("resolved: drop by the rule freshness (stale)")
    tables = text[first:second], text[second:]
    assert ["stale" in table.split("\n", 1)[1] for table in tables] == [False, True]


@pytest.mark.slow
def test_why_of_somebody_who_was_not_hit_is_no(tocsin: Tocsin, case: str) -> None:
    hit = {row["customer"] for row in tocsin.json("affected", case)}
    other = next(name for name in (f"C-{i}" for i in range(1, 3_000)) if name not in hit)
    assert tocsin.json("why", other, case, exits=1)["decision"] is None
    tocsin("why", "nobody at all", case, exits=2)


# --- dump -------------------------------------------------------------------------------------------------------------


def test_the_dump_is_sorted_ndjson_without_hashes(tocsin: Tocsin) -> None:
    documents = [json.loads(line) for line in tocsin("dump").splitlines()]
    kinds = [document["type"] for document in documents]
    assert kinds == sorted(kinds, key=["case", "ledger", "notice"].index)
    ledger = [(d["case"], d["customer"]) for d in documents if d["type"] == "ledger"]
    assert ledger == sorted(ledger)
    notices = [(d["case"], d["customer"], d["kind"], d["episode"]) for d in documents if d["type"] == "notice"]
    assert notices == sorted(notices)
    assert all(d["customer"].startswith("C-") for d in documents if "customer" in d)
    assert all(round(d["probability"], 6) == d["probability"] for d in documents if d["type"] == "ledger")


@pytest.mark.slow
def test_the_dump_of_an_erased_customer_names_nobody(tocsin: Tocsin, case: str) -> None:
    customer = tocsin.json("affected", case)[0]["customer"]
    tocsin("customers", "erase", customer, "--yes")
    documents = [json.loads(line) for line in tocsin("dump").splitlines()]
    assert customer not in {d.get("customer") for d in documents}
    assert "(erased)" in {d.get("customer") for d in documents}
    assert "(erased)" in tocsin("affected", case)


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_shown_and_still_none(tocsin: Tocsin) -> None:
    found = tocsin.json("dead")
    assert [letter["reason"] for letter in found] == ["not-json", "missing-field"] * 2
    assert {"source", "position", "reason", "path", "bytes"} <= set(found[0])
    assert base64.b64decode(found[0]["bytes"]) == b"no event at all"
    assert [d["path"] for d in tocsin.json("dead", "list", "--reason", "missing-field")] == ["$.time"] * 2
    assert "no event at all" in tocsin("dead")
    assert "no event at all" in tocsin("dead", "show", str(found[0]["n"]))
    tocsin("dead", "show", "999", exits=2)
    assert tocsin.json("dead", "retry", exits=1) == {"applied": 0, "dropped": {}, "left": 4}
    assert tocsin.json("dead") == found


# --- customers --------------------------------------------------------------------------------------------------------


def test_customers_are_imported_shown_opted_out_and_erased(tocsin: Tocsin, tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text("id,name,phone,consent\nN-1,Ani,0812-3456-7890,all\nN-2,Budi,nonsense,all\n", encoding="utf-8")
    found = tocsin.json("customers", "import", str(file), exits=1)
    assert found == {
        "imported": 1,
        "rejected": [
            {"line": 3, "column": "phone", "found": "nonsense", "allowed": "a phone number such as +628123456789"}
        ],
    }
    assert tocsin.json("customers", "show", "+62 812 3456 7890")["consent"] == ["all"]
    tocsin("customers", "opt-out", "N-1")
    assert tocsin.json("customers", "show", "N-1")["consent"] == []
    found = tocsin.json("customers", "erase", "N-1", "--yes")
    assert found["removed"] == {"customers": 1, "aliases": 1, "dead_letters": 0, "remarks": 0}
    assert found["remains"]["copies"] == []
    tocsin("customers", "show", "N-1", exits=2)
    assert tocsin.json("customers")["known"] == 2_899
    assert "2,899 customers" in tocsin("customers", "show")


def test_erasing_asks_first(tocsin: Tocsin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    tocsin("customers", "erase", "C-1", exits=130)
    assert tocsin.json("customers", "show", "C-1")["name"] == "Name 1"


# --- replay -----------------------------------------------------------------------------------------------------------


def test_replay_prints_its_sums_and_adds_nothing_when_run_again(tocsin: Tocsin, shop: Shop) -> None:
    again = tocsin.json("replay", "--config", str(shop.folder), str(shop.events))
    assert set(again) == {"events", "applied", "dropped", "dead", "windows", "cases", "notices"}
    assert again["events"] == len(lines())
    assert (again["cases"], again["dead"]) == (1, {"missing-field": 2, "not-json": 2})
    text = tocsin("replay", "--config", str(shop.folder), str(shop.events))
    assert f"{len(lines()):,} events" in text
    assert "tocsin cases --all --db" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--follow", "a", "b"), "expected one FILE", id="two files to follow"),
        pytest.param(("missing.ndjson",), "missing.ndjson", id="no such file"),
        pytest.param(("--format", "unheard-of", "/dev/null"), "unheard-of", id="no such format"),
    ],
)
def test_replay_refuses_what_it_cannot_do(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    db = tmp_path / "new.db"
    assert main(["replay", "--config", str(shop.folder), "--db", str(db), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert "unheard-of" in arguments or not db.exists()


def test_sshd_brings_its_own_signal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "auth.log"
    line = "Mar 27 13:06:56 host sshd[1]: Failed password for invalid user admin from 10.0.0.1 port 4 ssh2\n"
    log.write_text(line * 3 + "Mar 27 13:06:57 host cron[2]: session opened\n", encoding="utf-8")
    db = tmp_path / "ssh.db"
    assert main(["replay", "--format", "sshd", "--year", "2025", "--db", str(db), "--json", str(log)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["events"], found["applied"], found["dropped"]) == (4, 3, {"not-an-event": 1})
    with open_store(db) as store:
        assert len(store.in_force()) == 1


def sshd(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    """Replay a log into `ssh.db`: what it printed, and what it said."""
    db = str(tmp_path / "ssh.db")
    assert main(["replay", "--format", "sshd", "--db", db, "--json", *arguments]) == 0
    found = capsys.readouterr()
    return json.loads(found.out), found.err


FAILED = "{} 13:06:56 host sshd[1]: Failed password for invalid user admin from 10.0.0.1 port 4 ssh2\n"
_2026_04_20_S = 1_776_643_200


def windows(tmp_path: Path) -> list[int]:
    with open_store(tmp_path / "ssh.db") as store, store.reading() as connection:
        return [row.window_ms for row in connection.execute(sa.select(t.window_record.c.window_ms))]


@pytest.mark.slow
def test_without_a_year_it_is_taken_from_the_file_and_kept_when_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "auth.log"
    log.write_text(FAILED.format("Dec 31") + FAILED.format("Jan  1"), encoding="utf-8")
    os.utime(log, (_2026_04_20_S, _2026_04_20_S))
    found, said = sshd(tmp_path, capsys, str(log))
    assert (found["applied"], found["dead"]) == (2, {})
    expected = f"{log}: stamps have no year: taken as 2025, by the file's last change; --year Y states another\n"
    assert said == expected
    assert rfc3339(min(windows(tmp_path))) == "2025-12-31T13:06:00Z"

    with log.open("a", encoding="utf-8") as stream:
        stream.write(FAILED.format("Jan  2"))
    os.utime(log, (_2026_04_20_S + 10 * 365 * 86_400,) * 2)
    found, said = sshd(tmp_path, capsys, str(log))
    assert (found["applied"], found["dead"], said) == (3, {}, "")
    assert rfc3339(max(windows(tmp_path))) == "2026-01-02T13:06:00Z"


@pytest.mark.slow
def test_a_year_that_is_given_is_not_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "auth.log"
    log.write_text(FAILED.format("Mar 27"), encoding="utf-8")
    assert sshd(tmp_path, capsys, "--year", "2019", str(log))[1] == ""
    assert rfc3339(min(windows(tmp_path))) == "2019-03-27T13:06:00Z"


@pytest.mark.slow
def test_from_a_pipe_the_year_is_the_clocks(tmp_path: Path) -> None:
    line = FAILED.format("Jan  1")
    run = ["replay", "--format", "sshd", "--db", str(tmp_path / "ssh.db"), "-"]
    program = [sys.executable, "-m", "streams.cli.main", *run]
    done = subprocess.run(program, input=line, capture_output=True, text=True, check=True)
    (window_ms,) = windows(tmp_path)
    year = (rfc3339(window_ms) or "")[:4]
    assert (
        done.stderr == f"standard input: stamps have no year: taken as {year}, by the clock; --year Y states another\n"
    )
    assert 0 <= SystemClock().now_ms() - window_ms < 367 * 86_400_000


def test_a_store_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["cases"], ["dump"], ["dead"], ["affected", "x"], ["why", "a", "b"], ["customers", "show"]):
        assert main([*command, "--db", str(tmp_path / "none.db")]) == 2
        assert "there is no store here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

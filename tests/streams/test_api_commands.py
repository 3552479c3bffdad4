"""What people do over HTTP: it is left for the engines, done once, and refused with a reason."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from detector.desk.records import Command, Verb
from detector.pack import pack
from streams.engines.embedded import LETTER
from streams.store import Store, audit, idempotency, open_store, queries
from streams.store import tables as t
from streams.store.tokens import Scope
from streams.web.api import commands
from tests.servers import engine, web
from tests.servers.asking import Asking, asking
from tests.servers.stores import BOTH

JUST = {"Prefer": "respond-async"}


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, copied: Callable[[str, Path], str], tmp_path: Path) -> Iterator[Store]:
    with open_store(copied(request.param, tmp_path)) as found:
        yield found


@pytest.fixture
def live(store: Store) -> None:
    """Make it a live store, where commands wait for the engines."""
    store.set_meta("mode", b"live")


@pytest.fixture
def ask(store: Store) -> Iterator[Asking]:
    with asking(store, Scope.OPERATE) as found:
        yield found


@pytest.fixture
def at_work(store: Store) -> Iterator[None]:
    with engine.at_work(store.where):
        yield


@pytest.fixture
def case(store: Store) -> str:
    (found,) = queries.list_cases(store, finished=True)
    return f"/v1/cases/{found.id}"


def inbox(store: Store) -> list[Any]:
    with store.reading() as connection:
        return [LETTER.decode(row.data) for row in connection.execute(sa.select(t.inbox).order_by(t.inbox.c.id))]


@pytest.mark.slow
def test_what_people_do_is_in_the_case_that_comes_back(ask: Asking, at_work: None, case: str, store: Store) -> None:
    who = ask.get("/v1/me")["who"]
    assert ask.post(f"{case}/assign", {"to": "ani"})["assignee"] == "ani"
    assert ask.post(f"{case}/comment", {"text": "BNI is looking"})["assignee"] == "ani"
    assert ask.post(f"{case}/hold")["approval"] == "held"
    assert ask.post(f"{case}/approve", {"customers": 5})["approval"] in ("sample", "approved")
    assert ask.post(f"{case}/resolve", {"verdict": "real"})["state"] == "resolved"
    story = ask.get(f"{case}/timeline")["items"]
    assert ("BNI is looking", who) in [(line["detail"], line["by"]) for line in story]
    done = [entry.what for entry in audit.entries(store) if entry.what.startswith("case.")]
    assert done == ["case.assign", "case.comment", "case.hold", "case.approve", "case.resolve"]
    assert {entry.target for entry in audit.entries(store) if entry.what.startswith("case.")} == {f"case:{case[10:]}"}


def test_what_the_state_does_not_allow_is_refused_with_the_reason(ask: Asking, at_work: None, case: str) -> None:
    ask.post(f"{case}/dismiss", {"verdict": "expected"})
    problem = ask.post(f"{case}/dismiss", status=409)
    assert problem["code"] == "refused"
    assert "dismissed" in problem["detail"]


def test_of_two_who_act_on_what_they_saw_the_second_is_told_that_it_has_changed(
    ask: Asking, at_work: None, case: str
) -> None:
    seen = ask.get(case)["state"]
    ask.post(f"{case}/resolve", {"expected_state": seen})
    problem = ask.post(f"{case}/dismiss", {"expected_state": seen}, status=409)
    assert (problem["code"], problem["state"]) == ("state-changed", "resolved")


def test_where_no_engine_answers_the_request_says_where_to_ask(
    ask: Asking, store: Store, case: str, live: None
) -> None:
    left = ask("POST", f"{case}/acknowledge", status=202, headers=JUST)
    number = left.json()["id"]
    assert left.headers["location"] == f"/v1/commands/{number}"
    assert left.json() == {"id": number, "state": "waiting", "reason": "", "what": "acknowledge", "case": case[10:]}
    with engine.at_work(store.where):
        pass
    assert ask.get(f"/v1/commands/{number}")["state"] == "done"
    assert ask.get("/v1/commands/999", status=404)["code"] == "not-found"


@pytest.mark.slow
def test_it_is_waited_for_no_longer_than_some_seconds(
    ask: Asking, case: str, live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "WAIT_S", 0.1)
    assert ask.post(f"{case}/acknowledge", status=202)["state"] == "waiting"


@pytest.mark.slow
def test_on_a_recording_where_nothing_runs_it_is_applied_at_once(ask: Asking, store: Store, case: str) -> None:
    assert ask.post(f"{case}/assign", {"to": "ani"})["assignee"] == "ani"
    assert "already" in ask.post(f"{case}/assign", {"to": "ani"}, status=409)["detail"]
    assert store.waiting() == []


def test_a_channels_report_is_no_command_of_people(ask: Asking, store: Store) -> None:
    from detector.desk.records import Delivered

    number = store.post(pack(Delivered("n", "sent", "email")))
    assert ask.get(f"/v1/commands/{number}", status=404)["code"] == "not-found"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "given", "where"),
    [
        pytest.param("assign", {}, "body.to", id="missing"),
        pytest.param("assign", {"to": "ani", "too": 1}, "body.too", id="unknown field"),
        pytest.param("comment", {"text": ""}, "body.text", id="empty"),
        pytest.param("comment", {"text": "x" * 2_001}, "body.text", id="too long"),
        pytest.param("approve", {"customers": "5"}, "body.customers", id="a number as text"),
        pytest.param("approve", {"customers": 0}, "body.customers", id="none"),
        pytest.param("resolve", {"verdict": "not-a-problem"}, "body.verdict", id="a verdict of another verb"),
        pytest.param("split", {"anomalies": []}, "body.anomalies", id="nothing to split"),
        pytest.param("hold", {"expected_state": "shut"}, "body.expected_state", id="no state"),
    ],
)
def test_what_is_wrong_in_a_body_is_named_and_nothing_is_left(
    ask: Asking, store: Store, case: str, verb: str, given: Any, where: str
) -> None:
    problem = ask.post(f"{case}/{verb}", given, status=422)
    assert [error["path"] for error in problem["errors"]] == [where]
    assert inbox(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb.value for verb in Verb])
def test_nobody_who_may_only_read_does_anything(store: Store, case: str, verb: str) -> None:
    with asking(store, Scope.READ) as reader:
        assert reader.post(f"{case}/{verb}", {}, status=403)["code"] == "not-allowed"
    assert inbox(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb.value for verb in Verb])
def test_another_tenants_case_can_not_be_acted_on(store: Store, case: str, verb: str) -> None:
    given = {"to": "x", "text": "x", "into": case[10:], "anomalies": ["x"]}
    needed = {"assign": "to", "comment": "text", "merge": "into", "split": "anomalies"}
    body = {needed[verb]: given[needed[verb]]} if verb in needed else None
    with open_store(store.where, tenant="other") as other, asking(other) as theirs:
        assert theirs.post(f"{case}/{verb}", body, status=404)["code"] == "not-found"
    assert inbox(store) == []


def test_a_case_goes_on_in_one_that_is_there(ask: Asking, store: Store, case: str) -> None:
    assert ask.post(f"{case}/merge", {"into": "0" * 12}, status=404)["code"] == "not-found"
    assert inbox(store) == []


# --- facts --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_mute_is_told_listed_and_ended(ask: Asking, at_work: None, store: Store) -> None:
    given = {"signal": "payment-declines", "where": {"bank": "BRI"}, "for": "2h", "text": "BRI tests"}
    told = ask.post("/v1/mutes", given, status=201)
    assert (told["kind"], told["state"], told["warnings"]) == ("mute", "active", [])
    assert [one["id"] for one in ask.get("/v1/mutes")["items"]] == [told["id"]]
    assert ask("DELETE", f"/v1/mutes/{told['id']}").json()["state"] == "ended"
    assert ask("DELETE", f"/v1/mutes/{told['id']}", status=409).json()["code"] == "refused"
    assert ask("DELETE", "/v1/mutes/00000000", status=404).json()["code"] == "not-found"
    kept = [(entry.what, entry.target) for entry in audit.entries(store) if entry.what.startswith("fact.")]
    assert kept == [(what, f"fact:{told['id']}") for what in ("fact.mute", "fact.ended", "fact.ended")]


def test_a_deployment_and_planned_work_are_facts(ask: Asking, at_work: None) -> None:
    deployment = {
        "kind": "deployment",
        "from": "2026-03-02T10:00:00+07:00",
        "where": {"city": "Jakarta"},
        "text": "5.21",
    }
    told = ask.post("/v1/facts", deployment, status=201)
    assert (told["from"], told["until"]) == ("2026-03-02T03:00:00Z", "2026-03-02T03:00:00Z")
    work = {
        "kind": "maintenance",
        "from": "2026-03-02T20:00:00Z",
        "until": "2026-03-02T22:00:00Z",
        "where": {"bank": "BNL"},
    }
    planned = ask.post("/v1/facts", work, status=201)
    assert planned["state"] == "planned"
    assert "BNL" in planned["warnings"][0]
    assert {one["id"] for one in ask.get("/v1/facts")["items"]} == {told["id"], planned["id"]}
    assert ask.get("/v1/mutes")["items"] == []
    assert ask("DELETE", f"/v1/mutes/{told['id']}", status=404).json()["code"] == "not-found"
    assert ask("DELETE", f"/v1/facts/{told['id']}").json()["state"] == "ended"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"signal": "payment-decline"}, "did you mean", id="unknown signal"),
        pytest.param({"where": {"banks": "BRI"}}, "did you mean", id="unknown dimension"),
        pytest.param({"for": None}, "expected a duration", id="no end"),
        pytest.param({"for": "soon"}, "expected a duration", id="no duration"),
        pytest.param({"until": "2026-03-02T05:00:00Z"}, "found both", id="two ends"),
        pytest.param({"for": "9999d"}, "a year at most", id="for good"),
        pytest.param({"from": "2026-03-02T05:00:00"}, "expected a time", id="a time without a zone"),
    ],
)
def test_a_mute_that_makes_no_sense_is_refused(ask: Asking, store: Store, changes: dict[str, Any], words: str) -> None:
    given = {"signal": "payment-declines", "for": "2h"} | changes
    problem = ask.post("/v1/mutes", {name: v for name, v in given.items() if v is not None}, status=422)
    assert words in problem["detail"]
    assert inbox(store) == []


# --- done once ----------------------------------------------------------------------------------------------------


def test_a_repeated_request_is_done_once_and_answered_the_same(
    ask: Asking, at_work: None, case: str, store: Store
) -> None:
    first = ask("POST", f"{case}/comment", json={"text": "once"}, headers={"Idempotency-Key": "k1"})
    again = ask("POST", f"{case}/comment", json={"text": "once"}, headers={"Idempotency-Key": "k1"})
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert [letter.text for letter in inbox(store)] == ["once"]


@pytest.mark.slow
def test_a_refusal_is_repeated_too(ask: Asking, at_work: None, case: str, store: Store) -> None:
    ask.post(f"{case}/dismiss")
    first = ask.post(f"{case}/dismiss", status=409, Idempotency_Key="k")
    assert ask.post(f"{case}/dismiss", status=409, Idempotency_Key="k") == first
    assert len(inbox(store)) == 2


def test_a_key_is_for_one_request(ask: Asking, at_work: None, case: str) -> None:
    ask.post(f"{case}/comment", {"text": "one"}, Idempotency_Key="k")
    assert ask.post(f"{case}/comment", {"text": "two"}, status=422, Idempotency_Key="k")["code"] == "key-reused"
    assert ask.post(f"{case}/hold", status=422, Idempotency_Key="k")["code"] == "key-reused"


@pytest.mark.slow
def test_keys_are_each_ones_own(ask: Asking, at_work: None, case: str, store: Store) -> None:
    ask.post(f"{case}/comment", {"text": "mine"}, Idempotency_Key="k")
    with asking(store, Scope.OPERATE) as other:
        other.post(f"{case}/comment", {"text": "theirs"}, Idempotency_Key="k")
    assert [letter.text for letter in inbox(store)] == ["mine", "theirs"]


def test_what_went_wrong_may_be_tried_again_under_its_key(ask: Asking, at_work: None, case: str) -> None:
    assert ask.post("/v1/mutes", {"signal": "x", "for": "2h"}, status=422, Idempotency_Key="k")
    ask.post("/v1/mutes", {"signal": "payment-declines", "for": "2h"}, status=201, Idempotency_Key="k")
    assert ask.post("/v1/cases/000000000000/hold", status=404, Idempotency_Key="h")
    ask.post(f"{case}/hold", Idempotency_Key="h")


@pytest.mark.slow
def test_a_command_that_was_not_answered_yet_is_waited_for_and_not_left_again(
    ask: Asking, store: Store, case: str, live: None
) -> None:
    headers = {**JUST, "Idempotency-Key": "k"}
    first = ask("POST", f"{case}/hold", status=202, headers=headers).json()
    assert ask("POST", f"{case}/hold", status=202, headers=headers).json() == first
    with engine.at_work(store.where):
        assert ask("POST", f"{case}/hold", headers={"Idempotency-Key": "k"}).json()["approval"] == "held"
    assert len(inbox(store)) == 1


def test_a_crash_between_the_command_and_its_answer_leaves_it_once(
    ask: Asking, store: Store, case: str, live: None
) -> None:
    who = ask.get("/v1/me")["who"]
    ask("POST", f"{case}/hold", status=202, headers={**JUST, "Idempotency-Key": "k"})
    with store.transaction() as connection:  # as the crash left it: begun, and the command noted
        connection.execute(sa.update(t.idempotency).values(status=0))
    assert ask.post(f"{case}/hold", status=409, Idempotency_Key="k")["code"] == "in-progress"
    with store.transaction() as connection:
        connection.execute(sa.update(t.idempotency).values(at_ms=t.idempotency.c.at_ms - idempotency.LEASE_MS))
    with engine.at_work(store.where):
        assert ask.post(f"{case}/hold", Idempotency_Key="k")["approval"] == "held"
    assert len(inbox(store)) == 1
    with store.reading() as connection:
        (row,) = connection.execute(sa.select(t.idempotency)).all()
    assert (row.who, row.status) == (who, 200)


def test_of_many_at_once_under_one_key_one_is_done(store: Store, at_work: None, case: str) -> None:
    async def all_at_once() -> list[int]:
        async with web.client(store, Scope.OPERATE) as client:
            given: dict[str, Any] = {"json": {"text": "once"}, "headers": {"Idempotency-Key": "k"}}
            found = await asyncio.gather(*(client.post(f"{case}/comment", **given) for _ in range(12)))
            return [one.status_code for one in found]

    statuses = asyncio.run(all_at_once())
    assert set(statuses) <= {200, 409} and 200 in statuses
    assert [letter.text for letter in inbox(store)] == ["once"]


@pytest.mark.slow
def test_keys_are_kept_for_a_day_and_only_so_many(
    ask: Asking, at_work: None, case: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MOST", 2)
    for key in ("a", "b"):
        ask.post(f"{case}/comment", {"text": key}, Idempotency_Key=key)
    assert ask.post(f"{case}/comment", {"text": "c"}, status=429, Idempotency_Key="c")["code"] == "too-many-keys"
    with store.transaction() as connection:
        connection.execute(sa.update(t.idempotency).values(at_ms=t.idempotency.c.at_ms - idempotency.KEEP_MS - 1))
    ask.post(f"{case}/comment", {"text": "c"}, Idempotency_Key="c")
    with store.reading() as connection:
        assert [row.key for row in connection.execute(sa.select(t.idempotency))] == ["c"]


def test_a_body_that_is_no_json_is_said_to_break_after_so_many_characters(ask: Asking, case: str) -> None:
    headers = {"Content-Type": "application/json"}
    problem = ask("POST", f"{case}/comment", status=422, content=b'{"text": 5', headers=headers).json()
    assert problem["errors"][0]["path"] == "body"
    assert problem["detail"].startswith("body: expected JSON, found a mistake after 10 characters (")


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
def test_a_key_is_short_printable_text(ask: Asking, case: str, store: Store, key: str) -> None:
    assert ask.post(f"{case}/hold", status=422, Idempotency_Key=key)["code"] == "invalid-request"
    assert inbox(store) == []


def test_a_command_holds_who_asked(ask: Asking, store: Store, case: str, live: None) -> None:
    who = ask.get("/v1/me")["who"]
    ask("POST", f"{case}/split", status=202, headers=JUST, json={"anomalies": ["a", "b", "a"]})
    assert inbox(store) == [Command(Verb.SPLIT, case[10:], who, anomalies=("a", "b"))]

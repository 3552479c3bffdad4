"""How sending stands, the kill switch, what a person decides on, signals and dead letters, over HTTP."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from detector.desk.records import DeskEffects, NoticeState
from detector.pipeline import Effects
from streams.engines.embedded import LETTER
from streams.outbox.people import resumptions
from streams.store import Store, audit, open_store, queries
from streams.store import tables as t
from streams.store.standing import speak
from streams.store.tokens import Scope
from tests.servers.asking import Asking, asking
from tests.servers.stores import new_store
from tests.streams.test_pages import case as a_case
from tests.streams.test_pages import notice


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as found:
        yield found


@pytest.fixture
def ask(store: Store) -> Iterator[Asking]:
    with asking(store, Scope.OPERATE) as found:
        yield found


def queued(store: Store, *states: str) -> list[str]:
    """Put notices into the outbox, in these states."""
    notices = [msgspec.structs.replace(notice(n), state=NoticeState.QUEUED) for n in range(1, 1 + len(states))]
    store.commit(Effects(desk=DeskEffects(cases=[a_case(1)], notices=notices)))
    with store.transaction() as connection:
        for one, state in zip(notices, states, strict=True):
            connection.execute(sa.update(t.outbox).where(t.outbox.c.notice == one.id).values(state=state))
    return [one.id for one in notices]


def test_the_kill_switch_is_turned_and_shows_who_and_why(ask: Asking, store: Store) -> None:
    assert ask.get("/v1/kill-switch") == {"on": False, "by": "", "reason": "", "at": None}
    found = ask("PUT", "/v1/kill-switch", json={"on": True, "reason": "wrong words"}).json()
    assert (found["on"], found["by"], found["reason"]) == (True, ask.get("/v1/me")["who"], "wrong words")
    assert ask.get("/v1/kill-switch") == found == ask.get("/v1/sending")["kill_switch"]
    assert ask("PUT", "/v1/kill-switch", json={"on": False}).json()["on"] is False
    assert [entry.what for entry in audit.entries(store)][-2:] == ["kill-switch.on", "kill-switch.off"]
    with asking(store, Scope.READ) as reader:
        reader("PUT", "/v1/kill-switch", status=403, json={"on": True})
    assert ask("PUT", "/v1/kill-switch", status=422, json={}).json()["errors"][0]["path"] == "body.on"


@pytest.mark.slow
def test_sending_shows_what_waits_and_what_the_notifier_said(ask: Asking, store: Store) -> None:
    queued(store, "waiting", "waiting", "unknown", "sent")
    held = [msgspec.structs.replace(notice(9), state=NoticeState.HELD, reason="quiet-hours")]
    store.commit(Effects(desk=DeskEffects(notices=held)))
    says = {
        "circuits": {"email": "open"},
        "stopped": {"email": "refused"},
        "under_way": {"email": 2},
        "limits": {"hour": True},
    }
    speak(store, "work", 1, 1_780_000_000_000, {"notifier": says})
    found = ask.get("/v1/sending")
    assert found["queue"] == [
        {"channel": "email", "state": "unknown", "notices": 1},
        {"channel": "email", "state": "waiting", "notices": 2},
    ]
    assert found["held"] == {"quiet-hours": 1}
    assert found["limits"] == {"hour": True}
    (channel,) = found["channels"]
    assert (channel["circuit"], channel["stopped"], channel["under_way"]) == ("open", "refused", 2)
    assert found["seen_at"] == "2026-05-28T20:26:40Z"


def test_before_anything_runs_there_is_nothing_to_send(ask: Asking) -> None:
    found = ask.get("/v1/sending")
    assert (found["queue"], found["channels"], found["held"], found["seen_at"]) == ([], [], {}, None)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["resend", "sent", "failed"])
def test_a_person_decides_on_what_may_have_gone_out(ask: Asking, store: Store, how: str) -> None:
    waiting, unknown = queued(store, "waiting", "unknown")
    (listed,) = ask.get("/v1/outbox", state="unknown")["items"]
    assert (listed["notice"], listed["channel"], listed["case"]) == (unknown, "email", a_case(1).id)
    assert ask.post(f"/v1/outbox/{waiting}/settle", {"how": how}, status=409)["code"] == "not-unknown"
    ask.post(f"/v1/outbox/{unknown}/settle", {"how": how}, status=204)
    assert queries.outbox_state(store, unknown) == {"resend": "waiting"}.get(how, how)
    assert ask.post("/v1/outbox/none/settle", {"how": how}, status=404)["code"] == "not-found"
    told = [LETTER.decode(letter.data) for letter in store.waiting()]
    assert [letter.outcome for letter in told] == ([] if how == "resend" else [how])
    with open_store(store.where, tenant="other") as other, asking(other) as theirs:
        theirs.post(f"/v1/outbox/{unknown}/settle", {"how": how}, status=404)


def test_the_outbox_comes_in_pages(ask: Asking, store: Store) -> None:
    ids = queued(store, *["waiting"] * 5)
    first = ask.get("/v1/outbox", limit=3, channel="email")
    rest = ask.get("/v1/outbox", limit=3, channel="email", cursor=first["next"])
    assert [one["notice"] for one in first["items"] + rest["items"]] == sorted(ids)
    assert rest["next"] is None


@pytest.mark.slow
def test_a_stopped_channel_is_resumed_by_a_person(ask: Asking, store: Store) -> None:
    ask.post("/v1/channels/email/resume", status=204)
    assert resumptions(store) == {"email": 1}
    assert ask.post("/v1/channels/pigeon/resume", status=404)["code"] == "not-found"


def test_signals_are_those_in_force_with_what_the_engines_said(replayed: Path, tmp_path: Path) -> None:
    shutil.copy(replayed, tmp_path / "tocsin.db")
    with open_store(tmp_path / "tocsin.db") as store, asking(store, Scope.READ) as ask:
        found = ask.get("/v1/signals")
        (signal,) = found["items"]
        assert (signal["name"], signal["mode"], signal["unfinished"]) == ("payment-declines", "live", 1)
        assert (signal["operating"], found["seen_at"]) == (None, None)
        assert found["budget"] == {"cases": 1, "per": "7d"}
        assert found["last_window"] == "2026-03-02T03:50:00Z"
        level = {"level": 0, "segments": 1, "threshold_nats": 9.5, "source": "theory", "noise": 0.1}
        operating = {"signal": "payment-declines", "mean": 0.1, "hours": 2, "shift_nats": 0.0, "levels": [level]}
        speak(store, "work", 1, 1, {"operating": [operating]})
        (signal,) = ask.get("/v1/signals")["items"]
        assert signal["operating"]["levels"] == [level]


@pytest.mark.slow
def test_dead_letters_come_in_pages_to_those_who_operate(replayed: Path, tmp_path: Path) -> None:
    shutil.copy(replayed, tmp_path / "tocsin.db")
    with open_store(tmp_path / "tocsin.db") as store, asking(store, Scope.OPERATE) as ask:
        found: list[Any] = []
        params: dict[str, Any] = {"limit": 1}
        while True:
            page = ask.get("/v1/dead-letters", **params)
            found += page["items"]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        assert [one["n"] for one in found] == [1, 2, 3, 4]
        assert page["sums"] == {"missing-field": 2, "not-json": 2}
        assert {one["reason"] for one in ask.get("/v1/dead-letters", reason="not-json")["items"]} == {"not-json"}
        assert ask.get("/v1/dead-letters/1") == found[0]
        assert ask.get("/v1/dead-letters/5", status=404)["code"] == "not-found"
        with asking(store, Scope.READ) as reader:
            reader.get("/v1/dead-letters", status=403)
        with open_store(store.where, tenant="other") as other, asking(other) as theirs:
            assert theirs.get("/v1/dead-letters")["items"] == []
            theirs.get("/v1/dead-letters/1", status=404)

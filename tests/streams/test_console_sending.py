"""The sending page: what is stuck and why in numbers, the kill switch, channels, what a person decides on."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from detector.desk.records import CaseState, DeskEffects, NoticeState
from detector.pipeline import Effects
from streams.clock import SystemClock
from streams.outbox.kill_switch import kill_switch, set_kill_switch
from streams.outbox.limits import Limit, named
from streams.outbox.people import resumptions, settle_unknown
from streams.settings import Settings
from streams.store import LIVE, RECORDING, Store, audit, outgoing, queries
from streams.store import tables as t
from streams.store.standing import speak
from streams.store.tokens import Scope
from streams.web.console.texts import text
from streams.web.console.views import sending as views
from tests.servers.asking import Asking, asking
from tests.servers.pages import EVIL, HTML, escaped, forms, page, post, sign_in, text_of
from tests.servers.stores import new_store
from tests.servers.web import app, settings_of
from tests.streams.feed_rows import customer
from tests.streams.test_pages import case as a_case
from tests.streams.test_pages import notice

HOUR_MS = 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "tocsin.db") as found:
        found.claim_mode(LIVE)
        yield found


@pytest.fixture
def settings() -> Settings:
    found = settings_of()
    policy = msgspec.structs.replace(found.config.policy, send=True, channels=("email", "whatsapp"))
    channels = {"whatsapp": {"by": "log", "per_day": 250, "per_second": 0.5}}
    return replace(found, config=msgspec.structs.replace(found.config, policy=policy), channels=channels)


@pytest.fixture
def ask(store: Store, settings: Settings) -> Iterator[Asking]:
    with asking(store, Scope.OPERATE, app(store, settings=settings)) as found:
        yield found


def now() -> int:
    return SystemClock().now_ms()


def queued(store: Store, *states: str, who: str = "C-", **values: Any) -> list[str]:
    """Put notices to known customers into the outbox, in these states."""
    at_ms = now()
    notices = [
        msgspec.structs.replace(
            notice(customer(store, f"{who}{n}")),
            id=f"n{n}",
            state=NoticeState.QUEUED,
            at_ms=at_ms,
            stale_ms=at_ms + 6 * HOUR_MS,
        )
        for n in range(1, 1 + len(states))
    ]
    store.commit(Effects(desk=DeskEffects(cases=[a_case(1)], notices=notices)))
    with store.transaction() as connection:
        for one, state in zip(notices, states, strict=True):
            row = sa.update(t.outbox).where(t.outbox.c.notice == one.id)
            connection.execute(row.values(state=state, due_ms=at_ms - 1_000, **values))
    return [one.id for one in notices]


def tried(store: Store, outcome: str, detail: str, n: int = 1, *, channel: str = "email", ago_ms: int = 1_000) -> None:
    with store.transaction() as connection:
        before = connection.execute(sa.select(sa.func.count()).select_from(t.delivery)).scalar_one()
        for i in range(n):
            row = {"tenant": "default", "notice": f"d{before + i}", "attempt": 1, "channel": channel}
            more = {"outcome": outcome, "at_ms": now() - ago_ms, "detail": detail, "customer": i, "signal": "pay"}
            connection.execute(sa.insert(t.delivery), row | more)


def says(store: Store, **notifier: Any) -> None:
    given = {"circuits": {"email": "closed", "whatsapp": "closed"}} | notifier
    speak(store, "work", 1, now(), {"notifier": given})


def look(store: Store, settings: Settings) -> views.Sending:
    return views.sending(store, settings, now())


# --- how it stands ----------------------------------------------------------------------------------------------------


def test_where_nothing_waits_nothing_is_stuck(store: Store, settings: Settings, ask: Asking) -> None:
    says(store)
    found = look(store, settings)
    assert not found.stuck and (found.waiting, found.unknown, found.went_hour, found.held_total) == (0, 0, 0, 0)
    said = text_of(page(ask, "/sending"))
    assert "Nothing is stuck." in said and "Nothing is held." in said and "Nothing was tried." in said
    assert "Tidak ada yang tersendat." in text_of(page(ask, "/sending", "id"))


def test_what_waits_is_counted_by_channel_with_what_comes_later_and_what_gets_too_old(
    store: Store, settings: Settings
) -> None:
    says(store)
    ids = queued(store, "waiting", "waiting", "waiting", "claimed", "unknown", "sent", "failed")
    with store.transaction() as connection:
        later = sa.update(t.outbox).where(t.outbox.c.notice == ids[0])
        connection.execute(later.values(due_ms=now() + 60_000, stale_ms=now() + 600_000))
    found = look(store, settings)
    email = next(c for c in found.channels if c.name == "email")
    assert (email.waiting, email.later, email.claimed, email.unknown) == (3, 1, 1, 1)
    assert email.next_ms is not None and email.next_ms > now()
    assert found.effect == views.Effect(3, (("email", 3),), 1, 1)
    assert found.stuck, "somebody has to decide on the unknown one"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notifier", "said"),
    [
        pytest.param({"circuits": {"email": "open"}}, "Nothing gets through by e-mail.", id="down"),
        pytest.param({"stopped": {"email": "credentials"}}, "E-mail is stopped: our credentials were", id="stopped"),
        pytest.param(
            {"held_by": named([(Limit.SIGNAL, "payments"), (Limit.HOUR, "")])},
            "A limit is reached: in any hour, of payments.",
            id="limit",
        ),
        pytest.param({"error": "disk is full"}, "The process that sends waits: disk is full", id="error"),
    ],
)
def test_what_is_stuck_is_said_first(store: Store, ask: Asking, notifier: dict[str, Any], said: str) -> None:
    queued(store, "waiting")
    says(store, **notifier)
    html = page(ask, "/sending")
    assert said in text_of(html).partition("wait to be sent")[0]
    assert "Nothing is stuck." not in html


def test_a_sender_that_is_silent_is_said_to_be(store: Store, ask: Asking) -> None:
    assert "No process that sends has been heard of" in text_of(page(ask, "/sending"))
    speak(store, "work", 1, now() - 60_000, {"notifier": {}})
    assert "has not been heard of since" in text_of(page(ask, "/sending"))


def test_on_kafka_notifiers_send_and_the_worker_with_the_desk_does_not(store: Store, settings: Settings) -> None:
    speak(store, "work", 1, now(), {"on": "kafka"})
    assert views.sending(store, settings, now()).silent
    speak(store, "notifier eu-1", 2, now() - 1_000, {"notifier": {"circuits": {"email": "open"}}})
    found = views.sending(store, settings, now())
    assert not found.silent and {one.name: one.circuit for one in found.channels}["email"] == "open"


@pytest.mark.slow
def test_a_dry_run_and_a_recording_say_so(tmp_path: Path, store: Store) -> None:
    with asking(store, Scope.READ) as ask:
        assert "Dry run: notices are made, none is sent." in text_of(page(ask, "/sending"))
    with new_store(tmp_path / "recording.db") as recorded:
        recorded.claim_mode(RECORDING)
        with asking(recorded) as ask:
            html = page(ask, "/sending", do="stop")
            assert "A recording: notices were decided on" in text_of(html)
            assert not forms(html, "/sending/switch")


@pytest.mark.slow
def test_limits_show_what_is_used_of_them(store: Store, settings: Settings) -> None:
    tried(store, "sent", "delivered", 3)
    tried(store, "unknown", "timeout: after the message", 1)
    tried(store, "sent", "", 2, channel="whatsapp")
    tried(store, "sent", "", 5, ago_ms=2 * HOUR_MS)
    tried(store, "failed", "hard-bounce: 550")
    found = {(cap.kind, cap.name): (cap.used, cap.most) for cap in look(store, settings).caps}
    assert found[("hour", "")] == (6, settings.sending.per_hour)
    assert found[("signal", "pay")] == (6, settings.sending.per_signal_hour)
    assert found[("tier", "whatsapp")] == (2, 250)
    assert found[("rate", "whatsapp")] == (None, 0.5)


@pytest.mark.slow
def test_failures_are_summed_by_reason_and_what_was_sent_is_none(store: Store, settings: Settings) -> None:
    tried(store, "sent", "delivered", 4)
    tried(store, "again", "timeout: no answer in 10 s", 2)
    tried(store, "again", "timeout: no answer in 12 s", 1)
    tried(store, "failed", "hard-bounce: 550 no such user", 1)
    tried(store, "failed", "hard-bounce: 550 no such user", 1, ago_ms=30 * HOUR_MS)
    found = [(f.outcome, f.reason, f.n) for f in look(store, settings).failures]
    assert found == [("again", "timeout", 3), ("failed", "hard-bounce", 1)]


@pytest.mark.slow
def test_what_is_held_opens_the_people_and_whose_case_is_over_does_not_count(store: Store, ask: Asking) -> None:
    def held(n: int, reason: str, until_ms: int | None, case: str = a_case(1).id) -> Any:
        row = notice(customer(store, f"H-{n}"))
        return msgspec.structs.replace(
            row, id=f"h{n}", case=case, state=NoticeState.HELD, reason=reason, until_ms=until_ms
        )

    over = msgspec.structs.replace(a_case(2), state=CaseState.RESOLVED)
    at_ms = now() + HOUR_MS
    rows = [held(1, "quiet-hours", at_ms), held(2, "quiet-hours", at_ms + 1), held(3, "needs-approval", None)]
    store.commit(
        Effects(desk=DeskEffects(cases=[a_case(1), over], notices=[*rows, held(4, "quiet-hours", 1, over.id)]))
    )
    assert outgoing.held(store) == [outgoing.Held("quiet-hours", 2, at_ms), outgoing.Held("needs-approval", 1, None)]
    html = page(ask, "/sending")
    assert 'href="/sending/held?reason=quiet-hours">2</a>' in html and "when a person approves" in html
    assert ask("GET", "/sending/held", status=303, headers=HTML).headers["location"] == "/sending"
    listed = page(ask, "/sending/held", reason="quiet-hours")
    assert "/customers/H-1" in listed and "/customers/H-2" in listed and "H-3" not in listed and "H-4" not in listed


@pytest.mark.slow
def test_the_queue_comes_in_pages_by_state_and_channel(store: Store, ask: Asking) -> None:
    queued(store, *["waiting"] * 60, *["sent"] * 3)
    first = page(ask, "/sending/queue", state="waiting", channel="email")
    assert first.count('data-id="n') == 50
    after = first.partition("after=")[2].partition('"')[0]
    rest = page(ask, "/sending/queue", state="waiting", channel="email", after=after)
    assert rest.count('data-id="n') == 10 and "First page" in rest
    assert page(ask, "/sending/queue", state="sent").count('data-id="n') == 3
    assert "There is none of this kind." in page(ask, "/sending/queue", channel="pigeon")
    whole = ask("GET", "/sending/queue", params={"csv": "1"}).text
    assert len(list(csv.DictReader(io.StringIO(whole)))) == 63


@pytest.mark.parametrize("wanted", ["channels", "held", "failures"])
def test_each_table_is_a_file(store: Store, ask: Asking, wanted: str) -> None:
    queued(store, "waiting")
    tried(store, "failed", "=cmd()")
    answer = ask("GET", "/sending", params={"csv": wanted})
    assert (
        answer.headers["content-type"].startswith("text/csv") and "attachment" in answer.headers["content-disposition"]
    )
    assert "\n=cmd" not in answer.text and ",=cmd" not in answer.text


# --- the kill switch --------------------------------------------------------------------------------------------------


def test_the_kill_switch_says_in_numbers_what_it_does_and_is_turned_once(store: Store, ask: Asking) -> None:
    says(store)
    queued(store, "waiting", "waiting", "claimed")
    html = page(ask, "/sending", do="stop")
    said = text_of(html)
    assert "2 that wait stay where they are (e-mail 2)" in said and "1 is on its way already" in said
    (form,) = forms(html, "/sending/switch")
    post(ask, "/sending/switch", form | {"reason": "wrong words"})
    found = kill_switch(store)
    assert (found.on, found.reason) == (True, "wrong words")
    assert [entry.what for entry in audit.newest(store, limit=1)] == ["kill-switch.on"]
    html = page(ask, "/sending", do="go")
    assert "2 that wait may go from now on (e-mail 2)" in text_of(html) and "wrong words" in html
    (form,) = forms(html, "/sending/switch")
    post(ask, "/sending/switch", form)
    assert not kill_switch(store).on


def test_where_nothing_waits_stopping_says_so(store: Store, ask: Asking) -> None:
    said = text_of(page(ask, "/sending", do="stop"))
    assert "Nothing waits at the moment." in said and "0 that wait" not in said


def test_stopping_needs_a_reason(store: Store, ask: Asking) -> None:
    (form,) = forms(page(ask, "/sending", do="stop"), "/sending/switch")
    answer = post(ask, "/sending/switch", form | {"reason": "  "}, status=422)
    assert text("switch.no_reason", "en") in answer.text and not kill_switch(store).on


@pytest.mark.slow
def test_who_turns_the_switch_after_another_is_told_who_that_was(store: Store, ask: Asking) -> None:
    (form,) = forms(page(ask, "/sending", do="stop"), "/sending/switch")
    set_kill_switch(store, True, "person:ani", "I was faster", now())
    set_kill_switch(store, False, "person:budi", "", now() + 1)
    answer = post(ask, "/sending/switch", form | {"reason": "mine"}, status=409)
    assert "Nothing was done: meanwhile budi has turned the kill switch off" in text_of(answer.text)
    assert not kill_switch(store).on


# --- channels, and what a person decides on ---------------------------------------------------------------------------


def test_a_stopped_channel_is_resumed_once(store: Store, ask: Asking) -> None:
    says(store, stopped={"email": "credentials"})
    queued(store, "waiting", "waiting")
    html = page(ask, "/sending", do="resume", channel="email")
    assert "our credentials were refused" in text_of(html) and "2 wait for it" in text_of(html)
    (form,) = forms(html, "/sending/resume")
    post(ask, "/sending/resume", form)
    assert resumptions(store) == {"email": 1}
    says(store)
    assert "is not stopped any more" in text_of(post(ask, "/sending/resume", form, status=409).text)
    assert resumptions(store) == {"email": 1}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sent", "failed", "resend"])
def test_what_may_have_gone_out_is_decided_on_one_by_one(store: Store, ask: Asking, how: str) -> None:
    first, second = queued(store, "unknown", "unknown")
    found = forms(page(ask, "/sending"), "/sending/settle")
    assert [form["notice"] for form in found] == [first, second]
    post(ask, "/sending/settle", found[0] | {"how": how})
    assert queries.outbox_state(store, first) == {"resend": "waiting"}.get(how, how)
    assert queries.outbox_state(store, second) == "unknown"


@pytest.mark.slow
def test_who_decides_after_another_is_told_what_was_said(store: Store, ask: Asking) -> None:
    (id,) = queued(store, "unknown")
    (form,) = forms(page(ask, "/sending"), "/sending/settle")
    settle_unknown(store, id, "sent", "person:ani")
    answer = post(ask, "/sending/settle", form | {"how": "resend"}, status=409)
    assert "ani said: It arrived" in text_of(answer.text)
    assert queries.outbox_state(store, id) == "sent"
    gone = post(ask, "/sending/settle", {"notice": "none", "how": "sent"}, status=409)
    assert text("settle.conflict.other", "en") in gone.text


# --- who may, and what others write -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_who_may_only_read_sees_it_and_can_do_nothing(store: Store, settings: Settings) -> None:
    queued(store, "unknown")
    says(store, stopped={"email": "credentials"})
    with asking(store, Scope.READ, app(store, settings=settings)) as reader:
        html = page(reader, "/sending", do="stop")
        assert "1 may have gone out" in text_of(html)
        assert not forms(html, "/sending/switch") and not forms(html, "/sending/settle")
        for path in ("/sending/switch", "/sending/resume", "/sending/settle"):
            post(reader, path, {"how": "sent", "on": "1", "reason": "x"}, status=403)
    assert not kill_switch(store).on


def test_a_browser_changes_nothing_without_the_pages_token(store: Store, settings: Settings) -> None:
    (id,) = queued(store, "unknown")
    with asking(store, None, app(store, settings=settings)) as browser:
        sign_in(browser, store, Scope.OPERATE)
        (form,) = forms(page(browser, "/sending"), "/sending/settle")
        assert form["csrf"]
        post(browser, "/sending/settle", {"notice": id, "how": "sent"}, status=403)
        assert queries.outbox_state(store, id) == "unknown"
        post(browser, "/sending/settle", form | {"how": "sent"})
        assert queries.outbox_state(store, id) == "sent"


@pytest.mark.slow
def test_what_others_write_never_becomes_markup(store: Store, ask: Asking) -> None:
    says(store, error=EVIL, circuits={EVIL: "open"})
    queued(store, "unknown", "waiting", who=EVIL)
    tried(store, "failed", EVIL)
    set_kill_switch(store, True, f"person:{EVIL}", EVIL, now())
    for path in ("/sending", "/sending/queue", f"/sending/queue?channel={EVIL}", "/sending/held?reason=%3Cscript%3E"):
        html = page(ask, path)
        assert escaped(html), path
    assert "alert(1)" in page(ask, "/sending")

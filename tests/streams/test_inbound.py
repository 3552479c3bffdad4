"""What WhatsApp's providers call back: nothing forged counts, nothing counts twice, and STOP stops."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from detector.decode.customers import customer_key
from streams.sections import KafkaSection
from streams.settings import Settings
from streams.store import Store, rows
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.engines import claim_kafka_input
from streams.web import inbound, problem
from tests.servers.stores import new_store
from tests.servers.web import client, settings_of, web

NOW_MS = 1_772_416_800_000
MINUTE_MS, DAY_MS = 60_000, 86_400_000
SECRET, APP_SECRET, VERIFY = "qontak-shows-this-secret", "the-app-secret-of-meta", "is-this-address-yours"
PHONE, OTHER_PHONE = "+6281234567890", "+6289999999999"
CLOUD, QONTAK = "/v1/inbound/whatsapp-cloud", "/v1/inbound/qontak"


class Fixed:
    """A clock that stands."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1_000

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "tocsin.db") as store:
        file = tmp_path / "customers.csv"
        lines = [
            "id,name,phone,email,consent",
            f"C-1,Budi,{PHONE},budi@example.com,all",
            f"C-2,Siti,{OTHER_PHONE},,all",
        ]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        CustomerDirectory(store).import_file(file)
        with store.transaction() as connection:
            for notice, reference, channel in (
                ("n1", "b-7", "whatsapp"),
                ("n2", "wamid.7", "wa2"),
                ("n3", "m-1", "email"),
            ):
                row: dict[str, Any] = {"notice": notice, "attempt": 1, "channel": channel, "outcome": "sent"}
                more = {"at_ms": NOW_MS, "detail": "HTTP 201", "customer": 1, "case_id": "c", "signal": "s"}
                connection.execute(
                    rows.upsert(t.delivery), {**row, **more, "reference": reference, "tenant": store.tenant, "n": 0}
                )
        yield store


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {"INBOUND": SECRET, "APP_SECRET": APP_SECRET, "VERIFY": VERIFY}.items():
        monkeypatch.setenv(name, value)
    channels = {
        "whatsapp": {"by": "qontak", "inbound_secret": {"env": "INBOUND"}},
        "wa2": {"by": "whatsapp-cloud", "app_secret": {"env": "APP_SECRET"}, "verify_token": {"env": "VERIFY"}},
    }
    return replace(settings_of(), channels=channels)


def ask(
    store: Store,
    settings: Settings,
    path: str,
    document: object = None,
    headers: dict[str, str] | None = None,
    *,
    clock: Fixed | None = None,
    params: dict[str, str] | None = None,
    whole: bool = False,
) -> httpx.Response:
    """Return the answer: of the routes alone, or of the whole application with its guard."""

    async def go() -> httpx.Response:
        routes = None
        if not whole:
            routes = FastAPI()
            routes.state.web = web(store, settings=settings, clock=clock or Fixed())
            problem.install(routes)
            routes.include_router(inbound.router)
        async with client(store, None, application=routes, settings=settings, clock=clock or Fixed()) as asking:
            if document is None:
                return await asking.get(path, params=params)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            given = {"Content-Type": "application/json", **(headers or {})}
            return await asking.post(path, content=body, headers=given)

    return asyncio.run(go())


def signed(document: object, secret: str = APP_SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), json.dumps(document).encode(), hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


def from_meta(store: Store, settings: Settings, document: object, clock: Fixed | None = None) -> httpx.Response:
    return ask(store, settings, CLOUD, document, signed(document), clock=clock)


def from_qontak(store: Store, settings: Settings, document: object, clock: Fixed | None = None) -> httpx.Response:
    return ask(store, settings, QONTAK, document, {inbound.SECRET_HEADER: SECRET}, clock=clock)


def statuses(*found: tuple[str, str, int], **more: Any) -> dict[str, Any]:
    """Return Meta's news of messages: (wamid, status, when)."""
    listed = [{"id": name, "status": said, "timestamp": str(ms // 1_000), **more} for name, said, ms in found]
    return {"object": "whatsapp_business_account", "entry": [{"changes": [{"value": {"statuses": listed}}]}]}


def message(text: str, at_ms: int = NOW_MS, phone: str = PHONE, identity: str = "wamid.in") -> dict[str, Any]:
    """Return Meta's news of a customer's message."""
    said = {"id": identity, "from": phone[1:], "timestamp": str(at_ms // 1_000), "type": "text", "text": {"body": text}}
    return {"entry": [{"changes": [{"value": {"messages": [said]}}]}]}


def qontak_message(text: str, identity: str = "m1") -> dict[str, Any]:
    return {
        "webhook_event": "message_interaction",
        "data_event": "receive_message_from_customer",
        "id": identity,
        "text": text,
        "created_at": "2026-03-02T02:00:00.000Z",
        "room": {"id": "r", "channel": "wa", "account_uniq_id": PHONE[1:]},
        "sender": {"name": "Budi", "participant_type": "customer"},
    }


def detail(store: Store, notice: str) -> str:
    with store.reading() as connection:
        wanted = sa.select(t.delivery.c.detail).where(t.delivery.c.notice == notice)
        return str(connection.execute(wanted).scalar_one())


def reached(store: Store, customer: str, channel: str) -> bool:
    found = CustomerDirectory(store).get(customer_key(store.customer_key, customer))
    assert found is not None
    consents = channel in found.consent or "all" in found.consent
    return consents and channel not in found.withdrawn and "all" not in found.withdrawn


def audited(store: Store) -> list[tuple[str, str, str]]:
    with store.reading() as connection:
        found = connection.execute(sa.select(t.audit).where(t.audit.c.what == "consent.withdrawn"))
        return [(row.who, row.target, row.detail) for row in found]


# --- who is believed ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no signature"),
        pytest.param({"X-Hub-Signature-256": "sha256=" + "0" * 64}, id="a wrong one"),
        pytest.param({"X-Hub-Signature-256": "sha256=zz"}, id="no hex"),
        pytest.param({"X-Hub-Signature-256": ""}, id="an empty one"),
        pytest.param(signed(message("STOP"), "another-secret-of-somebody"), id="by another secret"),
        pytest.param(signed(message("stop")), id="of another body"),
        pytest.param(
            {"X-Hub-Signature-256": signed(message("STOP"))["X-Hub-Signature-256"][7:]}, id="without its kind"
        ),
    ],
)
def test_a_forged_call_from_meta_changes_nothing(store: Store, settings: Settings, headers: dict[str, str]) -> None:
    answer = ask(store, settings, CLOUD, message("STOP"), headers)
    assert answer.status_code == 401
    assert reached(store, "C-1", "wa2")
    assert SECRET not in answer.text and APP_SECRET not in answer.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param(QONTAK, {}, id="no secret"),
        pytest.param(QONTAK, {inbound.SECRET_HEADER: ""}, id="an empty one"),
        pytest.param(QONTAK, {inbound.SECRET_HEADER: SECRET[:-1]}, id="almost"),
        pytest.param(QONTAK, {inbound.SECRET_HEADER: SECRET + "x"}, id="and more"),
        pytest.param(f"{QONTAK}/guess", {}, id="a wrong one in the address"),
        pytest.param(f"{QONTAK}/guess", {inbound.SECRET_HEADER: APP_SECRET}, id="another channel's"),
    ],
)
def test_a_forged_call_from_qontak_changes_nothing(
    store: Store, settings: Settings, path: str, headers: dict[str, str]
) -> None:
    assert ask(store, settings, path, qontak_message("STOP"), headers).status_code == 401
    assert reached(store, "C-1", "whatsapp")


@pytest.mark.parametrize(
    "channels",
    [
        pytest.param({}, id="no channel"),
        pytest.param({"whatsapp": {"by": "qontak"}, "wa2": {"by": "whatsapp-cloud"}}, id="no secret"),
        pytest.param(
            {
                "whatsapp": {"by": "qontak", "inbound_secret": {"env": "NOT_THERE"}},
                "wa2": {
                    "by": "whatsapp-cloud",
                    "app_secret": {"env": "NOT_THERE"},
                    "verify_token": {"env": "NOT_THERE"},
                },
            },
            id="a secret that is not there",
        ),
        pytest.param({"whatsapp": {"by": "qontak", "inbound_secret": ""}}, id="a wrong setting"),
    ],
)
def test_without_a_secret_nobody_is_believed(store: Store, settings: Settings, channels: dict[str, Any]) -> None:
    without = replace(settings, channels=channels)
    empty = signed(message("STOP"), "")
    assert ask(store, without, CLOUD, message("STOP"), empty).status_code == 401
    assert ask(store, without, QONTAK, qontak_message("STOP"), {inbound.SECRET_HEADER: ""}).status_code == 401
    asked = {"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "42"}
    assert ask(store, without, CLOUD, params=asked).status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({}, 200, id="ours"),
        pytest.param({"hub.verify_token": "guess"}, 401, id="a wrong token"),
        pytest.param({"hub.verify_token": ""}, 401, id="none"),
        pytest.param({"hub.mode": "unsubscribe"}, 401, id="another wish"),
        pytest.param({"hub.challenge": "x" * 201}, 422, id="a challenge too long"),
    ],
)
def test_meta_is_told_that_the_address_is_ours(
    store: Store, settings: Settings, changes: dict[str, str], status: int
) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": VERIFY, "hub.challenge": "<b>1158201444</b>", **changes}
    answer = ask(store, settings, CLOUD, params=asked, whole=True)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == "<b>1158201444</b>"
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"


# --- statuses -------------------------------------------------------------------------------------------------------


def test_a_status_becomes_the_detail_of_its_attempt_and_only_goes_forward(store: Store, settings: Settings) -> None:
    for said, shows, taken in (
        ("sent", "HTTP 201", 0),
        ("delivered", "delivered", 1),
        ("delivered", "delivered", 0),
        ("read", "read", 1),
        ("delivered", "read", 0),
        ("failed", "read", 0),
    ):
        answer = from_meta(store, settings, statuses(("wamid.7", said, NOW_MS)))
        assert (answer.status_code, answer.json()["taken"]) == (200, taken), said
        assert detail(store, "n2") == shows


def test_a_failure_is_told_with_its_code_alone(store: Store, settings: Settings) -> None:
    errors = [{"code": 131026, "title": f"Undeliverable to {PHONE}"}]
    from_meta(store, settings, statuses(("wamid.7", "failed", NOW_MS), errors=errors))
    assert detail(store, "n2") == "failed: 131026"


def test_qontak_says_what_became_of_a_broadcast(store: Store, settings: Settings) -> None:
    news = {"data_event": "broadcast_log_status", "data": {"broadcast_id": "b-7", "status": "delivered"}}
    assert from_qontak(store, settings, news).json() == {"taken": 1, "ignored": 0}
    assert detail(store, "n1") == "delivered"


def test_a_provider_speaks_of_its_own_messages_only(store: Store, settings: Settings) -> None:
    assert from_meta(store, settings, statuses(("b-7", "read", NOW_MS), ("m-1", "read", NOW_MS))).json()["taken"] == 0
    assert (detail(store, "n1"), detail(store, "n3")) == ("HTTP 201", "HTTP 201")


@pytest.mark.parametrize(
    ("offset_ms", "taken"),
    [
        pytest.param(0, 1, id="now"),
        pytest.param(-5 * MINUTE_MS, 1, id="five minutes old"),
        pytest.param(5 * MINUTE_MS, 1, id="five minutes ahead"),
        pytest.param(-6 * MINUTE_MS, 0, id="older"),
        pytest.param(6 * MINUTE_MS, 0, id="further ahead"),
    ],
)
def test_a_status_counts_near_its_time_only(store: Store, settings: Settings, offset_ms: int, taken: int) -> None:
    answer = from_meta(store, settings, statuses(("wamid.7", "delivered", NOW_MS + offset_ms)))
    assert answer.json() == {"taken": taken, "ignored": 1 - taken}


# --- STOP -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("text", ["STOP", "stop", " Berhenti. ", "BERHENTI!", "Stop all"])
def test_stop_withdraws_the_consent_to_the_channel_and_to_no_other(store: Store, settings: Settings, text: str) -> None:
    assert from_meta(store, settings, message(text)).json() == {"taken": 1, "ignored": 0}
    assert not reached(store, "C-1", "wa2")
    assert reached(store, "C-1", "email") and reached(store, "C-1", "whatsapp") and reached(store, "C-2", "wa2")
    ((who, target, channel),) = audited(store)
    assert (who, channel) == ("inbound:whatsapp-cloud", "wa2")
    assert PHONE not in target and "C-1" not in target


@pytest.mark.parametrize("text", ["Please stop the payments", "non-stop", "", "halo", "x" * 5000])
def test_other_words_withdraw_nothing(store: Store, settings: Settings, text: str) -> None:
    assert from_meta(store, settings, message(text)).json()["taken"] == 0
    assert reached(store, "C-1", "wa2")


@pytest.mark.slow
def test_stop_through_qontak_by_header_and_by_address(store: Store, settings: Settings) -> None:
    assert from_qontak(store, settings, qontak_message("BERHENTI")).json()["taken"] == 1
    assert not reached(store, "C-1", "whatsapp")
    again = ask(store, settings, f"{QONTAK}/{SECRET}", qontak_message("BERHENTI", "m2"), whole=True)
    assert (again.status_code, again.json()["taken"]) == (200, 1)


@pytest.mark.slow
def test_they_are_taken_while_workers_on_kafka_work_on_the_store_and_no_broker_is_there(
    store: Store, settings: Settings
) -> None:
    claim_kafka_input(store, "tocsin.events", 3)
    away = replace(settings, kafka=KafkaSection(brokers=("127.0.0.1:1",)))
    shown = {inbound.SECRET_HEADER: SECRET}
    answer = ask(store, away, QONTAK, qontak_message("STOP"), shown, whole=True)
    assert (answer.status_code, answer.json()["taken"]) == (200, 1)
    assert not reached(store, "C-1", "whatsapp")


def test_a_replayed_stop_does_nothing_after_the_customer_came_back(store: Store, settings: Settings) -> None:
    who = customer_key(store.customer_key, "C-1")
    assert from_meta(store, settings, message("STOP")).json()["taken"] == 1
    with store.transaction() as connection:
        connection.execute(sa.delete(t.withdrawn).where(t.withdrawn.c.key == who))
    assert from_meta(store, settings, message("STOP")).json() == {"taken": 0, "ignored": 1}
    assert reached(store, "C-1", "wa2")
    assert from_meta(store, settings, message("STOP", identity="wamid.new")).json()["taken"] == 1
    assert not reached(store, "C-1", "wa2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("offset_ms", "stopped"),
    [
        pytest.param(-6 * DAY_MS, True, id="after an outage of ours"),
        pytest.param(-8 * DAY_MS, False, id="longer than providers repeat"),
        pytest.param(6 * MINUTE_MS, False, id="ahead of the clock"),
    ],
)
def test_a_late_stop_still_counts(store: Store, settings: Settings, offset_ms: int, stopped: bool) -> None:
    from_meta(store, settings, message("STOP", NOW_MS + offset_ms))
    assert reached(store, "C-1", "wa2") is not stopped


def test_a_stop_of_nobody_we_know_is_no_error(store: Store, settings: Settings) -> None:
    assert from_meta(store, settings, message("STOP", phone="+6285550001111")).json() == {"taken": 0, "ignored": 1}
    assert audited(store) == []


def test_a_number_that_two_share_stops_for_both(store: Store, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text(f"id,phone,consent\nC-3,{PHONE},all\n", encoding="utf-8")
    CustomerDirectory(store).import_file(file)
    from_meta(store, settings, message("STOP"))
    assert not reached(store, "C-1", "wa2") and not reached(store, "C-3", "wa2")


# --- what is not as expected ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"entry": 7}', id="another kind"),
        pytest.param(
            b'{"entry": [{"changes": [{"value": {"statuses": [7, {}], "messages": ["x", {"id": 1}]}}]}]}', id="odd"
        ),
        pytest.param(b'{"entry": [{"changes": [{"value": {"statuses": [{"id": {}, "status": []}]}}]}]}', id="nested"),
        pytest.param(
            b'{"data_event": "receive_message_from_customer", "id": 1, "room": 3, "text": "STOP"}', id="no room"
        ),
        pytest.param(b'{"data_event": ["x"], "status": {"a": 1}, "created_at": 99}', id="no texts"),
        pytest.param(b'{"data_event": "x", "status": "read", "id": "b-7", "created_at": "soon"}', id="no moment"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_what_is_not_as_expected_is_ignored_and_never_an_error(store: Store, settings: Settings, body: bytes) -> None:
    digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    shown = {"X-Hub-Signature-256": f"sha256={digest}"}
    assert ask(store, settings, CLOUD, body, shown).status_code == 200
    assert ask(store, settings, QONTAK, body, {inbound.SECRET_HEADER: SECRET}).status_code == 200
    assert reached(store, "C-1", "whatsapp")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"x" * 2_000_000, {}, 413, id="too large"),
        pytest.param(b"[" * 1_000, {}, 422, id="too deep"),
        pytest.param(b"{}", {"Content-Type": "text/html"}, 415, id="another type"),
    ],
)
def test_a_body_beyond_the_limits_is_refused(
    store: Store, settings: Settings, body: bytes, headers: dict[str, str], status: int
) -> None:
    given = {inbound.SECRET_HEADER: SECRET, **headers}
    assert ask(store, settings, QONTAK, body, given, whole=True).status_code == status

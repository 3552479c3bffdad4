"""WhatsApp by Qontak and by Meta: what is sent, how they are signed in to, and what each answer means."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from detector.desk.wording import Message
from detector.errors import ConfigError
from streams.clock import SystemClock
from streams.outbox.channel import Channel, Outcome, Outgoing, Sent
from streams.outbox.channels import qontak
from streams.vendors import qontak as shapes
from streams.vendors import whatsapp_cloud as cloud
from tests.servers import http
from tests.servers.http import Play, Seen, serving
from tests.streams.channelled import LOCAL, NOTICE, SECRETS, channel, env, send


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value.decode())


def by_path(answers: Mapping[str, Callable[[Seen], bytes]]) -> Play:
    async def play(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[seen.path](seen))
        await writer.drain()

    return play


# --- Qontak ---------------------------------------------------------------------------------------------------------

TAKEN = http.answer(201, b'{"status": "success", "data": {"id": "b-7"}}')
REFUSED = http.answer(401, b'{"error": {"code": 401, "messages": ["token"]}}')


def a_token(name: str, status: int = 200) -> Callable[[Seen], bytes]:
    body = json.dumps({"access_token": name, "refresh_token": f"r-{name}", "expires_in": 60}).encode()
    return lambda _seen: http.answer(status, body)


def through_oauth(server: http.Server) -> Channel:
    signing = {"user": "u@example.com", "password": env("PASSWORD"), "client_id": "id", "client_secret": env("CLIENT")}
    oauth = {**signing, "url": f"{server.url}/oauth/token"}
    return channel("qontak", base=f"{server.url}/v1", channel_integration_id="wa-1", oauth=oauth, **LOCAL)


def through_token(server: http.Server) -> Channel:
    return channel("qontak", base=server.url, channel_integration_id="wa-1", token=env("TOKEN"), **LOCAL)


def test_qontak_gets_the_template_with_its_parameters_in_order() -> None:
    with serving(http.writes(TAKEN)) as server:
        (sent,) = send(through_token(server), NOTICE)
        (seen,) = server.seen
    assert (sent.outcome, sent.reference) == (Outcome.SENT, "b-7")
    assert (seen.path, seen.headers["authorization"]) == ("/broadcasts/whatsapp/direct", "Bearer t0ken")
    assert json.loads(seen.body) == {
        "to_number": "6281234567890",
        "to_name": "Budi",
        "message_template_id": "template-1",
        "channel_integration_id": "wa-1",
        "language": {"code": "id"},
        "parameters": {
            "body": [
                {"key": "1", "value": "name", "value_text": "Budi"},
                {"key": "2", "value": "what", "value_text": "pembayaran BNI"},
            ]
        },
    }


def test_hmac_signs_date_and_request_line() -> None:
    hmac_options = {"client_id": "me", "client_secret": env("CLIENT")}
    with serving(http.writes(TAKEN)) as server:
        base = f"{server.url}/qontak/chat/v1"
        send(channel("qontak", base=base, channel_integration_id="wa-1", hmac=hmac_options, **LOCAL), NOTICE)
        (seen,) = server.seen
    assert seen.path == "/qontak/chat/v1/broadcasts/whatsapp/direct"
    text = f"date: {seen.headers['date']}\nPOST {seen.path} HTTP/1.1"
    expected = base64.b64encode(hmac.new(SECRETS["CLIENT"], text.encode(), hashlib.sha256).digest()).decode()
    shown = f'hmac username="me", algorithm="hmac-sha256", headers="date request-line", signature="{expected}"'
    assert seen.headers["authorization"] == shown
    assert parsedate_to_datetime(seen.headers["date"]).tzinfo is UTC


def test_a_token_is_asked_for_once_and_renewed_once_it_is_refused() -> None:
    given, direct = iter(["one", "two"]), "/v1/broadcasts/whatsapp/direct"
    taken = {"Bearer one": iter([TAKEN, TAKEN]), "Bearer two": iter([TAKEN])}
    answers = {
        "/oauth/token": lambda seen: a_token(next(given))(seen),
        direct: lambda seen: next(taken[seen.headers["authorization"]], REFUSED),
    }
    with serving(by_path(answers)) as server:
        sent = send(through_oauth(server), NOTICE, NOTICE, NOTICE)
        asked = [json.loads(seen.body) for seen in server.seen if seen.path == "/oauth/token"]
        tried = [seen.headers["x-idempotency-key"] for seen in server.seen if seen.path == direct]
    assert [one.outcome for one in sent] == [Outcome.SENT] * 3
    assert [one["grant_type"] for one in asked] == ["password", "refresh_token"]
    assert (asked[0]["username"], asked[0]["password"], asked[1]["refresh_token"]) == ("u@example.com", "pass", "r-one")
    assert tried == ["n1"] * 4


def test_several_messages_share_one_token() -> None:
    answers = {"/oauth/token": a_token("one"), "/v1/broadcasts/whatsapp/direct": lambda _seen: TAKEN}

    async def go(sender: Channel) -> list[Sent]:
        try:
            return await asyncio.gather(*(sender.send(NOTICE) for _ in range(6)))
        finally:
            await sender.close()

    with serving(by_path(answers)) as server:
        assert {sent.outcome for sent in asyncio.run(go(through_oauth(server)))} == {Outcome.SENT}
        assert [seen.path for seen in server.seen].count("/oauth/token") == 1


def test_credentials_that_are_refused_twice_stop_the_channel() -> None:
    answers = {"/oauth/token": a_token("one"), "/v1/broadcasts/whatsapp/direct": lambda _seen: REFUSED}
    with serving(by_path(answers)) as server:
        (sent,) = send(through_oauth(server), NOTICE)
        paths = [seen.path for seen in server.seen]
    assert (sent.outcome, sent.reason, sent.stop) == (Outcome.AGAIN, "credentials", True)
    assert paths.count("/v1/broadcasts/whatsapp/direct") == 2


@pytest.mark.parametrize(
    ("answer", "reason", "stop"),
    [
        pytest.param(REFUSED, "credentials", True, id="wrong password"),
        pytest.param(http.answer(400), "credentials", True, id="wrong client"),
        pytest.param(http.answer(200, b"{}"), "credentials", True, id="no token in it"),
        pytest.param(http.answer(200, b'{"access_token": "a\\nb"}'), "credentials", True, id="no token but a header"),
        pytest.param(http.answer(503), "unavailable", False, id="unavailable"),
        pytest.param(http.answer(429), "rate-limited", False, id="too often"),
        pytest.param(b"", "protocol", False, id="no answer: nothing was sent yet"),
    ],
)
def test_without_a_token_no_message_leaves(answer: bytes, reason: str, stop: bool) -> None:
    with serving(by_path({"/oauth/token": lambda _seen: answer})) as server:
        (sent,) = send(through_oauth(server), NOTICE)
    assert (sent.outcome, sent.reason, sent.stop) == (Outcome.AGAIN, reason, stop)


@pytest.mark.slow
def test_all_requests_of_a_message_share_its_time() -> None:
    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.path == "/oauth/token":
            await asyncio.sleep(0.7)
            writer.write(a_token("one")(seen))
            await writer.drain()
        else:
            await asyncio.Event().wait()

    with serving(slow) as server:
        sender = through_oauth(server)
        assert isinstance(sender, qontak.QontakChannel)
        begun_s = SystemClock().monotonic_s()
        sender.options = sender.options.model_copy(update={"timeout": 1_000})
        (sent,) = send(sender, NOTICE)
        assert SystemClock().monotonic_s() - begun_s < 1.6
    assert (sent.outcome, sent.reason) == (Outcome.UNKNOWN, "timeout")


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        pytest.param(http.answer(200, b"<html>"), Outcome.UNKNOWN, "protocol", id="taken, or not: a page"),
        pytest.param(http.answer(201, b'{"data": {}}'), Outcome.UNKNOWN, "protocol", id="taken without an id"),
        pytest.param(http.answer(422, b'{"error": {"messages": "x"}}'), Outcome.FAILED, "refused", id="refused"),
        pytest.param(http.answer(429), Outcome.AGAIN, "rate-limited", id="too often"),
        pytest.param(http.answer(500), Outcome.AGAIN, "unavailable", id="its trouble"),
        pytest.param(http.answer(502), Outcome.UNKNOWN, "unavailable", id="a gateway that got no answer"),
        pytest.param(http.answer(504), Outcome.UNKNOWN, "unavailable", id="a gateway that waited too long"),
    ],
)
def test_what_qontaks_answer_means(answer: bytes, outcome: Outcome, reason: str) -> None:
    with serving(http.writes(answer)) as server:
        (sent,) = send(through_token(server), NOTICE)
    assert (sent.outcome, sent.reason) == (outcome, reason)


@pytest.mark.parametrize("by", ["qontak", "whatsapp-cloud"])
def test_without_a_template_nothing_is_asked(by: str) -> None:
    bare = Outgoing("n1", "c1", "problem", "+6281234567890", "id", Message("S", "B"))
    with serving(http.writes(TAKEN)) as server:
        sender = through_token(server) if by == "qontak" else through_cloud(server)
        (sent,) = send(sender, bare)
        assert (sent.outcome, sent.reason, server.connections) == (Outcome.FAILED, "no-template", 0)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="none"),
        pytest.param({"token": {"env": "TOKEN"}, "hmac": {"client_id": "a", "client_secret": {"env": "A"}}}, id="two"),
    ],
)
def test_qontak_is_signed_in_to_in_one_way(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="exactly one of token, oauth and hmac"):
        channel("qontak", channel_integration_id="wa-1", **given)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"base": "https://10.0.0.1/", "token": {"env": "TOKEN"}}, id="the API"),
        pytest.param(
            {
                "oauth": {
                    "user": "u",
                    "password": {"env": "PASSWORD"},
                    "client_id": "i",
                    "client_secret": {"env": "CLIENT"},
                    "url": "https://10.0.0.1/",
                }
            },
            id="where tokens are given",
        ),
    ],
)
def test_no_place_of_qontaks_is_an_inner_one(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1 is not a public address"):
        channel("qontak", channel_integration_id="wa-1", **given)


def test_qontak_is_asked_where_its_way_of_signing_in_is() -> None:
    common = {"channel_integration_id": "wa-1"}
    by_token = qontak.Options.model_validate({**common, "token": env("TOKEN")})
    by_hmac = qontak.Options.model_validate({**common, "hmac": {"client_id": "a", "client_secret": env("CLIENT")}})
    assert (by_token.at, by_hmac.at) == (shapes.LEGACY_BASE, shapes.HMAC_BASE)


def test_the_subscription_names_where_to_call_back() -> None:
    assert shapes.subscription("https://t.example/v1/inbound/qontak/x")["url"].startswith("https://t.example")


# --- WhatsApp Cloud -------------------------------------------------------------------------------------------------


def through_cloud(server: http.Server) -> Channel:
    return channel("whatsapp-cloud", base=f"{server.url}/v23.0", phone_number_id="42", token=env("TOKEN"), **LOCAL)


def test_meta_gets_the_template_with_its_parameters_in_order() -> None:
    with serving(http.says(200, b'{"messages": [{"id": "wamid.7", "message_status": "accepted"}]}')) as server:
        (sent,) = send(through_cloud(server), NOTICE)
        (seen,) = server.seen
    assert (sent.outcome, sent.reference) == (Outcome.SENT, "wamid.7")
    assert (seen.path, seen.headers["authorization"]) == ("/v23.0/42/messages", "Bearer t0ken")
    texts = [{"type": "text", "text": "Budi"}, {"type": "text", "text": "pembayaran BNI"}]
    assert json.loads(seen.body) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "6281234567890",
        "type": "template",
        "template": {
            "name": "template-1",
            "language": {"code": "id"},
            "components": [{"type": "body", "parameters": texts}],
        },
        "biz_opaque_callback_data": "n1",
    }


def test_a_template_without_parameters_has_no_components() -> None:
    bare = cloud.template_message(number="62", template="t", language="id", parameters={}, notice="n")
    assert bare["template"]["components"] == []


@pytest.mark.parametrize(
    ("code", "status", "outcome", "reason", "stop"),
    [
        pytest.param(131026, 400, Outcome.FAILED, "hard-bounce", False, id="undeliverable"),
        pytest.param(131047, 400, Outcome.FAILED, "content", False, id="outside of the window"),
        pytest.param(131050, 400, Outcome.FAILED, "opted-out", False, id="opted out there"),
        pytest.param(131051, 400, Outcome.FAILED, "content", False, id="unsupported"),
        pytest.param(131049, 400, Outcome.FAILED, "refused", False, id="held back for the recipient's sake"),
        pytest.param(132000, 400, Outcome.FAILED, "content", False, id="parameters do not fit"),
        pytest.param(132001, 404, Outcome.FAILED, "content", False, id="no such template"),
        pytest.param(132015, 400, Outcome.FAILED, "content", False, id="template paused"),
        pytest.param(130429, 429, Outcome.AGAIN, "rate-limited", False, id="too fast"),
        pytest.param(131048, 400, Outcome.AGAIN, "rate-limited", False, id="quality"),
        pytest.param(131056, 400, Outcome.AGAIN, "rate-limited", False, id="too many to one"),
        pytest.param(80007, 400, Outcome.AGAIN, "rate-limited", False, id="account's limit"),
        pytest.param(131000, 500, Outcome.AGAIN, "unavailable", False, id="its trouble"),
        pytest.param(190, 401, Outcome.AGAIN, "credentials", True, id="token expired"),
        pytest.param(10, 400, Outcome.AGAIN, "credentials", True, id="not permitted"),
        pytest.param(200, 403, Outcome.AGAIN, "credentials", True, id="no permission"),
        pytest.param(999_999, 400, Outcome.FAILED, "refused", False, id="a code that is new"),
        pytest.param(None, 502, Outcome.UNKNOWN, "unavailable", False, id="a gateway"),
    ],
)
def test_what_metas_codes_mean(code: int | None, status: int, outcome: Outcome, reason: str, stop: bool) -> None:
    body = json.dumps({"error": {"code": code, "message": "to +6281234567890", "error_data": {"details": "Budi"}}})
    with serving(http.says(status, body.encode(), {"Retry-After": "5"})) as server:
        (sent,) = send(through_cloud(server), NOTICE)
    assert (sent.outcome, sent.reason, sent.stop) == (outcome, reason, stop)
    assert "81234567890" not in sent.detail and "Budi" not in sent.detail
    if reason == "rate-limited":
        assert sent.retry_after_s == 5

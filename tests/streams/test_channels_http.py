"""Channels over HTTP beyond what all channels must do: what they send, what they ask first, what each answer means."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from detector.desk.wording import Message
from detector.errors import ConfigError
from streams.clock import SystemClock
from streams.net import Rules, Way, networks
from streams.outbox.channel import Channel, Outcome, Outgoing, Sent, Setup, load
from streams.outbox.channels import apprise, qontak, webhook, whatsapp_cloud
from streams.outbox.http import scrubbed
from streams.sections import SecretReference
from streams.vendors import qontak as shapes
from streams.vendors import whatsapp_cloud as cloud
from tests.servers import http
from tests.servers.harness_apprise import notice_in
from tests.servers.http import Play, Seen, serving

KEY, NEXT = (b"whsec_" + base64.b64encode(letter * 32) for letter in (b"a", b"b"))
LOCAL = {"allow": ["127.0.0.0/8"], "insecure": True}
SECRETS = {"KEY": KEY, "NEXT": NEXT, "TOKEN": b"t0ken", "PASSWORD": b"pass", "CLIENT": b"client-secret-of-ours"}
NOTICE = Outgoing(
    notice="n1",
    case="c1",
    kind="problem",
    address="+6281234567890",
    language="id",
    message=Message("Gangguan pembayaran", "Halo Budi, pembayaran Anda belum berhasil."),
    signal="payments",
    name="Budi",
    template="template-1",
    parameters={"name": "Budi", "what": "pembayaran BNI"},
)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value.decode())


def env(name: str) -> dict[str, str]:
    return {"env": name}


def channel(by: str, **options: Any) -> Channel:
    return load("x", {"by": by, **options}, Setup("x", "tocsin.yml: channels.x", Path()))


def send(sender: Channel, *outgoing: Outgoing) -> list[Sent]:
    async def go() -> list[Sent]:
        try:
            return [await sender.send(one) for one in outgoing]
        finally:
            await sender.close()

    return asyncio.run(go())


def in_order(*answers: bytes) -> Play:
    """Give one answer after the other, the last for ever."""
    left = list(answers)

    async def play(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    return play


def by_path(answers: Mapping[str, Callable[[Seen], bytes]]) -> Play:
    async def play(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[seen.path](seen))
        await writer.drain()

    return play


# --- webhook --------------------------------------------------------------------------------------------------------


def test_a_notice_is_a_signed_message_with_its_id() -> None:
    with serving(http.says(200)) as server:
        (sent,) = send(channel("webhook", url=f"{server.url}/hook", secret=env("KEY"), **LOCAL), NOTICE)
        (seen,) = server.seen
    assert sent.outcome is Outcome.SENT
    said = Webhook(KEY.decode()).verify(seen.body, dict(seen.headers))
    assert (seen.method, seen.path, seen.headers["webhook-id"]) == ("POST", "/hook", "n1")
    at = datetime.fromisoformat(said.pop("timestamp"))
    assert abs((datetime.fromtimestamp(int(seen.headers["webhook-timestamp"]), UTC) - at).total_seconds()) <= 1
    assert said == {
        "type": "notice.due",
        "data": {
            "notice": "n1",
            "case": "c1",
            "kind": "problem",
            "signal": "payments",
            "channel": "x",
            "customer": {"address": "+6281234567890", "name": "Budi", "language": "id"},
            "subject": "Gangguan pembayaran",
            "body": "Halo Budi, pembayaran Anda belum berhasil.",
        },
    }


def test_while_the_secret_changes_both_sign() -> None:
    options = {"secret": env("KEY"), "next_secret": env("NEXT"), **LOCAL}
    with serving(http.says(200)) as server:
        send(channel("webhook", url=server.url, **options), NOTICE)
        (seen,) = server.seen
    assert len(seen.headers["webhook-signature"].split(" ")) == 2
    for secret in (KEY, NEXT):
        Webhook(secret.decode()).verify(seen.body, dict(seen.headers))


def test_a_message_too_long_for_a_webhook_never_leaves() -> None:
    long = Outgoing("n1", "c1", "problem", "C-1", "id", Message("S", "x" * 20_000))
    with serving(http.says(200)) as server:
        (sent,) = send(channel("webhook", url=server.url, secret=env("KEY"), **LOCAL), long)
        assert (sent.outcome, sent.reason, server.connections) == (Outcome.FAILED, "content", 0)


def test_a_secret_that_is_gone_stops_the_channel_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(http.says(200)) as server:
        made = channel("webhook", url=server.url, secret=env("KEY"), **LOCAL)
        monkeypatch.delenv("KEY")
        (sent,) = send(made, NOTICE)
        assert (sent.outcome, sent.reason, sent.stop) == (Outcome.AGAIN, "credentials", True)
        assert server.connections == 0


@pytest.mark.parametrize(
    ("status", "outcome", "reason", "stop"),
    [
        pytest.param(200, Outcome.SENT, "", False, id="200"),
        pytest.param(202, Outcome.SENT, "", False, id="202"),
        pytest.param(204, Outcome.SENT, "", False, id="204"),
        pytest.param(301, Outcome.AGAIN, "redirect", False, id="301"),
        pytest.param(304, Outcome.AGAIN, "redirect", False, id="304"),
        pytest.param(400, Outcome.FAILED, "refused", False, id="400"),
        pytest.param(401, Outcome.AGAIN, "credentials", True, id="401"),
        pytest.param(403, Outcome.AGAIN, "credentials", True, id="403"),
        pytest.param(404, Outcome.FAILED, "refused", False, id="404"),
        pytest.param(408, Outcome.AGAIN, "rate-limited", False, id="408"),
        pytest.param(410, Outcome.FAILED, "gone", True, id="410"),
        pytest.param(413, Outcome.FAILED, "content", False, id="413"),
        pytest.param(429, Outcome.AGAIN, "rate-limited", False, id="429"),
        pytest.param(500, Outcome.AGAIN, "unavailable", False, id="500"),
        pytest.param(502, Outcome.AGAIN, "unavailable", False, id="502"),
        pytest.param(503, Outcome.AGAIN, "unavailable", False, id="503"),
        pytest.param(599, Outcome.AGAIN, "unavailable", False, id="599"),
        pytest.param(999, Outcome.AGAIN, "protocol", False, id="999"),
    ],
)
def test_what_a_webhooks_answer_means(status: int, outcome: Outcome, reason: str, stop: bool) -> None:
    with serving(http.says(status)) as server:
        (sent,) = send(channel("webhook", url=server.url, secret=env("KEY"), **LOCAL), NOTICE)
    assert (sent.outcome, sent.reason, sent.stop) == (outcome, reason, stop)


def test_when_to_come_back_may_be_a_date() -> None:
    at = datetime.fromtimestamp(SystemClock().now_ms() / 1_000 + 90, UTC)
    with serving(http.says(503, b"", {"Retry-After": f"{at:%a, %d %b %Y %H:%M:%S} GMT"})) as server:
        (sent,) = send(channel("webhook", url=server.url, secret=env("KEY"), **LOCAL), NOTICE)
    assert sent.retry_after_s == pytest.approx(90, abs=3)


@pytest.mark.parametrize("found", [["10.0.0.1"], ["169.254.169.254"], ["93.184.215.14", "127.0.0.1"]])
def test_a_place_that_leads_inside_stops_the_channel_at_the_send(found: Sequence[str]) -> None:
    async def inner(_host: str, _port: int) -> Sequence[str]:
        return found

    options = webhook.Options.model_validate({"url": "https://hooks.example.com/s3cret", "secret": env("KEY")})
    made = webhook.make(options, Setup("x", "x", Path()))
    (sent,) = send(webhook.WebhookChannel("x", options.url, made.secrets, Way(options.rules, resolver=inner)), NOTICE)
    assert (sent.outcome, sent.reason, sent.stop) == (Outcome.AGAIN, "blocked", True)
    assert "s3cret" not in sent.detail


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"url": "http://hooks.example.com/"}, "expected https, found http", id="http"),
        pytest.param({"url": "https://169.254.169.254/"}, "169.254.169.254 is not a public address", id="metadata"),
        pytest.param(
            {"url": "https://10.0.0.7/", "allow": ["10.1.0.0/16"]}, "10.0.0.7 is not", id="not the one allowed"
        ),
        pytest.param({"url": "https://u:hunter22@hooks.example.com/"}, "no user and password", id="password"),
        pytest.param({"url": "https://hooks.example.com/", "allow": ["here"]}, "networks such as", id="no network"),
        pytest.param(
            {"url": "https://hooks.example.com/", "secret": "whsec_AAAA"}, "env: NAME", id="a secret in clear"
        ),
        pytest.param({"url": "https://hooks.example.com/", "secret": {"env": "CLIENT"}}, "whsec_", id="no secret"),
        pytest.param({"url": "https://hooks.example.com/", "secret": {"env": "NONE"}}, "NONE", id="none there"),
        pytest.param(
            {"url": "https://hooks.example.com/", "ca_file": "none.pem"}, "certificates", id="no certificates"
        ),
        pytest.param({}, "channels.x.url: expected a value", id="no address"),
    ],
)
def test_a_webhook_that_cannot_work_is_refused_with_its_place(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        channel("webhook", **{"secret": env("KEY"), **options})
    assert says in str(error.value)
    assert "tocsin.yml: channels.x" in str(error.value)
    assert not any(secret in str(error.value) for secret in ("hunter22", "whsec_AAAA", "client-secret"))


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


# --- Apprise --------------------------------------------------------------------------------------------------------


def test_the_place_hears_whom_it_is_about_and_nobody_is_pinged() -> None:
    from apprise.plugins.slack import NotifySlack

    text = Message("@everyone <!here>", "Halo <!channel> <@U123> @all &lt;!channel&gt; [x](http://x) <https://x|y>")
    outgoing = Outgoing("n1", "c1", "problem", "C-1", "id", text, name="<!channel>@Budi")
    title, body = apprise.text_of(outgoing)
    for said in (title, body):
        assert not re.search(r"@\w|[<>]", said)
    make: Callable[..., Any] = NotifySlack
    slack = make(token_a="T1JJ3T3L2", token_b="A1BRTD4JD", token_c="TIiajkdnlazkcOXrIdevi7FQ", targets="#a")
    escaped = slack._re_formatting_rules.sub(lambda found: slack._re_formatting_map[found.group()], body)
    assert slack._re_channel_support.findall(escaped) == [] and slack._re_user_id_support.findall(escaped) == []


@given(st.text(max_size=200), st.text(max_size=50))
def test_no_text_reaches_a_place_with_a_mention_or_markup(body: str, name: str) -> None:
    outgoing = Outgoing("n1", "c1", "problem", "C-1", "id", Message(body, body), name=name)
    assert not any(re.search(r"@(?!\u200b)|[<>]", said) for said in apprise.text_of(outgoing))


def test_the_process_that_sends_is_kept_and_knows_no_other_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(http.says(200)) as server:
        monkeypatch.setenv("PLACE", f"json://127.0.0.1:{server.port}/")
        sender = channel("apprise", url=env("PLACE"), connections=1)
        assert isinstance(sender, apprise.AppriseChannel)

        async def go() -> tuple[set[int], bytes, bytes]:
            pids, environment, arguments = set[int](), b"", b""
            for _ in range(3):
                assert (await sender.send(NOTICE)).outcome is Outcome.SENT
                (worker,) = sender.idle
                pids.add(worker.pid)
                environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
                arguments = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
            await sender.close()
            return pids, environment, arguments

        pids, environment, arguments = asyncio.run(go())
        assert [notice_in(seen) for seen in server.seen] == ["n1"] * 3
    assert len(pids) == 1
    assert not any(value in environment + arguments for value in (*SECRETS.values(), str(server.port).encode()))
    assert not os.path.exists(f"/proc/{pids.pop()}")


def test_a_place_that_apprise_does_not_know_stops_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "nosuchservice://hunter22")
    (sent,) = send(channel("apprise", url=env("PLACE")), NOTICE)
    assert (sent.outcome, sent.reason, sent.stop) == (Outcome.AGAIN, "credentials", True)
    assert "hunter22" not in repr(sent)


def test_a_redirect_of_a_place_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(http.says(200)) as inner, serving(http.says(302, b"", {"Location": inner.url})) as server:
        monkeypatch.setenv("PLACE", f"json://127.0.0.1:{server.port}/")
        (sent,) = send(channel("apprise", url=env("PLACE")), NOTICE)
        assert (sent.outcome, sent.reason, inner.connections) == (Outcome.AGAIN, "redirect", 0)


# --- all of them ----------------------------------------------------------------------------------------------------


@given(st.text(max_size=300), st.text(min_size=3, max_size=20))
def test_what_the_other_side_says_is_shown_without_what_it_quotes(around: str, name: str) -> None:
    outgoing = Outgoing("n1", "c1", "p", "+6281234567890", "id", Message("A subject", "Some body"), name=name)
    said = scrubbed(
        f"{around}{name}{around} +6281234567890 0812-3456-7890 a@b.example https://x.example/s3cret", outgoing
    )
    assert said.isprintable() and len(said) <= 160
    assert not any(part in said for part in ("81234567890", "3456-7890", "a@b.example", "s3cret"))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"by": "webhook", "url": "https://h.example/", "secret": env("KEY")}, id="webhook"),
        pytest.param({"by": "qontak", "channel_integration_id": "w", "token": env("TOKEN")}, id="qontak"),
        pytest.param({"by": "whatsapp-cloud", "phone_number_id": "42", "token": env("TOKEN")}, id="whatsapp-cloud"),
        pytest.param({"by": "apprise", "url": env("TOKEN")}, id="apprise"),
    ],
)
def test_no_channel_shows_a_secret(options: dict[str, Any]) -> None:
    made = load("x", options, Setup("x", "tocsin.yml: channels.x", Path()))
    send(made)
    assert not any(value.decode() in repr(vars(made)) for value in SECRETS.values())


def test_secrets_are_references() -> None:
    for module in (webhook, qontak, whatsapp_cloud, apprise):
        for name, field in module.Options.model_fields.items():
            if "secret" in name or name in ("token", "verify_token", "password"):
                assert field.annotation in (SecretReference, SecretReference | None), name


def test_a_certificate_of_ones_own_can_be_trusted(tmp_path: Path) -> None:
    file = http.certificate(tmp_path / "server.pem")
    with serving(http.says(200), tls=file) as server:
        options = {"url": server.url, "secret": env("KEY"), "allow": ["127.0.0.1"]}
        (refused,) = send(channel("webhook", **options), NOTICE)
        assert (refused.outcome, refused.reason, server.seen) == (Outcome.AGAIN, "tls", [])
        (sent,) = send(channel("webhook", ca_file=str(file), **options), NOTICE)
        assert sent.outcome is Outcome.SENT
    assert Rules(networks(["127.0.0.1"])) == webhook.Options.model_validate(options).rules

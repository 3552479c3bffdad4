"""Webhook and Apprise beyond what all channels must do: what they send, and what each answer means."""

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from detector.desk.wording import Message
from detector.errors import ConfigError
from streams.clock import SystemClock
from streams.net import Rules, Way, networks
from streams.outbox.channel import Outcome, Outgoing, Setup, load
from streams.outbox.channels import apprise, qontak, webhook, whatsapp_cloud
from streams.outbox.http import scrubbed
from streams.outbox.smtp_replies import Stage, judged
from streams.sections import SecretReference
from tests.servers import http
from tests.servers.harness_apprise import notice_in
from tests.servers.http import serving
from tests.streams.channelled import KEY, LOCAL, NEXT, NOTICE, SECRETS, channel, env, send


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value.decode())


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


@pytest.mark.slow
@given(st.text(max_size=200), st.text(max_size=50))
def test_no_text_reaches_a_place_with_a_mention_or_markup(body: str, name: str) -> None:
    outgoing = Outgoing("n1", "c1", "problem", "C-1", "id", Message(body, body), name=name)
    assert not any(re.search(r"@(?!\u200b)|[<>]", said) for said in apprise.text_of(outgoing))


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_place_that_apprise_does_not_know_stops_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "nosuchservice://hunter22")
    (sent,) = send(channel("apprise", url=env("PLACE")), NOTICE)
    assert (sent.outcome, sent.reason, sent.stop) == (Outcome.AGAIN, "credentials", True)
    assert "hunter22" not in repr(sent)


@pytest.mark.slow
def test_a_redirect_of_a_place_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(http.says(200)) as inner, serving(http.says(302, b"", {"Location": inner.url})) as server:
        monkeypatch.setenv("PLACE", f"json://127.0.0.1:{server.port}/")
        (sent,) = send(channel("apprise", url=env("PLACE")), NOTICE)
        assert (sent.outcome, sent.reason, inner.connections) == (Outcome.AGAIN, "redirect", 0)


# --- all of them ----------------------------------------------------------------------------------------------------


@example("", "TPS")  # stands in https, too
@example("", "123")
@given(st.text(max_size=300), st.text(min_size=3, max_size=20))
def test_what_the_other_side_says_is_shown_without_what_it_quotes(around: str, name: str) -> None:
    outgoing = Outgoing("n1", "c1", "p", "+6281234567890", "id", Message("A subject", "Some body"), name=name)
    said = scrubbed(
        f"{around}{name}{around} +6281234567890 0812-3456-7890 a@b.example https://x.example/s3cret", outgoing
    )
    assert said.isprintable() and len(said) <= 160
    assert not any(part in said for part in ("81234567890", "3456-7890", "a@b.example", "s3cret"))


def test_a_message_that_is_quoted_whole_is_left_out_with_what_it_holds() -> None:
    body = "Hello Al,\nsee https://x.example/help or write to cs@x.example."
    outgoing = Outgoing("n1", "c1", "p", "+6281234567890", "id", Message("S", body), name="Al")
    assert scrubbed(f"Not taken: {body} (Al, always)", outgoing) == "Not taken: … (…, always)"
    (sent,) = [judged(Stage.MESSAGE, 554, f"5.6.0 not taken: {body} (al)", "al@x.example", "Al", "S", body)]
    assert sent.detail.endswith("5.6.0 not taken: … (…)")


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

"""E-mail through real mail servers: what goes out, what may never go out, and what a server's bad day means."""

import asyncio
import re
import time
from contextlib import AbstractContextManager
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from detector.desk.wording import Message
from detector.errors import ConfigError
from streams.clock import SystemClock
from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, Setup, load
from streams.outbox.channels.smtp import SmtpChannel
from streams.outbox.mail import Sender, mail_of
from tests.servers.harness_smtp import ADDRESS, PASSWORD, USER, channel, signed_in, silent, swallowing
from tests.servers.smtp import Hand, MailServer, Play, by_hand, running

BODY = "Halo Budi, pembayaran BNI Anda pukul 14.32 WIB belum berhasil.\nGangguannya ada di sisi kami – bukan Anda."
URL = "https://tocsin.shop.example/u/" + "Ab3-_9" * 12


def outgoing(notice: str = "4f2a9c", **changes: Any) -> Outgoing:
    values: dict[str, Any] = {
        "notice": notice,
        "case": "c1",
        "kind": "problem",
        "address": ADDRESS,
        "language": "id",
        "message": Message("Pembayaran BNI Anda: gangguan di sisi kami", BODY),
        "unsubscribe_url": URL,
    }
    return Outgoing(**{**values, **changes})


def send(made: SmtpChannel, *messages: Outgoing) -> list[Sent]:
    async def go() -> list[Sent]:
        try:
            return [await made.send(one) for one in messages]
        finally:
            await made.close()

    return asyncio.run(go())


def sent_to(
    play: Play, *messages: Outgoing, tls: str = "starttls", limit_ms: int = 5_000
) -> tuple[list[Sent], MailServer]:
    with running(play) as server:
        return send(channel(server.port, tls, limit_ms), *messages), server


# --- what goes out ---


def test_the_headers_of_a_notice() -> None:
    (sent,), server = sent_to(Play(), outgoing())
    (mail,) = server.received
    assert sent == Sent(Outcome.SENT, reference="2.0.0 OK: queued as 4F2A")
    assert mail["From"] == "Toko Budi <notices@shop.example.com>"
    assert mail["To"] == ADDRESS
    assert mail["Subject"] == "Pembayaran BNI Anda: gangguan di sisi kami"
    assert mail["Message-ID"] == "<4f2a9c@shop.example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] == f"<{URL}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert abs(mail["Date"].datetime.timestamp() - SystemClock().now_ms() / 1_000) < 60
    assert server.envelopes == [("notices@shop.example.com", [ADDRESS])]


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert isinstance(found, EmailMessage)
    return str(found.get_content()).replace("\r\n", "\n")


def test_text_and_html_say_the_same() -> None:
    _, server = sent_to(Play(), outgoing())
    (mail,) = server.received
    assert part(mail, "plain") == f"{BODY}\n\nBerhenti menerima pesan ini: {URL}\n"
    page = part(mail, "html")
    assert '<html lang="id">' in page
    assert '<meta name="color-scheme" content="light dark">' in page
    assert not re.search(r"(?<![-\w])(?:color|background)\s*:", page), "the reader's own colours, dark or light"
    assert f'<a href="{URL}">' in page
    assert "belum berhasil.<br>Gangguannya" in page


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        '<a href="javascript:alert(1)">x</a>',
        "</title></head><body><h1>x</h1>",
    ],
)
def test_whatever_the_text_holds_the_html_has_no_tag_of_it(text: str) -> None:
    wild = outgoing(message=Message(text, f"{text}\n\n{text}"), language=text, unsubscribe_url="")
    raw = mail_of(wild, Sender("Toko", "a@shop.example.com"), ADDRESS, 0)
    _, server = sent_to(Play(), wild)
    assert raw
    page = part(server.received[0], "html")
    tags = _Tags()
    tags.feed(page)
    assert set(tags.found) == {"html", "head", "meta", "title", "body", "div", "p"}
    assert part(server.received[0], "plain").startswith(text)


def test_lines_that_begin_with_a_dot_and_long_ones_arrive_as_they_are() -> None:
    body = ".\n..\n.hidden\n" + "long " * 300
    _, server = sent_to(Play(), outgoing(message=Message("S", body.strip()), unsubscribe_url=""))
    assert part(server.received[0], "plain") == body.strip() + "\n"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://x.example/\r\nBcc: a@b.example", "https://x.example/> x", ""]
)
def test_a_link_that_is_none_is_left_out(url: str) -> None:
    _, server = sent_to(Play(), outgoing(unsubscribe_url=url))
    (mail,) = server.received
    assert mail["List-Unsubscribe"] is None
    assert mail["Bcc"] is None


@pytest.mark.parametrize("subject", ["a\r\nBcc: other@example.com", "a\nb", "a\rb"])
def test_a_line_break_in_the_subject_is_refused(subject: str) -> None:
    (sent,), server = sent_to(Play(), outgoing(message=Message(subject, BODY)))
    assert (sent.outcome, sent.reason) == (Outcome.FAILED, "content")
    assert server.received == []


def test_a_repetition_is_the_same_message_to_a_reader() -> None:
    _, server = sent_to(Play(), outgoing(), outgoing(), outgoing("another"))
    assert server.notices() == ["4f2a9c", "4f2a9c", "another"]
    assert server.received[0].get_body() is not None


def test_a_notice_whose_name_is_no_word_gets_one() -> None:
    _, server = sent_to(Play(), outgoing("a b>\u202e"), outgoing("a b>\u202e"))
    first, second = server.notices()
    assert first == second
    assert re.fullmatch(r"[0-9a-f]{32}", first)


def test_a_foreign_domain_is_written_in_its_encoded_form() -> None:
    _, server = sent_to(Play(), outgoing(address="budi@bücher.example.com"))
    assert server.envelopes[0][1] == ["budi@xn--bcher-kva.example.com"]


# --- connections ---


def test_a_connection_is_used_again() -> None:
    _, server = sent_to(Play(), *(outgoing(str(i)) for i in range(5)))
    assert len(server.received) == 5
    assert server.connections == 1


def test_a_refused_recipient_costs_no_connection() -> None:
    play = Play({"RCPT": "550 5.1.1 no such user"}, refuse_first=1)
    found, server = sent_to(play, outgoing("1"), outgoing("2"))
    assert [sent.outcome for sent in found] == [Outcome.FAILED, Outcome.SENT]
    assert server.notices() == ["2"]
    assert server.connections == 1


@pytest.mark.slow
def test_a_connection_that_was_dropped_meanwhile_is_made_anew_at_once() -> None:
    with running(Play(drop_after=1)) as server:
        made = channel(server.port)

        async def go() -> list[Sent]:
            out = []
            for name in "ab":
                out.append(await made.send(outgoing(name)))
                await asyncio.sleep(0.1)  # the server hangs up in between
            await made.close()
            return out

        assert [sent.outcome for sent in asyncio.run(go())] == [Outcome.SENT, Outcome.SENT]
        assert server.notices() == ["a", "b"]
        assert server.connections == 2


@pytest.mark.slow
def test_no_more_connections_than_the_settings_allow() -> None:
    with running(Play(tarpit_s=0.02)) as server:
        made = channel(server.port, connections=2, limit_ms=10_000)

        async def go() -> list[Sent]:
            out = await asyncio.gather(*(made.send(outgoing(str(i))) for i in range(10)))
            await made.close()
            return list(out)

        assert {sent.outcome for sent in asyncio.run(go())} == {Outcome.SENT}
        assert sorted(server.notices()) == [str(i) for i in range(10)]
        assert server.connections == 2


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_over_tls(tls: str) -> None:
    (sent,), server = sent_to(Play(tls=tls), outgoing(), tls=tls)
    assert sent.outcome is Outcome.SENT
    assert server.notices() == ["4f2a9c"]


def test_signed_in() -> None:
    with running(Play(login=(USER, PASSWORD))) as server:
        assert send(signed_in(server.port), outgoing())[0].outcome is Outcome.SENT
        (wrong,) = send(signed_in(server.port, "no"), outgoing())
    assert (wrong.outcome, wrong.reason, wrong.stop) == (Outcome.AGAIN, "credentials", True)
    assert server.notices() == ["4f2a9c"]


def test_a_password_that_is_gone_stops_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(Play(login=(USER, PASSWORD))) as server:
        made = signed_in(server.port)
        monkeypatch.delenv("TOCSIN_TEST_SMTP_PASSWORD")
        (sent,) = send(made, outgoing())
    assert (sent.outcome, sent.reason, sent.stop) == (Outcome.AGAIN, "credentials", True)


# --- bad days (F13) ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "outcome", "reason"),
    [
        pytest.param({"MAIL": "421 4.3.2 going down"}, Outcome.AGAIN, "unavailable", id="421"),
        pytest.param({"RCPT": "451 4.7.1 greylisted"}, Outcome.AGAIN, "soft-bounce", id="greylisted"),
        pytest.param({"RCPT": "450 busy"}, Outcome.AGAIN, "soft-bounce", id="450"),
        pytest.param({"RCPT": f"550 5.1.1 <{ADDRESS}> unknown"}, Outcome.FAILED, "hard-bounce", id="550"),
        pytest.param({"RCPT": "552 5.2.2 full"}, Outcome.AGAIN, "soft-bounce", id="full"),
        pytest.param({"DATA": "451 4.3.0 later"}, Outcome.AGAIN, "unavailable", id="451 to the message"),
        pytest.param({"DATA": "554 5.7.1 spam"}, Outcome.FAILED, "content", id="554"),
        pytest.param({"DATA": "421 4.3.2 going down"}, Outcome.AGAIN, "unavailable", id="421 to the message"),
    ],
)
def test_a_refusal_is_classed(answers: dict[str, str], outcome: Outcome, reason: str) -> None:
    (sent,), server = sent_to(Play(answers), outgoing())
    assert (sent.outcome, sent.reason, sent.stop) == (outcome, reason, False)
    assert "budi" not in sent.detail
    assert server.received == []


def test_greylisting_lets_the_second_attempt_in() -> None:
    found, server = sent_to(Play({"RCPT": "451 4.7.1 greylisted"}, refuse_first=1), outgoing(), outgoing())
    assert [sent.outcome for sent in found] == [Outcome.AGAIN, Outcome.SENT]
    assert server.notices() == ["4f2a9c"]


@pytest.mark.slow
def test_a_tarpit_holds_nobody_for_longer_than_the_time_limit() -> None:
    begun_s = time.monotonic()
    (sent,), _ = sent_to(Play(tarpit_s=30.0), outgoing(), limit_ms=300)
    assert (sent.outcome, sent.reason) == (Outcome.AGAIN, "timeout")
    assert time.monotonic() - begun_s < 2


@pytest.mark.slow
def test_whoever_waits_for_a_connection_in_a_tarpit_gives_up_in_time() -> None:
    begun_s = time.monotonic()
    with by_hand(silent) as server:
        made = channel(server.port, "insecure-plain-text", 300, connections=1)

        async def go() -> list[Sent]:
            out = await asyncio.gather(*(made.send(outgoing(str(i))) for i in range(3)))
            await made.close()
            return list(out)

        assert {(sent.outcome, sent.reason) for sent in asyncio.run(go())} == {(Outcome.AGAIN, "timeout")}
    assert time.monotonic() - begun_s < 2


def test_a_server_that_hangs_up_after_the_message_leaves_it_unknown() -> None:
    with by_hand(swallowing) as server:
        made = channel(server.port, "insecure-plain-text")
        (sent,) = send(made, outgoing())
        assert server.connections == 1
    assert (sent.outcome, sent.reason) == (Outcome.UNKNOWN, "connection")
    assert made.on_unknown is OnUnknown.HOLD


async def mute_after_the_message(hand: Hand) -> None:
    await hand.until_message()
    await hand.reader.read()


async def nonsense_after_the_message(hand: Hand) -> None:
    await hand.until_message()
    await hand.say("OK, thanks")


async def hangs_up_at_data(hand: Hand) -> None:
    await hand.say("220 mail.test")
    while line := await hand.hear():
        if line.upper() == "DATA":
            return
        await hand.say("250 OK")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("play", "outcome", "reason"),
    [
        pytest.param(mute_after_the_message, Outcome.UNKNOWN, "timeout", id="no answer"),
        pytest.param(nonsense_after_the_message, Outcome.UNKNOWN, "protocol", id="no answer that is one"),
        pytest.param(hangs_up_at_data, Outcome.AGAIN, "connection", id="gone before the message"),
    ],
)
def test_only_what_may_have_been_taken_is_unknown(play: Any, outcome: Outcome, reason: str) -> None:
    with by_hand(play) as server:
        (sent,) = send(channel(server.port, "insecure-plain-text", 300), outgoing())
    assert (sent.outcome, sent.reason) == (outcome, reason)


# --- TLS ---


async def without_tls(hand: Hand) -> None:
    await hand.until_message()


async def strips_tls(hand: Hand) -> None:
    await hand.say("220 mail.test")
    while line := await hand.hear():
        if line.upper().startswith("EHLO"):
            await hand.say("250-mail.test\r\n250 STARTTLS")
        elif line.upper() == "STARTTLS":
            await hand.say("454 4.7.0 TLS not available")
        else:
            await hand.say("250 OK")


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(lambda: by_hand(without_tls), id="not offered"),
        pytest.param(lambda: by_hand(strips_tls), id="offered and refused"),
        pytest.param(lambda: running(Play(trusted=False)), id="a certificate of its own making"),
    ],
)
def test_without_good_tls_nothing_is_sent(server: Any) -> None:
    started: AbstractContextManager[MailServer] = server()
    with started as found:
        (sent,) = send(signed_in(found.port), outgoing())
        assert found.received == []
        said = bytes(found.plain_text).upper()
    assert sent.outcome is Outcome.AGAIN
    assert sent.reason in ("tls", "unavailable")
    for word in (b"MAIL", b"RCPT", b"AUTH", ADDRESS.upper().encode()):
        assert word not in said


def test_plain_text_goes_out_only_by_its_ugly_name() -> None:
    async def accepts(hand: Hand) -> None:
        if await hand.until_message():
            await hand.say("250 OK")
            await hand.hear()

    with by_hand(accepts) as server:
        assert send(channel(server.port, "insecure-plain-text"), outgoing())[0].outcome is Outcome.SENT
        assert b"RCPT TO:<budi@example.com>" in bytes(server.plain_text)


# --- the configuration ---


@pytest.mark.parametrize(
    ("given", "path"),
    [
        pytest.param({"sender": "nobody"}, ".sender", id="no address"),
        pytest.param({"sender": "a@shop.example.com\r\nBcc: b@example.com"}, ".sender", id="a header in the sender"),
        pytest.param({"reply_to": "x"}, ".reply_to", id="no address for answers"),
        pytest.param({"ca_file": "missing.pem"}, ".ca_file", id="no certificates"),
        pytest.param({"user": "u"}, ".user", id="a user without a password"),
        pytest.param({"user": "u", "password": {"env": "TOCSIN_NOT_SET"}}, ".password", id="no password"),
        pytest.param({"user": "u", "password": "in the file"}, ".password", id="the password itself"),
        pytest.param({"tls": "none"}, ".tls", id="no TLS by a nice name"),
        pytest.param({"tls": "insecure-plain-text", "user": "u", "password": {"env": "PATH"}}, ".tls", id="readable"),
        pytest.param({"port": 0}, ".port", id="no port"),
        pytest.param({"hots": "x"}, ".hots", id="a misspelt field"),
    ],
)
def test_a_wrong_option_is_named_with_its_path(given: dict[str, Any], path: str, tmp_path: Path) -> None:
    values = {"by": "smtp", "host": "mail.example.com", "sender": "Toko <a@shop.example.com>", **given}
    where = "tocsin.yml: channels.email"
    with pytest.raises(ConfigError) as found:
        load("email", values, Setup("email", where, tmp_path))
    assert [problem.path for problem in found.value.problems] == [where + path]
    assert "in the file" not in str(found.value)

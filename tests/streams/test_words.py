"""The user's own words: which file counts, what is wrong with a folder, and what goes to a channel."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detector.desk.records import Decision, Kind, Notice, NoticeState
from detector.desk.templates import LANGUAGES
from detector.desk.wording import NoticeFacts, facts_of, words
from detector.errors import ConfigError
from detector.signals import Signal
from streams.outbox.templates import ReadTemplates, read_templates
from streams.outbox.unsubscribe import Links
from streams.outbox.whatsapp_rules import marketing
from streams.outbox.words import load_words
from streams.settings import Settings, load
from streams.store.directory import Customer

SIGNALS = """
signals:
  cards:
    title: {en: Card payments fail, id: Pembayaran kartu gagal}
    what: {en: "{bank} card payment", id: "pembayaran kartu {bank}"}
    workaround: {en: For now you can pay by virtual account., id: Sementara ini Anda bisa membayar dengan VA.}
    promise: {en: no money was taken twice, id: dana Anda tidak terpotong dua kali}
    events: {kind: payment}
    bad: {outcome: failed}
    measure: share
    dimensions: [bank]
    mode: live
  logins:
    title: {en: Logins fail, id: Login gagal}
    events: {kind: login}
    bad: {outcome: failed}
    measure: share
    dimensions: [provider]
    mode: live
"""
TOCSIN = """
service: {public_url: https://tocsin.shop.example}
sending: {links: [help.shop.example]}
notices: {channels: [whatsapp, email, sms]}
channels:
  email: {by: smtp, host: mail.shop.example, sender: a@shop.example}
"""
KEY = bytes(range(32))
BUDI = Customer("C-1", "Budi", "id", "Asia/Jakarta", "budi@example.com", "+6281234567890", ("all",), True)

Write = Callable[..., Settings]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a configuration with these templates."""

    def go(files: dict[str, str], tocsin: str = TOCSIN) -> Settings:
        (tmp_path / "tocsin.yml").write_text(tocsin, "utf-8")
        (tmp_path / "signals.yml").write_text(SIGNALS, "utf-8")
        for name, text in files.items():
            path = tmp_path / "templates" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return load(tmp_path)

    return go


def notice(signal: str = "cards", kind: Kind = Kind.PROBLEM, language: str = "id", **changes: Any) -> Notice:
    made = Notice(
        tenant="default",
        id="4f2a",
        case="c1",
        customer=77,
        kind=kind,
        episode=1,
        decision=Decision.SEND,
        state=NoticeState.QUEUED,
        reason="",
        until_ms=None,
        at_ms=1_700_034_000_000,
        channel="email",
        language=language,
        time_zone="Asia/Jakarta",
        signal=signal,
        cause={"bank": "BNI"},
        when_ms=1_700_033_520_000,
        stale_ms=1_700_080_000_000,
    )
    return msgspec.structs.replace(made, **changes)


def signal_of(settings: Settings, name: str) -> Signal:
    return next(signal for signal in settings.config.signals if signal.name == name)


def said(settings: Settings, channel: str = "email", who: Customer = BUDI, **which: Any) -> str:
    told = notice(**which)
    made = load_words(settings, KEY).outgoing(told, signal_of(settings, told.signal), who, channel)
    return made.message.body


# --- what goes to a channel ---


def test_without_templates_the_words_are_the_built_in_ones(write: Write) -> None:
    settings = write({})
    made = load_words(settings, KEY).outgoing(notice(), signal_of(settings, "cards"), BUDI, "email")
    assert made.message == words(facts_of(notice(), signal_of(settings, "cards")), "Budi", "id")
    assert (made.address, made.name, made.signal, made.language) == ("budi@example.com", "Budi", "cards", "id")
    assert (made.template, made.parameters) == ("", {})
    links = Links(KEY, "default", "https://tocsin.shop.example")
    assert made.unsubscribe_url == links.url(77, "email")


def test_without_a_public_address_there_is_no_link(write: Write) -> None:
    settings = write({}, TOCSIN.replace("service: {public_url: https://tocsin.shop.example}", ""))
    made = load_words(settings, KEY).outgoing(notice(), signal_of(settings, "cards"), BUDI, "email")
    assert made.unsubscribe_url == ""


def test_the_nearest_file_counts(write: Write) -> None:
    files = {
        "_default/_default/problem.id.txt": "everywhere",
        "_default/email/problem.id.txt": "by mail",
        "cards/_default/problem.id.txt": "of cards",
        "cards/email/problem.id.txt": "of cards by mail",
    }
    settings = write(files)
    assert said(settings) == "of cards by mail"
    assert said(settings, "sms") == "of cards"
    assert said(settings, signal="logins") == "by mail"
    assert said(settings, "sms", signal="logins") == "everywhere"
    assert said(settings, kind=Kind.RESOLVED).startswith("Halo Budi, pembayaran kartu BNI sudah normal")
    assert said(settings, language="en").startswith("Hi Budi, your BNI card payment")


def test_a_text_with_its_subject_and_lines(write: Write) -> None:
    text = (
        "Subject: {{ what or title }}: gangguan\n"
        "Halo {{ name or 'pelanggan' }},\n\n"
        "{% if what %}\n{{ what }} Anda {{ when }} gagal.\n{% endif %}\n"
        "{{ workaround }}\n\nhttps://help.shop.example/status\n{{ unsubscribe_url }}\n"
    )
    settings = write({"_default/email/problem.id.txt": text})
    words = load_words(settings, KEY)
    made = words.outgoing(notice(), signal_of(settings, "cards"), BUDI, "email")
    assert made.message.subject == "pembayaran kartu BNI: gangguan"
    assert made.message.body.splitlines() == [
        "Halo Budi,",
        "",
        "pembayaran kartu BNI Anda pukul 14.32 WIB gagal.",
        "Sementara ini Anda bisa membayar dengan VA.",
        "",
        "https://help.shop.example/status",
        made.unsubscribe_url,
    ]
    nobody = Customer("C-2", "", "", "", "b@example.com", "", ("email",), True)
    other = words.outgoing(notice("logins", cause={}), signal_of(settings, "logins"), nobody, "email")
    assert other.message.subject == "Login gagal: gangguan"
    assert other.message.body.startswith("Halo pelanggan,\n\nhttps")


@pytest.mark.parametrize("text", ["{{7*7}}", "{{ name.__class__ }}", "{% for x in y %}", "%n%s", "${x}", "{0}"])
def test_what_the_data_holds_is_no_template(write: Write, text: str) -> None:
    settings = write({"_default/_default/problem.id.txt": "Halo {{ name }}: {{ what or title }}."})
    who = Customer("C-1", text, "id", "", "b@example.com", "", ("all",), True)
    assert said(settings, who=who, cause={"bank": text}) == f"Halo {text}: pembayaran kartu."


TEMPLATE = """
template: gangguan_pembayaran
language: id
parameters:
  nama: "{{ name or 'pelanggan' }}"
  transaksi: "{{ what or title }}"
  waktu: "{{ when }}"
body: >-
  Halo {{1}}, {{2}} Anda {{3}} belum berhasil. Gangguannya ada di sisi kami. Kami kabari begitu kembali normal.
"""


def test_a_template_of_the_provider_is_named_and_filled_in_order(write: Write) -> None:
    settings = write({"cards/whatsapp/problem.id.yml": TEMPLATE})
    made = load_words(settings, KEY).outgoing(notice(), signal_of(settings, "cards"), BUDI, "whatsapp")
    assert (made.template, made.language) == ("gangguan_pembayaran", "id")
    filled = [("nama", "Budi"), ("transaksi", "pembayaran kartu BNI"), ("waktu", "pukul 14.32 WIB")]
    assert list(made.parameters.items()) == filled
    assert made.message.body == (
        "Halo Budi, pembayaran kartu BNI Anda pukul 14.32 WIB belum berhasil. Gangguannya ada di sisi kami. "
        "Kami kabari begitu kembali normal."
    )


def test_a_value_in_a_template_of_the_provider_is_one_line_without_runs_of_spaces(write: Write) -> None:
    settings = write({"_default/whatsapp/problem.id.yml": TEMPLATE.replace("language: id", "language: en_US")})
    who = Customer("C-1", "Bu\n\tdi     S {{2}}", "id", "", "", "+6281234567890", ("all",), True)
    made = load_words(settings, KEY).outgoing(notice(), signal_of(settings, "cards"), who, "whatsapp")
    assert made.language == "en_US"
    assert made.parameters["nama"] == "Bu di S {{2}}"
    assert "Halo Bu di S {{2}}, pembayaran" in made.message.body


# --- a folder with mistakes ---


def read(settings: Settings) -> ReadTemplates:
    return read_templates(settings)


def paths(found: Any) -> list[str]:
    return [problem.path for problem in found]


@pytest.mark.parametrize(
    ("name", "text", "path", "found"),
    [
        pytest.param("problem.id.txt", "x", "problem.id.txt", "a file", id="a file at the top"),
        pytest.param("crads/email/problem.id.txt", "x", "crads", "a folder for no signal", id="no such signal"),
        pytest.param("cards/emial/problem.id.txt", "x", "cards/emial", "a folder for no channel", id="no such channel"),
        pytest.param(
            "cards/email/problme.id.txt", "x", "cards/email/problme.id.txt", "a file that would not be used", id="kind"
        ),
        pytest.param(
            "cards/email/problem.fr.txt", "x", "cards/email/problem.fr.txt", "a file that would not be used", id="lang"
        ),
        pytest.param("cards/email/problem.id.txt", "Subject: x\n \n", "cards/email/problem.id.txt", "no text", id="empty"),
        pytest.param(
            "cards/email/problem.id.txt",
            "Subject: {{ nam }}\n\nHalo",
            "cards/email/problem.id.txt: line 1",
            'the placeholder "nam"',
            id="unknown in the subject",
        ),
        pytest.param(
            "cards/email/problem.id.txt",
            "Subject: x\n\nHalo {{ customer }}",
            "cards/email/problem.id.txt: line 3",
            'the placeholder "customer"',
            id="unknown in the text",
        ),
        pytest.param(
            "_default/whatsapp/problem.id.txt",
            "x" * 551,
            "_default/whatsapp/problem.id.txt",
            "551 characters on whatsapp with the longest values of cards",
            id="too long",
        ),
        pytest.param(
            "cards/email/problem.id.txt", "See https://evil.example/x", "cards/email/problem.id.txt",
            'the link "https://evil.example/x"', id="a link elsewhere",
        ),
        pytest.param(
            "cards/email/problem.id.txt", "See http://help.shop.example/", "cards/email/problem.id.txt",
            'the link "http://help.shop.example/"', id="a link that is not encrypted",
        ),
        pytest.param(
            "cards/email/problem.id.txt", "javascript:alert(1)", "cards/email/problem.id.txt",
            'the link "javascript:alert(1)"', id="a script as a link",
        ),
        pytest.param(
            "cards/email/problem.id.txt", "https://help.shop.example@evil.example/", "cards/email/problem.id.txt",
            'the link "https://help.shop.example@evil.example/"', id="a link that hides where it leads",
        ),
        pytest.param(
            "cards/email/problem.id.yml", TEMPLATE, "cards/email/problem.id.yml", "a provider's template", id="for mail"
        ),
        pytest.param(
            "_default/_default/problem.id.yml", TEMPLATE, "_default/_default/problem.id.yml",
            "a provider's template", id="for every channel",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_file_and_line(write: Write, name: str, text: str, path: str, found: str) -> None:
    settings = write({name: text})
    errors = read(settings).errors
    assert (errors[0].path, errors[0].found) == (f"templates/{path}", found)
    with pytest.raises(ConfigError):
        load_words(settings)


@pytest.mark.parametrize(
    ("old", "new", "inner", "found"),
    [
        pytest.param("template: gangguan_pembayaran", "", "template", "nothing", id="no name"),
        pytest.param("gangguan_pembayaran", "a b", "template", '"a b"', id="no name that is one"),
        pytest.param("language: id", "language: Bahasa", "language", '"Bahasa"', id="no language"),
        pytest.param("body:", "text:", "text", "an unknown field", id="a misspelt field"),
        pytest.param("{{ when }}", "{{ wen }}", "parameters.waktu", 'the placeholder "wen"', id="unknown"),
        pytest.param(
            "{{ when }}", "a    {{ when }}", "parameters.waktu", "a line break, a tab or four spaces", id="spaces"
        ),
        pytest.param("name or 'pelanggan'", "name", "parameters.nama", "a text that may be empty", id="may be empty"),
        pytest.param("Halo {{1}}", "{{1}}", "body", "a parameter at the beginning", id="begins"),
        pytest.param(" Kami kabari begitu kembali normal.", " {{3}}", "body", "a parameter at the end", id="ends"),
        pytest.param("{{2}} Anda {{3}}", "{{2}} {{3}}", "body", "parameters beside each other", id="adjacent"),
        pytest.param("{{3}}", "x", "body", "the parameters {{1}}, {{2}}", id="too few"),
        pytest.param("{{3}}", "{{4}}", "body", "the parameters {{1}}, {{2}}, {{4}}", id="not in order"),
        pytest.param("{{1}}", "{{nama}}", "body", 'the parameter "{{nama}}"', id="by name"),
    ],
)
def test_whatsapps_rules(write: Write, old: str, new: str, inner: str, found: str) -> None:
    assert old in TEMPLATE
    errors = read(write({"cards/whatsapp/problem.id.yml": TEMPLATE.replace(old, new, 1)})).errors
    assert (f"templates/cards/whatsapp/problem.id.yml: {inner}", found) in [(e.path, e.found) for e in errors]


def test_the_length_of_a_template_is_that_with_the_longest_values(write: Write) -> None:
    long = TEMPLATE.replace("belum berhasil.", "belum berhasil. " + "a" * 400)
    assert read(write({"cards/whatsapp/problem.id.yml": TEMPLATE})).errors == []
    (error,) = read(write({"cards/whatsapp/problem.id.yml": long})).errors
    assert error.found.endswith("characters on whatsapp with the longest values of cards")
    assert said(write({"cards/whatsapp/problem.id.yml": TEMPLATE}), "whatsapp") != ""


def test_a_signal_with_a_file_of_its_own_does_not_count_for_the_default(write: Write) -> None:
    files = {
        "_default/whatsapp/problem.id.txt": "{{ workaround }}" + "x" * 520,
        "cards/whatsapp/problem.id.txt": "Halo.",
    }
    assert read(write(files)).errors == [], "logins have no workaround"


def test_words_that_whatsapp_would_take_for_marketing_are_warned_of(write: Write) -> None:
    found = read(write({"cards/whatsapp/problem.en.txt": "Hi {{ name }}, get a voucher, rate us."}))
    assert found.errors == []
    assert [warning.found for warning in found.warnings] == ['the word "voucher"', 'the word "rate us"']


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", list(Kind))
def test_no_word_of_ours_passes_for_marketing(kind: Kind, language: str) -> None:
    for what in ({}, {"en": "login", "id": "login"}):
        facts = NoticeFacts(kind=kind, when_ms=0, at_ms=0, time_zone="UTC", title={"en": "x"}, what=what)
        message = words(facts, "Budi", language)
        assert marketing(message.subject + " " + message.body) == []


def test_more_than_one_text_message_is_said(write: Write) -> None:
    text = "Halo {{ name or 'pelanggan' }}, {{ what }} Anda {{ when }} belum berhasil."
    assert read(write({"cards/sms/problem.id.txt": text})).warnings == []
    (warning,) = read(write({"cards/sms/problem.id.txt": text + " Maaf – sungguh."})).warnings
    assert warning.found.endswith("messages of 67, with the longest values of cards")


QONTAK = TOCSIN.replace("channels:\n", "channels:\n  whatsapp: {by: qontak}\n")


def test_a_channel_of_approved_templates_without_one_is_warned_of(write: Write) -> None:
    (warning,) = read(write({}, QONTAK)).warnings
    assert warning.path == "templates/_default/whatsapp"
    assert "problem.id" in warning.found and "try-again.en" in warning.found
    files = {f"_default/whatsapp/{k.value}.{lang}.yml": TEMPLATE for k in Kind for lang in LANGUAGES}
    assert read(write(files, QONTAK)).warnings == []


def test_a_text_where_only_templates_are_sent_is_warned_of(write: Write) -> None:
    found = read(write({"cards/whatsapp/problem.id.txt": "Halo."}, QONTAK))
    assert "a text for whatsapp" in [warning.found for warning in found.warnings]


def test_a_folder_that_was_asked_for_must_be_there(write: Write) -> None:
    settings = write({}, "sending: {templates: mine}\n")
    assert paths(read(settings).errors) == ["tocsin.yml: sending.templates"]


def test_a_text_and_a_template_for_the_same_are_one_too_many(write: Write) -> None:
    files = {"cards/whatsapp/problem.id.txt": "Halo.", "cards/whatsapp/problem.id.yml": TEMPLATE}
    assert [error.found for error in read(write(files)).errors] == ["a .txt and a .yml"]


def test_a_file_that_is_no_text_is_named(write: Write) -> None:
    settings = write({"cards/email/problem.id.txt": "x"})
    path = settings.directory / "templates" / "cards" / "email" / "problem.id.txt"
    path.write_bytes(b"\xff\xfe")
    assert [error.found for error in read(settings).errors] == ["bytes that are not UTF-8"]
    path.write_bytes(b"x" * 70_000)
    assert [error.found for error in read(settings).errors] == ["more than 64 KiB"]


def test_hidden_files_and_a_readme_are_left_alone(write: Write) -> None:
    files = {"README.md": "x", ".git/config": "x", "cards/email/.swp": "x", "cards/email/problem.id.txt~": "x"}
    found = read(write(files))
    assert (found.errors, found.warnings, found.templates.files) == ([], [], {})

"""The words: tone, languages, local times, and nothing an event can smuggle in."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.desk.kpi import lead
from detector.desk.records import CustomerState, Decision, Grade, Kind, LedgerRow, Notice, NoticeState
from detector.desk.severity import severity
from detector.desk.wording import BODY_LENGTH, NoticeFacts, clean, facts_of, title, words
from detector.signals import Severity
from detector.watch.anomaly import Cause
from tests.detector.desk_world import LOGIN, PAYMENT, T0, Minute, World, anomaly, fails

WHEN = 1_700_033_520_000  # 14:32 in Jakarta


def facts(kind: Kind = Kind.PROBLEM, **changes: Any) -> NoticeFacts:
    base: dict[str, Any] = {
        "kind": kind,
        "when_ms": WHEN,
        "at_ms": WHEN + 600_000,
        "time_zone": "Asia/Jakarta",
        "title": {"en": "Card payments fail", "id": "Pembayaran kartu gagal"},
        "what": {"en": "{bank} card payment", "id": "pembayaran kartu {bank}"},
        "workaround": {
            "en": "For now you can pay by virtual account or QRIS.",
            "id": "Sementara ini Anda bisa membayar dengan VA atau QRIS.",
        },
        "promise": {"en": "no money was taken twice", "id": "dana Anda tidak terpotong dua kali"},
        "cause": {"bank": "BNI"},
    }
    return NoticeFacts(**{**base, **changes})


@pytest.mark.parametrize(
    ("kind", "language", "body"),
    [
        pytest.param(
            Kind.PROBLEM,
            "en",
            "Hi Budi, your BNI card payment at 14:32 WIB did not go through. The fault is on our side; no money was "
            "taken twice. For now you can pay by virtual account or QRIS. We will write when it works again.",
            id="problem, English",
        ),
        pytest.param(
            Kind.PROBLEM,
            "id",
            "Halo Budi, pembayaran kartu BNI Anda pukul 14.32 WIB belum berhasil. Gangguannya ada di sisi kami; dana "
            "Anda tidak terpotong dua kali. Sementara ini Anda bisa membayar dengan VA atau QRIS. Kami kabari begitu "
            "kembali normal.",
            id="problem, Indonesian",
        ),
        pytest.param(
            Kind.RESOLVED,
            "en",
            "Hi Budi, your BNI card payment works again: it went through at 14:32 WIB. Thank you for your patience.",
            id="works again, English",
        ),
        pytest.param(
            Kind.RESOLVED,
            "id",
            "Halo Budi, pembayaran kartu BNI sudah normal kembali, dan pembayaran kartu BNI Anda pukul 14.32 WIB "
            "berhasil. Terima kasih atas kesabaran Anda.",
            id="works again, Indonesian",
        ),
        pytest.param(
            Kind.CORRECTION,
            "en",
            "Hi Budi, we wrote to you about your BNI card payment at 14:32 WIB. On a closer look that was not part of "
            "a fault on our side. We are sorry for the confusion.",
            id="correction, English",
        ),
        pytest.param(
            Kind.CORRECTION,
            "id",
            "Halo Budi, kami sebelumnya mengabari Anda tentang pembayaran kartu BNI Anda pukul 14.32 WIB. Setelah "
            "diperiksa kembali, itu bukan bagian dari gangguan di sisi kami. Mohon maaf atas kekeliruan ini.",
            id="correction, Indonesian",
        ),
        pytest.param(
            Kind.FOLLOW_UP,
            "en",
            "Hi Budi, your BNI card payment at 14:32 WIB did not go through either. We are still working on it; no "
            "money was taken twice. For now you can pay by virtual account or QRIS. We will write when it works again.",
            id="follow-up, English",
        ),
        pytest.param(
            Kind.FOLLOW_UP,
            "id",
            "Halo Budi, pembayaran kartu BNI Anda pukul 14.32 WIB juga belum berhasil. Kami masih menanganinya; dana "
            "Anda tidak terpotong dua kali. Sementara ini Anda bisa membayar dengan VA atau QRIS. Kami kabari begitu "
            "kembali normal.",
            id="follow-up, Indonesian",
        ),
        pytest.param(
            Kind.TRY_AGAIN,
            "en",
            "Hi Budi, the fault on our side that hit your BNI card payment at 14:32 WIB has been fixed. You can try "
            "again. Thank you for your patience.",
            id="try again, English",
        ),
        pytest.param(
            Kind.TRY_AGAIN,
            "id",
            "Halo Budi, gangguan di sisi kami pada pembayaran kartu BNI Anda pukul 14.32 WIB sudah teratasi. Anda "
            "sudah bisa mencoba lagi. Terima kasih atas kesabaran Anda.",
            id="try again, Indonesian",
        ),
    ],
)
def test_the_words(kind: Kind, language: str, body: str) -> None:
    assert words(facts(kind), "Budi", language).body == body


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("language", ["en", "id"])
@pytest.mark.parametrize("what", [{}, {"en": "login", "id": "login"}])
def test_four_sentences_at_most_with_and_without_a_name_for_the_thing(
    kind: Kind, language: str, what: dict[str, str]
) -> None:
    message = words(facts(kind, what=what), "", language)
    assert len(re.findall(r"[.!?](?= |$)", message.body)) <= 4
    assert message.body.startswith(("Hi, ", "Halo, "))
    assert 0 < len(message.subject) <= 120
    assert "{" not in message.body + message.subject


def test_a_slow_thing_did_not_fail() -> None:
    assert "did not work as it should" in words(facts(failed=False), "Budi", "en").body
    assert "tidak berjalan semestinya" in words(facts(failed=False), "Budi", "id").body


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        pytest.param("Asia/Jakarta", "14.32 WIB", id="west"),
        pytest.param("Asia/Makassar", "15.32 WITA", id="central"),
        pytest.param("Asia/Jayapura", "16.32 WIT", id="east"),
        pytest.param("America/Sao_Paulo", "04.32 UTC-03:00", id="a zone without a name"),
        pytest.param("Mars/Olympus", "07.32 UTC", id="no zone"),
    ],
)
def test_local_time_with_its_zone(zone: str, expected: str) -> None:
    assert f"pukul {expected} " in words(facts(time_zone=zone), "Budi", "id").body


def test_a_moment_of_another_day_carries_its_date() -> None:
    late = facts(at_ms=WHEN + 20 * 3_600_000)
    assert "tanggal 15 Nov pukul 14.32 WIB" in words(late, "Budi", "id").body
    assert "at 14:32 WIB on 15 Nov" in words(late, "Budi", "en").body


EVIL = [
    "{{7*7}}",
    "{{ ''.__class__ }}",
    "{0.__class__}",
    "{bank.__class__}",
    "%n%s",
    "${jndi}",
    "{% for x in y %}",
    "{# x #}",
]


@pytest.mark.parametrize("text", EVIL)
def test_templates_in_data_are_rendered_literally_or_left_out(text: str) -> None:
    body = words(facts(cause={"bank": text}), "Budi", "en").body
    assert body == words(facts(cause={}), "Budi", "en").body
    assert words(facts(), text, "en").body.startswith(f"Hi {text}, your")
    assert text in words(facts(workaround={"en": text}), "Budi", "en").body
    named = words(facts(what={}, title={"en": text}), "Budi", "en")
    assert text in named.body and "49" not in named.body.replace(text, "")


@pytest.mark.parametrize(
    "value",
    [
        "http://evil.example",
        "evil.com/x",
        "a@b",
        "<script>",
        "x" * 31,
        "call +62: now",
        "BNI\nBcc",
        "evil.com",
        "__other__",
    ],
)
def test_a_dimension_value_that_is_no_plain_name_is_left_out(value: str) -> None:
    assert words(facts(cause={"bank": value}), "Budi", "en").body.startswith("Hi Budi, your card payment at")


def test_a_name_that_is_an_address_is_left_out() -> None:
    for name in ("see evil.example now", "http://x", "a@b", "<b>"):
        assert words(facts(), name, "en").body.startswith("Hi, your")
    assert words(facts(), "M. Nur O'Neil-Siti", "en").body.startswith("Hi M. Nur O'Neil-Siti, your")


TEXT = st.text(max_size=300)


@given(st.sampled_from(list(Kind)), st.sampled_from(["en", "id", "xx"]), TEXT, TEXT, TEXT, TEXT, TEXT, TEXT)
def test_whatever_the_data_one_clean_line_of_bounded_length(
    kind: Kind, language: str, name: str, what: str, workaround: str, promise: str, heading: str, value: str
) -> None:
    made = facts(
        kind,
        what={language: what},
        workaround={language: workaround},
        promise={language: promise},
        title={language: heading},
        cause={"bank": value},
    )
    message = words(made, name, language)
    assert len(message.body) <= BODY_LENGTH
    for text in message.body, message.subject:
        assert text == clean(text, BODY_LENGTH)
        assert text.isprintable() or not any(c in text for c in "\r\n\t\x00\u202e\u2066")


def test_a_promise_goes_before_the_workaround_when_it_gets_too_long() -> None:
    long = facts(
        what={"en": "p" * 200}, promise={"en": "q" * 300}, workaround={"en": "w" * 300}, title={"en": "t" * 300}
    )
    body = words(long, "N" * 100, "en").body
    assert len(body) <= BODY_LENGTH
    assert body.endswith("We will write when it works again.")


def test_facts_come_from_the_notice_and_its_signal() -> None:
    world = World()
    world.go(Minute(bad=fails("login", range(1, 11), ("5.2", "Karta"))))
    world.go(None, anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    made = facts_of(world.store.notice("a", 1), LOGIN)
    assert (made.kind, made.when_ms, made.cause, made.failed) == (Kind.PROBLEM, T0 + 1000, {"app": "5.2"}, True)
    assert words(made, "Budi", "id").body.startswith("Halo Budi, login Anda pukul 05.14 WIB belum berhasil.")


# --- titles ---


@pytest.mark.parametrize(
    ("causes", "en", "id"),
    [
        pytest.param(
            [{"provider": "Karta", "app": "5.2"}],
            "login fails · app 5.2 × provider Karta",
            "login gagal · app 5.2 × provider Karta",
            id="a pair",
        ),
        pytest.param([{}], "login fails · for everyone", "login gagal · untuk semua", id="everyone"),
        pytest.param(
            [{"app": "__other__"}, {"app": ""}, {"app": "none"}],
            "login fails · app others, app (none), app none",
            "login gagal · app lainnya, app (kosong), app none",
            id="others, nothing, and one called none",
        ),
        pytest.param(
            [{"app": str(i)} for i in range(5)],
            "login fails · app 0, app 1, app 2 +2",
            "login gagal · app 0, app 1, app 2 +2",
            id="many",
        ),
        pytest.param(
            [{"app": "a\nb\u202e" + "x" * 90}],
            "login fails · app a b" + "x" * 36 + "…",
            "login gagal · app a b" + "x" * 36 + "…",
            id="dirty",
        ),
    ],
)
def test_titles(causes: list[dict[str, str]], en: str, id: str) -> None:
    assert title([LOGIN], [Cause(c, 1.0) for c in causes]) == {"en": en, "id": id}


def test_a_title_names_two_signals_and_counts_the_rest() -> None:
    assert title([LOGIN, PAYMENT, LOGIN], [])["en"] == "login fails and payment fails +1"


# --- severity and lead ---


@pytest.mark.parametrize(
    ("confirmed", "everyone", "expected"),
    [
        pytest.param(19, False, Severity.LOW, id="few"),
        pytest.param(20, False, Severity.MEDIUM, id="some"),
        pytest.param(500, False, Severity.HIGH, id="many"),
        pytest.param(0, True, Severity.MEDIUM, id="few, everyone"),
        pytest.param(500, True, Severity.HIGH, id="many, everyone"),
        pytest.param(None, True, Severity.HIGH, id="total silence"),
        pytest.param(None, False, Severity.MEDIUM, id="silence of a part"),
    ],
)
def test_severity_follows_impact(confirmed: int | None, everyone: bool, expected: Severity) -> None:
    assert severity([Severity.MEDIUM], confirmed, everyone) is expected


def test_severity_stays_on_its_scale() -> None:
    assert severity([Severity.CRITICAL], 10_000, True) is Severity.CRITICAL
    assert severity([Severity.LOW], 1, False) is Severity.LOW


def test_the_lead_is_from_detection_to_the_first_contact() -> None:
    world = World()
    world.go(Minute(bad=fails("login", range(1, 11), ("5.2", "Karta"))))
    world.go(None, anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    world.rest(5)
    world.go(Minute(contacts=[(1, 0), (99, 0)]), anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    got = lead(world.store.cases["a"], world.store.ledger.values(), world.store.notices.values())
    assert got.first_contact_ms == T0 + 7 * 60_000
    assert got.lead_ms == T0 + 7 * 60_000 - world.store.cases["a"].detected_ms
    assert (got.told, got.contacted, got.told_before_contact) == (10, 1, 10)


def test_a_contact_before_a_failure_of_their_own_is_no_contact_about_it() -> None:
    world = World()
    world.go(Minute(bad=fails("login", range(1, 11), ("5.2", "Karta"))))
    world.go(None, anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    world.go(Minute(contacts=[(30, 0)]), anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    world.go(Minute(bad=fails("login", [30], ("5.2", "Karta"))), anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    world.rest(3)
    got = lead(world.store.cases["a"], world.store.ledger.values(), world.store.notices.values())
    assert world.store.listed("a")[30].contact_ms is not None
    assert (got.first_contact_ms, got.lead_ms, got.contacted) == (None, None, 0)
    assert "first-contact" not in [entry.what for entry in world.store.timeline]


def test_without_contacts_there_is_no_lead() -> None:
    world = World()
    world.go(None, anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    got = lead(world.store.cases["a"], [], [])
    assert (got.first_contact_ms, got.lead_ms, got.told) == (None, None, 0)


def test_who_contacted_us_before_they_were_told_does_not_count_as_told_first() -> None:
    case = World()
    case.go(None, anomaly("a", "login", {"app": "5.2"}, case.window_ms))
    row = LedgerRow(
        tenant="t",
        case="a",
        customer=1,
        grade=Grade.CONFIRMED,
        state=CustomerState.HIT,
        probability=0.9,
        first_failure_ms=T0,
        last_failure_ms=T0,
        tries=1,
        contact_ms=T0 + 5,
    )
    notice = Notice(
        tenant="t",
        id="n",
        case="a",
        customer=1,
        kind=Kind.PROBLEM,
        episode=1,
        decision=Decision.SEND,
        state=NoticeState.SENT,
        reason="",
        until_ms=None,
        at_ms=T0 + 6,
        channel="email",
        language="id",
        time_zone="UTC",
        signal="login",
        cause={},
        when_ms=T0,
        stale_ms=T0 + 9,
    )
    assert lead(case.store.cases["a"], [row], [notice]).told_before_contact == 0

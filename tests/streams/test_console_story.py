"""A case's story for people: when each line stands, and that nothing of the Desk's stays English in Bahasa."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from detector.desk.facts import fact_in_words
from detector.desk.records import DeskEffects, TimelineEntry
from detector.desk.state import STORY
from detector.pipeline import Effects
from detector.watch.control import Fact, FactKind
from streams.store import Store, documents, queries
from streams.web.console.viewer import Viewer
from streams.web.console.views import case as views
from streams.web.console.views import picture, story
from streams.web.console.views.engine import detail_in_words
from streams.web.console.views.inbox import row_of
from tests.servers.cases import T0, case
from tests.servers.stores import new_store

MINUTE = 60_000
EN = Viewer("en", "Asia/Jakarta", "auto", T0 + 60 * MINUTE)
ID = replace(EN, language="id")
TITLES = {"payment-declines": "Pembayaran ditolak", "complaints": "Keluhan melonjak"}
FOUND = case(
    7, onset_ms=T0, detected_ms=T0 + 20 * MINUTE, opened_ms=T0 + 22 * MINUTE, first_contact_ms=T0 + 28 * MINUTE,
    contacts=4,
)  # fmt: skip


def line(what: str, seq: int, minute: int, detail: str = "") -> TimelineEntry:
    at_ms = T0 + minute * MINUTE
    return TimelineEntry(tenant="default", case=FOUND.id, seq=seq, n=0, at_ms=at_ms, what=what, detail=detail)


TOLD = [
    line("opened", 1, 22, "payment-declines: bank BNI"),
    line("notices", 2, 23, "told 5, held 0"),
    line("notices", 3, 29, "told 2, held 0"),
    line("first-contact", 4, 31),
    line("recovering", 5, 40),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "story.db") as found:
        yield found


@pytest.fixture
def told(store: Store) -> Store:
    store.commit(Effects(desk=DeskEffects(cases=[FOUND], timeline=TOLD)))
    return store


def test_the_chart_the_sentence_and_the_story_say_the_same_times(told: Store) -> None:
    entries = queries.story(told, FOUND)
    lines = {one.what: one.at_ms for one in story.story_lines(entries, EN, FOUND)}
    marks = {mark.word.rpartition(" ")[0]: mark for mark in picture.marks(FOUND, entries, EN)}
    opened = next(said for said in lines if said.startswith("case opened"))
    assert opened == "case opened, found at 09:20 WIB: payment-declines: bank BNI"
    assert lines[opened] == FOUND.opened_ms
    assert marks["Found"].word == "Found 09:20" and marks["Found"].at_ms == FOUND.detected_ms
    assert lines["the first customer called"] == marks["First call"].at_ms == FOUND.first_contact_ms
    assert marks["First told"].at_ms == lines["5 told"]
    assert views.answer(FOUND, EN).found == "Found 20 min after it began, 8 min before the first customer called."


def test_the_story_is_in_the_order_of_time_in_the_api_as_well(told: Store) -> None:
    found = documents.timeline_documents(told, FOUND)
    assert [one["what"] for one in found] == ["opened", "notices", "first-contact", "notices", "recovering"]
    assert found[2]["at"] == documents.rfc3339(FOUND.first_contact_ms)


def test_where_nobody_is_known_to_have_called_about_it_no_line_says_so(told: Store) -> None:
    nobody = msgspec.structs.replace(FOUND, first_contact_ms=None)
    assert "first-contact" not in [entry.what for entry in queries.story(told, nobody)]
    told.commit(Effects(desk=DeskEffects(timeline=[line("first-contact", 9, 50)])))
    assert [entry.what for entry in queries.story(told, FOUND)].count("first-contact") == 1


def test_the_lead_is_one_number_in_the_inbox_the_page_the_api_and_the_feed(told: Store) -> None:
    from streams.store.feedtypes import case_data

    shown, fed = documents.case_document(FOUND), case_data(FOUND)
    assert row_of(FOUND, "en").lead_ms == 8 * MINUTE
    assert (shown["first_contact_at"], shown["lead_s"]) == (documents.rfc3339(FOUND.first_contact_ms), 480.0)
    assert (fed.first_contact_at, fed.lead_s) == (shown["first_contact_at"], shown["lead_s"])
    nobody = msgspec.structs.replace(FOUND, first_contact_ms=None)
    assert (documents.case_document(nobody)["lead_s"], case_data(nobody).lead_s) == (None, None)


DETAILS = [
    ("opened", "payment-declines: bank BNI × city others", "Pembayaran ditolak: bank BNI × city lainnya"),
    ("opened", "payment-declines: for everyone", "Pembayaran ditolak: untuk semua"),
    ("opened", "payment-declines, complaints: split off case b6c0d1", "Pembayaran ditolak, Keluhan melonjak, dipisahkan dari kasus b6c0d1"),
    ("joined", "complaints: customers", "Keluhan melonjak, pelanggan yang terdampak sama"),
    ("joined", "complaints: cause", "Keluhan melonjak, penyebabnya sama"),
    ("cause-revised", "bank BNI, for everyone", "bank BNI, untuk semua"),
    ("split", "payment-declines: case b6c0d1", "Pembayaran ditolak ke kasus b6c0d1"),
    ("signal-lost", "payment-declines is no longer watched as it was", "Pembayaran ditolak tidak lagi dipantau seperti semula"),
    ("signal-lost", "gone has not been heard of for an hour", "gone tidak ada kabarnya selama satu jam"),
    ("new-level", "payment-declines: it has become normal: 1.8 times what was expected before", "Pembayaran ditolak: 1,8 kali dari yang dulu diperkirakan"),
    ("reopened", "episode 2", "episode 2"),
    ("try-again", "1,200 were told and still wait", "1.200 sudah diberi tahu dan masih menunggu"),
    ("resolved", "no customer who was hit has shown it", "belum ada pelanggan terdampak yang menunjukkannya"),
    ("mute", "ended: bank pindah server", "diakhiri: bank pindah server"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "detail", "bahasa"), DETAILS)
def test_what_the_desk_writes_is_told_in_bahasa(what: str, detail: str, bahasa: str) -> None:
    assert what in STORY and detail_in_words(what, detail, "id", TITLES) == bahasa
    assert detail_in_words(what, detail, "en", {}) != ""


@pytest.mark.parametrize(
    ("kind", "from_minute", "long", "bahasa"),
    [
        (FactKind.DEPLOYMENT, -4, 0, "app 5.2.1 (app 5.2), 4 mnt sebelum gangguan mulai"),
        (FactKind.DEPLOYMENT, 0, 0, "app 5.2.1 (app 5.2), tepat saat gangguan mulai"),
        (FactKind.MUTE, -125, 90, "app 5.2.1 (app 5.2), mulai 2 jam 5 mnt sebelum gangguan mulai, selama 1 jam 30 mnt"),
        (FactKind.MAINTENANCE, 3, 60, "app 5.2.1 (app 5.2), mulai 3 mnt setelah gangguan mulai, selama 1 jam"),
        (FactKind.MAINTENANCE, 0, 60, "app 5.2.1 (app 5.2), mulai saat gangguan mulai, selama 1 jam"),
    ],
)
def test_what_was_known_is_told_in_bahasa(kind: FactKind, from_minute: int, long: int, bahasa: str) -> None:
    from_ms = T0 + from_minute * MINUTE
    fact = Fact(
        id="f", kind=kind, from_ms=from_ms, until_ms=from_ms + long * MINUTE, where={"app": "5.2"}, text="app 5.2.1"
    )
    said = fact_in_words(fact, T0)
    assert detail_in_words(kind.value, said, "id", {}) == bahasa
    assert detail_in_words(kind.value, said, "en", {}) == said

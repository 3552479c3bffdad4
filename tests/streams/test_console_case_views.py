"""What the case page says, without HTTP: shares as people say them, the story, the picture, what an approval would send."""

import re
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import Policy, QuietHours
from detector.desk.cases import BY_PEOPLE, TABLE
from detector.desk.records import (
    Affected,
    Approval,
    CaseState,
    EvidencePoint,
    NoticeCounts,
    TimelineEntry,
    Verb,
    Verdict,
)
from detector.signals import Mode
from detector.watch.anomaly import Cause, Point, Shift
from streams.store.outlook import Group
from streams.web.console import chart
from streams.web.console.texts import text
from streams.web.console.viewer import Viewer
from streams.web.console.views import acts, hit, picture, story
from streams.web.console.views import case as views
from tests.servers.cases import T0, case

MINUTE = 60_000
EN = Viewer("en", "Asia/Jakarta", "auto", T0 + 30 * MINUTE)
ID = replace(EN, language="id")


def line(what: str, seq: int = 1, at_ms: int = T0, **more: str) -> TimelineEntry:
    return TimelineEntry(tenant="default", case="c", seq=seq, n=0, at_ms=at_ms, what=what, **more)


# --- the answer ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_share_in_words_is_near_the_share(bad: int, of: int) -> None:
    found = views.one_in(min(bad, of), of)
    share = min(bad, of) / of
    if found is None:
        assert share < views.HARDLY_ANY
    elif found == (1, 1):
        assert share >= 0.95
    else:
        assert found[0] < found[1] and abs(found[0] / found[1] - share) < 0.13
        assert found[0] == 1 or found[1] <= 10


def test_a_case_that_is_over_says_from_when_to_when() -> None:
    found = case(1, onset_ms=T0, ended_ms=T0 + 20 * MINUTE, accounts=())
    assert views.answer(found, EN).head == "Payments are declined · bank B1, from 09:00 WIB to 09:20 WIB."
    assert views.answer(found, ID).head == "Pembayaran ditolak · bank B1, dari 09.00 WIB sampai 09.20 WIB."


@pytest.mark.parametrize(
    ("first_contact_ms", "contacts", "said"),
    [
        pytest.param(
            T0 + 10 * MINUTE, 3, "Found 1 min after it began, 9 min before the first customer called.", id="lead"
        ),
        pytest.param(T0, 3, "Found 1 min after it began, 1 min after the first customer called.", id="behind"),
        pytest.param(None, 0, "Found 1 min after it began; nobody has called.", id="nobody"),
    ],
)
def test_it_says_who_was_first_we_or_the_customers(first_contact_ms: int | None, contacts: int, said: str) -> None:
    found = case(0, onset_ms=T0, detected_ms=T0 + MINUTE, first_contact_ms=first_contact_ms, contacts=contacts)
    assert views.answer(found, EN).found == said


def test_where_nobody_can_be_named_the_numbers_are_told_instead() -> None:
    shift = Shift(quantile=0.5, observed=340.0, usual=210.0, values=1520)
    found = views.answer(case(1, affected=None, shift=shift), EN)
    assert not found.numbers and found.instead == "median 340 of 1,520 values, usually 210"


def test_how_it_stands_is_said_where_there_is_something_to_say() -> None:
    assert views.standing(case(1), EN) == []
    notices = NoticeCounts(queued=3, unknown=1, failed=2)
    said = views.standing(case(1, approval=Approval.NEEDED, notices=notices, mode=Mode.SHADOW), EN)
    assert [text(f"case.stands.{k}", "en", n=n) for k, n in (("shadow", 0), ("needed", 0), ("queued", 2), ("failed", 2), ("unknown", 1))] == said  # fmt: skip
    assert views.standing(case(1, approval=Approval.HELD, state=CaseState.DISMISSED), EN) == []


def test_causes_are_told_with_other_names_of_the_same_cells() -> None:
    cause = Cause({"bank": "BNI"}, 0.85, 0.99, ({"bank": "BNI", "city": "Medan"}, {"bin": "451234"}))
    (chip,) = views.chips(case(1, causes=(cause,)), "en")
    assert (chip.where, chip.share, chip.same_as) == ("bank BNI", 0.85, ("bin 451234",))
    (all_,) = views.chips(case(1, causes=(Cause({}, 1.2),)), "id")
    assert (all_.where, all_.share) == ("semua", 1.0)


def held_out(out: int, calls: int, others: int, more: int) -> NoticeCounts:
    return NoticeCounts(holdout=out, holdout_contacts=calls, compared=others, compared_contacts=more)


@pytest.mark.parametrize(
    ("counts", "english", "bahasa"),
    [
        (held_out(200, 40, 1_800, 180), "Telling at once avoided about 180 contacts.", "Langsung memberi tahu menghindarkan sekitar 180 kontak."),
        (held_out(200, 2, 1_800, 180), "Telling at once brought about 162 contacts more.", "Langsung memberi tahu menambah sekitar 162 kontak."),
        (held_out(20, 3, 180, 18), "Too few to tell a difference: between -6.1 and 26.3 percentage points (95 %).", "Terlalu sedikit untuk melihat perbedaan: antara -6,1 dan 26,3 poin persen (95 %)."),
    ],
)  # fmt: skip
def test_what_a_holdout_shows_is_said_in_words(counts: NoticeCounts, english: str, bahasa: str) -> None:
    found, other = (views.compared(case(1, notices=counts), viewer) for viewer in (EN, ID))
    assert found is not None and other is not None
    assert (found.says, other.says) == (english, bahasa)
    assert [(side.n, side.called) for side in found.sides] == [
        (counts.holdout, counts.holdout_contacts),
        (counts.compared, counts.compared_contacts),
    ]
    assert views.compared(case(1), EN) is None


# --- the story ----------------------------------------------------------------------------------------------------------


def test_the_story_has_machine_and_people_newest_first() -> None:
    told = [line("notices", 2, T0 + i * MINUTE, detail=f"told {i}, held 1") for i in range(3)]
    entries = [
        line("opened", detail="payment: bank BNI"),
        *told,
        line("severity-changed", 5, detail="medium → high"),
        line("assigned", 6, by="ani", detail="budi"),
        line("commented", 7, by="budi", detail="the bank knows"),
        line("dismissed", 8, by="budi", detail="not-a-problem"),
    ]
    found = story.story_lines(entries, EN)
    assert [(entry.by, entry.what) for entry in found] == [
        ("budi", "dismissed: was no problem"),
        ("budi", "wrote"),
        ("ani", "assigned to budi"),
        ("", "severity: medium → high"),
        ("", "3 told, 3 held"),
        ("", "case opened: payment: bank BNI"),
    ]
    assert found[1].said == "the bank knows" and found[4].until_ms == T0 + 2 * MINUTE
    assert story.story_lines(entries, ID)[3].what == "tingkat: sedang → tinggi"


@pytest.mark.parametrize(
    ("what", "by", "detail", "english", "bahasa"),
    [
        ("approved", "ani", "a sample of 1,200", "approved: a sample of 1,200", "menyetujui: 1.200 pelanggan dulu"),
        ("approved", "ani", "all", "approved: all", "menyetujui: semua"),
        (
            *("approval-needed", "", "its severity is high"),
            *("waits for approval: its severity is high", "menunggu persetujuan: tingkatnya tinggi"),
        ),
        ("merged", "ani", "into 3f2a", "merged: into 3f2a", "menggabungkan: ke kasus 3f2a"),
        ("dismissed", "ani", "not-a-problem", "dismissed: was no problem", "menolaknya: bukan masalah"),
    ],
)
def test_what_people_did_is_told_in_the_viewers_language(
    what: str, by: str, detail: str, english: str, bahasa: str
) -> None:
    entries = [line(what, by=by, detail=detail)]
    assert story.story_lines(entries, EN)[0].what == english
    assert story.story_lines(entries, ID)[0].what == bahasa


def test_a_line_of_a_kind_that_is_not_known_is_told_as_it_is() -> None:
    assert story.story_lines([line("turned-blue", detail="x\u202ey")], EN)[0].what == "turned-blue: xy"


def test_what_happened_since_somebody_looked_is_what_they_have_not_seen() -> None:
    entries = [line("opened", 1), line("acknowledged", 2, by="ani"), line("notices", 3, detail="told 1, held 0")]
    assert [entry.what for entry in story.since(entries, 1)] == ["acknowledged"]
    assert story.since(entries, 2) == []


# --- what may be done ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(CaseState))
@pytest.mark.parametrize("approval", list(Approval))
@pytest.mark.parametrize("verdict", [None, Verdict.REAL])
def test_nothing_is_offered_that_the_lifecycle_refuses(
    state: CaseState, approval: Approval, verdict: Verdict | None
) -> None:
    found = case(1, state=state, approval=approval, verdict=verdict, anomalies=("a", "b"))
    offered = acts.possible(found)
    assert all((state, BY_PEOPLE[verb]) in TABLE for verb in offered)
    assert (Verb.APPROVE in offered) <= (approval in (Approval.NEEDED, Approval.SAMPLE, Approval.HELD))
    if state is CaseState.MERGED:
        assert offered == []


def test_of_a_shadow_case_nobody_can_be_told() -> None:
    offered = acts.possible(case(1, mode=Mode.SHADOW, approval=Approval.NEEDED, notices=NoticeCounts(told=3)))
    assert not {Verb.APPROVE, Verb.HOLD, Verb.TRY_AGAIN} & set(offered)


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.COMMENT])
def test_what_somebody_saw_changes_with_what_they_decide_on_and_with_nothing_else(verb: Verb) -> None:
    before = case(1)
    quiet = msgspec.structs.replace(before, observed=99, notices=NoticeCounts(told=99), affected=Affected(confirmed=99))
    assert acts.seen(quiet, verb) == acts.seen(before, verb)
    loud = msgspec.structs.replace(
        before, state=CaseState.RECOVERING, assignee="ani", approval=Approval.HELD, anomalies=("x", "y")
    )
    assert acts.seen(loud, verb) != acts.seen(before, verb)


def test_a_comment_is_taken_whatever_happened() -> None:
    assert acts.seen(case(1), Verb.COMMENT) == acts.seen(case(2, state=CaseState.DISMISSED), Verb.COMMENT)


def test_an_approval_says_what_goes_on_which_channel_and_what_waits_for_the_morning() -> None:
    policy = Policy(send=True, quiet=QuietHours(21 * 60, 7 * 60))
    evening = T0 + 11 * 60 * MINUTE  # 20:00 in Jakarta, 22:00 in Jayapura
    groups = [
        Group("whatsapp", "Asia/Jakarta", 396),
        Group("whatsapp", "Asia/Jayapura", 4),
        Group("email", "", 12),
        Group(None, "Asia/Jakarta", 7),
        Group("whatsapp", "Asia/Jakarta", 30, over=True),
        Group(None, "Asia/Jakarta", 1, over=True),
    ]
    found = acts._telling(groups, policy, evening)
    assert found.by_channel == (("whatsapp", 400), ("email", 12))
    assert (found.waiting, found.nobody, found.over, found.quiet, found.dry_run) == (450, 7, 31, 4, False)
    assert found.quiet_until_ms == evening + 9 * 60 * MINUTE


def test_counts_of_the_affected_are_the_cases_own() -> None:
    found = case(5, notices=NoticeCounts(told=11), contacts=2)
    assert hit.counts(found) == {
        "all": 20, "still_failing": 5, "recovered": 0, "confirmed": 15, "likely": 5, "told": 11, "untold": 9, "called": 2,
        "lost": 0,
    }  # fmt: skip
    assert set(hit.counts(case(1, affected=None)).values()) == {None}


# --- the picture --------------------------------------------------------------------------------------------------------


def evidence(n: int, width_ms: int = MINUTE, signal: str = "a") -> list[EvidencePoint]:
    points = (Point(T0 + i * width_ms, i % 7, 2.0, 20, 0.0, 5.0) for i in range(n))
    return [EvidencePoint(tenant="default", case="c", signal=signal, point=point) for point in points]


@given(
    n=st.integers(1, 300),
    begin=st.none() | st.integers(-(2**62), 2**62),
    end=st.none() | st.integers(-(2**62), 2**62),
)
def test_whatever_span_is_asked_for_something_of_the_case_is_shown(n: int, begin: int | None, end: int | None) -> None:
    found = picture.picture(evidence(n), "", begin, end)
    assert found is not None
    assert found.first_ms <= found.from_ms < found.to_ms <= found.last_ms
    for first, last in picture.zooms(found).values():
        assert found.first_ms <= first < last <= found.last_ms and (first, last) != (found.from_ms, found.to_ms)


def test_a_signal_that_is_none_of_the_cases_is_its_first() -> None:
    both = evidence(3, signal="a") + evidence(3, signal="b")
    assert picture.picture(both, "b").signal == "b"  # type: ignore[union-attr]
    assert picture.picture(both, "<script>").signal == "a"  # type: ignore[union-attr]
    assert picture.picture([], "a") is None


@given(n=st.integers(1, 5_000), most=st.integers(10, 300))
def test_windows_added_up_lose_nobody(n: int, most: int) -> None:
    points = [entry.point for entry in evidence(n)]
    bins, step_ms = chart.binned(points, MINUTE, T0, T0 + n * MINUTE, most)
    assert sum(b.observed for b in bins) == sum(p.observed for p in points)
    assert len(bins) <= most + 1 and step_ms % MINUTE == 0
    assert all(0 <= b.low <= b.expected <= b.high for b in bins)


@given(
    begin=st.integers(0, 4_000_000_000_000),
    length=st.integers(10 * MINUTE, 400 * 24 * 60 * MINUTE),
    zone=st.sampled_from(["Asia/Jakarta", "UTC", "Asia/Kathmandu", "America/New_York"]),
)
def test_ticks_are_round_few_and_inside(begin: int, length: int, zone: str) -> None:
    found, step_ms = chart.ticks(begin, begin + length, zone, 9)
    assert found == sorted(set(found)) and len(found) <= max(10, length // chart.STEPS_MS[-1] + 2)
    assert all(begin <= at <= begin + length for at in found)
    if step_ms < chart.HOUR_MS:
        assert all(at % step_ms == 0 or zone == "Asia/Kathmandu" for at in found)


def test_marks_have_words_and_the_first_told_is_one_who_was_told() -> None:
    told = [
        line("notices", 1, T0 + 2 * MINUTE, detail="told 0, held 9"),
        line("notices", 2, T0 + 3 * MINUTE, detail="told 4, held 0"),
    ]
    marks = picture.marks(case(0, onset_ms=T0, first_contact_ms=T0 + 9 * MINUTE), told, EN)
    assert [(mark.word, mark.at_ms - T0) for mark in marks] == [
        ("Began 09:00", 0),
        ("Found 09:01", MINUTE),
        ("First told 09:03", 3 * MINUTE),
        ("First call 09:09", 9 * MINUTE),
    ]


def drawing(**changes: object) -> chart.Drawing:
    found = picture.picture(evidence(120))
    assert found is not None
    return replace(picture.drawing(case(1, onset_ms=T0 + 20 * MINUTE), [], found, EN), **changes)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 119), min_size=1, max_size=5, unique=True), st.sampled_from(["wide", "narrow"]))
def test_words_of_marks_stand_apart(minutes: list[int], size: str) -> None:
    marks = [chart.Mark(T0 + m * MINUTE, f"Began {m}") for m in minutes]
    found = chart.placed(drawing(marks=marks), chart.SIZES[size])
    assert sorted(mark.at_ms for mark, _, _ in found) == sorted(mark.at_ms for mark in marks)
    pixels = chart.SIZES[size].width * (chart.SIZES[size].right - chart.SIZES[size].left)
    spans = []
    for mark, row, to_left in found:
        x, length = (mark.at_ms - T0) / (120 * MINUTE) * pixels, 6.3 * len(mark.word) + 14
        spans.append((row, x - length, x) if to_left else (row, x, x + length))
    for i, (row, begin, end) in enumerate(spans):
        assert not any(row == other and begin < b and a < end for other, a, b in spans[:i])


@pytest.mark.slow
def test_the_same_numbers_give_the_same_bytes_and_others_another_stamp() -> None:
    what = drawing()
    assert chart.draw(what) == chart.draw(drawing())
    assert picture.stamp(what) == picture.stamp(drawing())
    others = [
        drawing(theme="dark"),
        drawing(size="narrow"),
        drawing(language="id"),
        drawing(zone="UTC"),
        drawing(to_ms=1),
    ]
    assert len({picture.stamp(other) for other in [what, *others]}) == 6


@pytest.mark.slow
def test_text_in_a_picture_is_text() -> None:
    mark = chart.Mark(T0 + 30 * MINUTE, '<script>alert(1)</script>"><image href=x> $x^2$', strong=True)
    svg = chart.draw(drawing(marks=[mark])).decode()
    assert "<script" not in svg and "<image" not in svg and "&lt;script&gt;" in svg and "$x^2$" in svg


def test_a_picture_of_nothing_says_so() -> None:
    assert "No numbers for this span" in chart.draw(drawing(points=[])).decode()
    assert picture.in_words(drawing(points=[]), EN) == "No numbers for this span"


def test_the_picture_is_told_in_a_sentence_for_who_can_not_see_it() -> None:
    said = picture.in_words(drawing(), EN)
    assert re.fullmatch(
        r"Failed, per minute\. From 09:00 WIB to 11:00 WIB the highest is 6, where at most 5 is usual\.", said
    ), said

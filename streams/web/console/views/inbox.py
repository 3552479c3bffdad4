"""What the inbox shows: which cases, in which order, with the numbers that say how bad each is.

Promises
- A page reads fifty cases and indexes, never every case (but for counts, which an index gives).
- Shadow cases stand apart from live ones: nobody is told of those, whatever their numbers.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields

import sqlalchemy as sa

from detector.config import DAY_MS, HOUR_MS, Config
from detector.desk.kpi import lead_ms
from detector.desk.records import Approval, Case, CaseState
from detector.signals import Mode, Severity
from detector.watch.explanation import place_in_words
from streams.store import RECORDING, pages, queries, spending
from streams.store import tables as t
from streams.store.documents import rfc3339, title_of
from streams.store.pages import CaseFilter, Place
from streams.store.queries import FINISHED
from streams.store.spreadsheet import table_lines
from streams.store.store import Store

CAUSES_FOLLOW = " · "
"""Between what is wrong and where, in a case's title (`detector.desk.wording.title`)."""
PAGE, SHADOW_ROWS, EXPORTED = 50, 10, 500
SORTS = ("still_failing", "severity", "onset", "opened")
DEFAULT_SORT = "-still_failing"
UNFINISHED = tuple(state.value for state in CaseState if state not in FINISHED)
STATES = ("", "unfinished", "all", *(state.value for state in CaseState))
MODES = ("", *(mode.value for mode in Mode))
SEVERITIES = ("", *(severity.value for severity in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW)))


@dataclass(frozen=True)
class Wanted:
    """What the address asks for; the defaults are what is wrong now."""

    state: str = ""
    """`unfinished`, `all`, or one state; empty: all of a recording, which is over, else the unfinished ones."""
    mode: str = ""
    """Empty: live ones, and some shadow ones apart."""
    severity: str = ""
    signal: str = ""
    owner: str = ""
    """A name, or `nobody`."""
    q: str = ""
    sort: str = DEFAULT_SORT

    @property
    def is_filtered(self) -> bool:
        return any(getattr(self, f.name) != f.default for f in fields(self) if f.name != "sort")

    def query(self, **changes: str) -> dict[str, str]:
        """Return what stands in the address for this, with changes, the defaults left out."""
        found = {f.name: changes.get(f.name, getattr(self, f.name)) for f in fields(self)}
        more = {name: value for name, value in changes.items() if name not in found and value}
        return {f.name: found[f.name] for f in fields(self) if found[f.name] != f.default} | more

    def filter(self, mode: str, recording: bool) -> CaseFilter:
        state = self.state or ("all" if recording else "unfinished")
        return CaseFilter(
            states={"all": (), "unfinished": UNFINISHED}.get(state, (state,)),
            modes=(mode,) if mode else (),
            severities=(self.severity,) if self.severity else (),
            signal=self.signal or None,
            assignee=None if not self.owner else "" if self.owner == "nobody" else self.owner,
            text=self.q or None,
        )


@dataclass(frozen=True)
class Row:
    """One case of the list."""

    id: str
    title: str
    where: str
    """Its causes in words; empty: everywhere."""
    severity: str
    mode: str
    state: str
    verdict: str
    approval: str
    """`needed`, `held` or `sample` where its customers wait for a person; else empty."""
    since_ms: int
    hit: int | None
    """None where nobody can be named."""
    still_failing: int | None
    told: int
    waiting: int
    """Notices that are held or on their way."""
    contacts: int
    lead_ms: int | None
    """As `detector.desk.kpi` has it: how long before the first contact about it it was found."""
    owner: str

    @property
    def version(self) -> str:
        """Return what changes where anything of the row does."""
        return f"{zlib.crc32(repr(self).encode()):08x}"


@dataclass(frozen=True)
class Listed:
    """Some of the cases."""

    rows: list[Row]
    next: Place | None
    total: int


def listed(
    store: Store, wanted: Wanted, mode: str, language: str, *, after: Place | None = None, limit: int = PAGE
) -> Listed:
    """Return a page of the cases of a mode (empty: any)."""
    which = wanted.filter(mode, store.mode == RECORDING)
    key, descending = wanted.sort.removeprefix("-"), wanted.sort.startswith("-")
    page = pages.case_page(store, which, sort=key, descending=descending, after=after, limit=limit)
    total = len(page.items) if after is None and page.next is None else pages.case_total(store, which)
    return Listed([row_of(case, language) for case in page.items], page.next, total)


def row_of(case: Case, language: str) -> Row:
    affected = case.affected
    head, _, places = title_of(case, language).partition(CAUSES_FOLLOW)
    waits = case.approval in (Approval.NEEDED, Approval.HELD, Approval.SAMPLE) and case.state not in FINISHED
    return Row(
        id=case.id,
        title=head,
        where=places,
        severity=case.severity.value,
        mode=case.mode.value,
        state=case.state.value,
        verdict="" if case.verdict is None else case.verdict.value,
        approval=case.approval.value if waits else "",
        since_ms=case.onset_ms,
        hit=None if affected is None else affected.confirmed + affected.likely,
        still_failing=None if affected is None else affected.still_failing,
        told=case.notices.told,
        waiting=case.notices.held + case.notices.queued,
        contacts=case.contacts,
        lead_ms=lead_ms(case),
        owner=case.assignee,
    )


def counts(store: Store) -> dict[tuple[str, str], int]:
    """Return how many cases there are by (mode, state)."""
    table = t.cases.c
    wanted = sa.select(table.mode, table.state, sa.func.count().label("n")).where(table.tenant == store.tenant)
    with store.reading() as connection:
        return {(r.mode, r.state): r.n for r in connection.execute(wanted.group_by(table.mode, table.state))}


def owners(store: Store) -> list[str]:
    """Return who works on unfinished cases."""
    table = t.cases.c
    wanted = sa.select(table.assignee).where(
        table.tenant == store.tenant, table.state.in_(UNFINISHED), table.assignee != ""
    )
    with store.reading() as connection:
        return list(connection.execute(wanted.distinct().order_by(table.assignee)).scalars())


# --- nothing is wrong -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quiet:
    """What is said where nothing is wrong: that somebody watches, and how well that went."""

    signals: int
    last_event_ms: int | None
    false: int
    allowed: int
    per: str
    """`week`, `day`, `hour`, or `period`."""


def quiet(store: Store, config: Config, now_ms: int) -> Quiet:
    """Return what is watched, when something last came in, and what was spent of the live budget."""
    spent = next((s.spent for s in spending.spending(store, config, now_ms, periods=1) if s.of == "live"), 0)
    names = {HOUR_MS: "hour", DAY_MS: "day", 7 * DAY_MS: "week"}
    per = names.get(config.budget.per_ms, "period")
    return Quiet(len(config.signals), last_event_ms(store), spent, config.budget.cases, per)


def last_event_ms(store: Store) -> int | None:
    """Return when something last came in: by the live log, else by the last closed window."""
    table = t.intake.c
    wanted = sa.select(table.ingest_ms).where(table.tenant == store.tenant, table.data.is_not(None))
    with store.reading() as connection:
        found = connection.execute(wanted.order_by(table.seq.desc()).limit(1)).scalar_one_or_none()
    if found is not None:
        return int(found)
    newest = queries.newest_window(store)
    return None if newest is None else newest.window_ms + newest.width_ms


# --- CSV --------------------------------------------------------------------------------------------------------------

COLUMNS = (
    *("id", "mode", "state", "severity", "title", "causes", "signals", "onset", "detected_at", "hit", "still_failing"),
    *("told", "contacts", "first_contact", "owner", "verdict"),
)


def csv_lines(store: Store, wanted: Wanted, language: str) -> Iterator[str]:
    """Yield every case that the address asks for, live and shadow, as lines of CSV; some in memory at a time."""
    return table_lines(COLUMNS, (_cells(case, language) for case in _all_of(store, wanted)))


def _all_of(store: Store, wanted: Wanted) -> Iterator[Case]:
    which = wanted.filter(wanted.mode, store.mode == RECORDING)
    key, descending = wanted.sort.removeprefix("-"), wanted.sort.startswith("-")
    after: Place | None = None
    while True:
        page = pages.case_page(store, which, sort=key, descending=descending, after=after, limit=EXPORTED)
        yield from page.items
        if page.next is None:
            return
        after = page.next


def _cells(case: Case, language: str) -> tuple[object, ...]:
    row, title = row_of(case, language), title_of(case, language)
    places = "; ".join(place_in_words(cause.where, language) for cause in case.causes)
    return (
        *(row.id, row.mode, row.state, row.severity, title, places, " ".join(case.signals)),
        *(rfc3339(case.onset_ms), rfc3339(case.detected_ms), row.hit, row.still_failing, row.told, row.contacts),
        *(rfc3339(case.first_contact_ms), row.owner, row.verdict),
    )

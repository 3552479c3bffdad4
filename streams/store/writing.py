"""Writes what one step brought, inside the caller's transaction: whole rows by key, sums added up, log rows once."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from detector.config import WEEK_MS
from detector.decode.customers import alias_forms, customer_key
from detector.desk.records import NoticeState
from detector.events import Invalid
from detector.pipeline import Effects
from streams.store import feeding, publishing, rows
from streams.store import tables as t
from streams.store.values import Commit, InForce

KEEP_WINDOWS_MS = 8 * WEEK_MS
SECRET = "customer_key"
"""Where the whole store's values hold the secret under which customers are hashed."""
_BATCH = 500


class Writer:
    """Writes one step's effects inside a transaction; with `feeds`, what the world is told of them too."""

    def __init__(self, connection: sa.Connection, tenant: str, *, feeds: bool = False) -> None:
        self._connection, self._tenant, self._feeds = connection, tenant, feeds

    def write(self, effects: Effects, also: Commit) -> None:
        sources = also.sources or [""] * len(effects.invalid)
        dead = list(zip(sources, effects.invalid, strict=True))
        self._windows(effects)
        self._put(t.desk_log, map(rows.log_row, effects.log), replace=False)
        before = feeding.known_before(self._connection, self._tenant, effects.desk) if self._feeds else None
        self._desk(effects)
        if before is not None:
            told = feeding.derive(effects.desk, before)
            feeding.append(self._connection, self._tenant, told, also.at_ms)
        self._dead(dead)
        self._retried(also.retried)
        self._bare_customers(effects.customers)
        self.tallies(_sums(effects, dead))
        for done in also.answers:
            state = "refused" if done.refused else "done"
            self._connection.execute(
                sa.update(t.inbox).where(t.inbox.c.id == done.id).values(state=state, answer=done.refused)
            )
        if also.worked_off:
            behind = (t.intake.c.tenant == self._tenant) & (t.intake.c.seq < also.worked_off)
            self._connection.execute(sa.delete(t.intake).where(behind))
        if also.config is not None:
            self._configured(also.config)

    def _put(self, table: sa.Table, values: Iterable[rows.Row], *, replace: bool = True) -> None:
        rows.put(self._connection, table, values, replace=replace)

    def _windows(self, effects: Effects) -> None:
        if not effects.windows:
            return
        self._put(t.window_record, map(rows.window_row, effects.windows))
        oldest = max(record.window_ms for record in effects.windows) - KEEP_WINDOWS_MS
        old = sa.delete(t.window_record).where(
            t.window_record.c.tenant == self._tenant, t.window_record.c.window_ms < oldest
        )
        self._connection.execute(old)

    def _desk(self, effects: Effects) -> None:
        desk = effects.desk
        for case, signal in dict.fromkeys(desk.rewritten):
            gone = (
                (t.evidence.c.tenant == self._tenant) & (t.evidence.c.case_id == case) & (t.evidence.c.signal == signal)
            )
            self._connection.execute(sa.delete(t.evidence).where(gone))
        self._put(t.evidence, map(rows.evidence_row, desk.evidence))
        self._put(t.cases, map(rows.case_row, desk.cases))
        self._put(t.timeline, map(rows.timeline_row, desk.timeline))
        self._put(t.ledger, map(rows.ledger_row, desk.ledger))
        self._put(t.notices, map(rows.notice_row, desk.notices))
        simulated, queued = [], []
        for notice in desk.notices:
            common = {
                "tenant": notice.tenant,
                "notice": notice.id,
                "channel": notice.channel or "",
                "customer": notice.customer,
                "case_id": notice.case,
                "signal": notice.signal,
            }
            if notice.state is NoticeState.SIMULATED:
                outcome = {"attempt": 0, "outcome": "simulated", "detail": "", "reference": "", "n": 0}
                simulated.append({**common, **outcome, "at_ms": notice.at_ms})
            elif notice.state is NoticeState.QUEUED:
                times = {"due_ms": notice.at_ms, "stale_ms": notice.stale_ms, "claimed_ms": None, "claimed_by": ""}
                rank = {"kind": notice.kind.value, "rank": -notice.priority, "at_ms": notice.at_ms}
                queued.append({**common, "state": "waiting", "attempts": 0, **times, **rank})
        self._put(t.delivery, simulated, replace=False)
        self._put(t.outbox, queued, replace=False)

    def _dead(self, dead: Sequence[tuple[str, Invalid]]) -> None:
        if not dead:
            return
        newest = sa.select(sa.func.coalesce(sa.func.max(t.dead_letter.c.n), 0)).where(
            t.dead_letter.c.tenant == self._tenant
        )
        told = publishing.published_in(self._connection, self._tenant, publishing.DEAD)
        first = max(int(self._connection.execute(newest).scalar_one()), told) + 1
        values = [
            {
                "tenant": self._tenant,
                "n": first + i,
                "source": source,
                "position": record.position,
                "reason": record.reason,
                "path": record.path,
                "size": record.size,
                "data": record.data[:4096],
            }
            for i, (source, record) in enumerate(dead)
        ]
        self._connection.execute(sa.insert(t.dead_letter), values)

    def _retried(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            this = (t.dead_letter.c.tenant == self._tenant) & (t.dead_letter.c.n == n)
            reason = self._connection.execute(sa.select(t.dead_letter.c.reason).where(this)).scalar_one()
            self._connection.execute(sa.delete(t.dead_letter).where(this))
            self.tallies({("dead", str(reason)): -1, ("events", ""): -1})

    def _bare_customers(self, found: Mapping[int, str]) -> None:
        empty: rows.Row = dict.fromkeys(("name", "language", "time_zone", "email", "phone", "consent"), "")
        empty |= {"tier": None, "contract_value_milli": None}
        gone = self._erased(found)
        values = (
            {"tenant": self._tenant, "key": key, "id": raw.replace("\0", "\ufffd"), "known": 0, **empty}
            for key, raw in found.items()
            if key and key not in gone
        )
        self._put(t.customer, values, replace=False)

    def _erased(self, found: Mapping[int, str]) -> set[int]:
        """Return those who were erased, by whichever of their ids or aliases they came: these are not written again."""
        ours = t.erased.c.tenant == self._tenant
        if not found or self._connection.execute(sa.select(t.erased.c.key).where(ours).limit(1)).first() is None:
            return set()
        secret = bytes(self._connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == SECRET)).scalar_one())
        named = {customer_key(secret, form): key for key, raw in found.items() for form in alias_forms(raw)}
        named.update((key, key) for key in found)
        keys, out = list(named), set[int]()
        for i in range(0, len(keys), _BATCH):
            wanted = sa.select(t.erased.c.key).where(ours, t.erased.c.key.in_(keys[i : i + _BATCH]))
            out.update(named[row.key] for row in self._connection.execute(wanted))
        return out

    def tallies(self, sums: Mapping[tuple[str, str], int]) -> None:
        values = [
            {"tenant": self._tenant, "what": what, "reason": reason, "n": n} for (what, reason), n in sums.items() if n
        ]
        if values:
            self._connection.execute(rows.upsert(t.tally, add=("n",)), values)

    def _configured(self, config: InForce) -> None:
        newest = sa.select(sa.func.coalesce(sa.func.max(t.config.c.seq), 0)).where(t.config.c.tenant == self._tenant)
        row = {
            "tenant": self._tenant,
            "seq": int(self._connection.execute(newest).scalar_one()) + 1,
            "hash": config.hash,
            "body": config.body,
            "from_window_ms": config.from_window_ms,
        }
        self._connection.execute(sa.insert(t.config), row)


def _sums(effects: Effects, dead: Sequence[tuple[str, Invalid]]) -> dict[tuple[str, str], int]:
    out = {("events", ""): effects.records, ("applied", ""): effects.applied, ("windows", ""): effects.closed}
    for reason, n in effects.dropped.items():
        out["dropped", reason] = n
    for _, record in dead:
        out["dead", record.reason] = out.get(("dead", record.reason), 0) + 1
    return out

"""Values of the core as rows of the tables, and back.

Whole rows go in (insert or replace by key), so the same value written twice leaves one row.
"""

import operator
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from detector.counter.record import WindowRecord
from detector.desk.records import (
    Case,
    CustomerState,
    Decision,
    EvidencePoint,
    Grade,
    Kind,
    LedgerRow,
    LogRecord,
    Notice,
    NoticeState,
    TimelineEntry,
)
from detector.desk.records import Check as CheckRecord
from detector.pack import pack, unpack
from detector.watch.anomaly import Point

Row = dict[str, Any]
SEARCHED = 2_000
"""So many characters of a case's titles, signals and causes are looked through."""

_json = msgspec.json.Encoder(order="deterministic")


def upsert(table: sa.Table, *, replace: bool = True, add: tuple[str, ...] = ()) -> sa.TextClause:
    """Return the statement that inserts rows, or replaces them by key: the same text on SQLite and PostgreSQL.

    Parameters
    ----------
    replace : bool
        False leaves a row that is there as it is.
    add : tuple of str
        Columns whose new value is added to the old one.
    """
    return sa.text(_upsert(table, _values([f":{c.name}" for c in table.columns]), replace, add))


def put(connection: sa.Connection, table: sa.Table, values: Iterable[Row], *, replace: bool = True) -> None:
    """Insert many rows or replace them by key; of several rows of one key the last counts.

    It goes past SQLAlchemy's parameters, straight to the driver: for a hundred thousand rows that is half the time.
    """
    key = operator.itemgetter(*(c.name for c in table.primary_key.columns))
    found = list({key(row): row for row in values}.values())
    if not found:
        return
    plain = list(map(operator.itemgetter(*(c.name for c in table.columns)), found))
    if connection.dialect.name == "postgresql":
        _put_on_server(connection, table, plain, replace)
        return
    connection.exec_driver_sql(_upsert(table, _values(["?"] * len(table.columns)), replace, ()), plain)


def _put_on_server(connection: sa.Connection, table: sa.Table, values: list[tuple[Any, ...]], replace: bool) -> None:
    """Hand PostgreSQL some rows as whole columns, in one statement; many by COPY, which is twice as fast."""
    if len(values) <= MANY:
        arrays = ", ".join(f"%s::{_ARRAYS[type(c.type)]}[]" for c in table.columns)
        statement = _upsert(table, f"SELECT * FROM unnest({arrays})", replace, ())
        connection.exec_driver_sql(statement, tuple(list(column) for column in zip(*values, strict=True)))
        return
    here = f'"incoming_{table.name}"'
    connection.exec_driver_sql(f'CREATE TEMP TABLE IF NOT EXISTS {here} (LIKE "{table.name}") ON COMMIT DELETE ROWS')
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {here} ({_quoted(table.columns)}) FROM STDIN") as incoming:
        for row in values:
            incoming.write_row(row)
    connection.exec_driver_sql(_upsert(table, f"SELECT {_quoted(table.columns)} FROM {here}", replace, ()))
    connection.exec_driver_sql(f"TRUNCATE {here}")


MANY = 500
"""Up to so many rows are one statement."""
_ARRAYS = {sa.BigInteger: "int8", sa.Integer: "int4", sa.Text: "text", sa.LargeBinary: "bytea", sa.Double: "float8"}


def _quoted(columns: Iterable[sa.Column[Any]]) -> str:
    return ", ".join(f'"{column.name}"' for column in columns)


def _values(marks: list[str]) -> str:
    return f"VALUES ({', '.join(marks)})"


def _upsert(table: sa.Table, source: str, replace: bool, add: tuple[str, ...]) -> str:
    key = {c.name for c in table.primary_key.columns}
    changed = [c.name for c in table.columns if c.name not in key]
    sets = ", ".join(
        f'"{n}" = "{table.name}"."{n}" + excluded."{n}"' if n in add else f'"{n}" = excluded."{n}"' for n in changed
    )
    action = f"UPDATE SET {sets}" if replace and changed else "NOTHING"
    columns, keys = _quoted(table.columns), _quoted(table.primary_key.columns)
    return f'INSERT INTO "{table.name}" ({columns}) {source} ON CONFLICT ({keys}) DO {action}'


def case_row(case: Case) -> Row:
    return {
        "tenant": case.tenant,
        "id": case.id,
        "mode": case.mode.value,
        "state": case.state.value,
        "severity": case.severity.value,
        "onset_ms": case.onset_ms,
        "opened_ms": case.opened_ms,
        "still_failing": 0 if case.affected is None else case.affected.still_failing,
        "assignee": case.assignee,
        "signals": f" {' '.join(case.signals)} ",
        "search": _search_text(case),
        "body": _json.encode(case),
    }


def _search_text(case: Case) -> str:
    values = (value for cause in case.causes for value in cause.where.values())
    return " ".join((*case.title.values(), *case.signals, *values)).casefold()[:SEARCHED]


def case_of(row: Any) -> Case:
    return msgspec.json.decode(row.body, type=Case)


def ledger_row(entry: LedgerRow) -> Row:
    return {
        "tenant": entry.tenant,
        "case_id": entry.case,
        "customer": entry.customer,
        "grade": entry.grade.value,
        "state": entry.state.value,
        "probability": entry.probability,
        "first_failure_ms": entry.first_failure_ms,
        "last_failure_ms": entry.last_failure_ms,
        "tries": entry.tries,
        "last_success_ms": entry.last_success_ms,
        "contact_ms": entry.contact_ms,
        "withdrawn": int(entry.withdrawn),
        "loss_milli": entry.loss_milli,
    }


def ledger_of(row: Any) -> LedgerRow:
    return LedgerRow(
        tenant=row.tenant,
        case=row.case_id,
        customer=row.customer,
        grade=Grade(row.grade),
        state=CustomerState(row.state),
        probability=row.probability,
        first_failure_ms=row.first_failure_ms,
        last_failure_ms=row.last_failure_ms,
        tries=row.tries,
        last_success_ms=row.last_success_ms,
        contact_ms=row.contact_ms,
        withdrawn=bool(row.withdrawn),
        loss_milli=row.loss_milli,
    )


def notice_row(notice: Notice) -> Row:
    return {
        "tenant": notice.tenant,
        "id": notice.id,
        "case_id": notice.case,
        "customer": notice.customer,
        "kind": notice.kind.value,
        "episode": notice.episode,
        "decision": notice.decision.value,
        "state": notice.state.value,
        "reason": notice.reason,
        "until_ms": notice.until_ms,
        "at_ms": notice.at_ms,
        "channel": notice.channel,
        "language": notice.language,
        "time_zone": notice.time_zone,
        "signal": notice.signal,
        "cause": _json.encode(notice.cause),
        "when_ms": notice.when_ms,
        "stale_ms": notice.stale_ms,
        "priority": notice.priority,
        "checks": _json.encode(notice.checks),
    }


def notice_of(row: Any) -> Notice:
    return Notice(
        tenant=row.tenant,
        id=row.id,
        case=row.case_id,
        customer=row.customer,
        kind=Kind(row.kind),
        episode=row.episode,
        decision=Decision(row.decision),
        state=NoticeState(row.state),
        reason=row.reason,
        until_ms=row.until_ms,
        at_ms=row.at_ms,
        channel=row.channel,
        language=row.language,
        time_zone=row.time_zone,
        signal=row.signal,
        cause=msgspec.json.decode(row.cause, type=dict[str, str]),
        when_ms=row.when_ms,
        stale_ms=row.stale_ms,
        priority=row.priority,
        checks=msgspec.json.decode(row.checks, type=tuple[CheckRecord, ...]),
    )


def timeline_row(entry: TimelineEntry) -> Row:
    return {
        "tenant": entry.tenant,
        "case_id": entry.case,
        "seq": entry.seq,
        "n": entry.n,
        "at_ms": entry.at_ms,
        "what": entry.what,
        "by": entry.by,
        "detail": entry.detail,
    }


def timeline_of(row: Any) -> TimelineEntry:
    return TimelineEntry(
        tenant=row.tenant,
        case=row.case_id,
        seq=row.seq,
        n=row.n,
        at_ms=row.at_ms,
        what=row.what,
        by=row.by,
        detail=row.detail,
    )


def evidence_row(entry: EvidencePoint) -> Row:
    point = entry.point
    return {
        "tenant": entry.tenant,
        "case_id": entry.case,
        "signal": entry.signal,
        "window_ms": point.window_ms,
        "observed": point.observed,
        "expected": point.expected,
        "trials": point.trials,
        "low": point.low,
        "high": point.high,
    }


def evidence_of(row: Any) -> EvidencePoint:
    point = Point(row.window_ms, row.observed, row.expected, row.trials, row.low, row.high)
    return EvidencePoint(tenant=row.tenant, case=row.case_id, signal=row.signal, point=point)


def log_row(record: LogRecord) -> Row:
    kind = record.payload.__struct_config__.tag
    return {"tenant": record.tenant, "seq": record.seq, "kind": kind, "at_ms": record.at_ms, "data": pack(record)}


def log_of(row: Any) -> LogRecord:
    return unpack(row.data, LogRecord)


def window_row(record: WindowRecord) -> Row:
    data = zlib.compress(pack(record), 1)
    return {"tenant": record.tenant, "window_ms": record.window_ms, "partition": record.partition, "data": data}


def window_of(data: bytes) -> WindowRecord:
    return unpack(zlib.decompress(data), WindowRecord)

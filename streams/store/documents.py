"""Cases, affected customers and decisions as the machine output that COMMANDS.md fixes.

Times are RFC 3339 in UTC, customers stand by their ids; nothing here depends on the store's hash key.
"""

import base64
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from detector.desk.kpi import comparison_of, lead_ms
from detector.desk.records import Case, Decision, Kind, LedgerRow, Notice
from detector.signals import LANGUAGES
from detector.watch.anomaly import Cause
from detector.watch.control import Fact
from detector.watch.explanation import Account, explain_in_words
from streams.store import pages, queries, rows, values
from streams.store import tables as t
from streams.store.database import streamed
from streams.store.erasing import ERASED as ERASED
from streams.store.pages import Hit
from streams.store.queries import DeadLetter, Delivery
from streams.store.store import Store

Document = dict[str, Any]

_DIGITS = 6
_LEDGER_ORDER = ("first_failure_ms", "last_failure_ms", "tries", "last_success_ms", "contact_ms", "probability")
_NOTICE_ORDER = ("kind", "episode", "at_ms", "when_ms", "state", "reason", "channel", "language", "time_zone", "checks")
"""What the dump shows of several erased customers in a case stands in an order of its own, not the hashes'."""


def rfc3339(ms: int | None) -> str | None:
    """RFC 3339 in UTC of epoch milliseconds."""
    return None if ms is None else values.rfc3339(ms)


def title_of(case: Case, language: str = "en") -> str:
    """Return the case's title in this language, else in the first it has."""
    return case.title.get(language) or next(iter(case.title.values()), case.id)


def case_document(case: Case) -> Document:
    """Return a case as `tocsin cases --json` lists it."""
    affected = case.affected
    return {
        "id": case.id,
        "mode": case.mode.value,
        "title": title_of(case),
        "titles": case.title,
        "state": case.state.value,
        "severity": case.severity.value,
        "signals": list(case.signals),
        "onset": rfc3339(case.onset_ms),
        "detected_at": rfc3339(case.detected_ms),
        "opened_at": rfc3339(case.opened_ms),
        "acknowledged_at": rfc3339(case.acknowledged_ms),
        "ended_at": rfc3339(case.ended_ms),
        "resolved_at": rfc3339(case.resolved_ms),
        "causes": [_cause_document(cause) for cause in case.causes],
        "evidence": {"expected": case.expected, "observed": case.observed, "score": case.score},
        "affected": None
        if affected is None
        else {
            "confirmed": affected.confirmed,
            "likely": affected.likely,
            "still_failing": affected.still_failing,
            "recovered": affected.recovered,
        },
        "notices": {
            "sent": case.notices.sent,
            "held": case.notices.held,
            "dropped": case.notices.dropped,
            "queued": case.notices.queued,
            "failed": case.notices.failed,
            "unknown": case.notices.unknown,
            "holdout": case.notices.holdout,
            "compared": case.notices.compared,
            "simulated": case.notices.simulated,
        },
        "comparison": _comparison(case),
        "contacts": case.contacts,
        "first_contact_at": rfc3339(case.first_contact_ms),
        "lead_s": lead_s(case),
        "loss": None
        if case.loss is msgspec.UNSET
        else {"amount": values.units(case.loss.milli), "unit": case.loss.unit or None},
        "verdict": None if case.verdict is None else case.verdict.value,
        "assignee": case.assignee or None,
        "approval": case.approval.value,
        "episode": case.episode,
        "merged_into": case.merged_into,
        "facts": [fact_document(fact) for fact in case.facts],
    }


def lead_s(case: Case) -> float | None:
    """Return the case's lead (`detector.desk.kpi.lead_ms`) in seconds."""
    found = lead_ms(case)
    return None if found is None else found / 1_000


def _comparison(case: Case) -> Document | None:
    found = comparison_of(case)
    return None if found is None else {**msgspec.structs.asdict(found), "avoided": found.avoided}


def _cause_document(cause: Cause) -> Document:
    return {
        "where": cause.where,
        "share_of_excess": cause.share_of_excess,
        "confidence": cause.confidence,
        "same_as": list(cause.same_as),
    }


def fact_document(fact: Fact) -> Document:
    """Return what people told, as a case shows it."""
    return {
        "id": fact.id,
        "kind": fact.kind.value,
        "signals": list(fact.signals),
        "where": fact.where,
        "from": rfc3339(fact.from_ms),
        "until": rfc3339(fact.until_ms),
        "text": fact.text,
        "by": fact.by,
    }


def case_in_full(store: Store, case: Case) -> Document:
    """Return a case with its story and the numbers behind it, as `tocsin cases show --json` prints it."""
    why = [account_document(account) for account in case.accounts]
    return {
        **case_document(case),
        "why": why,
        "timeline": timeline_documents(store, case),
        "points": evidence_documents(store, case.id),
    }


def timeline_documents(store: Store, case: Case) -> list[Document]:
    """Return a case's story, in the order of time."""
    return [
        {"at": rfc3339(entry.at_ms), "what": entry.what, "by": entry.by, "detail": entry.detail}
        for entry in queries.story(store, case)
    ]


def evidence_documents(store: Store, case: str) -> list[Document]:
    """Return a case's observed and expected numbers, by signal and window."""
    return [
        {
            "signal": entry.signal,
            "window": rfc3339(entry.point.window_ms),
            "observed": entry.point.observed,
            "expected": entry.point.expected,
            "trials": entry.point.trials,
            "low": entry.point.low,
            "high": entry.point.high,
        }
        for entry in queries.evidence(store, case)
    ]


def account_document(account: Account) -> Document:
    """Return why an anomaly is thought to be one, in numbers and in words."""
    why = account.why
    return {
        "signal": account.signal,
        "anomaly": account.anomaly,
        "counted": account.counted.value,
        "causes": [_cause_document(cause) for cause in account.causes],
        "observed": account.observed,
        "expected": account.expected,
        "trials": account.trials,
        "score_nats": why.score_nats,
        "threshold_nats": why.threshold_nats,
        "source": why.source,
        "budget": why.budget,
        "segments": why.segments,
        "segment": why.segment,
        "noise": why.noise,
        "season": why.season,
        "beside": [
            {"where": b.where, "observed": b.observed, "expected": b.expected, "trials": b.trials} for b in why.beside
        ],
        "shift": None
        if why.shift is None
        else {
            "quantile": why.shift.quantile,
            "observed": why.shift.observed,
            "usual": why.shift.usual,
            "values": why.shift.values,
        },
        "new_level": account.new_level,
        "words": {language: " ".join(explain_in_words(account, language)) for language in LANGUAGES},
    }


def affected_documents(store: Store, case: str) -> list[Document]:
    """Return who is hit, by customer, as `tocsin affected --json` prints it."""
    found = pages.affected_page(store, case, limit=sys.maxsize - 1).items
    documents = hit_documents(store, case, found)
    return sorted(documents, key=lambda d: (d["customer"], d["first_failure"], d["last_failure"], d["tries"]))


def hit_documents(store: Store, case: str, hits: Sequence[Hit]) -> list[Document]:
    """Return these affected customers with what was decided to tell them, in the order given."""
    of = pages.notices_of(store, case, [hit.row.customer for hit in hits])
    found = queries.get_case(store, case)
    unit = None if found is None or found.loss is msgspec.UNSET else found.loss.unit or None
    return [
        ledger_document(hit.row, ERASED if hit.id is None else hit.id)
        | {
            "loss_unit": unit if hit.row.loss_milli else None,
            "tier": hit.tier,
            "contract_value": None if hit.contract_value_milli is None else values.units(hit.contract_value_milli),
        }
        | {"notices": [_told(notice) for notice in of.get(hit.row.customer, ())]}
        for hit in hits
    ]


def _told(notice: Notice) -> Document:
    return {
        "kind": notice.kind.value,
        "channel": notice.channel,
        "state": notice.state.value,
        "reason": notice.reason,
        "at": rfc3339(notice.at_ms),
    }


def ledger_document(row: LedgerRow, customer: str) -> Document:
    return {
        "customer": customer,
        "grade": row.grade.value,
        "state": row.state.value,
        "probability": row.probability,
        "first_failure": rfc3339(row.first_failure_ms),
        "last_failure": rfc3339(row.last_failure_ms),
        "tries": row.tries,
        "last_success": rfc3339(row.last_success_ms),
        "contact": rfc3339(row.contact_ms),
        "loss": values.units(row.loss_milli) if row.loss_milli else None,
    }


def why_document(store: Store, case: Case, customer: int) -> Document:
    """Return why a customer was told of a case, held or not told, as `tocsin why --json` prints it.

    At the top stands the latest decision on telling them of the problem (where there is none, the latest of all), with
    its own checks; `notices` has every one.
    """
    decided = queries.notices(store, case.id, customer)
    about = [notice for notice in decided if notice.kind is Kind.PROBLEM] or decided
    row = queries.ledger_row(store, case.id, customer)
    if not about:
        reason = (
            "not-affected" if row is None else "withdrawn" if row.withdrawn else f"{case.mode.value}-case-undecided"
        )
        none = dict.fromkeys(("kind", "decision", "rule", "until"))
        return {**none, "reason": reason, "checks": [], "notices": []}
    latest = about[-1]
    return {
        "kind": latest.kind.value,
        "decision": latest.decision.value,
        "reason": latest.reason,
        "rule": rule_of(latest),
        "until": rfc3339(latest.until_ms),
        "checks": _checks(latest),
        "notices": decided_documents(store, decided),
    }


def rule_of(notice: Notice) -> str | None:
    """Return the rule that named the reason: the first that answered as was decided; None of a Send."""
    if notice.decision is Decision.SEND:
        return None
    return next((check.rule for check in notice.checks if check.decision is notice.decision), None)


def _checks(notice: Notice) -> list[Document]:
    return [
        {"rule": check.rule, "decision": check.decision.value, "reason": check.reason, "detail": check.detail}
        for check in notice.checks
    ]


def decided_documents(store: Store, notices: Sequence[Notice]) -> list[Document]:
    """Return these decisions with the rules' answers and the attempts to deliver, in the order given."""
    of = pages.deliveries_of(store, [notice.id for notice in notices])
    return [_decided(notice, of.get(notice.id, ())) for notice in notices]


def _decided(notice: Notice, deliveries: Sequence[Delivery]) -> Document:
    return {
        "kind": notice.kind.value,
        "episode": notice.episode,
        "decision": notice.decision.value,
        "state": notice.state.value,
        "reason": notice.reason,
        "rule": rule_of(notice),
        "until": rfc3339(notice.until_ms),
        "channel": notice.channel,
        "at": rfc3339(notice.at_ms),
        "checks": _checks(notice),
        "deliveries": [
            {"channel": d.channel, "outcome": d.outcome, "at": rfc3339(d.at_ms), "detail": d.detail} for d in deliveries
        ],
    }


def notice_documents(store: Store, notices: Sequence[Notice]) -> list[Document]:
    """Return notices with whom they are for, in the order given."""
    names = queries.names(store, [notice.customer for notice in notices])
    return [
        {
            "id": notice.id,
            "case": notice.case,
            "customer": names.get(notice.customer, ERASED),
            **decided,
            "language": notice.language,
            "signal": notice.signal,
            "where": notice.cause,
            "when": rfc3339(notice.when_ms),
            "stale": rfc3339(notice.stale_ms),
            "priority": notice.priority,
        }
        for notice, decided in zip(notices, decided_documents(store, notices), strict=True)
    ]


def dead_document(letter: DeadLetter) -> Document:
    """Return a dead letter as `tocsin dead --json` lists it; `bytes` is base64 of the first 4 KiB."""
    return {
        "n": letter.n,
        "source": letter.source,
        "position": letter.position,
        "reason": letter.reason,
        "path": letter.path,
        "size": letter.size,
        "bytes": base64.b64encode(letter.data).decode(),
    }


# --- the canonical dump -----------------------------------------------------------------------------------------------


def dump(store: Store) -> Iterator[Document]:
    """Yield cases, ledger and notices in a fixed order: the same results give the same lines, whatever the hash key.

    Floats are rounded to six digits, since the last ones differ between processors and versions of numpy.
    """
    with store.reading() as connection:
        cases = sa.select(t.cases).where(t.cases.c.tenant == store.tenant).order_by(t.cases.c.id)
        with streamed(connection, cases, 100) as found:
            for row in found:
                yield _dumped({"type": "case", **case_document(rows.case_of(row))})
        with streamed(connection, _with_names(t.ledger, store.tenant, *_LEDGER_ORDER), 1_000) as found:
            for row in found:
                entry = rows.ledger_of(row)
                document = ledger_document(entry, _name(row))
                yield _dumped({"type": "ledger", "case": entry.case, **document, "withdrawn": entry.withdrawn})
        with streamed(connection, _with_names(t.notices, store.tenant, *_NOTICE_ORDER), 1_000) as found:
            for row in found:
                yield _rounded(_notice_document(rows.notice_of(row), _name(row)))


def _dumped(document: Document) -> Document:
    """Return a line of the dump; one that knows of no loss is as it was before there were any."""
    known = {name: value for name, value in document.items() if name != "loss" or value is not None}
    return dict(_rounded(known))


def _with_names(table: sa.Table, tenant: str, *then: str) -> sa.Select[Any]:
    """Rows with their customers' ids, by case, id and the given columns."""
    named = sa.select(table, t.customer.c.id.label("customer_id")).join_from(
        table,
        t.customer,
        (t.customer.c.tenant == table.c.tenant) & (t.customer.c.key == table.c.customer),
        isouter=True,
    )
    ids = t.customer.c.id
    order = [table.c.case_id, ids.is_(None), ids, *(table.c[name].nulls_first() for name in then)]
    return named.where(table.c.tenant == tenant).order_by(*order)


def _name(row: Any) -> str:
    return ERASED if row.customer_id is None else str(row.customer_id)


def _notice_document(notice: Notice, customer: str) -> Document:
    return {
        "type": "notice",
        "case": notice.case,
        "customer": customer,
        "kind": notice.kind.value,
        "episode": notice.episode,
        "decision": notice.decision.value,
        "state": notice.state.value,
        "reason": notice.reason,
        "until": rfc3339(notice.until_ms),
        "at": rfc3339(notice.at_ms),
        "channel": notice.channel,
        "language": notice.language,
        "time_zone": notice.time_zone,
        "signal": notice.signal,
        "cause": notice.cause,
        "when": rfc3339(notice.when_ms),
        "stale": rfc3339(notice.stale_ms),
        "checks": _checks(notice),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0 if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value

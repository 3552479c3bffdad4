"""The words as they would go out: for one real customer of a case's list, per channel and language.

Nothing is sent or written down. What the customer was decided on stands as it was (their moment, cause and zone); for
a kind that was not decided yet it is taken from the ledger. Works on recordings too.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from detector.config import Config
from detector.desk.notices import notice_id
from detector.desk.records import Case, Decision, Kind, LedgerRow, Notice, NoticeState
from detector.desk.templates import LANGUAGES
from detector.desk.wording import language_of
from detector.errors import UsageError
from detector.fields import listed
from detector.signals import Signal
from streams.outbox.channel import masked
from streams.outbox.words import Words, load_words
from streams.settings import Settings
from streams.store import Store, queries, rows
from streams.store import tables as t
from streams.store.directory import Customer, CustomerDirectory
from streams.store.documents import Document


def preview(
    store: Store,
    settings: Settings | None,
    case: Case,
    customer: int | None = None,
    *,
    channels: Sequence[str] = (),
    kinds: Sequence[Kind] = (Kind.PROBLEM,),
) -> list[Document]:
    """Return the messages: one for each kind, channel and language.

    Parameters
    ----------
    store : Store
    settings : Settings or None
        Where the templates and channels stand; None: those of the store's last run, with the built-in words.
    case : Case
    customer : int, optional
        The customer's key; else one who would be told: confirmed and still failing before others.
    channels : sequence of str, optional
        Else all of `notices.channels`.
    kinds : sequence of Kind, optional

    Returns
    -------
    list of Document
        Each `{"kind", "channel", "language", "customer", "to", "theirs", "subject", "body", "characters", "template",
        "parameters"}`: `to` is masked, and "" where they do not consent to the channel; `theirs` marks the language
        in which they would be written to. Empty where nobody is listed.

    Raises
    ------
    UsageError
        The customer is not affected by this case, or their signal is not configured any more.
    ConfigError
        The templates folder has mistakes.
    """
    config = settings.config if settings is not None else _last(store)
    row = _row(store, case, customer)
    if row is None or config is None:
        return []
    words = load_words(settings, store.customer_key) if settings is not None else Words()
    who = CustomerDirectory(store).get(row.customer) or Customer("", "", "", "", "", "", (), False)
    decided = {notice.kind: notice for notice in queries.notices(store, case.id, row.customer)}
    out: list[Document] = []
    for kind in kinds:
        notice = decided.get(kind) or _undecided(case, row, who, config, kind, next(iter(decided.values()), None))
        signal = _signal(config, notice)
        for channel in channels or config.policy.channels:
            for language in LANGUAGES:
                told = msgspec.structs.replace(notice, language=language)
                made = words.outgoing(told, signal, who, channel)
                out.append(
                    {
                        "kind": kind.value,
                        "channel": channel,
                        "language": language,
                        "customer": who.id,
                        "to": masked(made.address) if made.address else "",
                        "theirs": language == notice.language,
                        "subject": made.message.subject,
                        "body": made.message.body,
                        "characters": len(made.message.body),
                        "template": made.template,
                        "parameters": dict(made.parameters),
                    }
                )
    return out


def _last(store: Store) -> Config | None:
    """Return the configuration that was in force last."""
    found = store.in_force()
    return msgspec.json.decode(found[-1].body, type=Config) if found else None


def _row(store: Store, case: Case, customer: int | None) -> LedgerRow | None:
    if customer is not None:
        found = queries.ledger_row(store, case.id, customer)
        if found is None or found.withdrawn:
            message = f"--customer: expected one who is affected by the case {case.id[:12]}, found one who is not"
            raise UsageError(message)
        return found
    table, who = t.ledger, t.customer
    wanted = (
        sa.select(table)
        .join_from(table, who, (who.c.tenant == table.c.tenant) & (who.c.key == table.c.customer), isouter=True)
        .where(table.c.tenant == store.tenant, table.c.case_id == case.id, table.c.withdrawn == 0)
        .order_by(
            sa.case((who.c.known == 1, 0), else_=1),
            sa.case((table.c.grade == "confirmed", 0), else_=1),
            sa.case((table.c.state == "still_failing", 0), else_=1),
            table.c.first_failure_ms,
            who.c.id,
        )
        .limit(1)
    )
    with store.reading() as connection:
        row = connection.execute(wanted).first()
        return None if row is None else rows.ledger_of(row)


def _signal(config: Config, notice: Notice) -> Signal:
    found = next((signal for signal in config.signals if signal.name == notice.signal), None)
    if found is None:
        names = [signal.name for signal in config.signals]
        message = (
            f"signals.yml: expected the case's signal, found none called {notice.signal!r}; it has {listed(names)}"
        )
        raise UsageError(message)
    return found


def _undecided(case: Case, row: LedgerRow, who: Customer, config: Config, kind: Kind, other: Notice | None) -> Notice:
    """Return the notice that would be decided: of what is known of the customer, else of the case."""
    policy = config.policy
    last = {Kind.RESOLVED: row.last_success_ms, Kind.FOLLOW_UP: row.last_failure_ms}.get(kind)
    when_ms = row.first_failure_ms if last is None else last
    id = notice_id(case.tenant, case.id, row.customer, kind, case.episode)
    if other is not None:
        return msgspec.structs.replace(other, id=id, kind=kind, when_ms=when_ms)
    where = case.causes[0].where if len(case.causes) == 1 else {}
    return Notice(
        tenant=case.tenant,
        id=id,
        case=case.id,
        customer=row.customer,
        kind=kind,
        episode=case.episode,
        decision=Decision.SEND,
        state=NoticeState.SIMULATED,
        reason="",
        until_ms=None,
        at_ms=max(when_ms, case.detected_ms),
        channel=None,
        language=language_of(who.language, policy.default_language),
        time_zone=who.time_zone or policy.default_time_zone,
        signal=case.signals[0],
        cause=where,
        when_ms=when_ms,
        stale_ms=when_ms + policy.stale_ms,
    )

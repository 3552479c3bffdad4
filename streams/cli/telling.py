"""What `tocsin fact` and `tocsin mute` share: a fact is told to a store, ended, listed.

Names are checked against the configuration in force before anything is left to a runner; a value that no event of late
had is taken, and warned of.
"""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from detector.errors import UsageError
from detector.fields import did_you_mean, parse_duration_ms, shown
from detector.watch.control import Fact, FactKind, Withdrawn
from streams.cli import common
from streams.cli.common import option

if TYPE_CHECKING:
    from detector.config import Config
    from streams.store import Store

SEEN_WINDOWS = 120
"""So many of the last windows are looked at for whether a value was ever seen."""

where_option = option(
    "--where", multiple=True, metavar="DIM=VALUE", help="Only where a dimension has this value; several: where all do."
)


@dataclass(frozen=True)
class Row:
    """A fact and where it stands: `waiting` (for the runner), `planned`, `active`, `ending`, `ended` or `over`."""

    fact: Fact
    until_ms: int
    state: str

    def document(self) -> dict[str, Any]:
        from streams.store.documents import fact_document, rfc3339

        return {**fact_document(self.fact), "until": rfc3339(self.until_ms), "state": self.state}


def tell(
    kind: FactKind,
    begin: str,
    until: str | None,
    span: str | None,
    *,
    where: Sequence[str],
    signals: Sequence[str],
    text: str,
    by: str | None,
    config: Path | None,
    db: str,
    as_json: bool,
) -> int:
    """Tell a fact to a store: at once, or by the runner that is at work or to come."""
    from detector.desk.facts import TEXT_LENGTH, check_fact, named
    from detector.desk.wording import clean
    from streams.clock import SystemClock
    from streams.engines.embedded import apply_command
    from streams.engines.operating import in_force
    from streams.settings import load
    from streams.store import open_store

    settings = None if config is None else load(config)
    key = None if settings is None or settings.customer_key is None else settings.customer_key.read()
    tenant = None if settings is None else settings.config.tenant
    with open_store(db, tenant=tenant, create=settings is not None, customer_key=key) as store:
        seen = in_force(store)
        known = seen or (settings.config if settings is not None else None)
        if known is None:
            message = (
                f"{store.path}: has seen no events yet; give --config DIR, and the first replay takes the fact first"
            )
            raise UsageError(message)
        now_ms, zone = now_of(store), known.policy.default_time_zone
        from_ms = _moment("--at" if kind is FactKind.DEPLOYMENT else "--from", begin, now_ms, zone)
        until_ms = _until(kind, until, span, from_ms, now_ms, zone)
        fact = named(
            Fact(
                id="",
                kind=kind,
                from_ms=from_ms,
                until_ms=until_ms,
                signals=tuple(dict.fromkeys(signals)),
                where=_where(where),
                text=clean(text, TEXT_LENGTH),
                by=by or getpass.getuser(),
            )
        )
        check_fact(fact, known)
        for warning in _unseen(store, fact, known):
            common.say(f"Warning: {warning}")
        if seen is None:
            from detector.pack import pack

            store.post(pack(fact))
            applied = False
        else:
            applied = apply_command(store, fact, SystemClock())
        row = _row(fact, fact.until_ms, now_ms) if applied else Row(fact, fact.until_ms, "waiting")
        if as_json:
            common.print_json(row.document())
            return common.DONE
        left = "" if applied else "; left for the runner that is at work" if seen else "; left for the first replay"
        common.say(f"Fact {fact.id}: {_sentence(row, zone)}{left}")
    return common.DONE


def end(db: str, prefix: str, kind: FactKind | None, by: str | None, as_json: bool) -> int:
    """End a fact of a store."""
    from streams.clock import SystemClock
    from streams.engines.embedded import apply_command
    from streams.engines.operating import in_force
    from streams.store import open_store

    with open_store(db) as store:
        known = in_force(store)
        now_ms = now_of(store)
        row = _find(_rows(store, now_ms), prefix, kind, store)
        if known is None:
            message = f"fact {row.fact.id}: it waits for the store's first events and can't be ended before"
            raise UsageError(message)
        applied = apply_command(store, Withdrawn(row.fact.id, by or getpass.getuser()), SystemClock())
        found = next((r for r in _rows(store, now_ms) if r.fact.id == row.fact.id), row)
        if as_json:
            common.print_json(found.document())
        elif applied:
            common.say(f"Fact {row.fact.id} has ended")
        else:
            common.say(f"Fact {row.fact.id}: left for the runner that is at work; see `tocsin fact list --all`")
    return common.DONE


def print_list(db: str, kind: FactKind | None, everything: bool, as_json: bool) -> None:
    """List facts (of one kind), the over ones of more than a day ago only where `everything` is asked for."""
    from detector.config import DAY_MS
    from streams.cli.words import moment, zone_of
    from streams.store import open_store

    with open_store(db) as store:
        now_ms, zone = now_of(store), zone_of(store)
        found = [
            row
            for row in _rows(store, now_ms)
            if (kind is None or row.fact.kind is kind)
            and (everything or row.state not in ("over", "ended") or row.until_ms > now_ms - DAY_MS)
        ]
        if as_json:
            common.print_json([row.document() for row in found])
            return
        if not found:
            what = "Nothing is muted" if kind is FactKind.MUTE else "No facts are known"
            click.echo(f"{what}{'' if everything else ' (what is over: --all)'}.")
            return
        cells = [
            (
                row.fact.id,
                row.fact.kind.value,
                ", ".join(row.fact.signals) or "all",
                _where_text(row.fact),
                moment(row.fact.from_ms, zone),
                moment(row.until_ms, zone) if row.until_ms > row.fact.from_ms else "",
                row.state,
                row.fact.text,
                row.fact.by,
            )
            for row in found
        ]
        columns = ("fact", "kind", "signals", "where", "from", "until", "state", "text", "by")
        common.print_table(columns, cells, spare=("by",))


def now_of(store: "Store") -> int:
    """Return what time it is for a store: of a recording, as far as its events go."""
    from streams.clock import SystemClock
    from streams.store import RECORDING
    from streams.store.queries import newest_window

    newest = newest_window(store) if store.mode == RECORDING else None
    return SystemClock().now_ms() if newest is None else newest.window_ms + newest.width_ms


def _rows(store: "Store", now_ms: int) -> list[Row]:
    """Return every fact of a store, told or still in its inbox."""
    from streams.engines.embedded import LETTER
    from streams.store.queries import facts

    letters = [LETTER.decode(letter.data) for letter in store.waiting()]
    ending = {letter.fact for letter in letters if isinstance(letter, Withdrawn)}
    out = []
    for known in facts(store):
        until_ms = known.fact.until_ms
        if known.ended_ms is not None:
            until_ms = max(min(until_ms, known.ended_ms), known.fact.from_ms)
        row = _row(known.fact, until_ms, now_ms)
        if known.ended_ms is not None or known.fact.id in ending:
            row = Row(known.fact, until_ms, "ended" if known.ended_ms is not None else "ending")
        out.append(row)
    return out + [Row(letter, letter.until_ms, "waiting") for letter in letters if isinstance(letter, Fact)]


def _row(fact: Fact, until_ms: int, now_ms: int) -> Row:
    state = "planned" if fact.from_ms > now_ms else "active" if fact.mutes and now_ms < until_ms else "over"
    return Row(fact, until_ms, state)


def _find(rows: list[Row], prefix: str, kind: FactKind | None, store: "Store") -> Row:
    found = [row for row in rows if row.fact.id.startswith(prefix) and (kind is None or row.fact.kind is kind)]
    if len(found) == 1 and prefix:
        return found[0]
    what = "mute" if kind is FactKind.MUTE else "fact"
    if found and prefix:
        message = f"{what} {prefix!r}: several begin so ({', '.join(row.fact.id for row in found)}); give more of it"
    else:
        message = f"{what} {prefix!r}: there is none in {store.path}; `tocsin {what} list --all` lists them"
    raise UsageError(message)


def _where(given: Sequence[str]) -> dict[str, str]:
    out: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            message = f"--where: expected DIMENSION=VALUE such as bank=BRI, found {shown(pair)}"
            raise UsageError(message)
        if name in out:
            message = f"--where: expected each dimension once, found {name} twice; tell it in two facts"
            raise UsageError(message)
        out[name] = value
    return dict(sorted(out.items()))


def _moment(flag: str, text: str, now_ms: int, zone: str) -> int:
    """Return a moment; one without a zone is local."""
    if text == "now":
        return now_ms
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f"{flag}: expected a time such as 2026-03-02T01:00 or now, found {shown(text)}"
        raise UsageError(message) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=ZoneInfo(zone))
    return round(found.timestamp() * 1_000)


def _until(kind: FactKind, until: str | None, span: str | None, from_ms: int, now_ms: int, zone: str) -> int:
    if until is not None and span is not None:
        message = "--until and --for: expected one of them, found both"
        raise UsageError(message)
    if span is not None:
        length_ms = parse_duration_ms(span)
        if not length_ms:
            message = f"--for: expected a duration such as 2h, found {shown(span)}"
            raise UsageError(message)
        return from_ms + length_ms
    if until is not None:
        return _moment("--until", until, now_ms, zone)
    if kind is FactKind.DEPLOYMENT:
        return from_ms
    message = "--for: expected a duration such as 2h (or --until), found nothing; what is muted is not muted for good"
    raise UsageError(message)


def _unseen(store: "Store", fact: Fact, config: "Config") -> list[str]:
    """Say which values were in none of the last windows: most often they are misspelt."""
    from streams.store.queries import newest_windows

    if not fact.where:
        return []
    seen: dict[str, set[str]] = {name: set() for name in fact.where}
    of = {s.name: s.dimensions for s in config.signals if fact.concerns(s.name, s.dimensions)}
    for record in newest_windows(store, SEEN_WINDOWS):
        for name in of.keys() & record.signals.keys():
            for dimension, values in zip(of[name], zip(*record.signals[name].cells, strict=True), strict=False):
                if dimension in seen:
                    seen[dimension].update(values)
    out = []
    for dimension, value in fact.where.items():
        if seen[dimension] and value not in seen[dimension]:
            near = did_you_mean(value, sorted(seen[dimension]))
            hint = f" ({near})" if near else ""
            out.append(f"--where {dimension}: no event of late had {shown(value)}{hint}; taken as it is")
    return out


def _where_text(fact: Fact) -> str:
    return ", ".join(f"{name} = {value or '(none)'}" for name, value in fact.where.items()) or "everywhere"


def _sentence(row: Row, zone: str) -> str:
    """Return what was told, in words."""
    from streams.cli.words import moment

    fact = row.fact
    what = {"mute": "muted", "maintenance": "maintenance of", "deployment": "deployment for"}[fact.kind.value]
    where = "" if not fact.where else f" where {_where_text(fact)}"
    begin = moment(fact.from_ms, zone)
    when = f"at {begin}" if fact.until_ms == fact.from_ms else f"from {begin} until {moment(fact.until_ms, zone)}"
    return f"{what} {', '.join(fact.signals) or 'all signals'}{where}, {when}"

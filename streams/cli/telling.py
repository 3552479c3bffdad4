"""What `tocsin fact` and `tocsin mute` share: a fact is told to a store, ended, listed.

Names are checked against the configuration in force before anything is left to a runner; a value that no event of late
had is taken, and warned of.
"""

import getpass
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from detector.errors import UsageError
from detector.fields import parse_duration_ms, shown
from detector.watch.control import Fact, FactKind, Withdrawn
from streams.cli import common
from streams.cli.common import option

where_option = option(
    "--where", multiple=True, metavar="DIM=VALUE", help="Only where a dimension has this value; several: where all do."
)


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
    from streams.clock import SystemClock
    from streams.engines import facts
    from streams.engines.embedded import apply_command
    from streams.engines.operating import in_force
    from streams.settings import load

    settings = None if config is None else load(config)
    with common.open_store(db, settings, create=settings is not None) as store:
        seen = in_force(store)
        known = seen or (settings.config if settings is not None else None)
        if known is None:
            message = (
                f"{store.where}: has seen no events yet; give --config DIR, and the first replay takes the fact first"
            )
            raise UsageError(message)
        now_ms, zone = facts.now_of(store, SystemClock()), known.policy.default_time_zone
        from_ms = _moment("--at" if kind is FactKind.DEPLOYMENT else "--from", begin, now_ms, zone)
        until_ms = _until(kind, until, span, from_ms, now_ms, zone)
        who = by or getpass.getuser()
        fact = facts.new_fact(known, kind, from_ms, until_ms, signals=signals, where=_where(where), text=text, by=who)
        for warning in facts.unseen(store, fact, known):
            common.say(f"Warning: --{warning}")
        if seen is None:
            from detector.pack import pack

            store.post(pack(fact))
            applied = False
        else:
            applied = apply_command(store, fact, SystemClock())
        told = facts.standing(fact, fact.until_ms, now_ms) if applied else facts.Known(fact, fact.until_ms, "waiting")
        if as_json:
            common.print_json(told.document())
            return common.DONE
        left = "" if applied else "; left for the runner that is at work" if seen else "; left for the first replay"
        common.say(f"Fact {fact.id}: {_sentence(fact, zone)}{left}")
    return common.DONE


def end(db: str, prefix: str, kind: FactKind | None, by: str | None, as_json: bool) -> int:
    """End a fact of a store."""
    from streams.clock import SystemClock
    from streams.engines import facts
    from streams.engines.embedded import apply_command
    from streams.engines.operating import in_force

    with common.open_store(db) as store:
        known = in_force(store)
        now_ms = facts.now_of(store, SystemClock())
        row = facts.find_fact(facts.known_facts(store, now_ms), prefix, kind, store)
        if known is None:
            message = f"fact {row.fact.id}: it waits for the store's first events and can't be ended before"
            raise UsageError(message)
        applied = apply_command(store, Withdrawn(row.fact.id, by or getpass.getuser()), SystemClock())
        found = next((r for r in facts.known_facts(store, now_ms) if r.fact.id == row.fact.id), row)
        if as_json:
            common.print_json(found.document())
        elif applied:
            common.say(f"Fact {row.fact.id} has ended")
        else:
            common.say(f"Fact {row.fact.id}: left for the runner that is at work; see `tocsin fact list --all`")
    return common.DONE


def print_list(db: str, kind: FactKind | None, everything: bool, as_json: bool) -> None:
    """List facts (of one kind), the over ones of more than a day ago only where `everything` is asked for."""
    from streams.cli.words import moment, zone_of
    from streams.clock import SystemClock
    from streams.engines import facts

    with common.open_store(db) as store:
        now_ms, zone = facts.now_of(store, SystemClock()), zone_of(store)
        found = [
            row
            for row in facts.known_facts(store, now_ms)
            if (kind is None or row.fact.kind is kind) and (everything or row.of_late(now_ms))
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


def _where_text(fact: Fact) -> str:
    return ", ".join(f"{name} = {value or '(none)'}" for name, value in fact.where.items()) or "everywhere"


def _sentence(fact: Fact, zone: str) -> str:
    """Return what was told, in words."""
    from streams.cli.words import moment

    what = {"mute": "muted", "maintenance": "maintenance of", "deployment": "deployment for"}[fact.kind.value]
    where = "" if not fact.where else f" where {_where_text(fact)}"
    begin = moment(fact.from_ms, zone)
    when = f"at {begin}" if fact.until_ms == fact.from_ms else f"from {begin} until {moment(fact.until_ms, zone)}"
    return f"{what} {', '.join(fact.signals) or 'all signals'}{where}, {when}"

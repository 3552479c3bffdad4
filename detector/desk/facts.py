"""What people know of the world: which facts may be told, and which of them stand beside a case.

A *deployment* stands beside a case that began within two hours after it and that it touches: one of the case's causes
and the deployment's `where` name the same value and contradict each other nowhere, or one of them is "everyone".
*Maintenance* and a *mute* stand beside a case that they cover: a cause lies wholly within their `where`, and the spans
overlap. A fact only explains: no case opens, closes or moves by it here (`detector.watch` leaves out what is muted).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, Config
from detector.desk.problems import Strand
from detector.desk.wording import clean, value_in_words
from detector.errors import UsageError
from detector.fields import did_you_mean, listed, shown
from detector.watch.control import Fact

AFTER_MS = 2 * HOUR_MS
"""What begins so soon after a deployment may come of it."""
BEFORE_MS = 5 * MINUTE_MS
"""An onset may be dated a little too early."""
KEPT_MS = 2 * DAY_MS
"""How long before the oldest case in memory a fact is remembered: an onset may still be dated back."""
LONGEST_MS = 366 * DAY_MS
TEXT_LENGTH = 200


def check_fact(fact: Fact, config: Config) -> None:
    """Refuse a fact that nothing can be made of.

    Raises
    ------
    UsageError
        An unknown signal or dimension, or a span that is none.
    """
    names = [s.name for s in config.signals]
    for name in fact.signals:
        if name not in names:
            message = f"signal: expected {listed(names) if names else 'none'}, found {shown(name)}"
            raise UsageError(_meant(message, name, names))
    chosen = [s for s in config.signals if not fact.signals or s.name in fact.signals]
    for dimension in fact.where:
        known = sorted({d for s in chosen for d in s.dimensions})
        if dimension not in known:
            allowed = f"a dimension of the signal ({listed(known)})" if known else "none: the signal has no dimensions"
            raise UsageError(_meant(f"where: expected {allowed}, found {shown(dimension)}", dimension, known))
    if chosen and not any(fact.concerns(s.name, s.dimensions) for s in chosen):
        message = f"where: no signal has all of the dimensions {', '.join(fact.where)}; tell it in several facts"
        raise UsageError(message)
    span_ms = fact.until_ms - fact.from_ms
    if span_ms < 0 or (fact.mutes and span_ms == 0):
        message = "until: expected a time after its beginning, found one before it"
        raise UsageError(message)
    if fact.mutes and span_ms > LONGEST_MS:
        message = "until: expected a year at most: change the signal where something is to be left out for good"
        raise UsageError(message)


def named(fact: Fact) -> Fact:
    """Return the fact with the id that its content gives: told twice, it is the same.

    Examples
    --------
    >>> from detector.watch.control import FactKind
    >>> named(Fact(id="", kind=FactKind.MUTE, from_ms=0, until_ms=60_000)).id
    'b0aa7320'
    """
    content = msgspec.json.encode(msgspec.structs.replace(fact, id=""), order="deterministic")
    return msgspec.structs.replace(fact, id=hashlib.blake2b(content, digest_size=4).hexdigest())


def _meant(message: str, found: str, known: Iterable[str]) -> str:
    near = did_you_mean(found, known)
    return f"{message} ({near})" if near else message


def facts_beside(facts: Iterable[Fact], strands: Sequence[Strand], now_ms: int) -> tuple[Fact, ...]:
    """Return the facts that stand beside a case with these strands, in the order of time."""
    found = [fact for fact in facts if any(_stands_beside(fact, strand, now_ms) for strand in strands)]
    return tuple(sorted(found, key=lambda fact: (fact.from_ms, fact.id)))


def _stands_beside(fact: Fact, strand: Strand, now_ms: int) -> bool:
    if not fact.concerns(strand.signal, strand.dimensions):
        return False
    if fact.mutes:
        end_ms = now_ms if strand.ended_ms is None else strand.ended_ms
        in_time = fact.from_ms < end_ms and strand.onset_ms < fact.until_ms
        return in_time and any(fact.where.items() <= cause.where.items() for cause in strand.causes)
    in_time = fact.from_ms - BEFORE_MS <= strand.onset_ms <= fact.until_ms + AFTER_MS
    return in_time and any(touches(fact.where, cause.where) for cause in strand.causes)


def touches(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether two sets of cells meet and name the same value; "everyone" meets all.

    Examples
    --------
    >>> app, bank, both = {"app": "5.2"}, {"bank": "BNI"}, {"app": "5.2", "bank": "BNI"}
    >>> touches(app, both), touches(app, bank), touches(app, {}), touches(both, {"app": "5.2", "bank": "BRI"})
    (True, False, True, False)
    """
    if not a or not b:
        return True
    both = a.keys() & b.keys()
    return bool(both) and all(a[d] == b[d] for d in both)


def fact_in_words(fact: Fact, onset_ms: int) -> str:
    """Return the fact as a case's timeline tells it.

    Examples
    --------
    >>> from detector.watch.control import FactKind
    >>> app = Fact(id="f", kind=FactKind.DEPLOYMENT, from_ms=0, until_ms=0, where={"app": "5.2"}, text="app 5.2.1")
    >>> fact_in_words(app, 240_000)
    'app 5.2.1 (app 5.2), 4 min before the onset'
    """
    where = " × ".join(f"{clean(d, 40)} {value_in_words(v, 'en')}" for d, v in sorted(fact.where.items()))
    what = " ".join([part for part in (clean(fact.text, TEXT_LENGTH), f"({where})" if where else "") if part])
    ago_ms = onset_ms - fact.from_ms
    side = "before" if ago_ms > 0 else "after"
    when = "at the onset" if abs(ago_ms) < MINUTE_MS else f"{_span(abs(ago_ms))} {side} the onset"
    if fact.mutes:
        when = f"from {when.removeprefix('at ')} on, for {_span(fact.until_ms - fact.from_ms)}"
    return f"{what}, {when}" if what else when


def _span(ms: int) -> str:
    """Return a duration in its two largest units.

    Examples
    --------
    >>> _span(240_000), _span(7_500_000), _span(86_400_000), _span(30_000)
    ('4 min', '2 h 5 min', '1 d', '30 s')
    """
    if ms < MINUTE_MS:
        return f"{ms // 1_000} s"
    parts = []
    left = ms
    for unit, size in (("d", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS)):
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)

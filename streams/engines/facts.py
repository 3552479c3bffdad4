"""What is known of a store's facts: which there are, where each stands, and how a new one is made and checked.

Whoever tells a fact (the command line, the API) goes through here: names are checked against the configuration in
force before anything is left to a runner; a value that no event of late had is taken, and warned of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detector.config import DAY_MS, Config
from detector.desk.facts import TEXT_LENGTH, check_fact, named
from detector.desk.wording import clean
from detector.errors import UsageError
from detector.fields import did_you_mean, shown
from detector.watch.control import Fact, FactKind, Withdrawn
from streams.clock import Clock
from streams.engines.embedded import LETTER
from streams.store import RECORDING, Store
from streams.store.documents import fact_document, rfc3339
from streams.store.queries import facts, newest_window, newest_windows

SEEN_WINDOWS = 120
"""So many of the last windows are looked at for whether a value was ever seen."""


@dataclass(frozen=True)
class Known:
    """A fact and where it stands: `waiting` (for the runner), `planned`, `active`, `ending`, `ended` or `over`."""

    fact: Fact
    until_ms: int
    state: str

    def document(self) -> dict[str, Any]:
        return {**fact_document(self.fact), "until": rfc3339(self.until_ms), "state": self.state}

    def of_late(self, now_ms: int) -> bool:
        """Whether it is planned, in force, or ended less than a day ago."""
        return self.state not in ("over", "ended") or self.until_ms > now_ms - DAY_MS


def now_of(store: Store, clock: Clock) -> int:
    """Return what time it is for a store: of a recording, as far as its events go."""
    newest = newest_window(store) if store.mode == RECORDING else None
    return clock.now_ms() if newest is None else newest.window_ms + newest.width_ms


def new_fact(
    config: Config,
    kind: FactKind,
    from_ms: int,
    until_ms: int,
    *,
    signals: Sequence[str],
    where: Mapping[str, str],
    text: str,
    by: str,
) -> Fact:
    """Return a fact as it is told; its id follows from what it says.

    Raises
    ------
    UsageError
        An unknown signal or dimension, or a span that is none.
    """
    fact = Fact(
        id="",
        kind=kind,
        from_ms=from_ms,
        until_ms=until_ms,
        signals=tuple(dict.fromkeys(signals)),
        where=dict(sorted(where.items())),
        text=clean(text, TEXT_LENGTH),
        by=by,
    )
    check_fact(named(fact), config)
    return named(fact)


def standing(fact: Fact, until_ms: int, now_ms: int) -> Known:
    """Return where a fact stands that is in the log."""
    state = "planned" if fact.from_ms > now_ms else "active" if fact.mutes and now_ms < until_ms else "over"
    return Known(fact, until_ms, state)


def known_facts(store: Store, now_ms: int) -> list[Known]:
    """Return every fact of a store, told or still in its inbox, in the order of time."""
    letters = [LETTER.decode(letter.data) for letter in store.waiting()]
    ending = {letter.fact for letter in letters if isinstance(letter, Withdrawn)}
    out = []
    for known in facts(store):
        until_ms = known.fact.until_ms
        if known.ended_ms is not None:
            until_ms = max(min(until_ms, known.ended_ms), known.fact.from_ms)
        found = standing(known.fact, until_ms, now_ms)
        if known.ended_ms is not None or known.fact.id in ending:
            found = Known(known.fact, until_ms, "ended" if known.ended_ms is not None else "ending")
        out.append(found)
    return out + [Known(letter, letter.until_ms, "waiting") for letter in letters if isinstance(letter, Fact)]


def unseen(store: Store, fact: Fact, config: Config) -> list[str]:
    """Say which values were in none of the last windows: most often they are misspelt."""
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
            out.append(f"where {dimension}: no event of late had {shown(value)}{hint}; taken as it is")
    return out


def find_fact(known: Sequence[Known], prefix: str, kind: FactKind | None, store: Store) -> Known:
    """Return the fact whose id begins so.

    Raises
    ------
    UsageError
        None does, or several do.
    """
    found = [one for one in known if one.fact.id.startswith(prefix) and (kind is None or one.fact.kind is kind)]
    if len(found) == 1 and prefix:
        return found[0]
    what = "mute" if kind is FactKind.MUTE else "fact"
    if found and prefix:
        message = f"{what} {prefix!r}: several begin so ({', '.join(one.fact.id for one in found)}); give more of it"
    else:
        message = f"{what} {prefix!r}: there is none in {store.where}; `tocsin {what} list --all` lists them"
    raise UsageError(message)

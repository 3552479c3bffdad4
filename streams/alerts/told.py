"""Decides which alerts say what the cases are: one for each live case, firing while it lasts, then resolved.

Promises
- An alert is its labels, as Alertmanager has it. Those of a case stay what they were when it was first told, whatever
  is learned of its causes, but for its severity: a case that grows worse is a new alert, and the old one is resolved.
- No two alerts have the same labels. What fires again under labels that were resolved begins anew.
- No customer's id is in an alert; of an event's text only the title, and values of the dimensions that are configured.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from detector.desk.records import Case
from detector.desk.wording import clean
from detector.signals import Mode
from streams.kinds import LONGEST_LABEL, label_of
from streams.sections import AlertmanagerSection

NAME = "TocsinCase"
LONGEST_TEXT = 1_000

Key = tuple[tuple[str, str], ...]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An alert."""

    case: str
    labels: dict[str, str]
    annotations: dict[str, str]
    dimensions: tuple[str, ...]
    """Whose values are labels of it."""
    starts_ms: int
    ended_ms: int | None = None
    """None: it fires."""

    @property
    def key(self) -> Key:
        return tuple(sorted(self.labels.items()))


def following(
    before: Sequence[Told],
    cases: Iterable[Case],
    settings: AlertmanagerSection,
    now_ms: int,
    public_url: str | None = None,
) -> tuple[Told, ...]:
    """Return the alerts as they are now: those that fire, and those that were resolved.

    Parameters
    ----------
    before
        The alerts until now; empty at first.
    cases
        The unfinished ones.
    public_url
        Where the console is.
    """
    wanted = {case.id: case for case in cases if case.mode is Mode.LIVE and _of_interest(case, settings)}
    ended = {one.key: one for one in before if one.ended_ms is not None}
    firing: list[Told] = []
    for one in before:
        case = wanted.get(one.case)
        if one.ended_ms is None and (case is None or labels_of(case, settings, one) != one.labels):
            ended[one.key] = msgspec.structs.replace(one, ended_ms=max(now_ms, one.starts_ms + 1))
    earlier = {one.case: one for one in before if one.ended_ms is None}
    for id, case in sorted(wanted.items()):
        last = earlier.get(id)
        labels, notes = labels_of(case, settings, last), annotations_of(case, settings, public_url)
        key = tuple(sorted(labels.items()))
        again = ended.pop(key, None) is not None
        if last is not None and last.key == key:
            firing.append(msgspec.structs.replace(last, annotations=notes))
            continue
        firing.append(
            Told(
                case=id,
                labels=labels,
                annotations=notes,
                dimensions=settings.dimensions,
                starts_ms=now_ms if again else min(case.opened_ms, now_ms),
            )
        )
    return (*firing, *ended.values())


def _of_interest(case: Case, settings: AlertmanagerSection) -> bool:
    return not settings.severities or case.severity in settings.severities


def labels_of(case: Case, settings: AlertmanagerSection, last: Told | None = None) -> dict[str, str]:
    """Return a case's labels; the signal and the values of dimensions as it was told `last`."""
    if last is None or last.dimensions != settings.dimensions:
        kept = {"signal": case.signals[0]} | _values(case, settings.dimensions)
    else:
        kept = {name: last.labels[name] for name in _kept(settings) if name in last.labels}
    own = {"alertname": NAME, "tenant": case.tenant, "case": case.id, "severity": case.severity.value}
    return {**settings.labels, **own, **kept}


def _kept(settings: AlertmanagerSection) -> Iterable[str]:
    return ("signal", *map(label_of, settings.dimensions))


def _values(case: Case, dimensions: Iterable[str]) -> dict[str, str]:
    out: dict[str, str] = {}
    for dimension in dimensions:
        found = (clean(cause.where[dimension], LONGEST_LABEL) for cause in case.causes if dimension in cause.where)
        value = next(found, "")
        if value:  # to Alertmanager an empty label is none
            out[label_of(dimension)] = value
    return out


def annotations_of(case: Case, settings: AlertmanagerSection, public_url: str | None) -> dict[str, str]:
    """Return what a person reads: the title, numbers, where to look."""
    title = case.title.get(settings.language) or next(iter(case.title.values()), case.id)
    out = {"summary": clean(title, LONGEST_TEXT), "description": numbers(case, settings.language)}
    if public_url is not None:
        out["console"] = console_of(case.id, public_url)
    return out


def console_of(case: str, public_url: str) -> str:
    """Return where a case is shown."""
    return f"{public_url}/cases/{quote(case, safe='')}"


_WORDS = {
    "en": (
        "{hit} customers were hit ({confirmed} confirmed), {failing} still fail, {notices}.",
        "{n} notices went out",
        "{n} notices would have gone out (dry run)",
        "Nobody can be named.",
    ),
    "id": (
        "{hit} pelanggan terdampak ({confirmed} terkonfirmasi), {failing} masih gagal, {notices}.",
        "{n} pemberitahuan terkirim",
        "{n} pemberitahuan akan terkirim (uji coba)",
        "Tidak ada pelanggan yang bisa disebutkan.",
    ),
}


def numbers(case: Case, language: str) -> str:
    """Return how many it hit and how many were told, in a sentence."""
    people, went, would, nobody = _WORDS[language]
    affected = case.affected
    if affected is None:
        return nobody
    sent, simulated = case.notices.sent - case.notices.simulated, case.notices.simulated
    parts = [went.format(n=sent)] if sent or not simulated else []
    parts += [would.format(n=simulated)] if simulated else []
    hit = affected.confirmed + affected.likely
    return people.format(
        hit=hit, confirmed=affected.confirmed, failing=affected.still_failing, notices=", ".join(parts)
    )


def posted(told: Told, now_ms: int, expire_ms: int) -> dict[str, Any]:
    """Return an alert as Alertmanager takes it: until when it counts as firing, or when it was resolved."""
    ends_ms = now_ms + expire_ms if told.ended_ms is None else told.ended_ms
    body: dict[str, Any] = {
        "labels": told.labels,
        "annotations": told.annotations,
        "startsAt": _stamp(told.starts_ms),
        "endsAt": _stamp(ends_ms),
    }
    if "console" in told.annotations:
        body["generatorURL"] = told.annotations["console"]
    return body


def _stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""`tocsin cases`: what is wrong now, one case with its evidence, and what people do with it."""

import getpass
from typing import TYPE_CHECKING

import click

from detector.desk.records import Approval, Case, Command, Verb, Verdict
from streams.cli import common
from streams.cli.common import json_option, option, store_option

if TYPE_CHECKING:
    from streams.store import Store

_RESOLVED = click.Choice([Verdict.REAL.value, Verdict.EXPECTED.value])
_DISMISSED = click.Choice([Verdict.NOT_A_PROBLEM.value, Verdict.EXPECTED.value])


@common.group(
    default="list",
    example="tocsin cases\ntocsin cases --all --json\ntocsin cases show 3f2a\n"
    "tocsin cases ack 3f2a\ntocsin cases resolve 3f2a --verdict real\ntocsin cases approve 3f2a --sample 20\n"
    "tocsin cases merge 3f2a 91bc",
)
def command() -> None:
    """List the proactive cases, show one, work on one.

    A case's id may be shortened as long as it stays unique.
    """


@command.command("list", example="tocsin cases list --all\ntocsin cases --db demo/tocsin.db --json")
@option("--all", "finished", is_flag=True, help="Finished cases too (a merged one is seen only by show).")
@store_option
@json_option
def list_command(finished: bool, db: str, as_json: bool) -> None:
    """List the unfinished cases, newest first."""
    from streams.store.documents import case_document
    from streams.store.queries import list_cases

    with common.open_store(db) as store:
        found = list_cases(store, finished=finished)
        if as_json:
            common.print_json([case_document(case) for case in found])
            return
        if not found:
            sums = store.tally()
            events = sum(sums.get("events", {}).values())
            hint = "" if finished else " (finished ones: --all)"
            click.echo(f"Nothing is wrong that we can see, after {events:,} events{hint}.")
            return
        from streams.cli.words import zone_of

        _print_list(found, zone_of(store))


def _print_list(found: list[Case], zone: str) -> None:
    from streams.cli.words import SEVERITY_MARK, moment, state_of
    from streams.store.documents import title_of

    def number(case: Case, name: str) -> object:
        return "–" if case.affected is None else f"{getattr(case.affected, name):,}"

    rows = [
        (
            case.id[:8],
            f"{SEVERITY_MARK[case.severity.value]} {case.severity.value}",
            title_of(case) + (" [shadow]" if case.mode.value == "shadow" else ""),
            moment(case.onset_ms, zone),
            state_of(case),
            "–" if case.affected is None else f"{case.affected.confirmed + case.affected.likely:,}",
            number(case, "still_failing"),
            f"{case.notices.sent:,}",
            f"{case.contacts:,}",
        )
        for case in found
    ]
    columns = ("case", "severity", "what", "since", "state", "hit", "still failing", "notices", "contacts")
    common.print_table(columns, rows, right=columns[5:], spare=("contacts", "notices", "still failing", "hit"))


@command.command("show", example="tocsin cases show 3f2a\ntocsin cases show 3f2a --json")
@click.argument("case", metavar="CASE")
@store_option
@json_option
def show_command(case: str, db: str, as_json: bool) -> None:
    """Show one case: what it is, why we think so, who was hit, its story."""
    from streams.store.documents import case_in_full
    from streams.store.queries import find_case

    with common.open_store(db) as store:
        found = find_case(store, case)
        if as_json:
            common.print_json(case_in_full(store, found))
        else:
            _print_case(store, found)


def _print_case(store: "Store", case: Case) -> None:
    from detector.desk.facts import fact_in_words
    from streams.cli.words import moment, sentence, sparkline, state_of, story, where, why_lines, zone_of
    from streams.store.queries import evidence, timeline

    zone = zone_of(store)
    out = [sentence(case, zone), ""]
    out.append(f"{case.id}  {case.severity.value}, {state_of(case)}, {case.mode.value}")
    if case.assignee:
        out.append(f"assigned to {case.assignee}")
    if case.approval is not Approval.NOT_NEEDED:
        out.append(f"approval: {case.approval.value}")
    out.append("")
    out.append("Cause")
    out += [f"  {where(cause)}  ({cause.share_of_excess:.0%} of the excess)" for cause in case.causes]
    if case.facts:
        out += ["", "What was known"]
        out += [f"  {fact.kind.value}: {fact_in_words(fact, case.onset_ms)}" for fact in case.facts]
    found = evidence(store, case.id)
    out += ["", "Why we think so", *why_lines(case)]
    for signal in dict.fromkeys(entry.signal for entry in found):
        points = [entry.point for entry in found if entry.signal == signal]
        observed, expected = sparkline(points)
        first, last = moment(points[0].window_ms, zone), moment(points[-1].window_ms, zone)
        out += [f"  {signal}, {first} to {last}", f"    observed {observed}", f"    expected {expected}"]
    if case.affected is not None:
        affected = case.affected
        out += ["", "Who"]
        out.append(f"  {affected.confirmed:,} confirmed, {affected.likely:,} likely")
        out.append(f"  {affected.still_failing:,} still failing, {affected.recovered:,} recovered")
        held = ", ".join(f"{n:,} {reason}" for reason, n in sorted(case.notices.dropped.items()))
        sent = f"{case.notices.sent - case.notices.simulated:,} sent"
        if case.notices.simulated:
            sent += f", {case.notices.simulated:,} would have been sent (dry run)"
        out.append(f"  notices: {sent}, {case.notices.held:,} held" + (f"; not: {held}" if held else ""))
    out += ["", "Story"]
    out += [f"  {line}" for line in story(timeline(store, case.id), zone, dry=case.notices.dry)]
    for line in out:
        click.echo(common.plain(line))


def _by_option(function: common.F) -> common.F:
    return option("--by", default=None, metavar="NAME", help="Who does it; your login name unless given.")(function)


@command.command("ack", example="tocsin cases ack 3f2a --by ops")
@click.argument("case", metavar="CASE")
@_by_option
@store_option
@json_option
def ack_command(case: str, by: str | None, db: str, as_json: bool) -> int:
    """Acknowledge a case: somebody looks after it."""
    return _apply(db, case, Verb.ACKNOWLEDGE, by, None, as_json)


@command.command("resolve", example="tocsin cases resolve 3f2a --verdict real")
@click.argument("case", metavar="CASE")
@option("--verdict", type=_RESOLVED, default=Verdict.REAL.value, help="What it was.")
@_by_option
@store_option
@json_option
def resolve_command(case: str, verdict: str, by: str | None, db: str, as_json: bool) -> int:
    """Close a case that is over."""
    return _apply(db, case, Verb.RESOLVE, by, Verdict(verdict), as_json)


@command.command("dismiss", example="tocsin cases dismiss 3f2a --verdict expected")
@click.argument("case", metavar="CASE")
@option("--verdict", type=_DISMISSED, default=Verdict.NOT_A_PROBLEM.value, help="What it was.")
@_by_option
@store_option
@json_option
def dismiss_command(case: str, verdict: str, by: str | None, db: str, as_json: bool) -> int:
    """Close a case that is none: nobody hears of it any more."""
    return _apply(db, case, Verb.DISMISS, by, Verdict(verdict), as_json)


@command.command("merge", example="tocsin cases merge 3f2a 91bc")
@click.argument("case", metavar="CASE")
@click.argument("into", metavar="INTO")
@_by_option
@store_option
@json_option
def merge_command(case: str, into: str, by: str | None, db: str, as_json: bool) -> int:
    """Move CASE's customers and what is still to come of it into another, which goes on.

    Nobody is told twice. It can't be undone.
    """
    return _apply(db, case, Verb.MERGE, by, None, as_json, into)


@command.command("split", example="tocsin cases split 3f2a 91bc\ntocsin cases split 3f2a 91bc 77d0 --by rina")
@click.argument("case", metavar="CASE")
@click.argument("anomalies", metavar="ANOMALY...", nargs=-1, required=True)
@_by_option
@store_option
@json_option
def split_command(case: str, anomalies: tuple[str, ...], by: str | None, db: str, as_json: bool) -> int:
    """Move some of CASE's anomalies into a case of their own, with the customers whom only they hit.

    `tocsin cases show CASE --json` names them (`anomaly` in `why`); an id may be shortened. Nobody is told twice.
    """
    return _apply(db, case, Verb.SPLIT, by, None, as_json, anomalies=anomalies)


@command.command("assign", example="tocsin cases assign 3f2a rina\ntocsin cases assign 3f2a ''")
@click.argument("case", metavar="CASE")
@click.argument("to", metavar="NAME")
@_by_option
@store_option
@json_option
def assign_command(case: str, to: str, by: str | None, db: str, as_json: bool) -> int:
    """Say who works on a case; an empty name: nobody."""
    return _apply(db, case, Verb.ASSIGN, by, None, as_json, text=to)


@command.command("comment", example="tocsin cases comment 3f2a 'The bank knows; they expect an hour.'")
@click.argument("case", metavar="CASE")
@click.argument("text", metavar="TEXT")
@_by_option
@store_option
@json_option
def comment_command(case: str, text: str, by: str | None, db: str, as_json: bool) -> int:
    """Write a line into a case's story."""
    return _apply(db, case, Verb.COMMENT, by, None, as_json, text=text)


@command.command("approve", example="tocsin cases approve 3f2a --sample 20\ntocsin cases approve 3f2a")
@click.argument("case", metavar="CASE")
@option("--sample", type=click.IntRange(min=1), default=None, help="Only so many, the most valuable first; else all.")
@_by_option
@store_option
@json_option
def approve_command(case: str, sample: int | None, by: str | None, db: str, as_json: bool) -> int:
    """Let a case's customers be told."""
    return _apply(db, case, Verb.APPROVE, by, None, as_json, customers=sample)


@command.command("hold", example="tocsin cases hold 3f2a")
@click.argument("case", metavar="CASE")
@_by_option
@store_option
@json_option
def hold_command(case: str, by: str | None, db: str, as_json: bool) -> int:
    """Let nobody further hear of a case's problem until it is approved.

    Who was told still hears that it works again.
    """
    return _apply(db, case, Verb.HOLD, by, None, as_json)


@command.command("try-again", example="tocsin cases try-again 3f2a")
@click.argument("case", metavar="CASE")
@_by_option
@store_option
@json_option
def try_again_command(case: str, by: str | None, db: str, as_json: bool) -> int:
    """Tell those who were told and still wait, once, that they can try again."""
    return _apply(db, case, Verb.TRY_AGAIN, by, None, as_json)


def _apply(
    db: str,
    case: str,
    verb: Verb,
    by: str | None,
    verdict: Verdict | None,
    as_json: bool,
    into: str | None = None,
    *,
    text: str = "",
    customers: int | None = None,
    anomalies: tuple[str, ...] = (),
) -> int:
    from streams.clock import SystemClock
    from streams.engines.embedded import apply_command
    from streams.store.documents import case_document
    from streams.store.queries import find_case

    with common.open_store(db) as store:
        found = find_case(store, case)
        wish = Command(
            verb=verb,
            case=found.id,
            by=by or getpass.getuser(),
            verdict=verdict,
            into=None if into is None else find_case(store, into).id,
            text=text,
            customers=customers,
            anomalies=tuple(_anomaly(found, prefix) for prefix in anomalies),
        )
        applied = apply_command(store, wish, SystemClock())
        found = find_case(store, found.id)
        if as_json:
            common.print_json(case_document(found))
        elif applied:
            common.say(f"Case {found.id[:8]} {_outcome(found, verb)}")
        else:
            common.say(
                f"Case {found.id[:8]}: left for the runner that is at work; see `tocsin cases show {found.id[:8]}`"
            )
    return common.DONE


def _anomaly(case: Case, prefix: str) -> str:
    """Return the one anomaly of the case whose id begins so; as it came where there is none, or several."""
    found = [id for id in case.anomalies if id.startswith(prefix)]
    return found[0] if len(found) == 1 else prefix


def _outcome(case: Case, verb: Verb) -> str:
    from streams.cli.words import state_of

    match verb:
        case Verb.ASSIGN:
            return f"is assigned to {case.assignee or 'nobody'}"
        case Verb.COMMENT:
            return "has one more comment"
        case Verb.SPLIT:
            return "was split; `tocsin cases` lists both"
        case Verb.APPROVE | Verb.HOLD:
            told = f"{case.notices.sent + case.notices.queued:,} notices, {case.notices.held:,} held"
            return f"is {case.approval.value}: {told}"
        case Verb.TRY_AGAIN:
            return "told those who wait that they can try again"
        case _:
            return f"is {state_of(case)}"

"""`tocsin demo`: simulated traffic with planted problems through the real pipeline, and how well they were found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.errors import UsageError
from streams.cli import common
from streams.cli.common import json_option, option, plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from detector.desk.records import Case
    from streams.clock import Clock
    from streams.engines.embedded import Step
    from streams.store import Store

MARK = "demo.json"
_OWN = ("events.ndjson", "customers.csv", "signals.yml", "tocsin.yml", "truth.json", "tocsin.db", MARK)
_BESIDE = ("-wal", "-shm", ".lock", ".kill", ".admin.token")
_OF_THE_CONSOLE = "admin.token"
"""What `tocsin run` left there: it opens the earlier store alone."""


@common.command(
    example="tocsin demo\ntocsin demo --seed 3 --dir demo3\ntocsin demo --json > result.json",
    exits={common.NO: ""},
)
@option("--seed", type=click.IntRange(min=0), default=1, metavar="N", help="Everything is drawn from it.")
@option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    metavar="DIR",
    help="Where files and store are written; an earlier demo there is replaced.",
)
@option("--days", type=click.FloatRange(min=0.3, max=60), default=2.0, metavar="D", help="Length; two have it all.")
@option("--rate", type=click.FloatRange(0.1, 10_000), default=12.0, metavar="EVENTS_PER_S", help="Events a second.")
@json_option
def command(seed: int, folder: Path, days: float, rate: float, as_json: bool) -> None:
    """Show the whole story on simulated traffic of an Indonesian online shop and bank.

    Plays two days in a minute: problems are planted, found, explained, their customers named and (in simulation) told;
    then what was found is held against what was planted.
    """
    from streams.clock import SystemClock

    prepare(folder)
    result = run(seed, folder, days, rate, SystemClock())
    if as_json:
        common.print_json(result)
    else:
        _report(folder, result)


def prepare(folder: Path) -> None:
    """Make the folder, or clear an earlier demo's files from it.

    Raises
    ------
    UsageError
        It holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        message = f"{folder}: holds files that are not an earlier demo's; give --dir another folder"
        raise UsageError(message)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("{}\n", encoding="utf-8")
    for name in (*_OWN[:-1], *(f"tocsin.db{suffix}" for suffix in _BESIDE), _OF_THE_CONSOLE):
        (folder / name).unlink(missing_ok=True)


def run(seed: int, folder: Path, days: float, rate: float, clock: "Clock") -> dict[str, Any]:
    """Simulate, run and judge; returns what `--json` prints."""
    import msgspec

    from models.evaluate import evaluate
    from models.simulate import simulate
    from streams.engines.session import Run, session
    from streams.settings import load
    from streams.store import RECORDING
    from streams.store.documents import affected_documents, case_document
    from streams.store.queries import list_cases

    world = simulate(seed, days, rate)
    for name, text in (
        ("customers.csv", world.customers_csv()),
        ("signals.yml", world.signals_yml()),
        ("tocsin.yml", world.tocsin_yml()),
    ):
        (folder / name).write_bytes(text.encode())
    with (folder / "events.ndjson").open("wb") as events, common.progress("Simulating", days * 86_400_000) as bar:
        for block in world.blocks():
            events.write(block)
            bar.to(world.now_ms - world.start_ms, f"{world.events:,} events")
    (folder / "truth.json").write_bytes(msgspec.json.encode(world.truth))
    settings = load(folder)
    set_up = Run(settings.config, customers=settings.customers)
    size = (folder / "events.ndjson").stat().st_size
    with shown(size, settings.config.policy.default_time_zone, clock.monotonic_s) as show:
        with session(folder / "tocsin.db", set_up, clock, mode=RECORDING, watch=show.step) as found:
            begun_s = clock.monotonic_s()
            found.read([str(folder / "events.ndjson")])
            took_s = clock.monotonic_s() - begun_s
            if found.stop.signal is not None:
                raise KeyboardInterrupt
            cases = [case_document(case) for case in list_cases(found.store, finished=True)]
            affected = {case["id"]: affected_documents(found.store, case["id"]) for case in cases}
    result = evaluate(cases, affected, world.truth, events=world.events)
    ordered = {"seed": seed, "events": world.events, "events_per_s": round(world.events / max(took_s, 1e-3))}
    return {**ordered, **{name: value for name, value in result.items() if name not in ordered}}


# --- while it runs ----------------------------------------------------------------------------------------------------


@dataclass
class _Show:
    """What is seen of the run: how far it is, and the cases as they come."""

    size: int
    zone: str
    now_s: Callable[[], float]
    begun_s: float = 0.0
    events: int = 0
    bytes: int = 0
    cases: "dict[str, Case]" = field(default_factory=dict)
    draw: Callable[["_Show"], None] | None = None
    _drawn_s: float = 0.0

    def step(self, step: "Step") -> None:
        """Take notice of a block."""
        self.events += step.effects.records
        self.bytes = max(self.bytes, step.next)
        fresh = []
        for case in step.effects.desk.cases:
            if case.id not in self.cases:
                fresh.append(case.id)
            self.cases[case.id] = case
        if self.draw is not None:
            if fresh or self.now_s() - self._drawn_s > 0.1:
                self.draw(self)
                self._drawn_s = self.now_s()
        else:
            from streams.cli.words import sentence

            for name in fresh:
                common.say(sentence(self.cases[name], self.zone))

    @property
    def rate(self) -> float:
        return self.events / max(self.now_s() - self.begun_s, 1e-3)


@contextmanager
def shown(size: int, zone: str, now_s: Callable[[], float]) -> Iterator[_Show]:
    """Show the run: live on a terminal, else one line for each case that opens."""
    out = common.console(stderr=True)
    show = _Show(size, zone, now_s, now_s())
    if not out.is_terminal:
        yield show
        return
    from rich.live import Live

    with Live(console=out, auto_refresh=False, transient=True) as live:
        show.draw = lambda now: live.update(_screen(now), refresh=True)
        yield show


def _screen(show: _Show) -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from detector.desk.cases import UNFINISHED
    from streams.cli.words import SEVERITY_MARK, sentence

    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text("Replaying"),
        ProgressBar(total=show.size, completed=show.bytes, width=40),
        Text(f"{show.events:,} events"),
        Text(f"{show.rate:,.0f}/s"),
        Text(f"{sum(case.state in UNFINISHED for case in show.cases.values())} open cases"),
    )
    body = Table.grid(padding=(0, 2))
    for case in sorted(show.cases.values(), key=lambda case: case.opened_ms):
        open_now = case.state in UNFINISHED
        style = {"critical": "bold red", "high": "red", "medium": "yellow"}.get(case.severity.value, "")
        mark = Text(SEVERITY_MARK[case.severity.value], style=style)
        state = Text(case.state.value, style="" if open_now else "green")
        body.add_row(mark, state, Text(plain(sentence(case, show.zone)), style="" if open_now else "dim"))
    return Group(head, Text(""), body)


# --- afterwards -------------------------------------------------------------------------------------------------------


def _report(folder: Path, result: dict[str, Any]) -> None:
    from streams.cli.words import zone_of
    from streams.store import open_store

    with open_store(folder / "tocsin.db") as store:
        zone = zone_of(store)
        _problems(result, zone)
        false_cases = result["false_cases"]
        click.echo(f"{len(false_cases)} false {'case' if len(false_cases) == 1 else 'cases'}")
        for case in false_cases:
            click.echo(f"  {case['id'][:8]}  {plain(case['title'])}")
        for text in sample(store):
            click.echo(f"\n> {plain(text)}")
    click.echo(f"\n{result['events']:,} events at {result['events_per_s']:,}/s. Its cases:")
    click.echo(f"  {plain(common.command_line('cases', '--all', '--db', folder / 'tocsin.db'))}")
    click.echo("Walk through them in the browser; it prints a link that signs you in:")
    click.echo(f"  {plain(common.command_line('run', '--config', folder, '--db', folder / 'tocsin.db'))}")


def _problems(result: dict[str, Any], zone: str) -> None:
    from models.evaluate import epoch_ms
    from streams.cli.words import moment

    rows = []
    for problem in result["problems"]:
        onset_ms, complaint = epoch_ms(problem["onset"]), problem["first_complaint"]
        after = "–" if complaint is None else common.duration((epoch_ms(complaint) - onset_ms) / 1_000)
        planted, hit = problem["affected_planted"], problem["affected_found"]
        rows.append(
            (
                problem["name"],
                moment(onset_ms, zone),
                common.duration(problem["delay_s"]) or "missed",
                after,
                _lead(problem["lead_s"]),
                _cause(problem),
                "–" if planted is None else f"{hit or 0:,} / {planted:,}",
                _share(problem["precision"]),
                _share(problem["recall"]),
                "–" if problem["told"] is None else f"{problem['told']:,}",
            )
        )
    columns = (
        "planted",
        "onset",
        "detected after",
        "planted complaint",
        "lead",
        "cause",
        "hit found / planted",
        "precision",
        "recall",
        "told",
    )
    common.print_table(columns, rows, right=("hit found / planted", "precision", "recall", "told"))


def _where(values: dict[str, str]) -> str:
    from detector.desk.wording import value_in_words

    return " × ".join(f"{name} {value_in_words(value, 'en')}" for name, value in sorted(values.items())) or "everyone"


def _cause(problem: dict[str, Any]) -> str:
    planted = _where(problem["cause_planted"])
    if problem["cause_found"] is None:
        return f"✗ {planted}"
    found = ", ".join(_where(cause["where"]) for cause in problem["cause_found"])
    return f"✓ {found}" if problem["cause_right"] else f"✗ {found} (planted: {planted})"


def _lead(lead_s: float | None) -> str:
    """Return the case's own lead, as the console shows it: by what can be known without the truth."""
    if lead_s is None:
        return "–"
    return common.duration(lead_s) if lead_s >= 0 else f"{common.duration(-lead_s)} behind"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def sample(store: "Store") -> list[str]:
    """Return one message that went out (in simulation), in both languages."""
    import msgspec
    import sqlalchemy as sa

    from detector.config import Config
    from detector.desk.wording import facts_of, words
    from streams.store import rows
    from streams.store import tables as t
    from streams.store.directory import CustomerDirectory

    in_force = store.in_force()
    if not in_force:
        return []
    config = msgspec.json.decode(in_force[-1].body, type=Config)
    helped = [signal.name for signal in config.signals if signal.workaround]
    table = t.notices
    wanted = (
        sa.select(table)
        .where(table.c.tenant == store.tenant, table.c.kind == "problem", table.c.state.in_(("simulated", "sent")))
        .order_by(table.c.signal.not_in(helped), table.c.at_ms, table.c.when_ms)
    )
    with store.reading() as connection:
        row = connection.execute(wanted.limit(1)).first()
    if row is None:
        return []
    notice = rows.notice_of(row)
    customer = CustomerDirectory(store).get(notice.customer)
    signal = config.signal(notice.signal)
    name = "" if customer is None else customer.name
    return [words(facts_of(notice, signal), name, language).body for language in ("id", "en")]

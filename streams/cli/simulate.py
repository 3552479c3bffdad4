"""`tocsin simulate`: seeded traffic with planted problems as files, and the truth about them."""

import math
from pathlib import Path

import click
import msgspec

from streams.cli import common
from streams.cli.common import json_option, option, print_json, progress, say


class _Number(click.FloatRange):
    """A number within its range; NaN is none."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


@common.command(
    example="tocsin simulate --seed 7 --days 2 --out run\n"
    "tocsin replay --config run --db run/tocsin.db run/events.ndjson\n"
    "tocsin simulate --seed 7 --days 14 --quiet-only --noise 2 --out quiet\n"
    "tocsin simulate --seed 7 --days 1 --segments 5000 --out bank"
)
@option("--seed", type=click.IntRange(min=0), required=True, metavar="N", help="Everything is drawn from it.")
@option(
    "--days",
    type=_Number(min=0.001, max=3_660),
    required=True,
    metavar="D",
    help="How long the run is; problems begin after six hours.",
)
@option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR", help="Made if missing."
)
@option(
    "--rate",
    type=_Number(min=0.01, max=10_000),
    metavar="EVENTS_PER_S",
    help="Events a second, averaged over a week; by default what suits the size: 2, 12, 40 or 120.",
)
@option(
    "--segments",
    type=click.Choice(["10", "300", "5000", "50000"]),
    default="300",
    help="How large the shop is: about so many segments has its largest signal.",
)
@option("--quiet-only", is_flag=True, help="Plant nothing.")
@option(
    "--noise",
    type=_Number(min=0, max=10),
    default=1.0,
    metavar="FACTOR",
    help="How far things wander when nothing is wrong; 2 is twice as far as usual.",
)
@json_option
def command(
    seed: int, days: float, out: Path, rate: float | None, segments: str, quiet_only: bool, noise: float, as_json: bool
) -> None:
    """Write seeded traffic of an online shop and bank, with problems planted.

    Makes events.ndjson, customers.csv, signals.yml, tocsin.yml and truth.json (what was planted, and whom it hit).
    The same seed writes the same bytes.
    """
    from models.simulate import simulate

    world = simulate(seed, days, rate, quiet_only=quiet_only, noise=noise, segments=int(segments))
    out.mkdir(parents=True, exist_ok=True)
    truth = out / "truth.json"
    # The truth is written last: a run that was cut off has none, not another run's.
    truth.unlink(missing_ok=True)
    for name, text in (
        ("customers.csv", world.customers_csv()),
        ("signals.yml", world.signals_yml()),
        ("tocsin.yml", world.tocsin_yml()),
    ):
        (out / name).write_bytes(text.encode())
    with (out / "events.ndjson").open("wb") as events, progress("Simulating", world.end_ms - world.start_ms) as bar:
        for block in world.blocks():
            events.write(block)
            bar.to(world.now_ms - world.start_ms, f"{world.events:,} events")
    truth.write_bytes(msgspec.json.format(msgspec.json.encode(world.truth), indent=1) + b"\n")
    planted = [problem.name for problem in world.problems]
    if as_json:
        print_json({"seed": seed, "events": world.events, "dir": str(out), "problems": planted})
    else:
        say(f"Wrote {world.events:,} events and {len(planted)} planted problems to {out}")

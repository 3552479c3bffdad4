"""`budget`: quiet weeks, straight from cold; how many cases Watch opens, and how many weeks stay within the budget."""

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from scipy.special import gammaincinv

from benchmarks.quality.driven import MEASURES, Driven, joined, opened, told
from detector.config import MINUTE_MS, WEEK_MS
from models.simulate.counts import CountStream

LEARNING_WEEKS = 2
"""Left out in the second figure."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", type=int, nargs="+", default=[300], help="10, 300, 5000 or 50000 segments")
    parser.add_argument("--weeks", type=int, default=4, help="quiet weeks of each tenant")
    parser.add_argument("--tenants", type=int, default=1, help="streams with seeds of their own, each from cold")
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--budget", type=int, default=1, help="false cases a week that are allowed")
    parser.add_argument("--measure", choices=list(MEASURES), default="share")
    parser.add_argument("--seed", type=int, default=1)


def quiet_weeks(scale: int, seed: int, options: argparse.Namespace, progress: Progress, task: Any) -> dict[str, Any]:
    """One tenant's quiet weeks: the cases of each, and what was opened."""
    stream = CountStream(scale, seed, options.noise, measure=MEASURES[options.measure][0])
    driven = Driven(stream, options.measure, options.budget)
    cases = []
    for i in range(options.weeks * WEEK_MS // MINUTE_MS):
        cases += opened(driven.step(*stream.next()))
        if i % 200 == 199:
            progress.update(task, advance=200)
    at = joined([a.window_ms for a in cases])
    weeks = np.bincount([(t - stream.start_ms) // WEEK_MS for t in at], minlength=options.weeks)
    return {"scale": scale, "seed": seed, "weeks": weeks.tolist(), "opened": [told(a) for a in cases]}


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    tenants = []
    rows = []
    mean = float(gammaincinv(options.budget + 1, 0.05))
    with Progress(console=console) as progress:
        for scale in options.scale:
            task = progress.add_task(f"{scale} segments", total=options.tenants * options.weeks * WEEK_MS // MINUTE_MS)
            of_scale = [quiet_weeks(scale, options.seed + i, options, progress, task) for i in range(options.tenants)]
            tenants += of_scale
            counts = np.array([t["weeks"] for t in of_scale])
            later = counts[:, LEARNING_WEEKS:]
            rows.append(
                {
                    "segments": scale,
                    "tenants": options.tenants,
                    "quiet weeks": counts.size,
                    "a week": round(float(counts.mean()), 2),
                    "worst": int(counts.max()),
                    "weeks over": int((counts > options.budget).sum()),
                    "within %": round(100 * float((counts <= options.budget).mean()), 1),
                    "first weeks within %": round(100 * float((counts[:, 0] <= options.budget).mean()), 1),
                    "mean/λ*": round(float(counts.mean()) / mean, 2),
                    "later: a week": round(float(later.mean()), 2) if later.size else "-",
                    "later: within %": round(100 * float((later <= options.budget).mean()), 1) if later.size else "-",
                    "later: mean/λ*": round(float(later.mean()) / mean, 2) if later.size else "-",
                }
            )
    title = f"Quiet weeks, noise × {options.noise}, budget {options.budget} a week, {options.measure}"
    return {"tables": {title: rows}, "tenants": tenants}

"""Draws a scored series: the values with the band that was expected, the score with the threshold, the alerts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from detector.errors import UsageError

INK, QUIET, BAND, ALARM = "#1f3a5f", "#7a8699", "#c9d8ea", "#d1383d"
_MOST_POINTS = 6_000


def plot_series(
    path: Path,
    title: str,
    times_ms: Sequence[int],
    columns: Mapping[str, Sequence[float]],
    alerts: Sequence[int],
    threshold: float,
) -> None:
    """Write a PNG (or what the suffix says) of one series.

    Parameters
    ----------
    times_ms : int[rows]
        Epoch ms, in any order.
    columns : {"value", "expected", "low", "high", "score"} of float[rows]
        NaN where there is none.
    alerts : int[]
        Rows on which an incident is raised.
    threshold : float
        The preset threshold of the score.

    Raises
    ------
    UsageError
        matplotlib is not installed, or it does not know the file's suffix.
    """
    try:
        import matplotlib
    except ImportError:
        message = "--plot needs matplotlib, which is not installed: pip install matplotlib"
        raise UsageError(message) from None
    from matplotlib.figure import Figure

    order = np.argsort(np.asarray(times_ms), kind="stable")
    when = np.asarray(times_ms)[order].astype("datetime64[ms]")
    data = {name: np.asarray(values, np.float64)[order] for name, values in columns.items()}
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    marks = rank[np.asarray(alerts, np.int64)]
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 5), dpi=130, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        _values(upper, when, data, marks)
        _score(lower, when, data["score"], marks, threshold)
        upper.set_title(title, loc="left", fontweight="bold", color=INK)
        span = f"{_day(times_ms, min)} to {_day(times_ms, max)} UTC, {len(times_ms):,} rows, {_incidents(len(alerts))}"
        upper.set_title(span, loc="right", fontsize=8, color=QUIET)
        _dates(lower)
        try:
            figure.savefig(path)
        except ValueError as error:
            message = f"--plot {path}: {error}"
            raise UsageError(message) from None


def _values(axes: Any, when: Any, data: dict[str, Any], marks: Any) -> None:
    value = data["value"]
    low, high = _thin(data["low"], np.nanmin), _thin(data["high"], np.nanmax)
    at = when[:: _step(len(when))]
    axes.fill_between(at, low, high, color=BAND, lw=0, label="expected range")
    axes.plot(when, value, color=INK, lw=0.7, label="value", zorder=3)
    for mark in marks:
        axes.axvline(when[mark], color=ALARM, lw=0.8, alpha=0.35, zorder=1)
    axes.plot(when[marks], value[marks], "o", ms=5, color=ALARM, mec="white", mew=0.8, label="incident", zorder=4)
    seen = value[np.isfinite(value)]
    if len(seen):
        bottom, top = float(seen.min()), float(seen.max())
        room = 0.06 * (top - bottom) or max(abs(top), 1.0) * 0.1
        axes.set_ylim(bottom - room, top + 2 * room)
    axes.margins(x=0.01)
    axes.legend(loc="upper left", ncols=3, frameon=False, fontsize=8)


def _score(axes: Any, when: Any, score: Any, marks: Any, threshold: float) -> None:
    axes.fill_between(when, 0, score, color=QUIET, lw=0, alpha=0.5, step="mid")
    axes.vlines(when[marks], 0, score[marks], color=ALARM, lw=1.6)
    axes.axhline(threshold, color=ALARM, lw=0.8, ls=(0, (4, 3)))
    axes.annotate(
        "threshold",
        (1.0, threshold),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=7,
        color=ALARM,
    )
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("score")


def _step(rows: int) -> int:
    return max(1, rows // _MOST_POINTS)


def _thin(values: Any, by: Any) -> Any:
    step = _step(len(values))
    if step == 1:
        return values
    padded = np.concatenate([values, np.full(-len(values) % step, values[-1])]).reshape(-1, step)
    empty = ~np.isfinite(padded).any(1)
    padded[empty] = 0.0
    return np.where(empty, np.nan, by(padded, 1))


def _dates(axes: Any) -> None:
    from matplotlib import dates

    typed: Any = dates
    locator = typed.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(typed.ConciseDateFormatter(locator))


def _day(times_ms: Sequence[int], which: Any) -> str:
    return datetime.fromtimestamp(which(times_ms) / 1_000, UTC).strftime("%Y-%m-%d %H:%M")


def _incidents(count: int) -> str:
    return "1 incident" if count == 1 else f"{count:,} incidents"

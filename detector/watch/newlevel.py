"""Whether a deviation has become the new level: it lasts, it stands still, and it has not begun to go.

Decided from a problem's own windows, for shares and counts, upward and downward. What blinks, wanes, still grows or
comes only by day is a problem however long it lasts; what stands for a day, between the same bounds in every part of
it, is how things are now. Where nearly nothing works any more it takes three days: nobody calls an outage normal.
"""

from dataclasses import dataclass

import numpy as np

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS
from detector.events import Floats

LASTS_MS = DAY_MS
OUTAGE_LASTS_MS = 3 * DAY_MS
OUTAGE_SHARE = 0.5
"""A share that fails this often, or a volume down to `STILL_FLOWS`, is an outage."""
STILL_FLOWS = 0.05
BLOCK_MS = 30 * MINUTE_MS
LEAST_PART_MS = 4 * HOUR_MS
"""The shortest part of the stretch that is compared with the rest."""
LEAST_WINDOWS = 6
"""Where windows are hours long."""
WANDERS_MS = 5 * HOUR_MS
"""Noise that wanders is one draw in so long: twice its relaxation time."""
APART = 3.0
"""Standard errors that two parts of one level may lie apart: some 40 splits are looked at."""
STANDS = 0.5
"""Of the deviation (on the log scale) so much must still be there at the stretch's beginning and at its end."""


@dataclass(frozen=True)
class NewLevel:
    """What is normal from now on.

    Attributes
    ----------
    first : int
        Index of the first window of the stretch that shows it.
    factor : float
        Observed over expected in the stretch: what the old expectation is to be multiplied by.
    """

    first: int
    factor: float


def new_level(
    observed: Floats, expected: Floats, trials: Floats, width_ms: int, *, share: bool, up: bool, noise: float
) -> NewLevel | None:
    """Return the new level that these windows show, or None.

    Parameters
    ----------
    observed, expected, trials : float64[windows]
        k, μ and n of the problem's cells, from its onset to now; μ as the old baseline has it. `trials` is read for a
        share only.
    width_ms : int
        Length of a window.
    noise : float
        Learned standard deviation of the log rate.

    Notes
    -----
    The last day is cut in two at every half-hour: the log ratios K/M of both parts may differ by `APART` standard
    errors, whose square is 1/K₁ + 1/K₂ + σ² (1/e₁ + 1/e₂), e being the part's length over `WANDERS_MS`. ADWIN
    (Bifet & Gavaldà 2007) on the blocks' log ratios, for comparison, is blind where counts are few: at six expected an
    hour it took nearly everything for a level that waned, grew or had gone; at fifty a minute a tenth of what grew.

    Examples
    --------
    >>> day = np.ones(24 * 60)
    >>> found = new_level(day * 4, day * 2, day * 40, 60_000, share=True, up=True, noise=0.1)
    >>> found.first, round(found.factor, 2)
    (0, 2.0)
    >>> new_level(day[1:] * 4, day[1:] * 2, day[1:] * 40, 60_000, share=True, up=True, noise=0.1) is None
    True
    """
    whole = _stretch(observed, width_ms, LASTS_MS)
    if whole is None:
        return None
    k, m = float(observed[whole:].sum()), float(expected[whole:].sum())
    n = float(trials[whole:].sum())
    if (share and k >= OUTAGE_SHARE * n) or (not up and k <= STILL_FLOWS * m):
        whole = _stretch(observed, width_ms, OUTAGE_LASTS_MS)
        if whole is None:
            return None
    if not _one_level(*_blocks(observed[whole:], expected[whole:], width_ms), noise, up=up):
        return None
    k, m = float(observed[whole:].sum()), float(expected[whole:].sum())
    return NewLevel(whole, (k + 0.5) / (m + 0.5))


def _stretch(observed: Floats, width_ms: int, lasts_ms: int) -> int | None:
    """Index of the first of the last windows that make up so long; None where there are too few."""
    windows = max(-(-lasts_ms // width_ms), LEAST_WINDOWS)
    return len(observed) - windows if len(observed) >= windows else None


def _blocks(observed: Floats, expected: Floats, width_ms: int) -> tuple[Floats, Floats, float]:
    """Sums of k and μ by block, and a block's hours."""
    size = max(BLOCK_MS // width_ms, 1)
    starts = np.arange(0, len(observed), size)
    return np.add.reduceat(observed, starts), np.add.reduceat(expected, starts), size * width_ms / HOUR_MS


def _one_level(k: Floats, m: Floats, hours: float, noise: float, *, up: bool) -> bool:
    """Whether the blocks deviate as one, from the first to the last."""
    k_before, m_before = np.cumsum(k), np.cumsum(m)
    k_all, m_all = float(k_before[-1]), float(m_before[-1])
    whole = float(np.log((k_all + 0.5) / (m_all + 0.5)))
    lasted = len(k) * hours
    wander = WANDERS_MS / HOUR_MS
    if (whole > 0) != up or abs(whole) < APART * np.sqrt(1 / (k_all + 0.5) + noise**2 * wander / lasted):
        return False
    least = int(np.ceil(LEAST_PART_MS / HOUR_MS / hours))
    cut = np.arange(least, len(k) - least + 1)
    k1, m1 = k_before[cut - 1], m_before[cut - 1]
    k2, m2 = k_all - k1, m_all - m1
    before, after = np.log((k1 + 0.5) / (m1 + 0.5)), np.log((k2 + 0.5) / (m2 + 0.5))
    # Where little is observed, what was expected says how much chance there is.
    chance = 1 / (np.maximum(k1, m1 * np.exp(whole)) + 0.5) + 1 / (np.maximum(k2, m2 * np.exp(whole)) + 0.5)
    wandering = noise**2 * wander * (1 / np.minimum(cut * hours, lasted) + 1 / (lasted - cut * hours))
    still = np.abs(before - after) <= APART * np.sqrt(chance + wandering)
    stands = min(before[0] / whole, after[-1] / whole) >= STANDS
    return bool(still.all() and stands)

"""Sequential evidence, bounded by the noise: one numpy pass over all segments a window.

Per segment and effect size r a CUSUM marks the *span* in which something may be wrong; over the span observed and
expected counts are summed. The evidence is the negative-binomial deviance of those sums: one unknown factor with the
learned noise is shared over the span, so slow wandering cannot add up to a problem.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from detector.events import Floats, Ints
from detector.watch.local import TAU_MS, averaged

EFFECTS_UP = (1.6, 2.5, 5.0, 15.0, 100.0)
EFFECTS_DOWN = (0.03, 0.005)
"""Silence: what a campaign that ends or a night that falls takes away is no silence."""
CUSUM_CAP = 16.0
"""A CUSUM never climbs higher, so that a span ends soon after the problem and a relapse is seen anew."""


def deviance(observed: Floats, expected: Floats, precision: Floats) -> Floats:
    """Nats of evidence that a factor beyond the noise separates observed from expected.

    T = A ln(A/M) − (A+f) ln((A+f)/(M+f)), f = 1/variance of the log factor; as f → ∞ the Poisson deviance.

    Parameters
    ----------
    observed, expected, precision : float64[...]
        A, M > 0 and f.

    References
    ----------
    Höhle & Paul 2008 (negative-binomial CUSUM); Spiegelhalter 2005 (over-dispersion).

    Examples
    --------
    >>> deviance(np.array([20.0]), np.array([2.0]), np.array([8.0])).round(1)
    array([17.2])
    """
    ratio = (observed + precision) / (expected + precision)
    return xlogy(observed, observed / expected) - (observed + precision) * np.log(ratio)


def wandered(expected: Floats, noise: float, *, up: bool) -> Floats:
    """Expectation after the noise has done its (two standard deviations') worst: only what goes beyond is a cause's."""
    shifted: Floats = expected * np.exp(2 * noise if up else -2 * noise)
    return shifted


def poisson_gain(observed: Floats, expected: Floats) -> Floats:
    """Log likelihood ratio of "its own rate" against "as expected": A ln(A/M) − A + M."""
    return xlogy(observed, observed / np.maximum(expected, 1e-12)) - observed + expected


@dataclass(frozen=True)
class Touched:
    """One window of the segments that had a trial (share) or an expectation (count) in it.

    Attributes
    ----------
    rows : int64[touched]
        Which segments.
    window_ms : int
    observed, expected : float64[touched]
        k and μ > 0.
    trials : float64[touched] or None
        n for a share (odds ratios); None for a count (rate ratios).
    spread : float64[touched]
        Variance of the log rate around the expectation that noise and ignorance allow.
    mean, variance : float64[touched]
        Where the log rate stands in this window by what the last hours have shown (`Local`), and how surely.
    slack : float64[touched]
        r₁ ≥ 1: the factor by which the null may already be off without a span beginning.
    """

    rows: Ints
    window_ms: int
    observed: Floats
    expected: Floats
    trials: Floats | None
    spread: Floats
    mean: Floats
    variance: Floats
    slack: Floats


class Detector(Protocol):
    """What makes segments surprising: the contract of the built-in `Evidence` and of every detector that plugs in.

    A window is scored (`add`) before it is learned (`learn`); arrays have one row per segment, in the order in which
    segments came up. What it gives depends on nothing but what it was given: state and restore go on exactly.

    Attributes
    ----------
    score : float64[segments]
        Nats of surprise after the last window, calibrated: a score means the same in every segment. 0: nothing.
    start_ms : int64[segments]
        Where what is surprising began (a first guess; the onset is dated from the windows).
    """

    score: Floats
    start_ms: Ints

    def grow(self, segments: int) -> None:
        """Make room for new segments."""
        ...

    def add(self, touched: Touched) -> None:
        """Score one window of the touched segments; the others' scores stay."""
        ...

    def learn(self, touched: Touched, quiet: NDArray[np.bool_]) -> None:
        """Learn from it; `quiet` (bool[touched]) are those that no alarm holds."""
        ...

    def reset(self, rows: Ints) -> None:
        """End what is going on in these segments: it is explained."""
        ...

    def keep(self, rows: Ints) -> None:
        """Keep only these segments, in this order."""
        ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


_ARRAYS = ("_cusum", "_observed", "_expected", "_start_ms", "_mean", "_variance", "_open", "score", "start_ms")


class Evidence:
    """The spans of all segments of one signal.

    Attributes
    ----------
    score : float64[segments]
        Nats after the last window; 0 outside a span, where fewer than `least` were counted in it, and where the
        deviation is in the good direction.
    start_ms : int64[segments]
        Where the span of the strongest effect began.
    """

    def __init__(self, effects: tuple[float, ...], least: int = 0) -> None:
        self._effects, self._least = np.array(effects), least
        self._up = effects[0] > 1
        width = len(effects)
        self._cusum: Floats = np.zeros((0, width))
        self._observed: Floats = np.zeros((0, width))
        self._expected: Floats = np.zeros((0, width))
        self._start_ms: Ints = np.zeros((0, width), np.int64)
        self._mean: Floats = np.zeros((0, width))
        """Where the log rate stood when the span began …"""
        self._variance: Floats = np.zeros((0, width))
        """… and how surely."""
        self._open: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.score: Floats = np.zeros(0)
        self.start_ms: Ints = np.zeros(0, np.int64)

    def grow(self, segments: int) -> None:
        """Make room for new segments."""
        more = segments - len(self.score)
        if more > 0:
            for name in _ARRAYS:
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros((more, *old.shape[1:]), old.dtype)]))

    def add(self, touched: Touched) -> None:
        """Take one window of the touched segments."""
        rows, observed, trials = touched.rows, touched.observed, touched.trials
        # Where nothing failed and no span is open, nothing changes: of many sparse segments these are most.
        busy = self._open[rows] | (observed > 0) if self._up else np.ones(len(rows), np.bool_)
        if not busy.all():
            rows, observed = rows[busy], observed[busy]
            trials = None if trials is None else trials[busy]
        expected, spread = touched.expected[busy], touched.spread[busy][:, None]
        r, k = self._effects[None, :], observed[:, None]
        before = self._cusum[rows]
        lasting = before > 0
        start = np.where(lasting, self._start_ms[rows], touched.window_ms)
        mean0 = np.where(lasting, self._mean[rows], touched.mean[busy][:, None])
        variance0 = np.where(lasting, self._variance[rows], touched.variance[busy][:, None])
        # What was known when the span began holds on in part; what is not known any more is noise.
        length = (touched.window_ms - start) / TAU_MS
        left = np.exp(-length)
        mu = expected[:, None] * np.exp(left * mean0)
        doubt = np.sqrt(left**2 * variance0 + (1.0 - left**2) * spread)
        slack = touched.slack[busy][:, None] * np.exp(doubt)
        if trials is not None:
            p = np.minimum(mu / trials[:, None], 0.999)
            odds = p * slack
            q = odds / (1 - p + odds)
            step = k * np.log(r) - trials[:, None] * np.log1p(q * (r - 1))
        else:
            null = mu * slack if self._up else mu / slack
            step = k * np.log(r) - null * (r - 1)
        cusum = np.clip(before + step, 0.0, CUSUM_CAP)
        inside = cusum > 0
        a = np.where(inside, self._observed[rows] + k, 0.0)
        m = np.where(inside, self._expected[rows] + mu, 0.0)
        start = np.where(inside, start, 0)
        nats = np.zeros(cusum.shape)
        row, column = np.nonzero(inside & (((a > m) & (a >= self._least)) if self._up else (a < m)))
        of_start, of_noise = averaged(length[row, column])
        variance = of_start * variance0[row, column] + of_noise * spread[row, 0]
        nats[row, column] = deviance(a[row, column], np.maximum(m[row, column], 1e-12), 1.0 / variance)
        best = nats.argmax(axis=1)
        at = np.arange(len(rows))
        self._cusum[rows], self._observed[rows], self._expected[rows], self._start_ms[rows] = cusum, a, m, start
        self._mean[rows], self._variance[rows] = mean0, variance0
        self._open[rows] = inside.any(axis=1)
        self.score[rows] = nats[at, best]
        self.start_ms[rows] = start[at, best]

    def learn(self, touched: Touched, quiet: NDArray[np.bool_]) -> None:
        """Nothing: what is normal is the baseline's to learn."""

    def spans(self, rows: Ints) -> Ints:
        """int64[rows, effects]: where each effect's span began; 0 where there is none."""
        began: Ints = self._start_ms[rows]
        return began

    def explain(self, rows: Ints, observed: Floats, share: Floats) -> None:
        """Take out of open spans what a problem explains; what is left is scored with the next window.

        Parameters
        ----------
        rows : int64[rows]
        observed : float64[rows, effects]
            What was counted in the problem's cells since the span began.
        share : float64[rows, effects]
            These cells' share of what was expected.
        """
        a = np.maximum(self._observed[rows] - observed, 0.0)
        m = self._expected[rows] * (1.0 - np.clip(share, 0.0, 1.0))
        r = self._effects[None, :]
        left = np.minimum(self._cusum[rows], np.clip(a * np.log(r) - m * (r - 1.0), 0.0, CUSUM_CAP))
        inside = left > 0
        self._cusum[rows], self._open[rows], self.score[rows] = left, inside.any(axis=1), 0.0
        self._observed[rows], self._expected[rows] = np.where(inside, a, 0.0), np.where(inside, m, 0.0)
        self._start_ms[rows] = np.where(inside, self._start_ms[rows], 0)

    def reset(self, rows: Ints) -> None:
        """End the spans of these segments."""
        for name in _ARRAYS:
            getattr(self, name)[rows] = 0

    def keep(self, rows: Ints) -> None:
        """Keep only these segments, in this order."""
        for name in _ARRAYS:
            setattr(self, name, getattr(self, name)[rows])

    def state(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_effects", "_least", "_up")}

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

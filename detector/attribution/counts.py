"""Evidence of count leaves: over-dispersed counts, with or without trials.

A leaf's count is beta-binomial (negative binomial without trials) around its expectation. The over-dispersion φ, and
how far a leaf's own prediction is trusted, are chosen by the likelihood of the cube itself, with one leaf in ten
allowed to be anything. An effect multiplies the odds, or makes a further share of the trials fail: the second is what
an outage does to leaves that fail at different rates.

References
----------
Skellam (1948), A probability distribution derived from the binomial; Kulldorff (1997), A spatial scan statistic.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln

from detector.attribution.cube import Cube
from detector.attribution.evidence import Evidence
from detector.attribution.expected import implied, mixed
from detector.events import Floats, Ints

LEVELS = np.arange(-6, 13) / 10
"""Log ratios at which the background may stand."""
LEVEL_SD = 0.25
WANDER_SD = 0.1
BEYOND = np.log([3.2, 4, 5, 7, 10, 15, 25, 50, 100, 300])
"""Effects beyond the grid of levels, as log odds ratios."""
SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
"""Effects as a further share of the trials."""
SHARE_POSITION = 1.2
DISPERSIONS = (0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.65, 1.0)
DISPERSION_USUAL, DISPERSION_SPREAD = 0.15, 1.2
TRUSTS = (0.0, 0.3, 1.0, 3.0, 10.0)
ANYTHING = 0.1
STRANGE_ODDS = (3.0, 10.0, 40.0)
STRANGE_DISPERSION = 1.5
HIGHEST = 0.98
"""Shares are expected no higher than this."""
STEP = 0.03
"""Leaves with equal counts whose log expectations agree to this are computed once."""


@dataclass(frozen=True)
class Leaves:
    """Counts, trials and expected shares; without trials `trials` is 1 and the share is the expected count.

    `weight` is how many leaves of the cube each one stands for.
    """

    counts: Floats
    trials: Floats
    shares: Floats
    weight: Floats
    binomial: bool

    def log_likelihood(self, shares: Floats, dispersion: float) -> Floats:
        """Beta-binomial (negative binomial) log likelihood, up to a term that does not depend on the shares."""
        if not self.binomial:
            shape = 1 / dispersion
            total = shape + shares
            return (
                gammaln(self.counts + shape)
                - gammaln(shape)
                + shape * np.log(shape / total)
                + self.counts * np.log(shares / total)
            )
        spread = np.maximum(1 / (np.maximum(shares * (1 - shares), 1e-12) * dispersion) - 1, 0.3)
        a, b = shares * spread, (1 - shares) * spread
        return betaln(self.counts + a, self.trials - self.counts + b) - betaln(a, b)

    def odds_times(self, ratio: float) -> Floats:
        if not self.binomial:
            return self.shares * ratio
        return self.shares * ratio / (1 - self.shares + self.shares * ratio)

    def at(self, level: float, dispersion: float) -> Floats:
        return self.log_likelihood(self.odds_times(float(np.exp(level))), dispersion)


def grouped(cube: Cube, shares: Floats) -> tuple[Leaves, Ints]:
    """Leaves that are alike as one; and for each leaf of the cube which one it is."""
    binomial = cube.trials is not None
    trials = cube.trials if cube.trials is not None else np.ones(cube.leaves)
    steps = np.round(np.log(shares) / STEP).astype(np.int64)
    key = steps - steps.min()
    for column in (cube.real, trials):
        found, codes = np.unique(column, return_inverse=True)
        _, key = np.unique(key * len(found) + codes.ravel(), return_inverse=True)
    _, first, inverse, weight = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    top = HIGHEST if binomial else np.inf
    rounded = np.minimum(np.exp(steps[first] * STEP), top)
    alike = Leaves(cube.real[first], trials[first], rounded, weight.astype(np.float64), binomial)
    return alike, inverse.ravel().astype(np.int64)


def expected_shares(cube: Cube, rows: Ints) -> tuple[Floats, float]:
    """Expected share of every leaf and the over-dispersion, fitted to `rows` (the leaves no cause covers)."""
    share = cube.trials is not None
    trials = cube.trials if cube.trials is not None else np.ones(cube.leaves)
    from_dimensions = implied(cube.codes, cube.predict, trials, share=share)
    part = cube.take(rows)
    best = (-np.inf, np.empty(0))
    for trust in TRUSTS:
        shares = mixed(cube.predict, trials, from_dimensions, trust, share=share)
        alike, _ = grouped(part, shares[rows])
        fit = _fit(alike, DISPERSION_USUAL, LEVELS[::3])
        if fit > best[0]:
            best = (fit, shares)
    alike, _ = grouped(part, best[1][rows])
    fits = [_fit(alike, dispersion, LEVELS[::2]) for dispersion in DISPERSIONS]
    return best[1], DISPERSIONS[int(np.argmax(fits))]


def _fit(alike: Leaves, dispersion: float, levels: Floats) -> float:
    """Log posterior of a dispersion, at the best level, one leaf in ten being allowed to be anything."""
    top = HIGHEST if alike.binomial else np.inf
    odd = [alike.log_likelihood(np.minimum(alike.odds_times(o), top), STRANGE_DISPERSION) for o in STRANGE_ODDS]
    strange = np.logaddexp.reduce(odd) + np.log(ANYTHING / len(odd))
    fits: list[float] = []
    for level in levels:
        mixture = np.logaddexp(np.log1p(-ANYTHING) + alike.at(level, dispersion), strange)
        fits.append(float((alike.weight * mixture).sum()) - level**2 / (2 * LEVEL_SD**2))
    unusual = float(np.log(dispersion / DISPERSION_USUAL)) / DISPERSION_SPREAD
    return max(fits) - unusual**2 / 2


def evidence(cube: Cube, rows: Ints, *, up: bool) -> Evidence:
    """Evidence for causes that raise (or lower) a count.

    `rows` are the leaves from which over-dispersion and trust are learned.
    """
    shares, dispersion = expected_shares(cube, rows)
    alike, inverse = grouped(cube, shares)
    sign = 1.0 if up else -1.0
    levels = LEVELS * sign
    within = alike.log_likelihood(alike.shares, dispersion)
    at_level = [alike.at(level, dispersion) - within for level in levels]
    ratios = np.concatenate([LEVELS[LEVELS > 0.15], BEYOND]) * sign
    effects = [alike.at(r, dispersion) - within for r in ratios]
    positions = list(np.concatenate([LEVELS[LEVELS > 0.15], BEYOND]))
    if up and alike.binomial:
        for share in SHARES:
            shifted = alike.shares + (1 - alike.shares) * share
            effects.append(alike.log_likelihood(np.minimum(shifted, 0.995), dispersion) - within)
            positions.append(SHARE_POSITION)
    table = np.stack(at_level + effects, axis=1)
    return Evidence(table, inverse, LEVELS, -(LEVELS**2) / (2 * LEVEL_SD**2), np.array(positions), WANDER_SD)

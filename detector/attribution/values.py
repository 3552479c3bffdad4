"""Evidence of value leaves: relative deviations, with a spread and a tail that are learned from the cube.

x = (real − predict) / max(|real|, |predict|) lies in [−1, 1] and has the same scale for small and large leaves. Its
spread, by volume, is the smaller of the two one-sided ones, since anomalies inflate one side; how heavy its tail is
(a generalised normal) is read off the same side. Under a cause all leaves deviate alike.

References
----------
Li et al. (2019), Squeeze (deviation score); Kalander (2022), RiskLoc.
"""

import numpy as np
from scipy.special import gammaincinv, gammaln

from detector.attribution.cube import Cube
from detector.attribution.evidence import Evidence
from detector.events import Floats, Ints

CENTRES = np.arange(-20, 21) / 20
WIDTHS = (0.03, 0.1)
FLOOR = float(np.log(1e-10))
"""No leaf is rarer than this as noise: expectations are sometimes simply wrong."""
EITHER_WAY = 0.02
"""A leaf of a cause may still be as expected, or strange: no leaf says more than ln(1/0.02) against a cause."""
BINS, LEAST_IN_BIN = 8, 150
LEAST_SPREAD = 0.002
MOST_APART = 3.0
"""The spread of a bin differs from the common one by this factor at most."""
STEP = 0.002
"""Deviations are rounded to this, so that leaves that are alike are computed once."""
EMPTY = 10_000
LEAST_EFFECT = 0.1
BEYOND_NOISE = 1.5
"""An effect lies this many standard deviations of the noise from nothing, at least."""
SHAPES = np.array([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.45, 1.6, 1.8, 2.0])
QUANTILES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
LEAST_BEYOND = 10
"""The tail's shape is read off the farthest three of these quantiles that so many leaves of a side lie beyond."""


def deviations(cube: Cube) -> Floats:
    """Relative deviation per leaf; NaN where nothing was and nothing was expected.

    Examples
    --------
    >>> deviations(Cube.of({"a": ["x", "y", "z"]}, [50, 20, 0], [100, 10, 0])).tolist()
    [-0.5, 0.5, nan]
    """
    largest = np.maximum(np.abs(cube.real), np.abs(cube.predict))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(np.where(largest > 0, (cube.real - cube.predict) / largest, np.nan), -1.0, 1.0)


def _one_sided(x: Floats, share: float) -> float:
    """The smaller of the two sides' quantiles of |x|; around the median where nearly all lie on one side."""
    sides = [np.abs(x[x >= 0]), np.abs(x[x <= 0])]
    if min(map(len, sides)) < 0.1 * len(x):
        sides = [np.abs(x - np.median(x))]
    return float(min((np.quantile(side, share) for side in sides if len(side)), default=0.0))


def _shape(scaled: Floats) -> float:
    """How heavy the tail is: the shape of a generalised normal (2: normal, 1: Laplace) by one-sided quantiles."""
    middle = _one_sided(scaled, 0.5)
    if middle <= 0 or len(scaled) < 40:
        return 1.0
    shares = [q for q in QUANTILES if (1 - q) * len(scaled) / 2 >= LEAST_BEYOND] or [QUANTILES[0]]
    shares = shares[-3:]
    expected = np.array([gammaincinv(1 / SHAPES, q) ** (1 / SHAPES) for q in [0.5, *shares]])
    found = np.array([_one_sided(scaled, q) / middle for q in shares])
    misfit = np.abs(np.log(expected[1:] / expected[0]) - np.log(found)[:, None]).mean(axis=0)
    return float(SHAPES[int(misfit.argmin())])


def noise(x: Floats, volume: Floats, rows: Ints) -> tuple[Floats, float]:
    """Spread of every leaf (the median of |x|) and the tail's shape, learned from `rows`."""
    known = rows[np.isfinite(x[rows])]
    usual = max(_one_sided(x[known], 0.5), LEAST_SPREAD) if len(known) else 1.0
    spread = np.full(len(x), usual)
    size = np.log1p(np.abs(volume))
    bins = min(BINS, len(known) // LEAST_IN_BIN)
    if bins >= 2:
        edges = np.quantile(size[known], np.arange(1, bins) / bins)
        of_known, of_all = np.searchsorted(edges, size[known]), np.searchsorted(edges, size)
        for number in range(bins):
            inside = x[known[of_known == number]]
            if len(inside) >= LEAST_IN_BIN // 2:
                spread[of_all == number] = np.clip(_one_sided(inside, 0.5), usual / MOST_APART, usual * MOST_APART)
    return spread, _shape(x[known] / spread[known])


def evidence(cube: Cube, rows: Ints) -> Evidence:
    """Evidence for causes that shift a value; noise is learned from `rows` (the leaves no cause covers)."""
    x = deviations(cube)
    spread, shape = noise(x, cube.predict, rows)
    sizes, size_of = np.unique(spread, return_inverse=True)
    steps = np.where(np.isfinite(x), np.round(np.nan_to_num(x) / STEP), -EMPTY).astype(np.int64)
    kinds, row_of = np.unique((steps + EMPTY) * len(sizes) + size_of, return_inverse=True)
    xs = (kinds // len(sizes) - EMPTY) * STEP
    table = _table(xs, sizes[kinds % len(sizes)], shape)
    table[kinds // len(sizes) == 0] = 0.0
    zero = np.zeros(1)
    return Evidence(table, row_of.astype(np.int64), zero, zero, np.full(table.shape[1] - 1, np.inf), 0.0)


def _table(x: Floats, spread: Floats, shape: float) -> Floats:
    """Nothing, and then each effect against noise: float64[len(x), 1 + effects]."""
    to_scale = float(gammaincinv(1 / shape, 0.5) ** (1 / shape))
    scale = spread / to_scale
    normed = np.log(shape / 2) - float(gammaln(1 / shape)) - np.log(scale)
    as_noise = np.maximum(normed - (np.abs(x) / scale) ** shape, FLOOR)
    deviation = float(np.median(scale)) * np.exp((gammaln(3 / shape) - gammaln(1 / shape)) / 2)
    centres = CENTRES[np.abs(CENTRES) > min(max(LEAST_EFFECT, BEYOND_NOISE * deviation), 0.9) - 1e-9]
    out = [np.zeros(len(x))]
    for width in WIDTHS:
        for centre in centres:
            as_caused = -((x - centre) ** 2) / (2 * width**2) - np.log(width * np.sqrt(2 * np.pi))
            out.append(np.log((1 - EITHER_WAY) * np.exp(as_caused - as_noise) + EITHER_WAY))
    return np.stack(out, axis=1)

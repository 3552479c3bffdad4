"""The smallest set of dimension values that explains an excess: single values, pairs and triples, up to three of them.

A candidate scores the log likelihood ratio of "its own rate" against "as expected, had the noise done its worst" over
its cells, less what it costs to name it: so the slow wandering of a big segment is no cause, and of two nested sets
that are both true the larger gains more. The best is taken, its cells are taken out, and the rest is searched again,
as long as another candidate stands on its own.
"""

from dataclasses import dataclass, replace

import numpy as np

from detector.events import Floats, Ints
from detector.watch.evidence import deviance, poisson_gain, wandered
from detector.watch.segments import families_of

MOST = 3
TEMPER = 0.8
"""What a nat between two candidates is worth: they share their cells, and the noise its correlations."""
REFINED = 3
"""Triples are looked for in so many of the best pairs."""
NEXT_NATS = 10.0
"""What a further cause must bring by itself, net of its cost …"""
NEXT_BOUNDED_NATS = 15.0
"""… and as evidence that is bounded by the noise, as if it had to raise an alarm of its own …"""
NEXT_SHARE = 0.1
"""… and the share of the whole excess that it must explain."""


@dataclass(frozen=True)
class Cells:
    """Finest cells over a span.

    Attributes
    ----------
    codes : int64[cells, dimensions]
    observed, expected : float64[cells]
    trials : float64[cells]
        Equal to `expected` for a count.
    """

    codes: Ints
    observed: Floats
    expected: Floats
    trials: Floats

    def take(self, rows: Ints) -> "Cells":
        return Cells(self.codes[rows], self.observed[rows], self.expected[rows], self.trials[rows])


@dataclass(frozen=True)
class Found:
    """A candidate: `family` are the dimensions it fixes, `values` their codes."""

    family: tuple[int, ...]
    values: tuple[int, ...]
    score: float
    observed: float
    expected: float
    trials: float
    confidence: float = 1.0
    """Probability that it is this one and not a rival, were one of the candidates the cause."""
    same: tuple["Found", ...] = ()
    """Other candidates that cover the very same cells."""

    @property
    def fixed(self) -> frozenset[tuple[int, int]]:
        """The dimensions that it fixes, with their codes."""
        return frozenset(zip(self.family, self.values, strict=True))

    def covers(self, codes: Ints) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        inside = np.ones(len(codes), np.bool_)
        for d, value in zip(self.family, self.values, strict=True):
            inside &= codes[:, d] == value
        return inside


def binomial_gain(observed: Floats, expected: Floats, trials: Floats) -> Floats:
    """Log likelihood ratio of "its own share" against "the expected share", in nats.

    Examples
    --------
    >>> binomial_gain(np.array([12.0]), np.array([0.6]), np.array([15.0])).round(1)
    array([31.2])
    """
    p0 = np.clip(expected / np.maximum(trials, 1e-12), 1e-9, 1 - 1e-9)
    p1 = np.clip(observed / np.maximum(trials, 1e-12), 1e-9, 1 - 1e-9)
    return observed * np.log(p1 / p0) + (trials - observed) * np.log((1 - p1) / (1 - p0))


def _sums(groups: Ints, values: Floats) -> Floats:
    return np.bincount(groups, weights=values).astype(np.float64)


def candidates(cells: Cells, sizes: tuple[int, ...], *, share: bool, up: bool, noise: Floats) -> list[Found]:
    """The best candidate of the whole, every dimension, every pair, and of the triples in the best pairs; best first.

    `sizes` is the number of values per dimension: naming one of many costs ln(how many). `noise` is float64[families],
    in the order of `Segments.families`.
    """
    out = []
    dimensions = cells.codes.shape[1]
    for index, family in enumerate(families_of(dimensions)):
        key = np.zeros(len(cells.codes), np.int64)
        for d in family:
            key = key * sizes[d] + cells.codes[:, d]
        keys, inverse = np.unique(key, return_inverse=True)
        a, m, n = (_sums(inverse.ravel(), w) for w in (cells.observed, cells.expected, cells.trials))
        null = wandered(m, float(noise[index]), up=up)
        gain = binomial_gain(a, np.minimum(null, 0.97 * n), n) if share else poisson_gain(a, null)
        worse = (a > null) if up else (a < null)
        gain = np.where(worse, gain, -np.inf) - np.log(len(keys)) - len(family)
        best = int(gain.argmax())
        if not np.isfinite(gain[best]):
            continue
        code, values = int(keys[best]), []
        for d in reversed(family):
            code, value = divmod(code, sizes[d])
            values.append(value)
        out.append(
            Found(family, tuple(reversed(values)), float(gain[best]), float(a[best]), float(m[best]), float(n[best]))
        )
    pairs = sorted((c for c in out if len(c.family) == 2), key=_rank)[:REFINED]
    triples = {
        (c.family, c.values): c for p in pairs for c in _narrower(p, cells, sizes, share=share, up=up, noise=noise)
    }
    return sorted([*out, *triples.values()], key=_rank)


def _rank(found: Found) -> tuple[float, int, tuple[int, ...], tuple[int, ...]]:
    return -found.score, len(found.family), found.family, found.values


def _narrower(
    pair: Found, cells: Cells, sizes: tuple[int, ...], *, share: bool, up: bool, noise: Floats
) -> list[Found]:
    """The best triple in a pair, for each third dimension: what is wrong in three dimensions shows in all its pairs."""
    inside = cells.take(np.flatnonzero(pair.covers(cells.codes)))
    dimensions = cells.codes.shape[1]
    out = []
    for third in range(dimensions):
        if third in pair.family:
            continue
        family = tuple(sorted((*pair.family, third)))
        named = min(float(np.prod([sizes[d] for d in family])), float(len(cells.codes)))
        a, m, n = (
            np.bincount(inside.codes[:, third], weights=w, minlength=sizes[third]).astype(np.float64)
            for w in (inside.observed, inside.expected, inside.trials)
        )
        null = np.maximum(wandered(m, noise_of(family, noise, dimensions), up=up), 1e-9)
        gain = binomial_gain(a, np.minimum(null, 0.97 * n), n) if share else poisson_gain(a, null)
        gain = np.where(((a > null) if up else (a < null)) & (m > 0), gain, -np.inf) - np.log(named) - 3
        best = int(gain.argmax())
        if np.isfinite(gain[best]):
            fixed = dict(zip(pair.family, pair.values, strict=True)) | {third: best}
            values = tuple(fixed[d] for d in family)
            out.append(Found(family, values, float(gain[best]), float(a[best]), float(m[best]), float(n[best])))
    return out


def noise_of(family: tuple[int, ...], noise: Floats, dimensions: int) -> float:
    """Standard deviation of the log rate in segments that fix these dimensions; of three, that of the noisiest pair."""
    known = families_of(dimensions)
    if len(family) <= 2:
        return float(noise[known.index(family)])
    return max(float(noise[i]) for i, f in enumerate(known) if len(f) == 2 and set(f) <= set(family))


def _among(ranked: list[Found], codes: Ints) -> Found:
    """The best of the candidates, with what the others say of it."""
    best, covered = ranked[0], ranked[0].covers(codes)
    size = int(covered.sum())
    same: list[Found] = []
    rivals = 0.0
    for other in ranked[1:]:
        alike = other.covers(codes)
        if int(alike.sum()) == size and bool((alike == covered).all()):
            if not any(shorter.fixed <= other.fixed for shorter in (best, *same)):
                same.append(other)
        else:
            rivals += float(np.exp(TEMPER * (other.score - best.score)))
    return replace(best, confidence=1.0 / (1.0 + rivals), same=tuple(same))


def _stands_alone(found: Found, noise: Floats, dimensions: int) -> bool:
    sigma = noise_of(found.family, noise, dimensions)
    counts = np.array([found.observed]), np.array([max(found.expected, 1e-9)])
    bounded = float(deviance(*counts, np.array([1 / sigma**2]))[0])
    return found.score >= NEXT_NATS and bounded >= NEXT_BOUNDED_NATS


def find_causes(
    cells: Cells, sizes: tuple[int, ...], *, share: bool, up: bool, noise: Floats, most: int = MOST
) -> list[Found]:
    """Up to `most` causes, the strongest first; empty where nothing is worse than expected.

    Parameters
    ----------
    noise : float64[families]
        Standard deviation of the log rate, in the order of `Segments.families`.
    """
    found: list[Found] = []
    rest = np.arange(len(cells.codes))
    excess = 0.0
    while len(found) < most and len(rest):
        ranked = candidates(cells.take(rest), sizes, share=share, up=up, noise=noise)
        if not ranked:
            break
        best = ranked[0]
        gained = abs(best.observed - best.expected)
        if found and (gained < NEXT_SHARE * excess or not _stands_alone(best, noise, cells.codes.shape[1])):
            break
        found.append(_among(ranked, cells.codes[rest]))
        excess += gained
        rest = rest[~best.covers(cells.codes[rest])]
    return found

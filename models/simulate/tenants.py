"""Who a simulated tenant is, at four sizes: dimensions, finest cells, how much traffic, how often what fails.

Everything here stands still, except that the app versions move on: a new one takes the place of the oldest.
"""

from dataclasses import dataclass

import numpy as np

from detector.events import Floats, Ints

SHARE_RANGE = (0.005, 0.15)
BAD_SHARE = 0.035
EFFECT_SD = 0.35
LEAN_SD = 0.5
"""How far the use of a value leans on the value of the dimension before it: banks are regional."""


@dataclass(frozen=True)
class Scale:
    """A tenant's size.

    Attributes
    ----------
    dimensions : dict
        Name to number of values; the first may be the parent of the second (`nested`), the last is the app version.
    per_minute : float
        Customers who do something, averaged over a week.
    cells : int or None
        Finest cells that exist, the likeliest ones; None: all combinations.
    small, tiny, pair : (float, float)
        Customers a minute in the segments that problems of these kinds are planted in.
    """

    name: str
    dimensions: dict[str, int]
    per_minute: float
    nested: bool
    cells: int | None
    small: tuple[float, float]
    tiny: tuple[float, float]
    pair: tuple[float, float]


SCALES = {
    10: Scale("10", {"platform": 2, "app_version": 3}, 60.0, False, None, (2, 4), (0.6, 1.2), (5, 15)),
    300: Scale(
        "300",
        {"region": 4, "city": 16, "provider": 6, "app_version": 5},
        600.0,
        True,
        None,
        (4, 7),
        (0.6, 1.2),
        (6, 12),
    ),
    5_000: Scale(
        "5000",
        {"region": 6, "city": 70, "bank": 56, "app_version": 5},
        1_500.0,
        True,
        None,
        (1, 2),
        (0.15, 0.35),
        (1, 2.5),
    ),
    50_000: Scale(
        "50000",
        {"category": 12, "merchant": 420, "city": 100, "bank": 60, "app_version": 4},
        4_000.0,
        True,
        46_000,
        (0.5, 1.0),
        (0.1, 0.2),
        (0.5, 1.2),
    ),
}
"""About so many segments (the whole, single values and pairs that occur) each has.

10: a young shop, 1 customer a second. 300: the shop of the event simulator, 10 a second. 5,000: a bank with every city
and partner bank, 25 a second. 50,000: a payment processor with hundreds of merchants, 67 a second, near the cap of
50,000 finest cells. The larger the tenant, the sparser its segments: pairs see 2 customers a minute at 300 segments,
1 in three minutes at 5,000, 1 in ten at 50,000.
"""


class Tenant:
    """The cells of one tenant.

    Attributes
    ----------
    codes : int64[cells, dimensions]
        Value of every dimension; for `app_version` the slot, of which the oldest is given to each new version.
    weight : float64[cells]
        Part of the traffic within its version.
    base : float64[cells]
        Ordinary failure share.
    """

    def __init__(self, rng: np.random.Generator, scale: Scale) -> None:
        self.scale = scale
        self.dimensions = tuple(scale.dimensions)
        self.sizes = tuple(scale.dimensions.values())
        weights = [np.sort(rng.lognormal(0.0, 0.8, size))[::-1] for size in self.sizes]
        # How many have which version is not of the tenant: it moves.
        weights[-1] = np.ones(self.sizes[-1])
        first = int(scale.nested)
        # Children are dealt to parents at random; a parent's traffic is its children's.
        self.parent: Ints = rng.permutation(np.arange(self.sizes[1]) % self.sizes[0])
        self.codes, log = self._combinations(rng, weights, first)
        if scale.cells is not None:
            # The likeliest cells, by chance: what a Gumbel top-k keeps is a sample without replacement.
            keep = np.sort(np.argpartition(-(log + rng.gumbel(size=len(log))), scale.cells)[: scale.cells])
            self.codes, log = self.codes[keep], log[keep]
        # Traffic follows the chance to exist only in part, or the rarest cells would have none.
        self.weight = np.exp(log - log.max())
        self.weight /= self.weight.sum()
        self._effects = [rng.normal(0.0, EFFECT_SD, size) for size in self.sizes]
        self._own = rng.normal(0.0, EFFECT_SD / 2, len(self.codes))
        self.base = self._base()

    def _combinations(self, rng: np.random.Generator, weights: list[Floats], first: int) -> tuple[Ints, Floats]:
        """Every combination of values (a child only with its parent), and the log of its part of the traffic."""
        sizes = self.sizes[first:]
        codes = np.indices(sizes, dtype=np.int16).reshape(len(sizes), -1).T
        log = np.zeros(len(codes))
        for d, size in enumerate(sizes):
            log += np.log(weights[first + d])[codes[:, d]]
            if d:
                log += rng.normal(0.0, LEAN_SD, (sizes[d - 1], size))[codes[:, d - 1], codes[:, d]]
        if first:
            codes = np.concatenate([self.parent[codes[:, 0]][:, None].astype(np.int16), codes], axis=1)
        return codes.astype(np.int64), log

    def _base(self) -> Floats:
        log = self._own.copy()
        for d, effect in enumerate(self._effects):
            log += effect[self.codes[:, d]]
        share = np.exp(log)
        base: Floats = np.clip(BAD_SHARE * share / (share * self.weight).sum(), *SHARE_RANGE)
        return base

    def renew(self, rng: np.random.Generator, slot: int) -> None:
        """Give the slot to a new version, with a failure share of its own."""
        self._effects[-1][slot] = rng.normal(0.0, EFFECT_SD)
        here = self.codes[:, -1] == slot
        self._own[here] = rng.normal(0.0, EFFECT_SD / 2, int(here.sum()))
        self.base = self._base()

    def segments(self) -> int:
        """How many segments there are: the whole, single values, pairs that occur."""
        count = 1
        for d in range(len(self.sizes)):
            count += len(np.unique(self.codes[:, d]))
            for e in range(d):
                count += len(np.unique(self.codes[:, d] * self.sizes[e] + self.codes[:, e]))
        return count

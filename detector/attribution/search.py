"""The smallest set of elements of a lattice that explains the evidence: greedy, then doubted and improved.

The score of an element is what it explains beyond the background's level and its own wandering, in nats, less what it
costs to name it. A whole list of causes is worth the likelihood of all leaves, each counted once, less the costs: so
lists can be compared, whatever the order in which they were found.
"""

from dataclasses import dataclass
from math import comb, log

import numpy as np

from detector.attribution.evidence import Evidence
from detector.attribution.lattice import Lattice
from detector.events import Floats, Ints

WHOLE = 0
"""The number of the element that holds everything."""

AGAINST = 10.0
"""Nats against its own effect that part of a cause must hold before the cause is split."""

UNLIKELY = 1.0
"""A candidate that can't score more than this is not looked at more closely."""


@dataclass(frozen=True)
class Costs:
    """What naming a cause costs, and what it must bring.

    Attributes
    ----------
    choice : weight of ln(how many elements, how many sets of dimensions) there are to choose from
    layer : per dimension that is fixed
    whole : of "everything"
    sibling : of a cause in the same cuboid with the same effect, beyond ln(elements); infinite for no discount
    gap : how far beyond the background's level an effect must lie
    first, further : least score of the first cause, and of each further one
    everything : least score of "everything" as the only cause
    simpler : nats that "everything" alone may be behind a list of causes and still be preferred
    most : causes at most
    """

    choice: float
    layer: float
    constant: float
    whole: float
    sibling: float
    gap: float
    first: float
    further: float
    everything: float
    simpler: float
    most: int


@dataclass(frozen=True)
class Cause:
    """An element with the leaves that are its own, and the sums of their columns."""

    element: int
    rows: Ints
    sums: Floats


class Search:
    """The state of a search: the sums of all leaves no cause covers, and the causes so far."""

    def __init__(
        self, lattice: Lattice, evidence: Evidence, costs: Costs, banned: frozenset[int] = frozenset()
    ) -> None:
        self.lattice, self.evidence, self.costs, self.banned = lattice, evidence, costs, banned
        self.row_of_leaf: Ints = np.arange(lattice.inverse.shape[1])
        self.columns = evidence.columns()
        self.levels = len(evidence.levels)
        self.free = np.ones(lattice.inverse.shape[1], np.bool_)
        self.sums = np.asfortranarray(lattice.roll(self.columns))
        self.price = _prices(lattice, costs)
        self.causes: list[Cause] = []
        self.apart = (evidence.levels[:, None] - evidence.levels[None, :]) ** 2 / (2 * max(evidence.wander, 1e-9) ** 2)

    def add(self, element: int) -> None:
        rows = self.lattice.rows(element)
        rows = rows[self.free[rows]]
        cause = Cause(element, rows, self.sums[element].copy())
        self.lattice.take(self.sums, rows, -self.columns[rows])
        self.free[rows] = False
        self.causes.append(cause)

    def drop(self, index: int) -> None:
        """Take a cause back; leaves that another cause holds as well become its own."""
        dropped = self.causes.pop(index)
        rows = dropped.rows
        for number, cause in enumerate(self.causes):
            held = self.lattice.inverse[self.lattice.cuboid_of(cause.element), rows] == cause.element
            if held.any():
                both = rows[held]
                sums = cause.sums + self.columns[both].sum(axis=0)
                self.causes[number] = Cause(cause.element, np.concatenate([cause.rows, both]), sums)
                rows = rows[~held]
        if len(rows):
            self.lattice.take(self.sums, rows, self.columns[rows])
            self.free[rows] = True

    def prune(self) -> None:
        """Forget the effects that no candidate worth its price would choose."""
        promising = np.flatnonzero(self.sums[:, self.levels :].max(axis=1) > self.price)
        effects = self.sums[promising, self.levels :]
        keep = np.unique(effects.argmax(axis=1)) if len(promising) else np.zeros(1, np.int64)
        self.sums = np.asfortranarray(self.sums[:, np.concatenate([np.arange(self.levels), self.levels + keep])])
        self.evidence = self.evidence.only(keep)
        self.columns = self.evidence.columns()

    def _effects(self, sums: Floats) -> Floats:
        """Best effect beyond each level: float64[elements, levels]."""
        effects = sums[:, self.levels :]
        if self.levels == 1:
            only: Floats = effects.max(axis=1, keepdims=True)
            return only
        order = np.argsort(-self.evidence.positions, kind="stable").tolist()
        out = np.full((len(sums), self.levels), -np.inf, order="F")
        best = np.full(len(sums), -np.inf)
        for level in range(self.levels - 1, -1, -1):
            least = self.evidence.levels[level] + self.costs.gap - 1e-9
            while order and self.evidence.positions[order[0]] >= least:
                best = np.maximum(best, effects[:, order.pop(0)])
            out[:, level] = best
        return out

    def _background(self, sums: Floats) -> Floats:
        """Levels' likelihood of what is left without each element: float64[elements, levels]."""
        given = np.zeros(self.levels)
        for cause in self.causes:
            given = given + self._effects(cause.sums[None, :])[0]
        return self.sums[WHOLE, : self.levels] - sums[:, : self.levels] + self.evidence.level_prior + given

    def gains(self, elements: Ints | None = None) -> Floats:
        """Nats that each element explains beyond level and wandering, given the causes so far.

        An upper bound where that is hardly more than the price already.
        """
        sums = self.sums if elements is None else self.sums[elements]
        effects = self._effects(sums)
        if self.levels == 1:
            return effects[:, 0]
        own = sums[:, : self.levels]
        bound = (effects - own).max(axis=1)
        out: Floats = bound.copy()
        price = self.price if elements is None else self.price[elements]
        likely = np.flatnonzero(bound > price + UNLIKELY)
        rest = self._background(sums[likely])
        wandered = np.stack([(own[likely] - self.apart[level]).max(axis=1) for level in range(self.levels)], axis=1)
        out[likely] = (rest + effects[likely]).max(axis=1) - (rest + wandered).max(axis=1)
        if elements is None or WHOLE in elements:
            at = 0 if elements is None else int(np.flatnonzero(elements == WHOLE)[0])
            out[at] = self._whole()
        return out

    def _whole(self) -> float:
        own = self.sums[WHOLE]
        given = np.zeros(self.levels)
        for cause in self.causes:
            given = given + self._effects(cause.sums[None, :])[0]
        usual = own[: self.levels] + self.evidence.level_prior + given
        hit = float((own[self.levels :]).max())
        return hit + float(given.max()) - float(usual.max())

    def scores(self) -> Floats:
        return self.gains() - self.prices()

    def prices(self) -> Floats:
        """What naming each element costs now: less for a sibling of a cause."""
        price = self.price
        if np.isfinite(self.costs.sibling):
            price = price.copy()
            for number in {self.lattice.cuboid_of(c.element) for c in self.causes}:
                cuboid = self.lattice.cuboids[number]
                part = slice(cuboid.offset, cuboid.offset + cuboid.elements)
                price[part] = np.minimum(price[part], self._sibling_price(cuboid.elements))
        return price

    def _sibling_price(self, elements: int) -> float:
        return self.costs.choice * log(elements) + self.costs.sibling

    def total(self) -> float:
        """What the whole list is worth: its likelihood over "nothing happened", less its costs."""
        given = np.zeros(self.levels)
        price, seen = 0.0, set()
        has_whole = False
        level = self.sums[WHOLE, : self.levels] + self.evidence.level_prior
        for cause in self.causes:
            if cause.element == WHOLE:
                has_whole = True
                level = level + float((cause.sums[self.levels :]).max())
            else:
                given = given + self._effects(cause.sums[None, :])[0]
            number = self.lattice.cuboid_of(cause.element)
            full = float(self.price[cause.element])
            price += min(full, self._sibling_price(self.lattice.cuboids[number].elements)) if number in seen else full
            seen.add(number)
        best = float(level.max() + given.max()) if has_whole else float((level + given).max())
        return best - price

    def greedy(self, most: int, banned: frozenset[int] = frozenset()) -> None:
        """Add the best cause as long as one stands out, up to `most` in all."""
        while len(self.causes) < most:
            scores = self.scores()
            scores[[c.element for c in self.causes]] = -np.inf
            if banned or self.banned:
                scores[list(banned | self.banned)] = -np.inf
            best = _best(scores, self.price)
            least = self.costs.further if self.causes else self.costs.first
            if scores[best] < (self.costs.everything if best == WHOLE and not self.causes else least):
                return
            self.add(best)

    def restore(self, elements: list[int]) -> None:
        """Go back to an earlier list of causes."""
        while self.causes and [c.element for c in self.causes] != elements[: len(self.causes)]:
            self.drop(len(self.causes) - 1)
        for element in elements[len(self.causes) :]:
            self.add(element)

    def improve(self, rounds: int = 3) -> None:
        """Doubt each cause: keep what is found instead where the list is worth more without it."""
        for _ in range(rounds):
            before = [c.element for c in self.causes]
            for element in before:
                self._doubt(element)
            self.greedy(self.costs.most)
            if [c.element for c in self.causes] == before:
                return

    def simplify(self) -> None:
        """Say "everything" where the rest is hit as well, and that alone is nearly as good."""
        kept, worth = [c.element for c in self.causes], self.total()
        if not kept or kept == [WHOLE] or (WHOLE not in kept and self.scores()[WHOLE] < self.costs.everything):
            return
        self.restore([])
        self.add(WHOLE)
        if self.total() < worth - self.costs.simpler:
            self.restore(kept)

    def _doubt(self, element: int) -> None:
        kept = [c.element for c in self.causes]
        if element not in kept:
            return
        worth = self.total()
        cause = self.causes[kept.index(element)]
        self.drop(kept.index(element))
        best = (worth, kept)
        for _ in range(6):
            count = len(self.causes)
            self.greedy(min(count + 1, self.costs.most), frozenset({element}))
            if len(self.causes) == count:
                break
            more = len(self.causes) - len(kept)
            if self.total() > best[0] + 1e-6 and (more <= 0 or self._normal(cause)):
                best = (self.total(), [c.element for c in self.causes])
        self.restore(best[1])

    def _normal(self, cause: Cause) -> bool:
        """Whether the leaves of a former cause that no other covers speak clearly against its effect."""
        freed = cause.rows[self.free[cause.rows]]
        if not len(freed):
            return False
        effect = self.levels + int((cause.sums[self.levels :]).argmax())
        return float(self.columns[freed, effect].sum()) < -AGAINST


def _best(scores: Floats, price: Floats) -> int:
    """The highest score; of (nearly) equal ones the cheapest, then the first."""
    top = np.flatnonzero(scores >= scores.max() - 1e-6)
    return int(top[np.lexsort((top, price[top]))[0]])


def _prices(lattice: Lattice, costs: Costs) -> Floats:
    dimensions = lattice.dimensions
    out = np.empty(lattice.elements)
    for cuboid in lattice.cuboids:
        layer = len(cuboid.dims)
        choice = log(comb(dimensions, layer)) + log(cuboid.elements)
        price = costs.choice * choice + costs.layer * layer + costs.constant if layer else costs.whole
        out[cuboid.offset : cuboid.offset + cuboid.elements] = price
    return out

"""What the search needs to know of leaves, whatever they count or measure."""

from dataclasses import dataclass, replace

import numpy as np

from detector.events import Floats, Ints


@dataclass(frozen=True)
class Evidence:
    """Log likelihoods of every leaf, relative to "all as expected", in nats.

    The background may stand at a level of its own (a busy hour), and a segment may wander a little by itself: neither
    is a cause. A cause is an effect beyond the level. Leaves that are alike share a row of the table.

    Attributes
    ----------
    table : float64[rows, levels + effects]
        First as a part of the background at each level, then under each effect.
    row_of : int64[leaves]
        The row of each leaf.
    levels : float64[levels]
        Background levels as log ratios; a single 0 where there is no common level.
    level_prior : float64[levels]
        What each level costs, in nats (at most 0).
    positions : float64[effects]
        Each effect on the scale of the levels; infinite where it is beyond all of them.
    wander : float
        Standard deviation of the log ratio by which a segment may differ from the level; 0 for not at all.
    """

    table: Floats
    row_of: Ints
    levels: Floats
    level_prior: Floats
    positions: Floats
    wander: float

    def columns(self) -> Floats:
        """The table spread out: float64[leaves, levels + effects]."""
        return self.table[self.row_of]

    def only(self, effects: Ints) -> "Evidence":
        """The same with some of the effects only."""
        keep = np.concatenate([np.arange(len(self.levels)), len(self.levels) + effects])
        return replace(self, table=self.table[:, keep], positions=self.positions[effects])

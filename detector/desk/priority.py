"""Who comes first where not all can be told at once.

    priority = 100,000 · still failing + 1,000 · (4 · stake + severity) + 100 · min(tries, 9) + ⌊99 · probability⌋

Read as digits: who tried again and still fails comes before all others; then what is at stake (safety 3, money and
lock-out 2, not said 1, convenience 0) and how severe the case is (critical 3 … low 0); then how likely they are to
call: who tried more often, and who was surely hit. Of equals the first who failed goes first. Whole numbers of what
the case knows at the time, so that a replay gives the same.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from detector.desk.ledger import Ledger
from detector.desk.problems import Strand
from detector.desk.severity import ORDER
from detector.events import Ints
from detector.signals import Severity, Stake

STAKES: dict[Stake | None, int] = {Stake.SAFETY: 3, Stake.MONEY: 2, Stake.LOCK_OUT: 2, None: 1, Stake.CONVENIENCE: 0}

Stakes = Mapping[str, Stake | None]
"""What is at stake, by signal."""


def priorities(ledger: Ledger, rows: Ints, strands: Sequence[Strand], stakes: Stakes, severity: Severity) -> Ints:
    """int64[rows]: the priority of these rows; higher goes first."""
    rank = np.array([4 * STAKES[stakes.get(s.signal)] + ORDER.index(severity) for s in strands], np.int64)
    tries = ledger["tries"][rows]
    still_failing = (tries > 1) & ~ledger.through()[rows]
    likely = ledger["likely"][rows].astype(np.int64) * 99 // 10_000
    out: Ints = 100_000 * still_failing + 1_000 * rank[ledger["strand"][rows]] + 100 * np.minimum(tries, 9) + likely
    return out

"""Which anomalies belong together: the difference between one case and five.

An anomaly joins an unfinished case when the two overlap in time and either their causes say the same or the same
customers were hit, more often than chance would have it:

- *time*: the spans [onset, end or now] overlap, within ten minutes;
- *cause*: one `where` is part of the other over the dimensions that both signals know, or they share a value of a
  dimension. "Everyone" shares nothing with anybody, but for a joint signal and one of its parts;
- *customers*: at least a quarter of the smaller group was hit by both, and that is beyond chance. What chance does is
  seen from those who failed ordinarily at the time, in the same signal beside the causes: people who do more fail more
  often in everything, and where half of all are hit by either problem many are hit by both. Being hit by both must be
  twice as common among those hit as among them, with p < 1e-3, and unlikely at p < 1e-6 by them or by the number who
  tried (hypergeometric). Where hardly anybody failed ordinarily, two thirds of the smaller group must be shared; where
  both hit everyone there is nobody to compare with, and a quarter suffices if they began within ten minutes.

Silence hits nobody by name: it joins by nested causes only. A shadow anomaly never joins a live case, nor the
reverse: nobody is told of what is in the shadow.
"""

import math
from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec
import numpy as np
from scipy.special import gammaln, logsumexp

from detector.config import DAY_MS, MINUTE_MS
from detector.counter.record import WindowRecord
from detector.desk.probability import Points
from detector.events import Floats, Ints
from detector.signals import ALL_OTHERS, PART, Signal
from detector.watch.anomaly import Anomaly, Cause, Phase, Shift, Why
from detector.watch.explanation import Account, Counted, counted_of

TOLERANCE_MS = 10 * MINUTE_MS
BEYOND_CHANCE = 1e-6
OVERLAP_SHARE = 0.25
BEYOND_USUAL = 1e-3
TIMES_USUAL = 2.0
ENOUGH_USUAL = 20
"""So many people who failed ordinarily tell how often two problems hit the same person by chance."""
UNKNOWN_SHARE = 2 / 3
USUAL_MS = DAY_MS
"""Of a problem that has lasted longer, who failed ordinarily is read for so long."""
NOBODY: Ints = np.zeros(0, np.int64)


class Strand(msgspec.Struct, kw_only=True):
    """One anomaly as the Desk follows it: the strands of a case are its anomalies."""

    id: str
    signal: str
    dimensions: tuple[str, ...]
    """The signal's when the strand began: what its causes and the records' cells mean."""
    names_people: bool
    phase: Phase
    causes: tuple[Cause, ...]
    onset_ms: int
    detected_ms: int
    ended_ms: int | None
    observed: int
    expected: float
    trials: int
    score: float
    """The highest so far."""
    seen_ms: int
    """Window of Watch's last word on it."""
    said_ms: int
    """When its phase last changed."""
    lost: bool = False
    """Watch let go of it without a word: its signal was removed or changed."""
    points: Points
    weights: dict[tuple[str, ...], float] = {}
    """Per cell how often it fails ordinarily, relative to the causes' mean; 1 where it is not named."""
    parts: tuple[str, ...] = ()
    """Of a joint signal: the signals that it is made of."""
    shift: Shift | None = None
    counted: Counted = Counted.FAILED
    why: Why | None = None
    """As Watch last said it."""
    new_level: float | None = None
    """It ended because it has become normal: so many times what was expected before."""

    @property
    def account(self) -> Account | None:
        """What its explanation speaks of; None where it was begun by a version that kept none."""
        if self.why is None:
            return None
        return Account(
            signal=self.signal,
            anomaly=self.id,
            counted=self.counted,
            causes=self.causes,
            observed=self.observed,
            expected=self.expected,
            trials=self.trials,
            why=self.why,
            new_level=self.new_level,
        )

    @property
    def over(self) -> bool:
        return self.phase is Phase.ENDED

    def take(self, anomaly: Anomaly) -> bool:
        """Take Watch's next word; True where span or causes changed, so that others are affected."""
        before = (self.onset_ms, self.ended_ms, [c.where for c in self.causes])
        if anomaly.phase is not self.phase:
            self.said_ms = anomaly.at_ms
        self.phase, self.causes, self.lost = anomaly.phase, anomaly.causes, False
        self.onset_ms, self.detected_ms, self.ended_ms = anomaly.onset_ms, anomaly.detected_ms, anomaly.ended_ms
        self.observed, self.expected, self.trials = anomaly.observed, anomaly.expected, anomaly.trials
        self.score, self.seen_ms = max(self.score, anomaly.score), anomaly.window_ms
        self.why, self.shift, self.new_level = anomaly.why, anomaly.why.shift, anomaly.new_level
        self._add_points(anomaly)
        if anomaly.rewrite:
            self.weights = {c.cell: c.weight for c in anomaly.contrasts}
        return before != (self.onset_ms, self.ended_ms, [c.where for c in self.causes])

    def _add_points(self, anomaly: Anomaly) -> None:
        if not anomaly.points and not anomaly.rewrite:
            return
        new = sorted(anomaly.points, key=lambda p: p.window_ms)
        kept = 0
        if not anomaly.rewrite:
            kept = int(np.searchsorted(self.points.window_ms, new[0].window_ms))
        self.points = Points(
            np.concatenate((self.points.window_ms[:kept], np.array([p.window_ms for p in new], np.int64))),
            np.concatenate((self.points.observed[:kept], np.array([p.observed for p in new], np.int64))),
            np.concatenate((self.points.expected[:kept], np.array([p.expected for p in new], np.float64))),
            np.concatenate((self.points.active[:kept], np.array([p.active for p in new], np.float64))),
        )

    def cause_of(self, cell: tuple[str, ...]) -> int:
        """Index of the first cause that holds the cell, -1 where none does."""
        if len(cell) != len(self.dimensions):
            return -1
        values = dict(zip(self.dimensions, cell, strict=True))
        for i, cause in enumerate(self.causes):
            if all(values.get(d) == v for d, v in cause.where.items()):
                return i
        return -1


def strand_of(anomaly: Anomaly, signal: Signal) -> Strand:
    """Begin to follow an anomaly."""
    strand = Strand(
        id=anomaly.id,
        signal=anomaly.signal,
        dimensions=signal.dimensions,
        names_people=signal.names_people,
        phase=anomaly.phase,
        causes=anomaly.causes,
        onset_ms=anomaly.onset_ms,
        detected_ms=anomaly.detected_ms,
        ended_ms=anomaly.ended_ms,
        observed=anomaly.observed,
        expected=anomaly.expected,
        trials=anomaly.trials,
        score=anomaly.score,
        seen_ms=anomaly.window_ms,
        said_ms=anomaly.at_ms,
        points=Points.none(),
        parts=signal.signals,
        counted=counted_of(signal),
    )
    strand.take(anomaly)
    return strand


class Bond(StrEnum):
    """Why an anomaly belongs to a case."""

    CAUSE = "cause"
    CUSTOMERS = "customers"


def overlap_in_time(a: Strand, b: Strand, now_ms: int) -> bool:
    a_end = now_ms if a.ended_ms is None else a.ended_ms
    b_end = now_ms if b.ended_ms is None else b.ended_ms
    return a.onset_ms - TOLERANCE_MS <= b_end and b.onset_ms - TOLERANCE_MS <= a_end


def _known_to_both(cause: Cause, a: Strand, b: Strand) -> dict[str, str]:
    """Return the part of a cause that means the same in both signals: two signals' "others" are not the same.

    Which part of a joint signal it is in is no place: two problems of one part have nothing in common by that.
    """
    same = a.signal == b.signal
    parts = a.parts or b.parts
    return {
        d: v
        for d, v in cause.where.items()
        if d in a.dimensions and d in b.dimensions and (same or v not in (ALL_OTHERS, "")) and not (parts and d == PART)
    }


def nested(a: Strand, b: Strand) -> bool:
    """Whether a cause of one is part of a cause of the other, over the dimensions both know; neither is "everyone"."""
    for x in a.causes:
        for y in b.causes:
            left, right = _known_to_both(x, a, b).items(), _known_to_both(y, a, b).items()
            if left and right and (left <= right or right <= left):
                return True
            if not left and not right and (_everyone_in(x, a, b) or _everyone_in(y, b, a)):
                return True
    return False


def _everyone_in(cause: Cause, joint: Strand, part: Strand) -> bool:
    """Whether a joint signal's cause is all of the part, which then is the same people."""
    return part.signal in joint.parts and set(cause.where.items()) <= {(PART, part.signal)}


def share_a_value(a: Strand, b: Strand) -> bool:
    """Whether causes of both name the same value of the same dimension."""
    left = {item for c in a.causes for item in _known_to_both(c, a, b).items()}
    return any(item in left for c in b.causes for item in _known_to_both(c, a, b).items())


def _log_choose(n: float, k: Floats) -> Floats:
    """Natural log of C(n, k), 0 <= k <= n."""
    result: Floats = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return result


def tail_log_p(universe: int, first: int, second: int, both: int) -> float:
    """Natural log of the chance that two groups drawn from a universe share `both` or more.

    Parameters
    ----------
    universe, first, second, both : int
        Sizes: of all, of the two groups, of their overlap.

    References
    ----------
    Hypergeometric survival function, summed in log space: P(X >= x) = sum of C(K, i) C(N-K, n-i) / C(N, n).

    Examples
    --------
    >>> round(float(np.exp(tail_log_p(10, 5, 5, 5))), 6)  # 1 / C(10, 5)
    0.003968
    >>> tail_log_p(10, 5, 5, 0)
    0.0
    """
    least = max(0, first + second - universe)
    if both <= least:
        return 0.0
    i = np.arange(both, min(first, second) + 1, dtype=np.float64)

    terms = (
        _log_choose(first, i)
        + _log_choose(universe - first, second - i)
        - _log_choose(universe, np.array([float(second)]))
    )
    return min(0.0, float(logsumexp(terms)))


def ordinary(strand: Strand, known: Iterable[Strand], records: Iterable[WindowRecord], from_ms: int) -> Ints:
    """Return who failed in the anomaly's signal while it lasted, from `from_ms` on, outside its causes.

    `known` are anomalies that may be of the same signal: who fails in their causes does not fail ordinarily either.
    """
    until_ms = 2**62 if strand.ended_ms is None else strand.ended_ms
    mine = [strand, *(s for s in known if s.signal == strand.signal and not s.over)]
    parts = [NOBODY]
    for record in records:
        window = record.signals.get(strand.signal)
        if window is None or not len(window.bad_customer):
            continue
        used, at = np.unique(window.bad_cell, return_inverse=True)
        outside = np.array([all(s.cause_of(window.cells[c]) < 0 for s in mine) for c in used.tolist()], np.bool_)
        time = window.bad_time_ms
        chosen = outside[at] & (time >= from_ms) & (time < until_ms) & (window.bad_customer != 0)
        parts.append(window.bad_customer[chosen])
    found: Ints = np.unique(np.concatenate(parts))
    return found


def _beyond_usual(hit: Ints, other: Ints, usual: Ints) -> float | None:
    """Natural log of the chance that so many of `hit` are in `other` if they are there as often as the usual ones are.

    0 where they are not twice as often; None where too few are known to tell.
    """
    if len(usual) < ENOUGH_USUAL:
        return None
    both, chance = (len(np.intersect1d(group, other, assume_unique=True)) for group in (hit, usual))
    if both * len(usual) < TIMES_USUAL * chance * len(hit):
        return 0.0
    return tail_log_p(len(hit) + len(usual), both + chance, len(hit), both)


def share_customers(
    a: Ints,
    b: Ints,
    trials: int,
    usual_a: Ints = NOBODY,
    usual_b: Ints = NOBODY,
    unknown_share: float = UNKNOWN_SHARE,
) -> bool:
    """Whether two groups of customers overlap beyond chance.

    Parameters
    ----------
    a, b : int64[customers]
        Who was hit, each once.
    trials : int
        The larger number of trials of the two: how many people could have been hit at the least.
    usual_a, usual_b : int64[customers]
        Who failed ordinarily at the time, beside the causes of either: they show what activity alone does.
    unknown_share : float
        Of the smaller group this must be shared where too few failed ordinarily to compare with.
    """
    both, smaller = len(np.intersect1d(a, b, assume_unique=True)), min(len(a), len(b))
    if both < OVERLAP_SHARE * smaller or not both:
        return False
    universe = max(trials, len(a) + len(b) - both)
    by_size = tail_log_p(universe, len(a), len(b), both)
    told = [p for p in (_beyond_usual(a, b, usual_a), _beyond_usual(b, a, usual_b)) if p is not None]
    if not told:
        return both >= unknown_share * smaller and by_size < math.log(BEYOND_CHANCE)
    worst = max(told)
    return worst < math.log(BEYOND_USUAL) and min(worst, by_size) < math.log(BEYOND_CHANCE)


def _all_at_once(a: Strand, b: Strand) -> bool:
    """Whether both hit everyone from the same minutes on: two such problems by coincidence are rarer than one."""
    everyone = all(not cause.where for strand in (a, b) for cause in strand.causes)
    return everyone and abs(a.onset_ms - b.onset_ms) <= TOLERANCE_MS


def bond(
    new: Strand,
    hit: Ints,
    others: Iterable[tuple[Strand, Ints]],
    now_ms: int,
    usual: Callable[[Strand], Ints] = lambda strand: NOBODY,
) -> Bond | None:
    """Return why an anomaly belongs to the case of these strands, None where it does not.

    Parameters
    ----------
    new : Strand
    hit : int64[customers]
        Who was hit by it so far.
    others : iterable of (Strand, int64[customers])
        The case's strands with the customers each of them hit.
    now_ms : int
    usual : function
        Who failed ordinarily beside a strand (`ordinary`); asked only where it matters.
    """
    for strand, customers in others:
        if not overlap_in_time(new, strand, now_ms):
            continue
        if nested(new, strand):
            return Bond.CAUSE
        if not (new.names_people and strand.names_people):
            continue
        if share_a_value(new, strand):
            return Bond.CAUSE
        trials = max(new.trials, strand.trials)
        many = len(np.intersect1d(hit, customers, assume_unique=True)) >= OVERLAP_SHARE * min(len(hit), len(customers))
        enough = OVERLAP_SHARE if _all_at_once(new, strand) else UNKNOWN_SHARE
        if many and share_customers(hit, customers, trials, usual(new), usual(strand), enough):
            return Bond.CUSTOMERS
    return None


def same_problem(new: Strand, old: Strand) -> bool:
    """Whether an anomaly is an earlier one come back: the same signal, and the same or a nested cause."""
    if new.signal != old.signal:
        return False
    return nested(new, old) or not {c.key() for c in new.causes}.isdisjoint(c.key() for c in old.causes)

"""What customers do, block by block: attempts, failures, repeats in a row, come-backs, bots, contacts.

A block is five minutes. Within it volume and failure shares stand still except for planted problems, which act to the
millisecond. What follows from a failure (repeats, a come-back, a complaint) may lie in later blocks and waits there.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS
from detector.events import Floats, Ints
from models.simulate.noise import CAMPAIGN_FACTOR, Campaign, Moving, season, share_season
from models.simulate.problems import COMPLAINT_SHARE, SILENCE_COMPLAINT_SHARE, Book, Planted, complaint_delay_ms
from models.simulate.words import BACKGROUND_WEIGHTS, TOPIC_OF, TOPICS
from models.simulate.world import (
    API,
    CHECKOUT,
    CONTACT_TRAFFIC,
    KINDS,
    LATENCY_LIMIT_MS,
    LATENCY_SIGMA,
    LOGIN,
    PAYMENT,
    Kind,
    Shop,
    pick,
    spread,
)

BLOCK_MS = 5 * MINUTE_MS
ROW_SHARE = 0.4
"""Of those who fail, how many fail several times in a row."""
ROW_LENGTH = (3, 8)
COME_BACK_SHARE = 0.7
COME_BACK_MIN_MS = 2 * MINUTE_MS
COME_BACK_MAX_MS = 12 * HOUR_MS
ORDINARY_COMPLAINT_SHARE = 0.004
MAX_SHARE = 0.4
_PER_FAILURE = ROW_SHARE * (sum(ROW_LENGTH) / 2 - 1) + COME_BACK_SHARE
"""Further attempts that one failure brings on average."""


@dataclass
class Attempts:
    """Attempts of one kind, a row each: when, who, in which cell (mixed radix over the kind's dimensions).

    `repeat` marks those that fail for certain, within a row of failures; `own` is a bot's own failure share, else NaN.
    """

    time_ms: Ints
    customer: Ints
    cell: Ints
    repeat: NDArray[np.bool_]
    own: Floats

    def take(self, rows: NDArray[np.bool_] | Ints) -> "Attempts":
        return Attempts(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.time_ms)


def plain(time_ms: Ints, customer: Ints, cell: Ints) -> Attempts:
    """Return attempts that are neither repeats nor a bot's."""
    return Attempts(time_ms, customer, cell, np.zeros(len(time_ms), np.bool_), np.full(len(time_ms), np.nan))


def joined(parts: list[Attempts]) -> Attempts:
    return Attempts(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Attempts)))


@dataclass
class Done:
    """Attempts of one kind that took place in a block; `bad` where they failed, `value` the latency or the amount."""

    kind: Kind
    time_ms: Ints
    customer: Ints
    cell: Ints
    bad: NDArray[np.bool_]
    value: Ints


@dataclass
class Contacts:
    """Customers who contact us; `problem` is the planted one that made them, -1 where there is none."""

    time_ms: Ints
    customer: Ints
    topic: Ints
    problem: Ints

    def take(self, rows: NDArray[np.bool_] | Ints) -> "Contacts":
        return Contacts(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Bot:
    """One customer hammering one cell for some minutes."""

    kind: Kind
    start_ms: int
    end_ms: int
    attempts: int
    customer: int
    share: float


BOTS_A_WEEK = (10.0, 40.0)


def plan_bots(
    rng: np.random.Generator, customers: int, start_ms: int, days: float, rate: float, noise: float
) -> tuple[Bot, ...]:
    """Bots of a run: 10 to 40 a week, at least one a run; smaller where there is less traffic."""
    count = max(1, int(rng.poisson(rng.uniform(*BOTS_A_WEEK) * noise * days / 7)))
    bots = []
    for _ in range(count):
        begin = start_ms + int(rng.uniform(0, days) * DAY_MS)
        attempts = int(rng.uniform(80, 800) * min(1.0, max(0.1, rate / 12)))
        length = int(rng.uniform(2, 20) * MINUTE_MS)
        kind = LOGIN if rng.random() < 0.7 else PAYMENT
        share = float(rng.uniform(0.5, 0.97))
        bots.append(Bot(kind, begin, begin + length, attempts, int(rng.integers(customers)), share))
    return tuple(bots)


class Traffic:
    """Makes the run's blocks, one after the other."""

    def __init__(
        self,
        rng: np.random.Generator,
        weather: np.random.Generator,
        shop: Shop,
        book: Book,
        campaigns: tuple[Campaign, ...],
        bots: tuple[Bot, ...],
        rate: float,
        noise: float,
    ) -> None:
        self._rng, self._shop, self._book = rng, shop, book
        self._campaigns, self._bots, self._rate = campaigns, bots, rate
        self._moving = {kind.name: Moving(weather, shop.dimensions.sizes(kind), noise) for kind in KINDS}
        nobody = np.zeros(0, np.int64)
        self._waiting = {kind.name: plain(nobody, nobody, nobody) for kind in KINDS}
        self._contacts = Contacts(nobody, nobody, nobody, nobody)

    def block(self, start_ms: int, end_ms: int) -> tuple[list[Done], Contacts]:
        """Return what takes place in [start, end), unordered."""
        version = self._shop.customers.versions(start_ms)
        found = []
        for kind in KINDS:
            moving = self._moving[kind.name]
            moving.step((end_ms - start_ms) / HOUR_MS)
            fresh = joined(
                [self._fresh(kind, moving, version, start_ms, end_ms), *self._botted(kind, version, start_ms, end_ms)]
            )
            found.append(
                self._silenced(fresh, start_ms, end_ms)
                if kind is CHECKOUT
                else self._settled(kind, moving, fresh, start_ms, end_ms)
            )
        self._background_contacts(start_ms, end_ms)
        due = self._contacts.time_ms < end_ms
        contacts, self._contacts = self._contacts.take(due), self._contacts.take(~due)
        for i, when in zip(contacts.problem.tolist(), contacts.time_ms.tolist(), strict=True):
            if i >= 0:
                self._book.complained(self._book.problems[i], when)
        return found, contacts

    # --- attempts ---------------------------------------------------------------------------------------------------

    def _fresh(self, kind: Kind, moving: Moving, version: Ints, start_ms: int, end_ms: int) -> Attempts:
        """Draw attempts of their own accord: at the highest volume of any cell, then thinned to each cell's."""
        rng, shop = self._rng, self._shop
        factors = [np.exp(log) for log in moving.volume()]
        level = 1.0
        for campaign in self._campaigns:
            if not (campaign.start_ms < end_ms and start_ms < campaign.end_ms):
                continue
            if campaign.dimension is None:
                level *= CAMPAIGN_FACTOR
            elif campaign.dimension in kind.dimensions:
                factors[kind.dimensions.index(campaign.dimension)][campaign.value] *= CAMPAIGN_FACTOR
        highest = float(np.prod([f.max() for f in factors]))
        own = kind.traffic * self._rate / (1 + kind.bad_share * _PER_FAILURE)
        mean = own * season((start_ms + end_ms) // 2) * level * highest * (end_ms - start_ms) / 1_000
        n = int(rng.poisson(mean))
        time_ms = rng.integers(start_ms, end_ms, n)
        customer = shop.customers.draw(rng, n)
        columns = shop.cells(rng, kind, customer, version)
        kept = rng.random(n) * highest < np.prod([f[c] for f, c in zip(factors, columns, strict=True)], axis=0)
        cell = np.ravel_multi_index(tuple(columns), shop.dimensions.sizes(kind)).astype(np.int64)
        return plain(time_ms[kept], customer[kept], cell[kept])

    def _botted(self, kind: Kind, version: Ints, start_ms: int, end_ms: int) -> list[Attempts]:
        found = []
        for bot in self._bots:
            overlap = min(bot.end_ms, end_ms) - max(bot.start_ms, start_ms)
            if bot.kind is not kind or overlap <= 0:
                continue
            n = int(self._rng.poisson(bot.attempts * overlap / (bot.end_ms - bot.start_ms)))
            time_ms = self._rng.integers(max(bot.start_ms, start_ms), min(bot.end_ms, end_ms), n)
            one = np.array([bot.customer])
            # The same cell in every block: drawn by a generator of the bot's own.
            columns = self._shop.cells(np.random.default_rng(bot.start_ms), kind, one, version)
            cell = int(np.ravel_multi_index(tuple(int(c[0]) for c in columns), self._shop.dimensions.sizes(kind)))
            attempts = plain(time_ms, np.full(n, bot.customer), np.full(n, cell))
            attempts.own[:] = bot.share
            found.append(attempts)
        return found

    def _silenced(self, fresh: Attempts, start_ms: int, end_ms: int) -> Done:
        """Checkouts that took place: where one is silent, the attempts leave no event."""
        for problem in self._book.active(CHECKOUT, start_ms, end_ms):
            lost = self._book.mask(problem)[fresh.cell] & (problem.added(fresh.time_ms) > 0)
            gone = fresh.take(lost)
            self._complain(problem, CHECKOUT, gone.time_ms, gone.customer, SILENCE_COMPLAINT_SHARE)
            fresh = fresh.take(~lost)
        n = len(fresh)
        return Done(CHECKOUT, fresh.time_ms, fresh.customer, fresh.cell, np.zeros(n, np.bool_), np.zeros(n, np.int64))

    def _settled(self, kind: Kind, moving: Moving, fresh: Attempts, start_ms: int, end_ms: int) -> Done:
        """Let attempts succeed or fail, and those that follow from failures, until the block has no more."""
        base = self._shop.base[kind.name] * np.exp(spread(moving.share())) * share_season((start_ms + end_ms) // 2)
        share = np.minimum(base, MAX_SHARE)
        active = self._book.active(kind, start_ms, end_ms)
        waiting = self._waiting[kind.name]
        due = waiting.time_ms < end_ms
        later, wave = [waiting.take(~due)], joined([fresh, waiting.take(due)])
        done: list[Done] = []
        while len(wave):
            bad, value = self._outcome(kind, wave, share, active)
            done.append(Done(kind, wave.time_ms, wave.customer, wave.cell, bad, value))
            following = self._following(wave.take(bad & ~wave.repeat & np.isnan(wave.own)))
            due = following.time_ms < end_ms
            later.append(following.take(~due))
            wave = following.take(due)
        self._waiting[kind.name] = joined(later)
        names = ("time_ms", "customer", "cell", "bad", "value")
        if not done:
            nothing = np.zeros(0, np.int64)
            return Done(kind, nothing, nothing, nothing, nothing.astype(np.bool_), nothing)
        return Done(kind, *(np.concatenate([getattr(d, name) for d in done]) for name in names))

    def _outcome(
        self, kind: Kind, wave: Attempts, share: Floats, active: list[Planted]
    ) -> tuple[NDArray[np.bool_], Ints]:
        """Which attempts fail, and their values; failures in a problem's span and `where` go into its book."""
        rng = self._rng
        ordinary = np.where(np.isnan(wave.own), share[wave.cell], wave.own)
        fine = [1 - np.where(self._book.mask(p)[wave.cell], p.added(wave.time_ms), 0.0) for p in active]
        p_with = 1 - (1 - ordinary) * np.prod(fine, axis=0) if active else ordinary
        u = rng.random(len(wave))
        u = np.where(wave.repeat, u * p_with, u)
        bad = (u < p_with) | wave.repeat
        self._ordinary_complaints(kind, wave.take(bad & ~wave.repeat))
        for i, problem in enumerate(active):
            inside = (wave.time_ms >= problem.onset_ms) & (wave.time_ms < problem.end_ms)
            rows = np.flatnonzero(bad & inside & self._book.mask(problem)[wave.cell])
            if not len(rows):
                continue
            others = np.prod([f[rows] for j, f in enumerate(fine) if j != i], axis=0) if len(fine) > 1 else 1.0
            p_without = 1 - (1 - ordinary[rows]) * others
            who, repeat = wave.customer[rows], wave.repeat[rows]
            because = self._book.note(problem, who, repeat, u[rows], p_without, p_with[rows])
            people = rows[because & np.isnan(wave.own[rows])]
            self._complain(problem, kind, wave.time_ms[people], wave.customer[people], COMPLAINT_SHARE)
        return bad, self._values(kind, u, p_with, bad)

    def _values(self, kind: Kind, u: Floats, p_with: Floats, bad: NDArray[np.bool_]) -> Ints:
        if kind is API:
            # Lognormal, shifted so that P(latency > limit) = p_with: a problem slows all of its calls.
            middle = np.log(LATENCY_LIMIT_MS) + LATENCY_SIGMA * ndtri(p_with)
            latency = np.exp(middle + LATENCY_SIGMA * ndtri(np.clip(1 - u, 1e-9, 1 - 1e-9)))
            rounded = np.rint(np.clip(latency, 8, 120_000)).astype(np.int64)
            slow, quick = np.maximum(rounded, LATENCY_LIMIT_MS + 1), np.minimum(rounded, LATENCY_LIMIT_MS - 1)
            latencies: Ints = np.where(bad, slow, quick)
            return latencies
        if kind is PAYMENT:
            amount: Ints = np.rint(self._rng.lognormal(np.log(150_000), 1.0, len(u)) / 500).astype(np.int64)
            return (amount + 10) * 500
        return np.zeros(len(u), np.int64)

    def _following(self, failed: Attempts) -> Attempts:
        """Draw what those who have just failed do next: repeat in a row, come back later, or leave it."""
        rng, n = self._rng, len(failed)
        length = np.where(rng.random(n) < ROW_SHARE, rng.integers(ROW_LENGTH[0] - 1, ROW_LENGTH[1], n), 0)
        who = np.repeat(np.arange(n), length)
        gaps = (4_000 + rng.exponential(20_000, len(who))).astype(np.int64)
        total = np.cumsum(gaps)
        ends = np.cumsum(length)
        before = np.concatenate([[0], total])[ends - length]
        repeats = failed.take(who)
        repeats.time_ms = repeats.time_ms + total - np.repeat(before, length)
        repeats.repeat[:] = True
        last = failed.time_ms + np.concatenate([[0], total])[ends] - before
        back = np.flatnonzero(rng.random(n) < COME_BACK_SHARE)
        again = failed.take(back)
        pause = rng.lognormal(np.log(25 * MINUTE_MS), 1.1, len(back))
        again.time_ms = last[back] + np.clip(pause, COME_BACK_MIN_MS, COME_BACK_MAX_MS).astype(np.int64)
        return joined([repeats, again])

    # --- contacts ---------------------------------------------------------------------------------------------------

    def _complain(self, problem: Planted, kind: Kind, time_ms: Ints, customer: Ints, share: float) -> None:
        rows = np.flatnonzero(self._book.complaining(self._rng, problem, customer, share))
        when = time_ms[rows] + complaint_delay_ms(self._rng, len(rows))
        self._contact(when, customer[rows], TOPIC_OF[kind.name], self._book.problems.index(problem))

    def _ordinary_complaints(self, kind: Kind, failed: Attempts) -> None:
        chosen = failed.take(np.flatnonzero(self._rng.random(len(failed)) < ORDINARY_COMPLAINT_SHARE))
        when = chosen.time_ms + complaint_delay_ms(self._rng, len(chosen))
        self._contact(when, chosen.customer, TOPIC_OF[kind.name], -1)

    def _background_contacts(self, start_ms: int, end_ms: int) -> None:
        mean = CONTACT_TRAFFIC * self._rate * season((start_ms + end_ms) // 2) * (end_ms - start_ms) / 1_000
        n = int(self._rng.poisson(mean))
        time_ms = self._rng.integers(start_ms, end_ms, n)
        topic = pick(self._rng, np.array(BACKGROUND_WEIGHTS), n)
        self._add(Contacts(time_ms, self._shop.customers.draw(self._rng, n), topic, np.full(n, -1)))

    def _contact(self, time_ms: Ints, customer: Ints, topic: str, problem: int) -> None:
        n = len(time_ms)
        self._add(Contacts(time_ms, customer, np.full(n, TOPICS.index(topic)), np.full(n, problem)))

    def _add(self, more: Contacts) -> None:
        names = [f.name for f in fields(Contacts)]
        self._contacts = Contacts(*(np.concatenate([getattr(self._contacts, k), getattr(more, k)]) for k in names))

"""Who and what there is: dimensions and how they hang together, the customers, how often which attempt fails.

Everything here stands still while a run goes on, except which app version a customer has: versions appear, grow over
days along a logistic curve and starve the old ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.config import DAY_MS
from detector.events import Floats, Ints
from models.simulate.sizes import SHOP, SIZES, Size

PLATFORMS = ("android", "ios")
TRAVEL_SHARE = 0.08
SECOND_BANK_SHARE = 0.2
OTHER_OTP_SHARE = 0.12
MISSING_SHARE = 0.02
"""Active customers whom the directory does not know."""


@dataclass(frozen=True)
class Kind:
    """One kind of event that customers attempt."""

    name: str
    signal: str
    dimensions: tuple[str, ...]
    traffic: float
    """Its part of all events."""
    bad_share: float
    """Failure share of an average cell; 0 where attempts have no outcome."""


LOGIN = Kind("login", "login-failures", ("app_version", "otp_provider", "city", "platform"), 0.36, 0.035)
PAYMENT = Kind("payment", "payment-declines", ("bank", "method", "city", "app_version"), 0.34, 0.045)
CHECKOUT = Kind("checkout", "checkout-silence", ("city", "platform", "app_version"), 0.12, 0.0)
API = Kind("api", "api-latency", ("endpoint", "city", "app_version"), 0.165, 0.025)
KINDS = (LOGIN, PAYMENT, CHECKOUT, API)
CONTACT_TRAFFIC = 0.015

LATENCY_LIMIT_MS = 2_000
"""`bad_above` of the latency signal."""
LATENCY_SIGMA = 0.75
"""Of the lognormal latencies."""


@dataclass(frozen=True)
class Release:
    """One app version: when it came out, and how fast it spreads."""

    name: str
    at_ms: int
    middle_days: float
    scale_days: float
    android_only: bool


def plan_releases(rng: np.random.Generator, start_ms: int, days: float) -> tuple[Release, ...]:
    """Versions on phones when the run begins, then a new one within its first 30 % and every 5 to 9 days."""
    offsets = [-90.0, -34.0, -19.0, -9.0]
    following = float(rng.uniform(0.1, 0.3)) * min(days, 5.0)
    while following < days:
        offsets.append(following)
        following += float(rng.uniform(5, 9))
    releases = []
    minor = int(rng.integers(8, 30))
    for i, offset in enumerate(offsets):
        android_only = i == 2
        minor += 0 if android_only else 1
        releases.append(
            Release(
                f"5.{minor}.{1 if android_only else 0}",
                start_ms + int(offset * DAY_MS),
                float(rng.uniform(1.2, 2.2)),
                float(rng.uniform(0.4, 0.7)),
                android_only,
            )
        )
    return tuple(releases)


class Customers:
    """The population: where they live, what they use, how active they are.

    Columns are int64[customers] indices into the tuples above; `activity` is float64[customers] with mean 1.
    """

    def __init__(self, rng: np.random.Generator, count: int, releases: tuple[Release, ...], size: Size) -> None:
        self.count = count
        self.city = pick(rng, size.cities.weights, count)
        self.platform = (rng.random(count) < 0.24).astype(np.int64)
        self.otp = pick(rng, size.otp_providers.weights, count)
        # Banks are regional: each city leans to other ones.
        lean = rng.lognormal(0.0, 0.5, (len(size.cities), len(size.banks))) * size.banks.weights
        self.bank = pick_row(rng, lean, self.city)
        self.second_bank = pick_row(rng, lean, self.city)
        self.activity = np.minimum(rng.lognormal(0.0, 0.9, count), 12.0)
        self.activity /= self.activity.mean()
        self.missing = rng.random(count) < MISSING_SHARE
        self.english = rng.random(count) < 0.15
        self.whatsapp = rng.random(count) < 0.8
        self.email = rng.random(count) < 0.6
        self.given = rng.integers(0, 1 << 30, count)
        self.family = rng.integers(0, 1 << 30, count)
        self._adopted_ms = self._adoption(rng, releases)
        # Drawing a customer is one look into a deck that holds each about as often as they are active.
        self._deck = np.repeat(np.arange(count), np.maximum(1, np.rint(self.activity * 12)).astype(np.int64))

    def _adoption(self, rng: np.random.Generator, releases: tuple[Release, ...]) -> list[Floats]:
        """Per release when each customer takes it (inf: never)."""
        # Some phones are too old for anything newer: shares of the population stuck to each of the first versions.
        stuck = pick(rng, np.array([0.08, 0.11, 0.13, 0.68]), self.count)
        lag_days = rng.uniform(0.1, 1.0, len(releases))
        found = []
        for i, release in enumerate(releases):
            u = np.clip(rng.random(self.count), 1e-9, 1 - 1e-9)
            delay = np.maximum(0.02, release.middle_days + release.scale_days * np.log(u / (1 - u)))
            delay += np.where(self.platform == 1, lag_days[i], 0.0)
            never = (stuck < 3) & (i > stuck)
            if release.android_only:
                never |= self.platform == 1
            at = release.at_ms + delay * DAY_MS
            found.append(np.where(never, np.inf, -np.inf if i == 0 else at))
        return found

    def versions(self, now_ms: int) -> Ints:
        """Which version each customer has: the newest they have taken by now."""
        version = np.zeros(self.count, np.int64)
        for i, adopted in enumerate(self._adopted_ms):
            version[adopted <= now_ms] = i
        return version

    def draw(self, rng: np.random.Generator, n: int) -> Ints:
        """N customers who do something, the active ones more often."""
        drawn: Ints = self._deck[rng.integers(0, len(self._deck), n)]
        return drawn


def pick(rng: np.random.Generator, weights: Floats, n: int) -> Ints:
    """N indices with probabilities proportional to `weights`."""
    edges = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(edges, rng.random(n), side="right"), len(weights) - 1)


_ROWS_AT_ONCE = 50_000
"""Keeps the table of a large population's choices small."""


def pick_row(rng: np.random.Generator, weights: Floats, row: Ints) -> Ints:
    """One column index per entry of `row`, with that row's weights (float64[rows, columns])."""
    edges = np.cumsum(weights, axis=1)
    edges /= edges[:, -1:]
    u = rng.random(len(row))
    column = np.empty(len(row), np.int64)
    for start in range(0, len(row), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        column[part] = (u[part, None] >= edges[row[part]]).sum(axis=1)
    found: Ints = np.minimum(column, weights.shape[1] - 1)
    return found


@dataclass(frozen=True)
class Dimensions:
    """The values of every dimension of a run."""

    values: dict[str, tuple[str, ...]]

    def sizes(self, kind: Kind) -> tuple[int, ...]:
        return tuple(len(self.values[d]) for d in kind.dimensions)

    def mask(self, kind: Kind, where: dict[str, int]) -> NDArray[np.bool_]:
        """Which cells of a kind lie in `where`: bool[cells], cells in mixed-radix order of the dimensions."""
        found = np.ones(1, np.bool_)
        for name, size in zip(kind.dimensions, self.sizes(kind), strict=True):
            inside = np.ones(size, np.bool_)
            if name in where:
                inside[:] = False
                inside[where[name]] = True
            found = np.logical_and.outer(found, inside).ravel()
        return found


def spread(per_dimension: list[Floats]) -> Floats:
    """Sum of one number per dimension value, for every cell: float64[cells].

    Examples
    --------
    >>> spread([np.array([0.0, 10.0]), np.array([1.0, 2.0])])
    array([ 1.,  2., 11., 12.])
    """
    total = np.zeros(1)
    for part in per_dimension:
        total = np.add.outer(total, part).ravel()
    return total


SHARE_RANGE = (0.005, 0.15)
EFFECT_SD = 0.35


class Shop:
    """The whole world that stands still: customers, dimensions, base failure shares, who uses what."""

    def __init__(
        self, rng: np.random.Generator, start_ms: int, days: float, customers: int, size: Size = SIZES[SHOP]
    ) -> None:
        self.size = size
        self.releases = plan_releases(rng, start_ms, days)
        self.dimensions = Dimensions(
            {
                "app_version": tuple(r.name for r in self.releases),
                "otp_provider": size.otp_providers.names,
                "city": size.cities.names,
                "platform": PLATFORMS,
                "bank": size.banks.names,
                "method": size.methods.names,
                "endpoint": size.endpoints.names,
            }
        )
        self.customers = Customers(rng, customers, self.releases, size)
        self.method_weights = rng.lognormal(0.0, 0.35, (len(size.banks), len(size.methods))) * size.methods.weights
        self.base = {kind.name: self._base(rng, kind) for kind in KINDS if kind.bad_share}

    def _base(self, rng: np.random.Generator, kind: Kind) -> Floats:
        """Failure share per cell: multiplicative effects of the values, kept within `SHARE_RANGE`."""
        effects = [rng.normal(0.0, EFFECT_SD, size) for size in self.dimensions.sizes(kind)]
        return np.clip(kind.bad_share * np.exp(spread([e - e.mean() for e in effects])), *SHARE_RANGE)

    def cells(self, rng: np.random.Generator, kind: Kind, customer: Ints, version: Ints) -> list[Ints]:
        """Per dimension of a kind the value that each attempt has, given who makes it: int64[attempts] each."""
        people, n = self.customers, len(customer)
        columns = []
        bank: Ints | None = None
        for name in kind.dimensions:
            if name == "app_version":
                columns.append(version[customer])
            elif name == "platform":
                columns.append(people.platform[customer])
            elif name == "city":
                columns.append(_mostly(rng, people.city[customer], self.size.cities.weights, TRAVEL_SHARE))
            elif name == "otp_provider":
                usual = self.size.otp_providers.weights
                columns.append(_mostly(rng, people.otp[customer], usual, OTHER_OTP_SHARE))
            elif name == "bank":
                second = rng.random(n) < SECOND_BANK_SHARE
                bank = np.where(second, people.second_bank[customer], people.bank[customer])
                columns.append(bank)
            elif name == "method" and bank is not None:
                columns.append(pick_row(rng, self.method_weights, bank))
            else:
                columns.append(pick(rng, self.size.endpoints.weights, n))
        return columns


def _mostly(rng: np.random.Generator, usual: Ints, weights: Floats, other_share: float) -> Ints:
    """Return the usual value, or by chance another one."""
    other = np.flatnonzero(rng.random(len(usual)) < other_share)
    usual = usual.copy()
    usual[other] = pick(rng, weights, len(other))
    return usual


def customers_for(rate: float) -> int:
    """Return the population that makes one person log in a few times a day at `rate` events/s."""
    return min(max(20_000, int(rate * 5_000)), 2_000_000)

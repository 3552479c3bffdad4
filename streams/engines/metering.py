"""Keeps the metrics up to date with what a run commits, and takes them off a store that nothing runs on."""

from collections import Counter
from dataclasses import dataclass

from detector.config import Config
from detector.pipeline import Effects
from streams.clock import Clock
from streams.engines.embedded import Runner
from streams.engines.operating import operating_points
from streams.metrics import Metrics, Spent
from streams.store import Store, queries
from streams.store.spending import spending


def metrics_of(store: Store, config: Config, now_ms: int) -> Metrics:
    """Return the metrics of a store as it stands."""
    metrics = Metrics(config)
    _begin(metrics, store)
    metrics.stand(operating_points(store), _spent(store, config, now_ms))
    return metrics


@dataclass
class Meter:
    """Follows a runner; `committed` is called after each of its commits."""

    metrics: Metrics
    runner: Runner
    clock: Clock

    def __post_init__(self) -> None:
        _begin(self.metrics, self.runner.store)
        self._stand()

    def committed(self, effects: Effects) -> None:
        self.metrics.take(effects)
        if effects.closed or effects.desk.cases:
            self._stand()

    def _stand(self) -> None:
        runner, closed_ms = self.runner, self.runner.pipeline.closed_until_ms
        if closed_ms is not None:
            self.metrics.closed_until(closed_ms)
        now_ms = self.clock.now_ms() if closed_ms is None else closed_ms
        self.metrics.stand(runner.pipeline.operating, _spent(runner.store, runner.config, now_ms))


def _begin(metrics: Metrics, store: Store) -> None:
    cases = queries.list_cases(store, finished=True, merged=True)
    metrics.begin(store.tally(), Counter((case.signals[0], case.mode.value) for case in cases))


def _spent(store: Store, config: Config, now_ms: int) -> list[Spent]:
    found = spending(store, config, now_ms, periods=1)
    return [Spent(s.of, s.budget.cases, s.budget.per_ms, s.spent) for s in found]

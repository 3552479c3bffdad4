"""The engines on their own, however they are interleaved, cut and taken over: the results of one process."""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detector.counter.gate import NEVER
from detector.errors import FencedError
from detector.events import Batch
from detector.pack import unpack
from streams.clock import SystemClock
from streams.engines.session import Run, session
from streams.engines.stages import Counting, Desking, Progress, Watching, flush, frontier_of, watched
from streams.intake.kafka import Messages
from streams.intake.quota import OVER, Quota
from streams.store import RECORDING, Store, open_store
from streams.store.directory import CustomerDirectory
from streams.store.documents import dump
from streams.store.engines import COUNT, Engines
from tests.servers.reading import Record
from tests.streams.shop import Shop

pytestmark = pytest.mark.slow

TOPIC = "events"


def dumped(db: Path) -> list[dict[str, Any]]:
    with open_store(db) as store:
        return list(dump(store))


def one_process(db: Path, run: Run, shop: Shop) -> list[dict[str, Any]]:
    with session(db, run, SystemClock(), mode=RECORDING) as found:
        found.read([str(shop.events)])
    return dumped(db)


@contextmanager
def begun(db: Path, run: Run) -> Iterator[Store]:
    """A store with the run's customers, and nothing else."""
    with open_store(db, tenant=run.config.tenant, create=True, customer_key=run.customer_key) as store:
        store.claim_mode(RECORDING)
        assert run.customers is not None
        CustomerDirectory(store, run.config.policy.channels).import_file(run.customers)
        yield store


class Topic:
    """A recording as the partitions of a topic."""

    def __init__(self, run: Run, shop: Shop, store: Store, partitions: int) -> None:
        from streams.engines.session import Aliases

        aliases = Aliases(CustomerDirectory(store, run.config.policy.channels), store.customer_key)
        self.run, self.keys, self.partitions = run, aliases.keys, partitions
        whole = run.format.decoder(run.config, aliases.keys, partitions)
        lines = shop.events.read_bytes().splitlines(keepends=True)
        self.lines: list[list[bytes]] = [[] for _ in range(partitions)]
        for line in lines:
            batch = whole.decode(line, 0)
            self.lines[int(batch.partition[0]) if len(batch.partition) else 0].append(line)

    def batch(self, partition: int, start: int, stop: int) -> Batch:
        decoder = self.run.format.decoder(self.run.config, self.keys)
        batch = decoder.decode(b"".join(self.lines[partition][start:stop]), 0)
        batch.position = batch.position + start
        return batch


class Workers:
    """All engines of a tenant in one process, each of which may be taken over at any time."""

    def __init__(self, store: Store, topic: Topic) -> None:
        config = topic.run.config
        self.topic, self.engines = topic, Engines(store, config.hash)
        self.counts = [Counting(config, TOPIC, p) for p in range(topic.partitions)]
        self.watches = [Watching(self.engines, config, signal.name) for signal in config.signals]
        self.desk = Desking(self.engines, config, SystemClock())
        stages: list[Counting | Watching | Desking] = [*self.counts, *self.watches, self.desk]
        for stage in stages:
            self.take_over(stage)

    def take_over(self, stage: Counting | Watching | Desking) -> None:
        (taken,) = self.engines.take_over([stage.name])
        stage.resume(taken)

    def feed(self, partition: int, rows: int) -> bool:
        count = self.counts[partition]
        start = count.next or 0
        stop = min(start + rows, len(self.topic.lines[partition]))
        if start < stop:
            count.feed(self.topic.batch(partition, start, stop), stop, -1)
        return start < stop

    def frontier(self) -> int:
        return frontier_of(self.engines.standings(COUNT), TOPIC, self.topic.partitions)

    def watch(self, watches: Iterable[Watching]) -> int:
        some = list(watches)
        for watch in some:
            watch.step(self.frontier())
        return watched(self.engines, some, 0)

    def end(self) -> None:
        for count, lines in zip(self.counts, self.topic.lines, strict=True):
            count.settle(len(lines))
        flush(self.engines, self.counts, 0)
        says = [unpack(of.body, Progress) for of in self.engines.standings(COUNT).values()]
        assert all(of.ended for of in says)
        for count in self.counts:
            count.close_until(max(of.highest_ms for of in says))
        flush(self.engines, self.counts, 0)
        while self.watch(self.watches):
            pass
        while self.desk.step():
            pass


@pytest.mark.parametrize(("partitions", "seed"), [(1, 1), (3, 2), (6, 3)])
def test_however_engines_are_interleaved_and_taken_over_the_results_are_those_of_one_process(
    partitions: int, seed: int, shop: Shop, tmp_path: Path
) -> None:
    run = replace(shop.run(), partitions=partitions)
    expected = one_process(tmp_path / "one.db", run, shop)
    assert len(expected) > 100
    chance = random.Random(seed)
    with begun(tmp_path / "many.db", run) as store:
        many = Workers(store, Topic(run, shop, store, partitions))
        while any([many.feed(p, chance.randrange(1, 2_000)) for p in range(partitions)]):
            if chance.random() < 0.3:
                flush(many.engines, chance.sample(many.counts, chance.randint(1, partitions)), 0)
            if chance.random() < 0.1:
                many.take_over(chance.choice(many.counts))
            if chance.random() < 0.2:
                many.watch(chance.sample(many.watches, chance.randint(1, len(many.watches))))
            if chance.random() < 0.1:
                chance.choice(many.watches).step(many.frontier())  # committed with others, later
            if chance.random() < 0.05:
                many.take_over(chance.choice(many.watches))
            if chance.random() < 0.2:
                many.desk.step()
            if chance.random() < 0.05:
                many.take_over(many.desk)
        many.end()
        assert list(dump(store)) == expected
    with open_store(tmp_path / "one.db") as one, open_store(tmp_path / "many.db") as two:
        assert one.tally() == two.tally()


def test_whom_an_engine_was_taken_from_writes_nothing_any_more(shop: Shop, tmp_path: Path) -> None:
    run = shop.run()
    with begun(tmp_path / "two.db", run) as store:
        topic = Topic(run, shop, store, 1)
        first = Workers(store, topic)
        first.feed(0, 5_000)
        flush(first.engines, first.counts, 0)
        first.feed(0, 5_000)
        second = Workers(store, topic)
        before = store.tally()
        for _ in range(2):
            with pytest.raises(FencedError, match="count/events/0"):
                flush(first.engines, first.counts, 0)
        with pytest.raises(FencedError, match="watch/"):
            first.watch(first.watches)
        assert store.tally() == before
        assert second.counts[0].next == 5_000
        second.feed(0, 5_000)
        flush(second.engines, second.counts, 0)


def test_whom_an_engine_was_taken_from_learns_it_without_writing(tmp_path: Path) -> None:
    with open_store(tmp_path / "idle.db", create=True) as store:
        engines = Engines(store, "hash")
        names = ["count/events/0", "count/events/1"]
        own = {taken.name: taken.epoch for taken in engines.take_over(names)}
        engines.hold(own)
        engines.hold({})
        engines.take_over(names[1:])
        with pytest.raises(FencedError, match=names[1]):
            engines.hold(own)


def test_while_a_partition_has_not_begun_no_window_is_taken(shop: Shop, tmp_path: Path) -> None:
    run = replace(shop.run(), partitions=2)
    with begun(tmp_path / "two.db", run) as store:
        many = Workers(store, Topic(run, shop, store, 2))
        many.feed(0, 20_000)
        flush(many.engines, many.counts, 0)
        assert many.frontier() == NEVER
        assert many.watch(many.watches) == many.desk.step() == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_over_a_quota_is_the_same_however_the_log_is_cut_and_the_engine_taken_over(
    seed: int, shop: Shop, tmp_path: Path
) -> None:
    run = shop.run()
    lines = shop.events.read_bytes().splitlines()[:3_000]
    chance = random.Random(seed)
    entered, records = 1_772_416_800_000, list[Record]()
    for offset, line in enumerate(lines):
        entered += chance.choice((0, 0, 0, 40))
        records.append(Record(line, timestamp=entered, offset=offset))

    def counted(db: Path, rows: Callable[[], int], lost: float) -> dict[str, Any]:
        with begun(db, run) as store:
            topic, engines = Topic(run, shop, store, 1), Engines(store, run.config.hash)
            messages = Messages(run.format.decoder(run.config, topic.keys))
            count = Counting(run.config, TOPIC, 0, Quota(4, 1))
            (taken,) = engines.take_over([count.name])
            count.resume(taken)
            while (start := count.next or 0) < len(records):
                some = records[start : start + rows()]
                count.feed(messages.batch(some, count.quota), some[-1].offset + 1, some[-1].timestamp)
                if chance.random() < lost:  # what is not committed is counted again
                    (taken,) = engines.take_over([count.name])
                    count.resume(taken)
                elif chance.random() < 0.5:
                    flush(engines, [count], 0)
            flush(engines, [count], 0)
            return store.tally()

    whole = counted(tmp_path / "whole.db", lambda: len(records), 0.0)
    assert 0 < whole["dropped"][OVER] < len(records)
    assert counted(tmp_path / "cut.db", lambda: chance.randrange(1, 400), 0.2)["dropped"] == whole["dropped"]

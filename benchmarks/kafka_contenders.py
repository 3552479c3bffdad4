"""One contender on Kafka, in a process of its own: counts a topic to its end and prints what it took.

    python -m benchmarks.kafka_contenders NAME JSON

The clock starts once a quarter is counted (connections, caches and compiled code are warm by then) and stops when all
is; a worker's only when all is committed as well. Exit code 3: a library is missing.
"""

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from benchmarks.kafka_events import Engine, Job, Naive, Sums, sums_of

MISSING = 3
POLL_RECORDS = 10_000
WARM = 4
"""The first of so many parts warms up."""


class Asked(msgspec.Struct):
    """What a contender is to do."""

    brokers: str
    topic: str
    ends: list[int]
    """How many messages each partition holds."""
    group: str
    messages_events: int = 1
    core: int | None = None
    config: str = ""
    """A worker's configuration folder."""
    db: str = ""
    go: str = ""
    """A file; where given, nothing is counted before it is there."""
    profile: str = ""


class Took(msgspec.Struct):
    """What it took, on the machine's monotonic clock."""

    sums: Sums
    counted: int
    """Events counted between the two moments."""
    begun_s: float
    ended_s: float
    cpu_s: float


class Stopwatch:
    """Starts after a quarter, stops at the end."""

    def __init__(self, asked: Asked, messages: int | None = None) -> None:
        self.total = sum(asked.ends) if messages is None else messages
        self._each = asked.messages_events
        self.done = 0
        self._begun: tuple[int, float, float] | None = None

    def took(self, messages: int) -> bool:
        """Note so many more messages counted; returns whether that is all."""
        self.done += messages
        if self._begun is None and self.done * WARM >= self.total:
            self._begun = (self.done, time.perf_counter(), time.process_time())
        return self.done >= self.total

    def stop(self, sums: Callable[[], Sums]) -> NoReturn:
        """Print what it took, and end the process, whatever its threads do."""
        ended_s, cpu_s = time.perf_counter(), time.process_time()
        assert self._begun is not None
        done, begun_s, begun_cpu_s = self._begun
        took = Took(sums(), (self.done - done) * self._each, begun_s, ended_s, cpu_s - begun_cpu_s)
        print(f"\n{msgspec.json.encode(took).decode()}", flush=True)
        os._exit(0)


# --- bare clients -----------------------------------------------------------------------------------------------------


def aiokafka_getmany(asked: Asked, job: Job) -> None:
    from aiokafka import AIOKafkaConsumer

    async def run() -> None:
        watch = Stopwatch(asked)
        consumer = AIOKafkaConsumer(
            asked.topic, bootstrap_servers=asked.brokers, group_id=asked.group, auto_offset_reset="earliest"
        )
        await consumer.start()
        while True:
            for tp, records in (await consumer.getmany(timeout_ms=1_000)).items():
                job.feed(tp.partition, records)
                if watch.took(len(records)):
                    watch.stop(job.sums)

    asyncio.run(run())


class Fetched:
    """A confluent-kafka message as the engine sees one."""

    __slots__ = ("headers", "offset", "timestamp", "value")

    def __init__(self, message: Any) -> None:
        self.value, self.offset = message.value(), message.offset()
        self.timestamp, self.headers = message.timestamp()[1], ()


def confluent_consume(asked: Asked, job: Job) -> None:
    from confluent_kafka import Consumer

    watch = Stopwatch(asked)
    given = {"bootstrap.servers": asked.brokers, "group.id": asked.group, "auto.offset.reset": "earliest"}
    consumer = Consumer(given)
    consumer.subscribe([asked.topic])
    while True:
        found: dict[int, list[Fetched]] = defaultdict(list)
        for message in consumer.consume(POLL_RECORDS, 0.1):
            if message.error() is not None:
                sys.exit(str(message.error()))
            found[message.partition()].append(Fetched(message))
        for partition, records in found.items():
            job.feed(partition, records)
            if watch.took(len(records)):
                watch.stop(job.sums)


# --- frameworks -------------------------------------------------------------------------------------------------------


def plain_faust(asked: Asked, job: Job) -> None:
    import faust

    assert isinstance(job, Naive)
    one, watch = job.one, Stopwatch(asked)
    app = faust.App(
        asked.group,
        broker=f"kafka://{asked.brokers}",
        store="memory://",
        value_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(asked.topic, value_type=bytes)

    @app.agent(topic)
    async def count(values: Any) -> None:
        async for value in values:
            one(value)
            if watch.took(1):
                watch.stop(job.sums)

    running = faust.Worker(app, loglevel="ERROR", redirect_stdouts=False, quiet=True)
    running.spinner = None
    running.execute_from_commandline()


def quixstreams(asked: Asked, job: Job) -> None:
    from quixstreams import Application

    assert isinstance(job, Naive)
    one, watch = job.one, Stopwatch(asked)

    def count(value: bytes) -> None:
        one(value)
        if watch.took(1):
            watch.stop(job.sums)

    app = Application(
        broker_address=asked.brokers, consumer_group=asked.group, auto_offset_reset="earliest", loglevel="ERROR"
    )
    app.dataframe(app.topic(asked.topic, value_deserializer="bytes")).update(count)
    app.run()


def bytewax(asked: Asked, job: Job) -> None:
    import bytewax.operators as op
    from bytewax.connectors.kafka import KafkaSource
    from bytewax.connectors.stdio import StdOutSink
    from bytewax.dataflow import Dataflow
    from bytewax.testing import run_main

    watch = Stopwatch(asked)

    def count(batch: list[Any]) -> list[Any]:
        for partition, group in groupby(batch, attrgetter("partition")):
            found: list[Any] = list(group)
            records = [Taken(message) for message in found] if isinstance(job, Engine) else found
            job.feed(partition, records)
            if watch.took(len(records)):
                watch.stop(job.sums)
        return []

    flow = Dataflow("count")
    source = KafkaSource(asked.brokers.split(","), [asked.topic], batch_size=POLL_RECORDS // 10)
    op.output("out", op.flat_map_batch("count", op.input("in", flow, source), count), StdOutSink())
    run_main(flow)


class Taken:
    """A bytewax message as the engine sees one."""

    __slots__ = ("headers", "offset", "timestamp", "value")

    def __init__(self, message: Any) -> None:
        self.value, self.offset, self.headers = message.value, message.offset, ()
        self.timestamp = message.timestamp[1]


# --- ours -------------------------------------------------------------------------------------------------------------


def worker(asked: Asked, _job: Job) -> None:
    """`tocsin worker --only count`: all of it, with its commits; only the end is looked out for."""
    from streams import logs
    from streams.clock import SystemClock
    from streams.engines.faust_app import App
    from streams.engines.kafka.count import CountRole
    from streams.engines.worker import Asked as Roles
    from streams.engines.worker import work
    from streams.kafka.client import kafka_settings
    from streams.settings import load

    profile = None
    take, enter = CountRole.take, App.take
    watches: list[Stopwatch] = []
    waiting = bool(asked.go)

    def sums(role: Any) -> Sums:
        store, out = role._shared.engines.store, Sums()
        for partition, stage in role._held.items():
            written = [record for record in _windows(store) if record.partition == partition]
            out.add(sums_of([*written, *stage.counter.end().closed]))
        return out

    async def let_in(app: Any, partition: int, fetched: Any) -> None:
        nonlocal waiting
        while waiting:
            waiting = not Path(asked.go).exists()
            await asyncio.sleep(0.01)
        await enter(app, partition, fetched)

    async def taken(role: Any, partition: int, fetched: Any) -> None:
        await take(role, partition, fetched)
        held = role._held
        if not watches:
            watches.append(Stopwatch(asked, sum(asked.ends[p] for p in held)))
        watch = watches[0]
        if watch.took(sum(stage.next or 0 for stage in held.values()) - watch.done):
            async with role._lock:
                await role._flush()
                if profile is not None:
                    profile.disable()
                    profile.dump_stats(asked.profile)
                watch.stop(lambda: sums(role))

    App.take = let_in  # type: ignore[assignment,method-assign]
    CountRole.take = taken  # type: ignore[assignment,method-assign]
    assigned = CountRole.assigned

    async def told(role: Any, partitions: frozenset[int]) -> Any:
        found = await assigned(role, partitions)
        print(json.dumps({"assigned": sorted(partitions)}), flush=True)
        return found

    CountRole.assigned = told  # type: ignore[assignment,method-assign]
    if asked.profile:
        import cProfile

        profile = cProfile.Profile()
        profile.enable()
    logs.configure("worker:count")
    settings = load(Path(asked.config))
    work(asked.db, settings, kafka_settings(settings, asked.brokers), Roles(("count",)), SystemClock())


def _windows(store: Any) -> Any:
    from streams.store.history import StoreHistory

    return StoreHistory(store).windows(0, 2**60)


CONTENDERS: dict[str, tuple[Callable[[Asked, Job], None], type[Naive] | type[Engine]]] = {
    "faust": (plain_faust, Naive),
    "quixstreams": (quixstreams, Naive),
    "bytewax-naive": (bytewax, Naive),
    "bytewax": (bytewax, Engine),
    "aiokafka": (aiokafka_getmany, Engine),
    "confluent": (confluent_consume, Engine),
    "worker": (worker, Engine),
}


def main() -> None:
    name, asked = sys.argv[1], msgspec.json.decode(sys.argv[2], type=Asked)
    del sys.argv[1:]  # some frameworks read it
    if asked.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {asked.core})
    run, job = CONTENDERS[name]
    try:
        run(asked, job())
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed", file=sys.stderr)
        sys.exit(MISSING)


if __name__ == "__main__":
    main()

"""Sets a worker up: what the brokers have, a store that is Kafka's, the customers, what reads the records."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec

from detector.errors import UsageError
from detector.stages import Effects
from streams.clock import Clock
from streams.engines.session import FORMAT, Aliases, Run, import_customers
from streams.intake.tenants import Naming
from streams.kafka.admin import administration
from streams.kafka.client import KafkaSettings
from streams.kafka.groups import refuse_another_store
from streams.settings import Settings
from streams.store import Store, open_store
from streams.store.directory import CustomerDirectory
from streams.store.engines import COUNT, Engines, Moved, claim_kafka_input, claim_nameless, identity
from streams.store.values import Commit

TOPIC_ID = "kafka-topic"
_log = logging.getLogger("tocsin.worker")


@dataclass(frozen=True)
class Asked:
    """What the command line wants of a worker."""

    roles: tuple[str, ...]
    drain: bool = False
    accept_loss: bool = False
    health: tuple[str, int] | None = None
    """Where the worker answers for itself; None: nowhere."""


def work(db: str, settings: Settings, kafka: KafkaSettings, asked: Asked, clock: Clock) -> None:
    """Work until asked to stop, or until all is drained.  Does not return.

    Raises
    ------
    TocsinError
        The store, the brokers or the topics can't be used.
    """
    from streams.engines.beside import Beside
    from streams.engines.kafka.run import run as run_roles
    from streams.engines.kafka.shared import Shared
    from streams.engines.reload import Kept
    from streams.engines.worker_health import Doing, Port
    from streams.intake.kafka import Messages

    there = topics(kafka)
    events, windows = there[kafka.topics.events], there[kafka.topics.windows]
    ends = input_ends(kafka) if asked.drain else None
    run = Run.of(settings)
    config = run.config
    with open_store(db, tenant=config.tenant, create=True, customer_key=run.customer_key) as store:
        _claim(store, kafka.topics.events, events)
        refuse_another_store(kafka, kafka.group_of(config.tenant, COUNT), identity(store), store.where)
        naming = naming_of(kafka, config.tenant)
        claim_nameless(store, kafka.topics.events, take=naming is not None and naming.takes_nameless)
        store.set_meta(f"{FORMAT}:{store.tenant}", msgspec.json.encode(run.format))
        directory = CustomerDirectory(store, config.policy.channels)
        for bad in import_customers(store, directory, run.customers)[:5]:
            _log.warning("customers: %s", bad)
        aliases = Aliases(directory, store.customer_key)
        messages = Messages(run.format.decoder(config, aliases.keys), run.format.name, naming)
        kept = Kept(settings, clock, _log.warning)
        shared = Shared(
            engines := Tallied(store, config.hash),
            config,
            kafka,
            events.partitions,
            messages,
            aliases,
            clock,
            doing := Doing(clock, read=messages.read, configuration=kept),
            lambda: Beside(store, settings, kafka, clock, lambda: kept.error),
            identity(store),
            lambda: _claim(store, kafka.topics.events, topics(kafka)[kafka.topics.events]),
            ends,
        )
        port = None if asked.health is None else Port(doing, *asked.health)
        kept.start()
        _log.info(
            "%s", _said(store, kafka, asked, events.partitions, config.tenant, None if port is None else port.port)
        )
        try:
            run_roles(shared, asked.roles, windows.partitions, accept_loss=asked.accept_loss)
        finally:
            how = "stopped"
            if asked.drain:
                how = "drained" if shared.done.issuperset(asked.roles) else "stopped before all was drained"
            read, _passed = messages.read()
            _log.info("%s: %s", how, engines.said(read))


class Tallied(Engines):
    """Counts what this process has written."""

    events = applied = windows = cases = 0

    def commit(self, moved: Sequence[Moved], effects: Effects, also: Commit | None = None, **more: Any) -> None:
        super().commit(moved, effects, also, **more)
        self.events += effects.records
        self.applied += effects.applied
        self.windows += effects.closed
        self.cases += sum(entry.what == "opened" for entry in effects.desk.timeline)

    def said(self, read: int) -> str:
        """Return what came of the records that were read."""
        return (
            f"{read:,} records read; {self.events:,} events committed, of them {self.applied:,} counted; "
            f"{self.windows:,} windows closed, {self.cases:,} cases opened"
        )


def _said(store: Store, kafka: KafkaSettings, asked: Asked, partitions: int, tenant: str, port: int | None) -> str:
    """Return what is worked on, with whom, and where it can be asked."""
    groups = ", ".join(kafka.group_of(tenant, role) for role in asked.roles)
    where = "off" if asked.health is None else f"http://{asked.health[0]}:{port}/readyz"
    return (
        f"Tocsin {version('tocsin')}: worker ({', '.join(asked.roles)}) for the tenant {tenant} "
        f"on the store {store.where}; input {kafka.topics.events} ({partitions} partitions) at {kafka.bootstrap}; "
        f"groups {groups}; instance {kafka.instance or 'unnamed'}; health {where}"
    )


def naming_of(kafka: KafkaSettings, tenant: str) -> Naming | None:
    """Return which of the input's records are a tenant's; None: all."""
    of = kafka.tenant
    if of is None:
        return None
    return Naming(tenant, of.header, of.field, takes_nameless=of.unnamed == "dead", others=frozenset(of.others))


@dataclass(frozen=True)
class Topic:
    """A topic that is there."""

    partitions: int
    id: str
    """What tells it from one of the same name that was made after it."""


def _claim(store: Store, name: str, found: Topic) -> None:
    claim_kafka_input(store, name, found.partitions)
    claim_topic(store, name, found.id)


def claim_topic(store: Store, name: str, id: str) -> None:
    """Remember which topic a new store's offsets are of.

    Raises
    ------
    UsageError
        They are of one that was deleted.
    """
    key = f"{TOPIC_ID}:{store.tenant}"
    found = store.meta(key)
    if found is None:
        store.set_meta(key, id.encode())
    elif found.decode() != id:
        message = (
            f"{name}: was deleted and made again since {store.where} read from it (or the brokers are others): "
            "the store's offsets are none of this one's; give --db a new store, or that topic back"
        )
        raise UsageError(message)


def topics(kafka: KafkaSettings) -> dict[str, Topic]:
    """Return the topics that a worker needs, as the brokers have them.

    Raises
    ------
    UsageError
        One is missing.
    UnreachableError
        No broker answers.
    """
    wanted = [kafka.topics.events, kafka.topics.windows, kafka.topics.anomalies]
    with administration(kafka) as client:
        found = {
            topic["name"]: Topic(len(topic["partitions"]), str(topic["topic_id"]))
            for topic in client.describe_topics(wanted)
            if not topic["error_code"]
        }
    missing = [name for name in wanted if name not in found]
    if missing:
        message = f"{kafka.bootstrap}: has no topic {', '.join(missing)}; `tocsin topics create` makes them"
        raise UsageError(message)
    return found


def input_ends(kafka: KafkaSettings) -> dict[int, int]:
    """Return where the input's partitions end now.

    Raises
    ------
    UnreachableError
        No broker answers.
    """
    from kafka.admin import OffsetSpec
    from kafka.structs import TopicPartition

    topic = kafka.topics.events
    with administration(kafka) as client:
        (found,) = client.describe_topics([topic])
        wanted = {TopicPartition(topic, of["partition_index"]): OffsetSpec.LATEST for of in found["partitions"]}
        return {tp.partition: int(of.offset) for tp, of in client.list_partition_offsets(wanted).items()}

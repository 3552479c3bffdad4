"""Which topics there should be, how what is there differs, and what to do about it.

| topic | carries | partitions | kept |
|---|---|---|---|
| events | what comes in; its partitions are the Counters | `kafka.partitions` | `kafka.retention` |
| windows, anomalies | pointers that wake the next engine; lost ones do no harm | as the input; one | a day |
| cases | the case feed; of each case, customer and notice the last stays | one | eight weeks |
| dead | what was no event | one | a week |

What tocsin.yml does not say (`KafkaSettings.said`) only decides how a topic is made: one that is there and differs is
left as it is. The input's partitions are never changed: customers would move to other Counters, and what those know of
them would not.
"""

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

from detector.config import DAY_MS
from detector.fields import duration_text
from streams.kafka.admin import in_words, patiently
from streams.kafka.client import KafkaSettings

LEAST_KEPT_MS = 7 * DAY_MS
"""Below it an outage over a long weekend may lose events."""
WAKE_KEPT_MS = DAY_MS
CASES_KEPT_MS = 56 * DAY_MS
DEAD_KEPT_MS = 7 * DAY_MS
FOR_EVER = -1

_RETENTION, _CLEANUP, _LARGEST, _IN_SYNC = "retention.ms", "cleanup.policy", "max.message.bytes", "min.insync.replicas"
_UNKNOWN_TOPIC, _NOT_ALLOWED = 3, 29
_SEEN_S = 10.0
_BEHIND = "partitions with copies that are behind"


class Role(StrEnum):
    """What a topic is for."""

    EVENTS = "events"
    WINDOWS = "windows"
    ANOMALIES = "anomalies"
    CASES = "cases"
    DEAD = "dead"


_NEEDS = {Role.EVENTS: ("READ",), Role.WINDOWS: ("READ", "WRITE"), Role.ANOMALIES: ("READ", "WRITE")}
"""What we do with a topic; the outputs are only written."""


@dataclass(frozen=True)
class Topic:
    """A topic as it should be.

    Attributes
    ----------
    configs
        What is set on it, by Kafka's names.
    lenient
        Of `configs`, `partitions` and `replication`: what only decides how it is made.
    """

    name: str
    role: Role
    partitions: int
    replication: int
    configs: Mapping[str, str]
    lenient: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """A topic as it is; `unwritable` and `short` count partitions with too few copies in step."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    without_leader: int = 0
    unwritable: int = 0
    short: int = 0
    allowed: frozenset[str] | None = None
    """What we may do with it; None where the brokers do not say."""
    hidden: bool = False
    """We may not even look at it."""


class Way(StrEnum):
    """How a difference is dealt with."""

    CREATE = "create"
    ALTER = "alter"
    GROW = "grow"
    PERSON = "person"
    """Nothing we would do by ourselves."""


@dataclass(frozen=True)
class Difference:
    """One thing that is wrong, or (`Plan.warnings`) not well: what was found, what is wanted, what to do."""

    topic: str
    what: str
    found: str
    wanted: str
    do: str
    way: Way = Way.PERSON

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}: found {self.found}, wanted {self.wanted} ({self.do})"


@dataclass(frozen=True)
class Plan:
    """What stands between the topics as they are and as they should be."""

    brokers: int
    wanted: tuple[Topic, ...]
    found: Mapping[str, Found]
    errors: tuple[Difference, ...] = ()
    warnings: tuple[Difference, ...] = field(default=())


def wanted_topics(settings: KafkaSettings, brokers: int, input_partitions: int | None = None) -> tuple[Topic, ...]:
    """Return the topics as they should be on so many brokers; `input_partitions` are those of an input that exists."""
    copies = settings.replication or min(3, brokers)
    common = {_IN_SYNC: "2" if copies >= 3 else "1"}
    unsaid = frozenset() if "replication" in settings.said else frozenset({"replication", _IN_SYNC})

    def topic(role: Role, partitions: int, kept_ms: int | None, policy: str = "delete", **more: str) -> Topic:
        configs = {_CLEANUP: policy, _RETENTION: str(FOR_EVER if kept_ms is None else kept_ms), **common}
        return Topic(getattr(settings.topics, role), role, partitions, copies, configs | more, unsaid)

    events = topic(Role.EVENTS, settings.partitions, settings.retention_ms)
    fields = {"partitions": "partitions", "retention": _RETENTION, "message_bytes": _LARGEST}
    return (
        replace(
            events,
            configs={**events.configs, _LARGEST: str(settings.message_bytes)},
            lenient=unsaid | {key for name, key in fields.items() if name not in settings.said},
        ),
        topic(Role.WINDOWS, input_partitions or settings.partitions, WAKE_KEPT_MS),
        topic(Role.ANOMALIES, 1, WAKE_KEPT_MS),
        topic(Role.CASES, 1, CASES_KEPT_MS, "compact,delete"),
        topic(Role.DEAD, 1, DEAD_KEPT_MS),
    )


def compared(wanted: Sequence[Topic], found: Mapping[str, Found], brokers: int, group: str = "") -> Plan:
    """Return what stands between the topics as they are (`found`, all of the cluster) and as they should be."""
    errors: list[Difference] = []
    warnings: list[Difference] = []
    for topic in wanted:
        there = found.get(topic.name)
        if there is None:
            size = f"{topic.partitions} partition(s), {topic.replication} cop{'y' if topic.replication == 1 else 'ies'}"
            do = "`tocsin topics create` makes it"
            if topic.replication > brokers:
                do = f"there are only {brokers} broker(s): start more, or lower kafka.replication"
            errors.append(Difference(topic.name, "topic", "none", size, do, Way.CREATE))
        elif there.hidden:
            do = "let this user describe it: kafka-acls.sh --operation Describe"
            errors.append(Difference(topic.name, "rights", "a topic we may not look at", "Describe", do))
        else:
            errors += _wrong(topic, there)
            warnings += _not_well(topic, there, brokers)
    warnings += _leftover(wanted, found, group)
    return Plan(brokers, tuple(wanted), dict(found), tuple(errors), tuple(warnings))


def _wrong(topic: Topic, found: Found) -> Iterator[Difference]:
    yield from _partitions(topic, found)
    if found.replication != topic.replication and "replication" not in topic.lenient:
        do = "kafka-reassign-partitions.sh moves copies, which takes time and network"
        yield Difference(topic.name, "copies", str(found.replication), str(topic.replication), do)
    for key, value in topic.configs.items():
        is_there = found.configs.get(key, "")
        if _same(key, is_there, value) or key in topic.lenient:
            continue
        do = "`tocsin topics create` alters it"
        yield Difference(topic.name, key, is_there or "nothing", value, do, Way.ALTER)
    if found.without_leader:
        do = "nothing can be read or written there until their brokers are back"
        yield Difference(topic.name, "partitions without a broker", str(found.without_leader), "0", do)
    if found.unwritable:
        do = "nothing can be written there until more brokers are back"
        yield Difference(topic.name, "partitions below min.insync.replicas", str(found.unwritable), "0", do)
    missing = [right for right in _NEEDS.get(topic.role, ("WRITE",)) if right not in (found.allowed or {right})]
    if missing:
        do = "give them to this user: kafka-acls.sh --add"
        allowed = " and ".join(right.capitalize() for right in missing)
        yield Difference(topic.name, "rights", f"not {allowed}", allowed, do)


def _partitions(topic: Topic, found: Found) -> Iterator[Difference]:
    differ = found.partitions != topic.partitions
    if topic.role is Role.EVENTS:
        if differ and "partitions" not in topic.lenient:
            do = (
                f"an input's partitions are not changed: customers would move between Counters. Set kafka.partitions: "
                f"{found.partitions}, or name a new topic in kafka.topics.events"
            )
            yield Difference(topic.name, "partitions", str(found.partitions), str(topic.partitions), do)
    elif found.partitions < topic.partitions:
        do = "`tocsin topics create` adds them"
        yield Difference(topic.name, "partitions", str(found.partitions), str(topic.partitions), do, Way.GROW)


def _not_well(topic: Topic, found: Found, brokers: int) -> Iterator[Difference]:
    if found.replication == 1 and brokers > 1:
        do = "it is gone with its broker; kafka-reassign-partitions.sh adds copies"
        yield Difference(topic.name, "copies", "1", str(min(3, brokers)), do)
    if found.short and not found.unwritable:
        do = "a broker is down, or behind"
        yield Difference(topic.name, _BEHIND, str(found.short), "0", do)
    if topic.role is not Role.EVENTS:
        return
    kept_ms = _number(found.configs.get(_RETENTION))
    if kept_ms is not None and 0 <= kept_ms < LEAST_KEPT_MS:
        do = "events that were not read by then are lost: kafka.retention"
        yield Difference(topic.name, "kept", duration_text(kept_ms), f"{duration_text(LEAST_KEPT_MS)} or more", do)
    kept_bytes = _number(found.configs.get("retention.bytes"))
    if kept_bytes is not None and kept_bytes >= 0:
        do = "a burst of traffic may push out events that were not read yet: retention.bytes=-1"
        yield Difference(topic.name, "kept by size", f"{kept_bytes} bytes a partition", "no such limit", do)
    if "compact" in found.configs.get(_CLEANUP, ""):
        do = "of a customer's events only the last would stay"
        yield Difference(topic.name, _CLEANUP, found.configs[_CLEANUP], "delete", do)


def _leftover(wanted: Sequence[Topic], found: Mapping[str, Found], group: str) -> Iterator[Difference]:
    """Yield the topics that look like ours and are not."""
    names = {topic.name for topic in wanted}
    begins = {name.rpartition(".")[0] + "." for name in names if "." in name} | ({f"{group}-"} if group else set())
    for name in sorted(found):
        if name not in names and name.startswith(tuple(begins)):
            do = "nothing of this configuration uses it; delete it if nobody else does"
            yield Difference(name, "topic", "one that is left over", "none", do)


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _same(key: str, one: str, other: str) -> bool:
    return set(one.split(",")) == set(other.split(",")) if key == _CLEANUP else one == other


# --- the cluster ------------------------------------------------------------------------------------------------------


def looked_at(client: Any, settings: KafkaSettings) -> Plan:
    """Return how the cluster's topics differ from those that settings want; `client` is of `administration`."""
    return patiently(lambda: _looked_at(client, settings))


def _looked_at(client: Any, settings: KafkaSettings) -> Plan:
    from kafka.admin import ConfigResource

    brokers = len(client.describe_cluster()["brokers"])
    ours = [str(getattr(settings.topics, role)) for role in Role]
    described = {topic["name"]: topic for topic in client.describe_topics(ours)}
    there = [name for name in ours if described[name]["error_code"] != _UNKNOWN_TOPIC]
    readable = [name for name in there if described[name]["error_code"] != _NOT_ALLOWED]
    configs: dict[str, dict[str, str]] = {name: {} for name in readable}
    if readable:
        resources = [ConfigResource("TOPIC", name, configs=None) for name in readable]
        for name, values in client.describe_configs(resources, config_filter="all").get("topic", {}).items():
            configs[name] = {key: str(value["value"]) for key, value in values.items()}
    found = {name: _found(described[name], configs.get(name, {})) for name in there}
    there_already = found.get(settings.topics.events)
    wanted = wanted_topics(settings, brokers, there_already.partitions if there_already else None)
    others = {name: Found(name, 0, 0, {}) for name in client.list_topics() if name not in found}
    return compared(wanted, others | found, brokers, settings.group)


def _found(described: Mapping[str, Any], configs: Mapping[str, str]) -> Found:
    partitions = described["partitions"]
    least = _number(configs.get(_IN_SYNC)) or 1
    in_step = [len(partition["isr_nodes"]) for partition in partitions]
    copies = [len(partition["replica_nodes"]) for partition in partitions]
    allowed = described.get("authorized_operations")
    return Found(
        name=described["name"],
        partitions=len(partitions),
        replication=min(copies, default=0),
        configs=configs,
        without_leader=sum(partition["leader_id"] < 0 for partition in partitions),
        unwritable=sum(count < least for count in in_step),
        short=sum(count < all_of_them for count, all_of_them in zip(in_step, copies, strict=True)),
        allowed=None if allowed is None else frozenset(allowed),
        hidden=described["error_code"] == _NOT_ALLOWED,
    )


def put_right(client: Any, settings: KafkaSettings, plan: Plan) -> tuple[list[Difference], list[str], Plan]:
    """Create what is missing and alter what differs, as far as a plan says that we do; waits until it can be seen.

    Returns
    -------
    done : list of Difference
    refused : list of str
        What the brokers did not do, in words.
    after : Plan
        How the topics differ now.
    """
    topics = {topic.name: topic for topic in plan.wanted}
    done: list[Difference] = []
    refused: list[str] = []
    for way, act in ((Way.CREATE, _create), (Way.GROW, _grow), (Way.ALTER, _alter)):
        for difference in plan.errors:
            if difference.way is not way:
                continue
            why = patiently(partial(act, client, topics[difference.topic], difference))
            if why:
                refused.append(f"{difference.topic}: {why}")
            else:
                done.append(difference)
    return done, refused, _seen(client, settings, plan, {difference.topic for difference in done})


def _seen(client: Any, settings: KafkaSettings, before: Plan, changed: Set[str]) -> Plan:
    """Return how the topics stand once what was changed is seen: brokers hear of it one after the other."""
    until = time.monotonic() + _SEEN_S
    for_a_person = {(one.topic, one.what) for one in before.errors if one.way is Way.PERSON}
    while True:
        plan = looked_at(client, settings)
        behind = [one for one in plan.errors if (one.topic, one.what) not in for_a_person]
        behind += [one for one in plan.warnings if one.what == _BEHIND]
        if changed.isdisjoint(one.topic for one in behind) or time.monotonic() > until:
            return plan
        time.sleep(0.05)


def _create(client: Any, topic: Topic, _: Difference) -> str:
    given = {
        "num_partitions": topic.partitions,
        "replication_factor": topic.replication,
        "configs": dict(topic.configs),
    }
    (answer,) = client.create_topics({topic.name: given}, raise_errors=False)["topics"]
    return _refusal(answer)


def _grow(client: Any, topic: Topic, _: Difference) -> str:
    (answer,) = client.create_partitions({topic.name: topic.partitions}, raise_errors=False)["results"]
    return _refusal(answer)


def _alter(client: Any, topic: Topic, difference: Difference) -> str:
    from kafka.admin import ConfigResource

    resource = ConfigResource("TOPIC", topic.name, configs={difference.what: difference.wanted})
    try:
        answer = str(client.alter_configs([resource])["topic"][topic.name])
    except (KeyError, ValueError) as error:
        return in_words(error)
    return "" if answer == "OK" else answer


def _refusal(answer: Mapping[str, Any]) -> str:
    """Return why a broker did not do it; somebody else having done it is as good."""
    from kafka.errors import TopicAlreadyExistsError, for_code

    code = answer["error_code"]
    if code in (0, TopicAlreadyExistsError.errno):
        return ""
    return str(answer.get("error_message") or for_code(code).__name__.removesuffix("Error"))

"""Which topics there should be: what is wrong is named with what to do, and never the input's partitions changed."""

from dataclasses import replace
from typing import Any

import pytest

from detector.config import DAY_MS
from streams.kafka.client import KafkaSettings
from streams.kafka.topics import Found, Plan, Role, Topic, Way, compared, wanted_topics

SAID = frozenset({"partitions", "replication", "retention", "message_bytes"})
SETTINGS = KafkaSettings(("localhost:9092",), said=SAID)


def _as_wanted(topic: Topic) -> Found:
    return Found(topic.name, topic.partitions, topic.replication, topic.configs)


def _plan(settings: KafkaSettings = SETTINGS, brokers: int = 3, **changed: Any) -> Plan:
    """Return the plan where the input differs by `changed` and all else is as it should be."""
    wanted = wanted_topics(settings, brokers)
    found = {topic.name: _as_wanted(topic) for topic in wanted}
    found["tocsin.events"] = replace(found["tocsin.events"], **changed)
    return compared(wanted, found, brokers, settings.group)


def _configs(**changed: str) -> dict[str, str]:
    (events,) = [topic for topic in wanted_topics(SETTINGS, 3) if topic.role is Role.EVENTS]
    return {**events.configs, **{key.replace("_", "."): value for key, value in changed.items()}}


def test_topics_as_wanted_give_nothing_to_do() -> None:
    plan = _plan()
    assert not plan.errors and not plan.warnings


@pytest.mark.parametrize(("brokers", "copies", "in_sync"), [(1, 1, "1"), (2, 2, "1"), (3, 3, "2"), (9, 3, "2")])
def test_copies_are_three_or_as_many_as_there_are_brokers(brokers: int, copies: int, in_sync: str) -> None:
    for topic in wanted_topics(replace(SETTINGS, said=frozenset()), brokers):
        assert (topic.replication, topic.configs["min.insync.replicas"]) == (copies, in_sync)


def test_an_input_without_end_is_kept_for_ever() -> None:
    events = wanted_topics(replace(SETTINGS, retention_ms=None), 1)[0]
    assert events.configs["retention.ms"] == "-1"


def test_the_case_feed_keeps_the_last_of_each() -> None:
    policies = {topic.role: topic.configs["cleanup.policy"] for topic in wanted_topics(SETTINGS, 1)}
    assert policies.pop(Role.CASES) == "compact,delete" and set(policies.values()) == {"delete"}


@pytest.mark.parametrize(
    ("changed", "what", "way"),
    [
        pytest.param({"partitions": 4}, "partitions", Way.PERSON, id="fewer partitions"),
        pytest.param({"partitions": 8}, "partitions", Way.PERSON, id="more partitions"),
        pytest.param({"replication": 1}, "copies", Way.PERSON, id="copies"),
        pytest.param({"configs": _configs(retention_ms="1000")}, "retention.ms", Way.ALTER, id="kept"),
        pytest.param({"configs": _configs(max_message_bytes="1000")}, "max.message.bytes", Way.ALTER, id="largest"),
        pytest.param({"configs": _configs(cleanup_policy="compact")}, "cleanup.policy", Way.ALTER, id="compacted"),
        pytest.param({"without_leader": 2}, "partitions without a broker", Way.PERSON, id="no leader"),
        pytest.param({"unwritable": 1}, "partitions below min.insync.replicas", Way.PERSON, id="unwritable"),
        pytest.param({"allowed": frozenset({"WRITE"})}, "rights", Way.PERSON, id="rights"),
        pytest.param({"hidden": True}, "rights", Way.PERSON, id="hidden"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(changed: dict[str, Any], what: str, way: Way) -> None:
    (error,) = _plan(**changed).errors
    assert (error.topic, error.what, error.way) == ("tocsin.events", what, way)
    assert error.do and error.found != error.wanted


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        pytest.param({"short": 1}, "partitions with copies that are behind", id="behind"),
        pytest.param({"configs": _configs(retention_bytes="1000")}, "kept by size", id="kept by size"),
    ],
)
def test_what_is_not_well_is_a_warning(changed: dict[str, Any], what: str) -> None:
    plan = _plan(**changed)
    assert not plan.errors and [warning.what for warning in plan.warnings] == [what]


def test_a_short_retention_is_a_warning() -> None:
    plan = _plan(replace(SETTINGS, retention_ms=6 * DAY_MS))
    assert not plan.errors and [(w.what, w.found) for w in plan.warnings] == [("kept", "6d")]


def test_what_the_settings_do_not_say_stays_as_it_is() -> None:
    unsaid = replace(SETTINGS, said=frozenset())
    plan = _plan(unsaid, partitions=12, configs=_configs(retention_ms="-1", max_message_bytes="5000000"))
    assert not plan.errors and not plan.warnings


def test_one_copy_on_several_brokers_is_a_warning() -> None:
    plan = _plan(replace(SETTINGS, said=frozenset()), replication=1)
    assert not plan.errors and [warning.what for warning in plan.warnings] == ["copies"]


def test_an_internal_topic_may_grow() -> None:
    wanted = wanted_topics(SETTINGS, 3)
    found = {topic.name: _as_wanted(topic) for topic in wanted}
    found["tocsin.windows"] = replace(found["tocsin.windows"], partitions=2)
    (error,) = compared(wanted, found, 3).errors
    assert (error.topic, error.way) == ("tocsin.windows", Way.GROW)
    found["tocsin.windows"] = replace(found["tocsin.windows"], partitions=20)
    assert not compared(wanted, found, 3).errors


def test_a_topic_of_ours_that_nobody_uses_is_a_warning_and_others_are_not() -> None:
    wanted = wanted_topics(SETTINGS, 3)
    others = ["tocsin.old", "tocsin-__assignor-__leader", "orders", "tocsins", "__consumer_offsets"]
    found = {topic.name: _as_wanted(topic) for topic in wanted} | {name: Found(name, 1, 1, {}) for name in others}
    assert [w.topic for w in compared(wanted, found, 3, "tocsin").warnings] == others[1::-1]


def test_more_copies_than_brokers_says_so() -> None:
    wanted = wanted_topics(replace(SETTINGS, replication=3), 1)
    errors = compared(wanted, {}, 1).errors
    assert len(errors) == 5 and all("there are only 1 broker(s)" in error.do for error in errors)

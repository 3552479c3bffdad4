"""`tocsin topics`: makes the topics on Kafka, and says what is wrong with those that are there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.errors import ConfigError, Problem
from detector.fields import duration_text, parse_duration_ms, shown
from streams.cli import common
from streams.cli.common import DONE, NO, brokers_option, config_option, json_option, option

if TYPE_CHECKING:
    from streams.kafka.client import KafkaSettings
    from streams.kafka.topics import Difference, Found, Plan, Topic

_EXITS = {NO: "something is wrong with the topics, and was not put right"}


@common.group(example="tocsin topics create --partitions 12 --retention 14d\ntocsin topics check --config shop --json")
def command() -> None:
    """Create Kafka's topics, or say what is wrong with them.

    docs/kafka.md tells what they carry.
    """


def _sizes(function: common.F) -> common.F:
    partitions = option(
        "--partitions",
        type=click.IntRange(1, 1_000),
        metavar="N",
        help="Partitions of the input, instead of tocsin.yml's (6): at most so many workers count.",
    )
    retention = option(
        "--retention",
        metavar="DURATION",
        help="How long the input is kept, such as 14d, or none for ever; instead of tocsin.yml's (7d).",
    )
    return partitions(retention(function))


@command.command("create", example="tocsin topics create --partitions 12 --retention none", exits=_EXITS)
@_sizes
@config_option
@brokers_option
@json_option
def create_command(as_json: bool, **given: Any) -> int:
    """Create the topics that are missing, and alter the settings of those that differ.

    An input that exists keeps its partitions: with others, customers would move between Counters.
    """
    from streams.kafka.admin import administration
    from streams.kafka.topics import Way, looked_at, put_right

    settings, tenant = _settings(**given)
    with administration(settings) as client:
        before = looked_at(client, settings)
        for difference in before.errors:
            if difference.way is not Way.PERSON:
                common.say(_intent(difference))
        done, refused, after = put_right(client, settings, before)
    return _tell(after, as_json, _Whose.of(settings, tenant), done, refused)


@command.command("check", example="tocsin topics check --brokers kafka-1:9092", exits=_EXITS)
@_sizes
@config_option
@brokers_option
@json_option
def check_command(as_json: bool, **given: Any) -> int:
    """Say how the topics differ from what is wanted, what is wrong with them, and what to do."""
    from streams.kafka.admin import administration
    from streams.kafka.topics import looked_at

    settings, tenant = _settings(**given)
    with administration(settings) as client:
        plan = looked_at(client, settings)
    return _tell(plan, as_json, _Whose.of(settings, tenant))


def _settings(
    config: Path | None, brokers: str | None, partitions: int | None, retention: str | None
) -> tuple["KafkaSettings", str]:
    from streams.kafka.client import DEFAULT_TENANT, kafka_settings, of_section
    from streams.sections import KafkaSection
    from streams.settings import load

    tenant = DEFAULT_TENANT
    if config is None:
        settings = of_section(KafkaSection(), Path(), brokers)
    else:
        loaded = load(config)
        settings, tenant = kafka_settings(loaded, brokers), loaded.config.tenant
    if partitions is not None:
        settings = replace(settings, partitions=partitions, said=settings.said | {"partitions"})
    if retention is not None:
        settings = replace(settings, retention_ms=_retention_ms(retention), said=settings.said | {"retention"})
    return settings, tenant


@dataclass(frozen=True)
class _Whose:
    """Whose configuration it is, which records are its own, and in which groups its workers work."""

    tenant: str
    by: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, settings: "KafkaSettings", tenant: str) -> "_Whose":
        naming = settings.tenant
        by = "" if naming is None else f"header {naming.header}" if naming.header else f"field {naming.field}"
        return cls(tenant, by, tuple(settings.group_of(tenant, role) for role in ("count", "watch", "desk")))

    def __str__(self) -> str:
        own = f"the records whose {self.by} says so" if self.by else "the whole input"
        return f"Tenant {self.tenant}: {own}; groups {', '.join(self.groups)}."


def _retention_ms(text: str) -> int | None:
    """Read a duration, or none."""
    from detector.config import DAY_MS, HOUR_MS

    ms = None if text == "none" else parse_duration_ms(text)
    if text != "none" and (ms is None or not HOUR_MS <= ms <= 3_650 * DAY_MS):
        raise ConfigError([Problem("--retention", shown(text), "a duration from 1h to 3650d such as 14d, or none")])
    return ms


def _intent(difference: "Difference") -> str:
    from streams.kafka.topics import Way

    if difference.way is Way.CREATE:
        return f"{difference.topic}: creating it with {difference.wanted}"
    return f"{difference.topic}: {difference.what}: {difference.found} → {difference.wanted}"


def _tell(
    plan: "Plan", as_json: bool, whose: _Whose, done: Sequence["Difference"] = (), refused: Sequence[str] = ()
) -> int:
    """Print how the topics stand; returns the exit code."""
    ok = not plan.errors and not refused
    if as_json:
        common.print_json(
            {
                "ok": ok,
                "brokers": plan.brokers,
                "tenant": {"name": whose.tenant, "by": whose.by, "groups": list(whose.groups)},
                "topics": [_document(topic, plan.found.get(topic.name)) for topic in plan.wanted],
                "errors": [_as_json(difference) for difference in plan.errors],
                "warnings": [_as_json(difference) for difference in plan.warnings],
                "done": [_as_json(difference) for difference in done],
                "refused": list(refused),
            }
        )
        return DONE if ok else NO
    columns = ("topic", "carries", "partitions", "copies", "kept", "largest message")
    common.print_table(
        columns,
        [_row(topic, plan.found.get(topic.name)) for topic in plan.wanted],
        right=("partitions", "copies", "largest message"),
    )
    common.say(str(whose))
    for text in refused:
        common.say(f"Refused by the broker: {common.plain(text)}")
    for difference in plan.errors:
        common.say(f"Wrong: {common.plain(str(difference))}")
    for difference in plan.warnings:
        common.say(f"Warning: {common.plain(str(difference))}")
    if ok:
        common.say(f"The topics on {plan.brokers} broker(s) are as they should be.")
    return DONE if ok else NO


def _row(topic: "Topic", found: "Found | None") -> tuple[object, ...]:
    if found is None or found.hidden:
        return topic.name, topic.role.value, "missing" if found is None else "?", "", "", ""
    kept = _kept_ms(found)
    shown_kept = "" if kept is None else "for ever" if kept < 0 else duration_text(kept)
    largest = found.configs.get("max.message.bytes", "")
    return topic.name, topic.role.value, found.partitions, found.replication, shown_kept, largest


def _document(topic: "Topic", found: "Found | None") -> dict[str, object]:
    kept_ms = None if found is None else _kept_ms(found)
    return {
        "name": topic.name,
        "role": topic.role.value,
        "exists": found is not None,
        "partitions": None if found is None else found.partitions,
        "replication": None if found is None else found.replication,
        "retention_s": None if kept_ms is None or kept_ms < 0 else kept_ms / 1_000,
        "configs": {} if found is None else {key: found.configs.get(key) for key in topic.configs},
    }


def _kept_ms(found: "Found") -> int | None:
    text = found.configs.get("retention.ms", "")
    return int(text) if text.lstrip("-").isdigit() else None


def _as_json(difference: "Difference") -> dict[str, str]:
    return {
        "topic": difference.topic,
        "what": difference.what,
        "found": difference.found,
        "wanted": difference.wanted,
        "do": difference.do,
    }

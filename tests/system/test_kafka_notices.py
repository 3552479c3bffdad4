"""Customers are told once each, while workers on Kafka and notifiers are killed: counted at the receiver."""

import json
import random
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest
import yaml

from deploy.kafka.broker import Cluster
from tests.servers import http
from tests.servers.kafka import own_settings
from tests.servers.postgres import Server
from tests.servers.sending_config import webhook
from tests.servers.service import until
from tests.system import kafka_checks
from tests.system.kafka_traffic import SEED, SHORTER, STOPPED
from tests.system.kafka_workers import Workers, make_topics, produce, workers
from tests.system.test_kafka_live import configured, now_ms
from tests.system.test_notifiers import AT_A_TIME, Notifiers, ids, notifiers, slowly
from tests.system.test_story import traffic

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.postgres]

PARTITIONS = 3
KILLS = 6
WAITING = "SELECT 1 FROM outbox WHERE state IN ('waiting', 'claimed')"


def test_customers_are_told_once_each_though_workers_and_notifiers_are_killed(
    broker: Cluster, postgres: Server, tmp_path: Path
) -> None:
    print(f"TOCSIN_TEST_SEED={SEED}")
    chance, db = random.Random(SEED), postgres.url(postgres.database())
    kafka = own_settings(broker, partitions=PARTITIONS, **SHORTER)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    lines, hit = traffic(now_ms())
    with http.serving(slowly(0.2)) as receiver, workers(shop, db, tmp_path / "logs") as found:
        sends_to(shop.folder, receiver.url)
        for _ in range(2):
            found.start()
        until(lambda: engines(db), "engines", 60)
        with notifiers(shop.folder, db, 2) as sending:
            sending.at_work()
            produce(kafka, lines.splitlines())
            until(lambda: receiver.seen, "a message", 90)
            killed = kill(chance, found, sending)
            until(lambda: kafka_checks.counted(db) == kafka_checks.ends(kafka), "all events counted", 90)
            closed = kafka_checks.rows(db, "SELECT min(until_ms) FROM engine WHERE name LIKE 'count/%'")[0][0]
            until(
                lambda: kafka_checks.rows(db, f"SELECT 1 FROM engine WHERE name = 'desk' AND next >= {closed}"), "all"
            )
            codes = found.stop()
            until(lambda: kafka_checks.rows(db, WAITING) == [], "an end of sending", 90)
        assert codes <= STOPPED, found.said()
        assert "Traceback" not in found.said()
        came = ids(receiver.seen)
    print(f"{dict(killed)} killed, {len(set(came))} told, {len(came) - len(set(came))} messages came twice")

    # What the receiver got is what the store says was sent, and twice only where a notifier was killed at it.
    sent = {notice for (notice,) in kafka_checks.rows(db, "SELECT notice FROM outbox WHERE state = 'sent'")}
    assert set(came) == sent
    assert len(came) - len(sent) <= killed["notifier"] * AT_A_TIME
    said = {(one.headers["webhook-id"], json.dumps(json.loads(one.body)["data"])) for one in receiver.seen}
    assert len(said) == len(set(came))

    # One intent per person, and one message for each that is to be told.
    told = kafka_checks.rows(
        db,
        "SELECT n.id, n.case_id, c.id, n.kind, n.episode, o.state FROM notices n"
        " JOIN customer c ON c.tenant = n.tenant AND c.key = n.customer"
        " LEFT JOIN outbox o ON o.tenant = n.tenant AND o.notice = n.id WHERE n.decision = 'send'",
    )
    assert len({tuple(intent) for _, *intent, _ in told}) == len(told)
    states = {notice: state for notice, *_, state in told}
    assert set(states.values()) <= {"sent", "suppressed"}  # the latter: who got through in the meantime
    assert {notice for notice, state in states.items() if state == "sent"} == sent

    # One case; who it lists was hit, and each of them has one decision about it at least.
    ((case,),) = kafka_checks.rows(db, "SELECT id FROM cases")
    assert {of for _, of, *_ in told} == {case}
    people = {customer for _, _, customer, *_ in told}
    assert len(people & hit) > 0.95 * len(people)
    undecided = kafka_checks.rows(
        db,
        "SELECT customer FROM ledger l WHERE l.withdrawn = 0 AND NOT EXISTS"
        " (SELECT 1 FROM notices n WHERE n.case_id = l.case_id AND n.customer = l.customer)",
    )
    assert undecided == []


def sends_to(folder: Path, url: str) -> None:
    """Have notices sent, e-mails over a webhook."""
    file = folder / "tocsin.yml"
    settings = yaml.safe_load(file.read_text("utf-8"))
    settings["notices"] = {"send": True, "channels": ["email"], "quiet_hours": "none", "language": "en"}
    settings["channels"] = yaml.safe_load(webhook(folder, url))
    file.write_text(yaml.safe_dump(settings), "utf-8")


def kill(chance: random.Random, found: Workers, sending: Notifiers) -> Counter[str]:
    killed = Counter[str]()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.3, 2.0))
        if chance.random() < 0.5:
            found.kill(found.any(chance))
            found.start()
            killed["worker"] += 1
        else:
            sending.kill(chance.randrange(2))
            killed["notifier"] += 1
    return killed


def engines(db: str) -> int:
    try:
        return len(kafka_checks.rows(db, "SELECT name FROM engine"))
    except psycopg.Error:
        return 0  # there is no store yet

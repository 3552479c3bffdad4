"""The door on a real broker: what is answered 202 is there, whatever is killed, and becomes a case."""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiokafka import AIOKafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from deploy.kafka.broker import Cluster
from detector.decode import JSON, CustomerKeys, Decoder
from detector.events import EventSchema
from streams.intake.kafka import Messages
from streams.intake.tenants import Naming
from streams.kafka.client import KafkaSettings
from streams.kafka.producers import begin, let_go
from streams.settings import Settings, load
from streams.store import Store, open_store, queries
from streams.store.engines import claim_kafka_input
from streams.store.tokens import Scope
from streams.web import topicwriter
from tests.servers import web
from tests.servers.kafka import own_settings
from tests.servers.reading import records_of
from tests.servers.service import command, environment, stamp, until
from tests.system.kafka_workers import make_topics, workers
from tests.system.test_kafka_live import configured, now_ms
from tests.system.test_story import traffic

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

NDJSON = {"Content-Type": "application/x-ndjson"}
SOON_S = 9.0
"""An answer comes within five seconds; this much on a busy machine."""


def event(n: int, **more: Any) -> bytes:
    given = {"id": f"e{n}", "time": stamp(), "kind": "payment", "customer": f"C-{n % 50}", "outcome": "approved"}
    return json.dumps(given | more).encode()


def ids_on(kafka: KafkaSettings) -> list[str]:
    found = [record.value for records in records_of(kafka).values() for record in records]
    return [json.loads(line)["id"] for value in found for line in value.split(b"\n")]


@contextmanager
def door(
    folder: Path, kafka: KafkaSettings, more: dict[str, Any] | None = None, **settings: Any
) -> Iterator[tuple[Store, Settings]]:
    """Give a store that workers on Kafka work on, and its settings."""
    shop = configured(folder / "shop", kafka)
    given = yaml.safe_load((shop.folder / "tocsin.yml").read_text("utf-8"))
    given["kafka"] |= more or {}
    (shop.folder / "tocsin.yml").write_text(yaml.safe_dump(given | settings), "utf-8")
    found = load(shop.folder)
    with open_store(folder / "door.db", tenant=found.config.tenant, create=True) as store:
        claim_kafka_input(store, kafka.topics.events, kafka.partitions)
        yield store, found


async def checks(client: httpx.AsyncClient) -> dict[str, bool]:
    ready = (await client.get("/readyz")).json()
    return {str(check["name"]): bool(check["ok"]) for check in ready["checks"]}


# --- brokers ----------------------------------------------------------------------------------------------------------


def test_while_the_brokers_are_away_nothing_is_acknowledged_and_then_it_goes_on(
    broker: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.web.health.KEPT_S", 0.0)
    kafka = own_settings(broker, partitions=3)
    make_topics(kafka)
    taken: list[int] = []
    node = broker.nodes[0]

    async def send(client: httpx.AsyncClient, n: int) -> httpx.Response:
        body = b"\n".join(event(i) for i in range(n, n + 10))
        answer = await client.post("/v1/events", content=body, headers=NDJSON)
        if answer.status_code == 202:
            taken.extend(range(n, n + 10))
        return answer

    async def goes_wrong(client: httpx.AsyncClient, n: int) -> None:
        begun_s = time.monotonic()
        many = await asyncio.gather(*(send(client, n + 10 * i) for i in range(5)))
        assert {answer.status_code for answer in many} == {503}
        assert {answer.json()["code"] for answer in many} == {"unwritable"}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in many)
        assert time.monotonic() - begun_s < SOON_S
        begun_s = time.monotonic()
        assert (await send(client, n)).status_code == 503
        assert time.monotonic() - begun_s < 1.0  # it is known by now
        assert (await checks(client))["brokers"] is False

    async def goes_on(client: httpx.AsyncClient, n: int) -> None:
        async with asyncio.timeout(60):
            while not (await checks(client))["brokers"]:  # without any request
                await asyncio.sleep(0.1)
        for i in range(5):
            assert (await send(client, n + 10 * i)).status_code == 202

    async def test(store: Store, settings: Settings) -> None:
        async with web.client(store, settings=settings) as client:
            assert (await send(client, 0)).status_code == 202
            node.freeze()
            try:
                await goes_wrong(client, 100)
            finally:
                node.thaw()
            await goes_on(client, 100)
            await asyncio.to_thread(node.kill)
            try:
                await goes_wrong(client, 200)
            finally:
                await asyncio.to_thread(broker.start)
            await goes_on(client, 200)
            await asyncio.to_thread(node.kill)
        try:
            async with web.client(store, settings=settings) as client:  # one that starts while nobody is there
                await goes_wrong(client, 300)
                await asyncio.to_thread(broker.start)
                await goes_on(client, 300)
                text = (await client.get("/metrics")).text
                assert 'tocsin_door_refused_total{reason="unwritable"} 6.0' in text
                assert 'tocsin_check_ok{check="brokers"} 1.0' in text
        finally:
            if not node.running:
                await asyncio.to_thread(broker.start)

    with door(tmp_path, kafka) as (store, settings):
        asyncio.run(test(store, settings))
    assert {f"e{n}" for n in taken} <= set(ids_on(kafka))


def test_what_waits_for_the_brokers_is_bounded(
    broker: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topicwriter, "WAITING_BYTES", 100_000)
    kafka = own_settings(broker, partitions=3)
    make_topics(kafka)
    node = broker.nodes[0]

    async def test(store: Store, settings: Settings) -> None:
        async with web.client(store, settings=settings) as client:
            assert (await client.post("/v1/events", content=event(0), headers=NDJSON)).status_code == 202
            node.freeze()
            try:
                body = b"\n".join(event(n, note="x" * 1_000) for n in range(30))
                posts = [client.post("/v1/events", content=body, headers=NDJSON) for _ in range(6)]
                found = [answer.status_code for answer in await asyncio.gather(*posts)]
                assert sorted(found) == [429] * 4 + [503] * 2 or sorted(found) == [429] * 3 + [503] * 3
            finally:
                node.thaw()
            async with asyncio.timeout(60):
                while (await client.post("/v1/events", content=body, headers=NDJSON)).status_code != 202:
                    await asyncio.sleep(0.1)

    with door(tmp_path, kafka) as (store, settings):
        asyncio.run(test(store, settings))


def test_a_producer_that_is_given_up_while_it_begins_leaves_no_connection(broker: Cluster) -> None:
    kafka = own_settings(broker)

    async def given_up(after_s: float) -> None:
        producer = AIOKafkaProducer(**kafka.for_aiokafka())
        beginning = asyncio.ensure_future(begin(producer))
        await asyncio.sleep(after_s)
        beginning.cancel()
        with suppress(asyncio.CancelledError):
            await beginning
            await let_go(producer)  # it had begun by then

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        for i in range(40):
            asyncio.run(given_up(i / 8_000))
        gc.collect()
    assert [str(one.message) for one in said] == []


def test_a_topic_that_is_missing_or_has_other_partitions_is_told(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=3)

    async def refused(store: Store, settings: Settings) -> str:
        async with web.client(store, settings=settings) as client:
            async with asyncio.timeout(30):
                while (await checks(client)).get("brokers", True):
                    await asyncio.sleep(0.2)
            answer = await client.post("/v1/events", content=event(1), headers=NDJSON)
            assert answer.status_code == 503
            return str(answer.json()["detail"])

    with door(tmp_path, kafka) as (store, settings):
        assert f"have no topic {kafka.topics.events}; `tocsin topics create` makes it" in asyncio.run(
            refused(store, settings)
        )
        make_topics(replace(kafka, partitions=2))
        assert f"{kafka.topics.events} has 2 partitions, the store was made for 3" in asyncio.run(
            refused(store, settings)
        )


def test_what_the_brokers_refuse_takes_nothing_else_along(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=1)
    admin = KafkaAdminClient(**kafka.for_kafka_python())
    admin.create_topics([NewTopic(kafka.topics.events, 1, 1, topic_configs={"max.message.bytes": "2000"})])
    admin.close()
    taken: list[str] = []

    async def test(store: Store, settings: Settings) -> None:
        async with web.client(store, settings=settings) as client:

            async def send(n: int, **more: Any) -> httpx.Response:
                answer = await client.post("/v1/events", content=event(n, **more), headers=NDJSON)
                if answer.status_code == 202:
                    taken.append(f"e{n}")
                return answer

            for n in range(0, 30, 10):
                many = await asyncio.gather(*(send(n + i) for i in range(5)), send(n + 9, note="x" * 5_000))
                assert many[-1].status_code == 503 and "MessageSizeTooLarge" in many[-1].json()["detail"]
                async with asyncio.timeout(30):
                    while (await send(n + 8)).status_code != 202:
                        await asyncio.sleep(0.05)

    with door(tmp_path, kafka) as (store, settings):
        asyncio.run(test(store, settings))
    found = ids_on(kafka)
    assert {"e8", "e18", "e28"} <= set(taken) <= set(found) and len(found) == len(set(found))


# --- tenants ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("naming", [{"header": "tenant"}, {"field": "shop"}], ids=["header", "field"])
def test_what_the_door_sends_is_its_tenants_whatever_the_events_say(
    broker: Cluster, tmp_path: Path, naming: dict[str, Any]
) -> None:
    kafka = own_settings(broker, partitions=2)
    make_topics(kafka)
    lines: Sequence[bytes] = (event(1), event(2, shop="bank"), b"null", event(3, shop="toko"), b"{", b"")

    async def test(store: Store, settings: Settings) -> None:
        async with web.client(store, settings=settings) as client:
            body = b"\n".join(lines) + b"\n"
            assert (await client.post("/v1/events", content=body, headers=NDJSON)).status_code == 202

    with door(tmp_path, kafka, {"tenant": naming}, tenant="toko") as (store, settings):
        asyncio.run(test(store, settings))

    def read(own: str, **given: Any) -> tuple[list[Any], list[str]]:
        decoder = Decoder(EventSchema(("kind",), ()), JSON, CustomerKeys(b"k"))
        messages = Messages(decoder, "json", Naming(own, **naming, **given))
        batches = [messages.batch(records) for records in records_of(kafka).values()]
        return sorted(i for b in batches for i in b.event_id if i), sorted(x.reason for b in batches for x in b.invalid)

    assert read("toko") == (["e1", "e2", "e3"], ["empty", "not-an-object", "not-json"])
    assert read("bank", takes_nameless=True, others=frozenset({"toko"})) == ([], [])


# --- processes --------------------------------------------------------------------------------------------------------


class Web:
    """A `tocsin web` on one port, which may be killed and started again."""

    def __init__(self, folder: Path, db: Path, logs: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._words = command("web", "--config", folder, "--db", db, "--port", str(self.port))
        self._log = logs
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._words, stderr=log, env=environment())

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def said(self) -> str:
        return self._log.read_text("utf-8")

    def client(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30.0)


@contextmanager
def running(folder: Path, db: Path, logs: Path) -> Iterator[Web]:
    found = Web(folder, db, logs)
    found.start()
    try:
        yield found
    finally:
        if found.process is not None and found.process.poll() is None:
            found.process.terminate()
            assert found.process.wait(25) == 0, found.said()


def answered(ask: Callable[[], httpx.Response]) -> httpx.Response | None:
    """Return the answer; None where there was none."""
    try:
        return ask()
    except httpx.TransportError:
        return None


def test_killed_between_and_in_requests_the_door_loses_nothing_that_it_answered(
    broker: Cluster, tmp_path: Path
) -> None:
    kafka = own_settings(broker, partitions=3)
    make_topics(kafka)
    taken: set[str] = set()
    done = threading.Event()
    with door(tmp_path, kafka) as (store, _):
        token = web.token(store, Scope.INGEST)
    with running(tmp_path / "shop", tmp_path / "door.db", tmp_path / "web.log") as one:

        def send(first: int) -> None:
            n = first
            with one.client(token) as client:
                while not done.is_set():
                    body = b"\n".join(event(i) for i in range(n, n + 5))
                    answer = answered(lambda: client.post("/v1/events", content=body, headers=NDJSON))  # noqa: B023
                    if answer is not None and answer.status_code == 202:
                        taken.update(f"e{i}" for i in range(n, n + 5))
                        n += 5
                    elif answer is None:
                        done.wait(0.05)

        senders = [threading.Thread(target=send, args=(1_000_000 * i,)) for i in range(3)]
        for thread in senders:
            thread.start()
        try:
            for _ in range(2):
                before = len(taken)
                until(lambda: len(taken) > before + 100, "answers", 60)  # noqa: B023
                one.kill()
                one.start()
            before = len(taken)
            until(lambda: len(taken) > before, "answers", 60)
        finally:
            done.set()
            for thread in senders:
                thread.join()
    assert taken <= set(ids_on(kafka))
    assert "Traceback" not in one.said()


def test_what_comes_over_http_becomes_a_case_and_what_comes_again_is_counted_once(
    broker: Cluster, tmp_path: Path
) -> None:
    kafka = own_settings(broker, partitions=3)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    db = tmp_path / "live.db"
    with (
        workers(shop, db, tmp_path / "logs") as found,
        running(shop.folder, db, tmp_path / "web.log") as one,
    ):
        until(db.exists, "a store")
        with open_store(db) as store, one.client(web.token(store, Scope.ADMIN)) as client:

            def ready() -> dict[str, Any] | None:
                answer = answered(lambda: client.get("/readyz"))
                return None if answer is None else {check["name"]: check for check in answer.json()["checks"]}

            def took(body: bytes) -> bool:
                answer = answered(lambda: client.post("/v1/events", content=body, headers=NDJSON))
                return answer is not None and answer.status_code == 202

            # The configuration is one for Kafka: nothing is taken into a log that no worker would read.
            until(lambda: answered(lambda: client.get("/healthz")), "the service", 60)
            answer = client.post("/v1/events", content=event(0), headers=NDJSON)
            assert (answer.status_code, answer.json()["code"]) == (503, "no-worker")
            told = until(ready, "health")
            assert (told["work"]["ok"], told["work"]["detail"]) == (
                False,
                "no work process has been seen; `tocsin worker` starts one",
            )

            found.start()
            lines, _hit = traffic(now_ms())
            until(lambda: took(lines), "an answer 202", 60)
            (case, *_) = until(lambda: queries.list_cases(store), "a case", 60)
            assert [cause.where for cause in case.causes] == [{"bank": "BNI"}]
            assert not list(store.intake(0))
            until(
                lambda: (t := ready()) and t["work"]["ok"] and t["progress"]["ok"] and t["brokers"]["ok"], "ready", 60
            )

            events = lines.count(b"\n") + 1
            until(lambda: sum(store.tally().get("events", {}).values()) >= events, "all counted", 60)
            applied = sum(store.tally()["applied"].values())
            assert took(lines)
            until(lambda: sum(store.tally()["events"].values()) >= 2 * events, "all looked at again", 60)
            assert sum(store.tally()["applied"].values()) == applied
            assert sum(store.tally()["dropped"].get(reason, 0) for reason in ("duplicate", "late")) >= events
            assert "Traceback" not in one.said(), one.said()

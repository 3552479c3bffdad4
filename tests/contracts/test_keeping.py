"""What the door promises wherever accepted records go, into the store's log or to Kafka: the same, by one suite.

A record that is read from there must be what the same line of a file is: the same event, or a dead letter for the same
reason.
"""

import asyncio
import gzip
import json
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from detector.decode import CustomerKeys
from detector.events import Batch, Invalid
from detector.pack import unpack
from streams.clock import SystemClock
from streams.engines.session import Run
from streams.engines.worker import naming_of
from streams.intake.files import Block, Identity, Noted, RecordDecoder
from streams.intake.kafka import Messages
from streams.kafka.client import kafka_settings
from streams.settings import Settings, load
from streams.store import Store, open_store
from streams.store.engines import claim_kafka_input
from tests.servers import web
from tests.servers.kafka import own_settings
from tests.servers.reading import records_of
from tests.servers.service import SIGNALS, stamp
from tests.system.kafka_workers import make_topics

pytestmark = pytest.mark.slow

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
PARTITIONS = 3
SHOP = {"time": {"path": "meta.at"}, "id": "meta.id", "customer": "user.id", "kind": {"constant": "payment"}}


@dataclass
class Kept:
    """A store, and what reads from where its door takes records."""

    store: Store
    settings: Settings
    on_kafka: bool

    def ask(self, ask: Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
        async def run() -> Any:
            async with web.client(self.store, settings=self.settings) as client:
                return await ask(client)

        return asyncio.run(run())

    def post(self, body: bytes, headers: dict[str, str], path: str = "/v1/events") -> httpx.Response:
        found: httpx.Response = self.ask(lambda client: client.post(path, content=body, headers=headers))
        return found

    def decoder(self) -> RecordDecoder:
        run = Run.of(self.settings)
        return run.format.decoder(run.config, CustomerKeys(b"k"), 1)

    def batches(self) -> Iterator[Batch]:
        """Yield what the engines would get."""
        decoder = self.decoder()
        if not self.on_kafka:
            for row in self.store.intake(0):
                noted = unpack(row.detail, Noted) if row.detail else Noted()
                block = Block(
                    row.source, Identity.parse(noted.identity), row.position, row.data or b"", row.next, noted.refused
                )
                yield block.batch(decoder, row.ingest_ms)
            return
        kafka = kafka_settings(self.settings)
        messages = Messages(decoder, self.settings.format, naming_of(kafka, self.store.tenant))
        for records in records_of(kafka).values():
            yield messages.batch(records)

    def read(self) -> tuple[list[tuple[Any, ...]], list[tuple[str, str, bytes]]]:
        return contents(self.batches())


def contents(batches: Iterable[Batch]) -> tuple[list[tuple[Any, ...]], list[tuple[str, str, bytes]]]:
    """Return events and dead letters; the number of the line in its message is no part of a path here."""
    events: list[tuple[Any, ...]] = []
    refused: list[Invalid] = []
    for batch in batches:
        events += zip(batch.time_ms.tolist(), batch.event_id, batch.raw_customer, batch.fields, strict=True)
        refused += batch.invalid
    letters = [(one.reason, one.path.partition("$")[2], one.data) for one in refused if one.reason != "oversized"]
    letters += [(one.reason, "", b"") for one in refused if one.reason == "oversized"]
    return sorted(events, key=repr), sorted(letters)


def written(folder: Path, settings: dict[str, Any]) -> Settings:
    folder.mkdir(exist_ok=True)
    (folder / "signals.yml").write_text(SIGNALS, "utf-8")
    (folder / "tocsin.yml").write_text(yaml.safe_dump(settings), "utf-8")
    return load(folder)


Make = Callable[..., Kept]


@pytest.fixture(params=["log", pytest.param("topic", marks=pytest.mark.kafka)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Give what makes the one or the other, with settings for tocsin.yml."""
    stores: list[Store] = []

    def make(tenant: dict[str, Any] | None = None, **settings: Any) -> Kept:
        on_kafka = request.param == "topic"
        if on_kafka:
            kafka = own_settings(request.getfixturevalue("broker"), partitions=PARTITIONS)
            make_topics(kafka)
            topics = {name: getattr(kafka.topics, name) for name in type(kafka.topics).model_fields}
            settings["kafka"] = {"brokers": list(kafka.brokers), "topics": topics} | (tenant or {})
        found = written(tmp_path / "shop", settings)
        store = open_store(tmp_path / "kept.db", tenant=found.config.tenant, create=True)
        stores.append(store)
        if on_kafka:
            claim_kafka_input(store, kafka.topics.events, PARTITIONS)
        return Kept(store, found, on_kafka)

    yield make
    for store in stores:
        store.close()


def event(n: int, customer: str | None = None, **more: Any) -> bytes:
    given = {"id": f"e{n}", "time": stamp(), "kind": "payment", "outcome": "approved", "bank": "BNI"}
    return json.dumps(given | ({} if customer is None else {"customer": customer}) | more).encode()


# --- what is taken ----------------------------------------------------------------------------------------------------

AT = "2026-03-27T13:06:56Z"
ENVELOPE = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "payment", "time": AT, "subject": "C-1"}
FLAT = b'{"time":"%s","bank":"BNI","id":"/shop 7","kind":"payment","customer":"C-1"}\n' % AT.encode()
ODD = [
    event(1, "C-1"),
    b"",
    b"null",
    b"[1,2]",
    b'{"id":',
    b'"e2"}',
    b"\xff\xfe",
    b'{"kind":"payment"}',
    event(2, "C-2") + b"\r",
    b"   " + event(3),
    b"\xef\xbb\xbf" + event(4),
    b"{",
    b'"a": 1}',
    b'{"time":"0000-01-01T00:00:00Z","kind":"payment"}',
    event(5, "C-\u00e9"),
    event(6, "C-6", bank="\ud83d"),
    event(7, ""),
    b'{"a":1}{"b":2}',
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b"x" * 400_000,
    event(8, "C-8", note="y" * 300_000),
    b"",
]

ONE = event(1)
BODIES = [
    pytest.param(b"\n".join(ODD), NDJSON, b"\n".join(ODD), id="lines of all kinds"),
    pytest.param(b"\n\n\n", NDJSON, b"\n\n\n", id="nothing but line ends"),
    pytest.param(gzip.compress(ONE + b"\n"), {**NDJSON, "Content-Encoding": "gzip"}, ONE, id="gzip"),
    pytest.param(b'[{"kind":\n"payment"}, NaN]', JSON, b'{"kind": "payment"}\nNaN\n', id="an array"),
    pytest.param(
        json.dumps({"time": AT}, indent=1).encode(), JSON, b'{  "time": "%s" }' % AT.encode(), id="one object"
    ),
    pytest.param(
        json.dumps({**ENVELOPE, "data": {"bank": "BNI"}}).encode(),
        {"Content-Type": "application/cloudevents+json; charset=UTF-8"},
        FLAT,
        id="a CloudEvent",
    ),
    pytest.param(
        json.dumps([{**ENVELOPE, "data": {"bank": "BNI"}}, 7]).encode(),
        {"Content-Type": "application/cloudevents-batch+json"},
        FLAT + b"7\n",
        id="CloudEvents",
    ),
    pytest.param(
        b'{"bank":"BNI"}',
        {**JSON, **{f"ce-{name}": value for name, value in ENVELOPE.items()}},
        FLAT,
        id="a CloudEvent in headers",
    ),
]


@pytest.mark.parametrize(("body", "headers", "lines"), BODIES)
def test_what_is_read_is_what_the_same_lines_of_a_file_are(
    kept: Make, body: bytes, headers: dict[str, str], lines: bytes
) -> None:
    one = kept()
    before_ms = SystemClock().now_ms()
    answer = one.post(body, headers)
    assert (answer.status_code, answer.json()["accepted"]) == (202, lines.count(b"\n") + (not lines.endswith(b"\n")))
    assert one.read() == contents([one.decoder().decode(lines, 0, before_ms)])
    ingested = {ms for batch in one.batches() for ms in batch.ingest_ms.tolist()}
    assert all(before_ms <= ms <= SystemClock().now_ms() for ms in ingested)


def test_a_mapped_format_is_placed_and_read_by_its_own_paths(kept: Make) -> None:
    one = kept(input={"format": "shop"}, formats={"shop": SHOP})
    found = [{"meta": {"at": AT, "id": f"e{n}"}, "user": {"id": f"C-{n}"}, "bank": "BNI"} for n in range(20)]
    assert one.post(json.dumps(found).encode(), JSON).status_code == 202
    events, refused = one.read()
    assert {(row[1], row[2]) for row in events} == {(f"e{n}", f"C-{n}") for n in range(20)} and not refused
    envelope = {**ENVELOPE, "meta": {"at": AT, "id": "whole"}}
    one.post(json.dumps(envelope).encode(), {"Content-Type": "application/cloudevents+json"})
    assert "whole" in {row[1] for row in one.read()[0]}


def test_opentelemetry_logs_are_the_same_events(kept: Make) -> None:
    one = kept()
    good = {"timeUnixNano": "1774616816000000000", "eventName": "payment", "attributes": []}
    records = {"resourceLogs": [{"scopeLogs": [{"logRecords": [good, 5]}]}]}
    answer = one.post(json.dumps(records).encode(), JSON, "/v1/logs")
    assert (answer.status_code, answer.json()["partialSuccess"]["rejectedLogRecords"]) == (200, "1")
    events, refused = one.read()
    assert len(events) == 1 and [letter[0] for letter in refused] == ["not-an-object"]


def test_lines_of_a_log_are_the_same_attempts(kept: Make) -> None:
    one = kept(input={"format": "sshd"})
    body = b"\n".join(
        [
            b"2026-03-27T13:06:56Z host sshd[1]: Failed password for root from 192.0.2.1 port 22 ssh2",
            b"",
            b"2026-03-27T13:06:57Z host cron[1]: a line of another program",
            b"2026-03-27T13:06:58Z host sshd[1]: Accepted password for ani from 192.0.2.1 port 22 ssh2",
            b"",
        ]
    )
    assert one.post(body, {"Content-Type": "text/plain"}).status_code == 202
    assert one.read() == contents([one.decoder().decode(body, 0, SystemClock().now_ms())])


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b'[{"a":1}', JSON, 400, id="an array that breaks off"),
        pytest.param(b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, id="a form"),
        pytest.param(b"{}\n" * 500, NDJSON, 413, id="too long"),
    ],
)
def test_what_is_refused_leaves_nothing(kept: Make, body: bytes, headers: dict[str, str], status: int) -> None:
    one = kept(service={"request_bytes": 1_024})
    assert one.post(body, headers).status_code == status
    assert one.read() == ([], [])


# --- many at once -----------------------------------------------------------------------------------------------------


def test_of_many_requests_at_once_each_is_kept_once_and_a_customers_events_stay_in_order(kept: Make) -> None:
    one = kept()

    async def ask(client: httpx.AsyncClient) -> None:
        async def customer(number: int) -> None:
            for turn in range(5):
                lines = [event(100 * number + 10 * turn + i, f"C-{number}") for i in range(3)]
                answer = await client.post("/v1/events", content=b"\n".join(lines), headers=NDJSON)
                assert answer.status_code == 202

        await asyncio.gather(*(customer(number) for number in range(20)))
        text = (await client.get("/metrics")).text
        assert "tocsin_door_events_total 300.0" in text and "tocsin_door_commit_seconds_count" in text

    one.ask(ask)
    order: dict[str, list[int]] = {}
    for batch in one.batches():
        for name, id in zip(batch.raw_customer, batch.event_id, strict=True):
            assert name is not None and id is not None
            order.setdefault(name, []).append(int(id[1:]))
    assert len(order) == 20 and all(len(found) == 15 and found == sorted(found) for found in order.values())

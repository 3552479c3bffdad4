"""The command line on a store that workers on Kafka work on: it reads, and what people say reaches the Desk."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from deploy.kafka.broker import Cluster
from detector.desk.records import CaseState
from streams.settings import Settings, load
from streams.store import Store, open_store, queries
from tests.servers import web
from tests.servers.kafka import own_settings
from tests.streams.commands import Tocsin
from tests.system.kafka_workers import make_topics, produce, workers
from tests.system.test_kafka_live import configured, now_ms, until
from tests.system.test_story import traffic

pytestmark = [pytest.mark.slow, pytest.mark.kafka]


def input_of(tocsin: Tocsin) -> str:
    try:
        findings = tocsin.json("doctor")["findings"]
    except AssertionError:  # the store is being made
        return ""
    return "".join(found["found"] for found in findings if found["what"] == "input")


async def said_over_http(store: Store, settings: Settings, case: str) -> list[tuple[int, str]]:
    """Acknowledge a case twice; returns what was answered."""
    out = []
    async with web.client(store, settings=settings) as client:
        for _ in range(2):
            answer = await client.post(f"/v1/cases/{case}/acknowledge", json={})
            while answer.status_code == 202:
                await asyncio.sleep(0.2)
                answer = await client.get(answer.headers["Location"])
            found = answer.json()
            out.append((answer.status_code, found.get("state") or found["code"]))
    return out


def test_commands_read_the_store_and_reach_the_desk_through_it(
    broker: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    lines, hit = traffic(now_ms())
    db = tmp_path / "live.db"
    tocsin = Tocsin(db, capsys)
    with workers(shop, db, tmp_path / "logs") as found:
        one = found.start()
        until(db.exists, "store")
        until(lambda: "of 2 partitions begun" in input_of(tocsin), "an input")
        produce(kafka, lines.splitlines())
        with open_store(db) as store:
            case = until(lambda: queries.list_cases(store), "case")[0].id
            until(lambda: store.meta("mode"), "store in use")

            assert [row["id"] for row in tocsin.json("cases")] == [case]
            assert tocsin.json("cases", "show", case)["id"] == case
            until(lambda: len(list(queries.ledger(store, case))) > 0, "customers")
            assert tocsin("affected", case)
            who = tocsin.json("affected", case)[0]["customer"]
            assert who in hit
            assert tocsin.json("why", who, case)["notices"]
            assert len(tocsin("dump").splitlines()) > 10
            budget = tocsin.json("budget")
            (signal,) = budget["signals"]
            assert signal["levels"], budget
            assert tocsin("customers", "show", who)
            ready = {f["what"]: f for f in tocsin.json("doctor")["findings"]}
            assert ready["process work"]["found"].startswith("the worker with the Desk is at work"), ready
            assert "the lag is unknown here" in ready["input"]["found"]

            tocsin(
                "mute", signal["signal"], "--where", "city=Medan", "--for", "2h", "--reason", "a test", "--by", "ani"
            )
            assert "left for the runner" in tocsin.err
            until(lambda: queries.facts(store), "mute")

            answers = asyncio.run(said_over_http(store, load(shop.folder), case))
            assert answers == [(200, "acknowledged"), (409, "refused")]
            until(lambda: queries.find_case(store, case).state is CaseState.ACKNOWLEDGED, "acknowledgement")

            tocsin("cases", "dismiss", case, "--verdict", "expected", "--by", "ani")
            until(lambda: queries.find_case(store, case).state is CaseState.DISMISSED, "dismissal")
            assert [entry.by for entry in queries.timeline(store, case) if entry.by == "ani"]
            assert len(tocsin.json("mute", "list")) == 1
            tocsin("cases", "ack", case, "--by", "ani")
            until(lambda: store.waiting() == [], "answer")
            assert queries.find_case(store, case).state is CaseState.DISMISSED

        one.terminate()
        assert found.end(one, 25) == 0, found.said()
        assert "Traceback" not in found.said()
        gone = {f["what"]: f for f in tocsin.json("doctor")["findings"]}
        assert gone["process work"]["state"] in ("ok", "wrong")
    assert msgspec.json.encode(gone)

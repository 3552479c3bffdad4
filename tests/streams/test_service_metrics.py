"""`GET /metrics` of the service, over either store: what it says of checks, disk, engines and Alertmanagers."""

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.clock import SystemClock
from streams.metrics import SERVICE_METRICS
from streams.store import LIVE, Store
from streams.store.standing import speak
from streams.store.values import Piece
from tests.servers.stores import new_store
from tests.servers.web import client

pytestmark = pytest.mark.slow


async def scraped(store: Store) -> dict[str, dict[tuple[str, ...], float]]:
    async with client(store, "read") as asked:
        answer = await asked.get("/metrics")
        assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def says(store: Store, now_ms: int, **more: Any) -> None:
    speak(store, "work", 1, now_ms, {"committed_ms": now_ms, **more})


def test_checks_disk_engine_and_alertmanagers_are_told(db: str) -> None:
    now_ms = SystemClock().now_ms()
    with new_store(db) as store:
        store.claim_mode(LIVE)
        says(store, now_ms, alertmanager={"taken": [True, False]})
        found = asyncio.run(scraped(store))
        assert found["tocsin_alertmanager_ok"] == {("0",): 1, ("1",): 0}
        assert found["tocsin_commit_age_seconds"] == {("work",): 0}, "nothing waits"
        on_disk = {("disk",)} if not store.on_server else set()
        names = {(name,) for name in ("store", "schema", "work", "progress", "configuration")} | on_disk
        assert found["tocsin_check_ok"] == dict.fromkeys(names, 1)
        assert ("tocsin_disk_free_bytes" in found) is ("tocsin_disk_size_bytes" in found) is (not store.on_server)
        assert not [name for name in found if name.endswith("_created")]
        listed = {metric.name for metric in SERVICE_METRICS}
        assert {name for name in found if name.startswith("tocsin_check") or name.startswith("tocsin_disk")} <= listed


def test_an_engine_that_has_work_and_commits_nothing_grows_older(db: str) -> None:
    now_ms = SystemClock().now_ms()
    with new_store(db) as store:
        store.claim_mode(LIVE)
        store.append_pieces("http", [Piece(b"{}\n", 3)], now_ms - 300_000)
        says(store, now_ms, committed_ms=now_ms - 200_000)
        found = asyncio.run(scraped(store))
        assert 199 < found["tocsin_commit_age_seconds"]["work",] < 230
        assert found["tocsin_check_ok"]["progress",] == 0
        says(store, now_ms, committed_ms=now_ms - 1_000)
        assert asyncio.run(scraped(store))["tocsin_commit_age_seconds"]["work",] < 30

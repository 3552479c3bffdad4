"""A worker's checks: of brokers and store it says only what it knows."""

import json
import socket
import struct
import threading
import urllib.request
from pathlib import Path

import pytest

from streams.engines.reload import Kept
from streams.engines.worker_health import SILENT_S, STALLED_S, Doing, Port
from streams.settings import load
from tests.servers.clocks import HandClock
from tests.streams.shop import write


def wrong(doing: Doing) -> set[str]:
    return {name for name, good in doing.checks().items() if not good}


def test_brokers_that_are_silent_are_told_after_a_while() -> None:
    clock = HandClock()
    doing = Doing(clock)
    clock.advance(SILENT_S - 1)
    assert wrong(doing) == set()
    clock.advance(2)
    assert wrong(doing) == {"broker"}
    doing.broker_s = clock.monotonic_s()
    assert wrong(doing) == set()


def test_a_store_that_is_waited_for_is_told_and_no_broker_that_is_not_asked_meanwhile() -> None:
    clock = HandClock()
    doing = Doing(clock)
    clock.advance(5)
    doing.asking_s = clock.monotonic_s()
    clock.advance(SILENT_S - 1)
    doing.turned_s = clock.monotonic_s()
    assert wrong(doing) == set()
    clock.advance(2)
    assert wrong(doing) == {"store"}
    clock.advance(SILENT_S * 2)
    assert wrong(doing) == {"store", "loop"}


def test_records_that_wait_without_a_commit_are_no_progress() -> None:
    clock = HandClock()
    doing = Doing(clock)
    doing.waits("count/a/0", waiting=True)
    clock.advance(STALLED_S / 2)
    doing.waits("count/a/0", waiting=True)
    clock.advance(STALLED_S / 2)
    doing.turned_s = doing.broker_s = clock.monotonic_s()
    assert wrong(doing) == {"progress"}
    doing.waits("count/a/0", waiting=False)
    assert wrong(doing) == set()


def test_each_counter_that_is_held_has_a_commit_age() -> None:
    clock = HandClock()
    doing = Doing(clock)
    assert doing.waits_s() == {}
    doing.lag = {("a", 0): 0, ("a", 1): 7}
    doing.waits("count/a/1", waiting=True)
    clock.advance(4)
    assert doing.waits_s() == {"count/a/0": 0.0, "count/a/1": 4.0}


def ask(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
def test_the_port_tells_the_version_the_process_and_the_configuration(tmp_path: Path) -> None:
    clock = HandClock()
    shop = write(tmp_path)
    said: list[str] = []
    kept = Kept(load(shop.folder), clock, said.append)
    port = Port(Doing(clock, configuration=kept), "127.0.0.1", 0)
    try:
        assert 'tocsin_build_info{version="' in (text := ask(port.port, "/metrics"))
        for name in ("process_cpu_seconds_total ", "process_resident_memory_bytes ", "tocsin_config_current 1.0"):
            assert f"\n{name}" in text
        changed(shop.folder / "signals.yml", "nothing: [", kept, clock)
        assert json.loads(ask(port.port, "/readyz"))["config_ok"] is False
        text = ask(port.port, "/metrics")
        assert 'tocsin_config_ok{process="worker"} 0.0' in text and "tocsin_config_current 0.0" in text
    finally:
        port.close()


@pytest.mark.slow
def test_a_scraper_that_hangs_up_leaves_nothing_in_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    port = Port(Doing(HandClock()), "127.0.0.1", 0)
    hung_up = threading.Event()
    shutdown = port._server.shutdown_request
    port._server.shutdown_request = lambda request: (shutdown(request), hung_up.set())  # type: ignore[assignment, func-returns-value]
    try:
        with socket.create_connection(("127.0.0.1", port.port)) as scraper:
            scraper.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            scraper.sendall(b"GET /metrics HTTP/1.0\r\n")
        assert hung_up.wait(5)
        assert ask(port.port, "/readyz")
    finally:
        port.close()
    assert capfd.readouterr().err == "" and not caplog.records


# --- the configuration ------------------------------------------------------------------------------------------------


def changed(file: Path, more: str, kept: Kept, clock: HandClock) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(more)
    for _ in range(3):
        clock.advance(2)
        kept.look()


def test_a_worker_says_once_that_it_goes_on_with_the_configuration_that_it_started_with(tmp_path: Path) -> None:
    clock, said = HandClock(), list[str]()
    folder = write(tmp_path).folder
    kept = Kept(load(folder), clock, said.append)
    before = (folder / "tocsin.yml").read_text("utf-8")
    changed(folder / "tocsin.yml", "# a comment changes nothing\n", kept, clock)
    assert said == [] and kept.current
    changed(folder / "tocsin.yml", "\nsending: {quiet: null}\n", kept, clock)
    assert said[0].startswith("the configuration was changed and has a mistake; the one before stays in force: ")
    assert not kept.current and kept.error
    (folder / "tocsin.yml").write_text(before, "utf-8")
    changed(folder / "tocsin.yml", "\nservice: {port: 8400}\n", kept, clock)
    assert said[1:] == [
        "the configuration was changed: this worker goes on with the one it started with; "
        "start the workers again, one after the other"
    ], said
    assert not kept.current and not kept.error
    (folder / "tocsin.yml").write_text(before, "utf-8")
    changed(folder / "tocsin.yml", "\n", kept, clock)
    assert kept.current and len(said) == 2

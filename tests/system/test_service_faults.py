"""The service under what senders, disks and people do to it."""

import gzip
import os
import socket
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.servers.service import SIGNALS, Service, command, configured, environment, service, stamp, until

pytestmark = pytest.mark.slow

NDJSON = {"Content-Type": "application/x-ndjson"}
MB = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with service(folder, configured(folder / "config")) as found:
        yield found


def event(n: str) -> bytes:
    return b'{"id":"%s","time":"%s","kind":"payment","outcome":"approved","bank":"BNI"}\n' % (
        n.encode(),
        stamp().encode(),
    )


def sums(running: Service) -> tuple[int, dict[str, int]]:
    found = running.tally()
    return sum(found.get("applied", {}).values()), found.get("dead", {})


def resident_kb(pid: int) -> int:
    status = (Path("/proc") / str(pid) / "status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def counted_within_a_second(running: Service, n: str) -> None:
    """The next record is worked off within a second of its 202 (and seen at the next commit)."""
    before = sums(running)[0]
    with running.client() as client:
        assert client.post("/v1/events", content=event(n), headers=NDJSON).status_code == 202
    until(lambda: sums(running)[0] > before, "the next record counted", 10.0)


# --- what senders send ------------------------------------------------------------------------------------------------

BAD = [
    pytest.param(b"\xff\xfe{}\n", {"not-utf8": 1}, id="invalid UTF-8"),
    pytest.param(b'\xef\xbb\xbf{"kind":"payment"}\n', {"not-json": 1}, id="a byte order mark"),
    pytest.param(b'{"a":"\x00"}\n', {"not-json": 1}, id="NUL"),
    pytest.param(b'{"kind":"\\ud800"}\n', {"not-json": 1}, id="half a surrogate"),
    pytest.param(b'{"time":NaN}\n{"time":Infinity}\n', {"not-json": 2}, id="NaN and Infinity"),
    pytest.param(b"\n", {"empty": 1}, id="nothing"),
    pytest.param(b"null\n[]\n5\n", {"not-an-object": 3}, id="null, an array, a number"),
    pytest.param(b'{"time":5,"kind":"payment"}\n', {"wrong-type": 1}, id="a wrong type"),
    pytest.param(b'{"kind":"payment"}\n', {"missing-field": 1}, id="no time"),
    pytest.param(b'{"time":"1970-01-01T00:00:00Z","kind":"payment"}\n', {"ancient": 1}, id="ancient"),
    pytest.param(b'{"time":"2036-01-01T00:00:00Z","kind":"payment"}\n', {"far-future": 1}, id="ten years ahead"),
    pytest.param(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}\n", {"not-json": 1}, id="10,000 deep"),
    pytest.param(b'{"a":"' + b"x" * 2 * MB + b'"}\n', {"oversized": 1}, id="2 MB"),
    pytest.param(b'{"a":"' + b"x" * 15 * MB + b'"}\n', {"oversized": 1}, id="15 MB"),
]


@pytest.mark.parametrize(("body", "dead"), BAD)
def test_what_is_no_event_becomes_a_dead_letter_and_the_next_record_counts(
    running: Service, body: bytes, dead: dict[str, int]
) -> None:
    before, work = sums(running)[1], running.child("work")
    memory = resident_kb(work)
    with running.client() as client:
        assert client.post("/v1/events", content=body, headers=NDJSON).status_code == 202
    counted_within_a_second(running, f"after-{zlib.crc32(body)}")
    now = sums(running)[1]
    assert {reason: n - before.get(reason, 0) for reason, n in now.items() if n != before.get(reason, 0)} == dead
    assert resident_kb(work) - memory < 64 * 1_024
    assert running.child("work") == work, "it did not crash"


def test_ten_thousand_keys_are_an_event(running: Service) -> None:
    keys = ",".join(f'"k{i}":{i}' for i in range(10_000)).encode()
    body = event("wide").rstrip(b"}\n") + b"," + keys + b"}\n"
    before = sums(running)[0]
    with running.client() as client:
        assert client.post("/v1/events", content=body, headers=NDJSON).status_code == 202
    until(lambda: sums(running)[0] == before + 1, "the wide event counted", 10.0)


def test_bad_records_in_numbers_do_not_stall_it(running: Service) -> None:
    before = sum(sums(running)[1].values())
    begun = time.monotonic()
    with running.client() as client:
        for _ in range(10):
            assert client.post("/v1/events", content=b'{"broken\n' * 5_000, headers=NDJSON).status_code == 202
        until(lambda: sum(sums(running)[1].values()) == before + 50_000, "50,000 dead letters", 60.0)
    rate = 50_000 / (time.monotonic() - begun)
    print(f"{rate:,.0f} bad records a second")
    assert rate > 5_000
    counted_within_a_second(running, "after-many")


def connected(running: Service) -> socket.socket:
    at = urlsplit(running.url)
    return socket.create_connection((at.hostname, at.port), 15)


def head(running: Service, *more: str) -> bytes:
    lines = [
        "POST /v1/events HTTP/1.1",
        f"Host: {urlsplit(running.url).netloc}",
        f"Authorization: Bearer {running.token}",
    ]
    return "\r\n".join([*lines, "Content-Type: application/x-ndjson", *more, "", ""]).encode()


def test_a_gigabyte_is_refused_before_it_is_read(running: Service) -> None:
    with connected(running) as wire:
        wire.sendall(head(running, "Content-Length: 1000000000"))
        wire.sendall(b"x" * MB)
        assert b" 413 " in wire.recv(65_536)
        sent = 0
        with pytest.raises(OSError):
            while sent < 64:
                wire.sendall(b"x" * MB)
                sent += 1
    counted_within_a_second(running, "after-gigabyte")


def test_behind_a_body_with_two_lengths_no_other_request_is_answered(running: Service) -> None:
    hidden = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connected(running) as wire:
        wire.sendall(head(running, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + hidden)
        answer = b""
        while piece := wire.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1


def test_a_gigabyte_without_a_stated_length_is_refused_too(running: Service) -> None:
    web = running.child("web")
    memory = resident_kb(web)
    piece = b"%x\r\n" % MB + b"x" * MB + b"\r\n"
    answer = b""
    with connected(running) as wire:
        wire.sendall(head(running, "Transfer-Encoding: chunked"))
        try:
            for _ in range(1_000):
                wire.sendall(piece)
        except OSError:
            pass
        try:
            answer = wire.recv(65_536)
        except ConnectionResetError:
            pass
    assert answer == b"" or b" 413 " in answer
    assert resident_kb(web) - memory < 128 * 1_024


def test_a_bomb_is_refused(running: Service) -> None:
    with running.client() as client:
        packed = {**NDJSON, "Content-Encoding": "gzip"}
        bomb = gzip.compress(bytes(500 * MB), 1)
        assert len(bomb) < 16 * MB
        assert client.post("/v1/events", content=bomb, headers=packed).status_code == 413


def test_who_dawdles_is_let_go_and_nobody_waits_for_them(running: Service) -> None:
    with connected(running) as headers, connected(running) as body, connected(running) as silent:
        headers.sendall(b"POST /v1/events HTTP/1.1\r\nHost: ")
        body.sendall(head(running, "Content-Length: 100"))
        body.sendall(b"{")
        counted_within_a_second(running, "beside-dawdlers")
        begun = time.monotonic()
        assert b" 408 " in body.recv(65_536)
        assert headers.recv(65_536) == b""
        assert silent.recv(65_536) == b""
        assert time.monotonic() - begun < 14


def test_many_idle_connections_do_not_stop_it(running: Service) -> None:
    wires: list[socket.socket] = []
    try:
        for _ in range(600):
            wires.append(connected(running))
        counted_within_a_second(running, "beside-idlers")
    finally:
        for wire in wires:
            wire.close()


# --- what disks do ----------------------------------------------------------------------------------------------------


def test_a_store_locked_by_another_is_not_acknowledged_and_goes_on_by_itself(tmp_path: Path) -> None:
    with service(tmp_path, configured(tmp_path / "config")) as running, running.client() as client:
        assert client.post("/v1/events", content=event("before"), headers=NDJSON).status_code == 202
        running.read(1)
        other = sqlite3.connect(running.db, isolation_level=None, timeout=30)
        try:
            other.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            answer = client.post("/v1/events", content=event("meanwhile"), headers=NDJSON)
            assert (answer.status_code, answer.json()["code"]) == (503, "unwritable")
            assert time.monotonic() - begun < 12
            until(lambda: not running.ready(), "readiness says so")
            assert client.get("/healthz").status_code == 200
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert client.post("/v1/events", content=event("meanwhile"), headers=NDJSON).status_code == 202
        assert running.read(2)["applied"] == {"": 2}
        until(running.ready, "it is ready again")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs to mount a small file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_acknowledges_nothing_and_it_goes_on_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    db = small_disk / "service.db"
    with service(tmp_path, configured(tmp_path / "config"), db=db) as running, running.client() as client:
        accepted = 0
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65_536))
            except OSError:
                pass
        until(lambda: not running.ready(), "readiness says so", 60.0)
        refused = 0
        for i in range(40):
            answer = client.post("/v1/events", content=b"".join(event(f"{i}-{k}") for k in range(500)), headers=NDJSON)
            assert answer.status_code in (202, 503), answer.text
            accepted += answer.json()["accepted"] if answer.status_code == 202 else 0
            refused += answer.status_code == 503
        assert refused
        filler.unlink()

        def taken() -> bool:
            answer = client.post("/v1/events", content=event("after"), headers=NDJSON)
            return answer.status_code == 202

        until(taken, "events are taken again", 60.0)
        assert running.read(accepted + 1)["applied"] == {"": accepted + 1}
        until(running.ready, "it is ready again", 60.0)
        done = subprocess.run(command("db", "migrate", "--db", db), env=environment(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    with sqlite3.connect(db) as whole:
        assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    whole.close()


# --- what people do ---------------------------------------------------------------------------------------------------


def test_a_changed_configuration_counts_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path / "config")
    with service(tmp_path, config) as running, running.client() as client:
        assert client.post("/v1/events", content=event("one"), headers=NDJSON).status_code == 202
        running.read(1)

        def check() -> tuple[bool, str]:
            found = {c["name"]: (c["ok"], c["detail"]) for c in running.json("/readyz")["checks"]}
            return found["configuration"]

        web, work = running.child("web"), running.child("work")
        (config / "signals.yml").write_text(SIGNALS[: len(SIGNALS) // 2] + "\n  x: {window: yellow", encoding="utf-8")
        until(lambda: not check()[0], "the mistake is told")
        assert "signals.yml" in check()[1]
        assert running.ready()
        until(lambda: 'tocsin_config_ok{process="work"} 0.0' in text_of(client), "a metric says so")
        assert client.post("/v1/events", content=event("two"), headers=NDJSON).status_code == 202
        running.read(2)
        assert running.errors().count("one before stays in force") == 2, "each process says it once"
        (config / "signals.yml").write_text(SIGNALS, encoding="utf-8")
        until(lambda: check()[0], "it holds again")
        (config / "tocsin.yml").write_text("service: {request_bytes: 2048}\n", encoding="utf-8")
        until(
            lambda: client.post("/v1/events", content=b"{}\n" * 1_000, headers=NDJSON).status_code == 413,
            "the new limit counts",
        )
        more = SIGNALS + SIGNALS.split("signals:\n")[1].replace("payment-declines", "others").replace(
            "bank", "provider"
        )
        (config / "signals.yml").write_text(more, encoding="utf-8")
        until(lambda: 'signal="others"' in text_of(client), "the new signal is watched")
        assert (running.child("web"), running.child("work")) == (web, work), "nothing was started again"
        assert client.post("/v1/events", content=event("three"), headers=NDJSON).status_code == 202
        until(lambda: sums(running)[0] == 3, "all three events counted")


def text_of(client: httpx.Client) -> str:
    return client.get("/metrics").text


def test_a_command_is_answered_while_nothing_comes(running: Service) -> None:
    from detector.desk.records import Command, Verb
    from detector.pack import pack
    from streams.store import open_store

    with open_store(running.db) as store:
        begun = time.monotonic()
        number = store.post(pack(Command(verb=Verb.ACKNOWLEDGE, case="none", by="test")))
        until(lambda: store.answer(number)[0] == "refused", "the answer", 10.0)
        took = time.monotonic() - begun
    print(f"answered after {took:.2f} s")
    assert took < 3, os.getloadavg()

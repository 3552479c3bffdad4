"""What the service's processes are made of: who watches, who reloads, who supervises."""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from detector.errors import UnreachableError, UsageError
from streams.clock import SystemClock
from streams.engines.pulse import Pulse
from streams.engines.reload import LOOK_S, Configuration
from streams.settings import load
from streams.store.standing import standing
from streams.supervisor import Child, Supervisor, bind, listen, url_of
from streams.web.watchdog import Watchdog
from tests.servers.service import configured, until
from tests.servers.stores import new_store


class StepClock:
    """A clock that stands still but for what a test adds."""

    def __init__(self) -> None:
        self.s = 1_000.0

    def now_ms(self) -> int:
        return int(self.s * 1_000)

    def monotonic_s(self) -> float:
        return self.s

    def sleep(self, seconds: float) -> None:
        self.s += seconds


# --- configuration ----------------------------------------------------------------------------------------------------


class Files:
    """A configuration directory that is looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.said = configured(folder), StepClock(), list[str]()
        self.configuration = Configuration(load(self.folder), self.clock, self.said.append)
        self._writes = 0

    def write(self, name: str, text: str) -> None:
        self._writes += 1
        (self.folder / name).write_text(text, encoding="utf-8")
        at = 1_700_000_000 + self._writes  # as if time had passed since the last write
        os.utime(self.folder / name, (at, at))

    def look(self) -> bool:
        self.clock.s += LOOK_S
        return self.configuration.changed() is not None


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "config")


def test_a_change_counts_once_its_files_stand_still(files: Files) -> None:
    assert not files.look()
    files.write("tocsin.yml", "input: {lateness: 3m}\n")
    assert not files.look(), "it may be half written"
    files.write("tocsin.yml", "input: {lateness: 4m}\n")
    assert not files.look()
    assert files.look()
    assert files.configuration.settings.config.input.lateness_ms == 240_000
    assert not files.look()


def test_a_mistake_changes_nothing_is_said_once_and_is_over_when_mended(files: Files) -> None:
    before = files.configuration.settings
    files.write("signals.yml", "signals: {x: {window: yellow")
    for _ in range(5):
        assert not files.look()
    assert files.configuration.settings is before
    assert len(files.said) == 1 and "signals.yml" in files.said[0]
    assert "signals.yml" in files.configuration.error
    configured(files.folder)
    files.look()
    assert files.look()
    assert files.configuration.error == ""


def test_a_configuration_that_is_gone_stays_in_force(files: Files) -> None:
    (files.folder / "signals.yml").unlink()
    assert not files.look() and not files.look()
    assert files.configuration.error


def test_what_lies_in_hidden_or_deep_folders_is_no_configuration(files: Files) -> None:
    deep = files.folder / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (files.folder / ".git").mkdir()
    files.look(), files.look()
    for path in (deep / "x.yml", files.folder / ".git" / "x.yml", files.folder / "tocsin.db"):
        path.write_text("x", encoding="utf-8")
        assert not files.look() and not files.look()


# --- the watchdog -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_loop_that_stands_still_ends_the_process_and_one_that_works_does_not() -> None:
    ended = Event()

    async def run() -> None:
        watchdog = Watchdog(SystemClock(), ended.set, stuck_s=1.5)
        watchdog.start()
        await asyncio.sleep(2.5)
        assert not ended.is_set()
        time.sleep(2.5)  # the loop stands still
        await watchdog.close()

    asyncio.run(run())
    assert ended.is_set()


# --- the pulse --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_says_how_it_is_doing(tmp_path: Path) -> None:
    with new_store(tmp_path / "a.db") as store:
        pulse = Pulse(store, "work", SystemClock(), lambda: {"next": 7})
        try:
            found = until(lambda: standing(store, 0).processes, "its row")
        finally:
            pulse.close()
    assert [(p.name, p.pid, p.body) for p in found] == [("work", os.getpid(), {"next": 7})]


# --- the supervisor ---------------------------------------------------------------------------------------------------


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with bind("127.0.0.1", 0) as taken, bind("127.0.0.1", 0) as late:
        listen(taken)
        with pytest.raises(UnreachableError, match="give another --host or --port"):
            bind("127.0.0.1", taken.getsockname()[1])
        listen(late)
        listen(late)
        assert taken.proto == socket.IPPROTO_TCP, "or asyncio leaves Nagle's algorithm on"
        assert url_of(taken) == f"http://127.0.0.1:{taken.getsockname()[1]}"


class Scripted(Child):
    """A child that runs a line of Python in the place of a command."""

    def start(self, now_s: float) -> None:
        kept, sys.executable = sys.executable, str(Path(str(self.arguments[0])))
        try:
            super().start(now_s)
        finally:
            sys.executable = kept


def scripted(folder: Path, name: str, body: str) -> Scripted:
    script = folder / name
    script.write_text(f"#!{sys.executable}\nimport os, signal, socket, sys, time\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    return Scripted(name, [str(script)])


READY = "s = socket.socket(fileno=int(os.environ['TOCSIN_SUPERVISOR_FD'])); s.sendall(b'ready\\n')"


@pytest.mark.slow
@pytest.mark.parametrize("code", [2, 3])
def test_a_process_that_can_not_start_ends_the_service_with_its_code(tmp_path: Path, code: int) -> None:
    children = [
        scripted(tmp_path, "wrong", f"sys.exit({code})"),
        scripted(tmp_path, "good", f"{READY}\ntime.sleep(60)"),
    ]
    said: list[str] = []
    assert Supervisor(children, SystemClock(), said.append, lambda: None).run() == code
    assert said == []
    assert all(child.process is None for child in children)


@pytest.mark.slow
def test_nobody_can_connect_before_the_process_that_may_refuse_is_ready(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as listening:
        at = listening.getsockname()
        knock = f"c = socket.socket()\ntry: c.connect({at!r})\nexcept OSError: sys.exit(3)\nsys.exit(0)"
        refuses, door = scripted(tmp_path, "refuses", knock), scripted(tmp_path, "door", f"{READY}\ntime.sleep(60)")
        door.listening, door.after = listening, refuses
        assert Supervisor([door, refuses], SystemClock(), list[str]().append, lambda: None).run() == 3
        assert door.starts == 0


@pytest.mark.slow
def test_a_door_that_was_open_opens_again_without_waiting_for_anybody(tmp_path: Path) -> None:
    end = "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    works = scripted(tmp_path, "works", f"{READY}\ntime.sleep(60)")
    log = tmp_path / "starts"
    body = f"open({str(log)!r}, 'a').write('x')\nif len(open({str(log)!r}).read()) == 2: {end}\nsys.exit(1)"
    door = scripted(tmp_path, "door", body)
    door.after = works
    assert Supervisor([door, works], SystemClock(), list[str]().append, lambda: None).run() == 0
    assert (door.starts, works.starts) == (2, 1)


@pytest.mark.slow
def test_a_process_that_crashes_is_started_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    log = tmp_path / "starts"
    body = f"{READY}\nopen({str(log)!r}, 'a').write('x')\nif len(open({str(log)!r}).read()) == 4: os.kill(os.getppid(), 15)\nsys.exit(1)"
    said: list[str] = []
    ups: list[int] = []
    child = scripted(tmp_path, "crashing", body)
    assert Supervisor([child], SystemClock(), said.append, lambda: ups.append(1)).run() == 0
    assert [text.rpartition(" in ")[2] for text in said[:3]] == ["0.25 s", "0.5 s", "1 s"]
    assert len(ups) <= 1


def test_a_setting_of_the_store_that_does_not_fit_is_told_before_anything_starts(tmp_path: Path) -> None:
    from streams.cli.run import opened

    config = configured(tmp_path / "config")
    with opened(str(tmp_path / "a.db"), load(config)) as store:
        assert store.mode == "live"
    (config / "tocsin.yml").write_text("privacy: {customer_key: {file: key}}\n", encoding="utf-8")
    (config / "key").write_text("0123456789abcdef0123", encoding="utf-8")
    with pytest.raises(UsageError, match="customer hash key"), opened(str(tmp_path / "a.db"), load(config)):
        pass


def test_the_listening_socket_outlives_the_process_that_answered() -> None:
    with bind("127.0.0.1", 0) as listening:
        listen(listening)
        copy = socket.socket(fileno=os.dup(listening.fileno()))
        copy.close()
        with socket.create_connection(listening.getsockname(), 5):
            pass

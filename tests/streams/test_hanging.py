"""Processes that hang are started again, and those that wait are not."""

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from detector.errors import UnreachableError
from streams.clock import SystemClock
from streams.engines.live import Live
from streams.engines.session import Run, session
from streams.settings import load
from streams.store import open_store
from streams.store.standing import standing
from streams.supervisor import LONGEST_LOOK_S, Child, Supervisor
from tests.servers.service import ROOT, configured, until
from tests.streams.test_service_parts import StepClock, scripted

SILENT_S = 4.0
"""In the place of a minute."""


@pytest.fixture(autouse=True)
def from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def supervised(folder: Path, body: str) -> list[str]:
    """Run a process until it asks the supervisor to end; return what the supervisor said."""
    starts = folder / "starts"
    first = [
        "from streams.supervisor import Parent",
        "parent = Parent(still_s=1.0)",
        "parent.ready()",
        f"open({str(starts)!r}, 'a').write('x')",
        f"again = len(open({str(starts)!r}).read()) > 1",
        "def end():",
        "    os.kill(os.getppid(), signal.SIGTERM)",
        "    time.sleep(60)",
    ]
    said: list[str] = []
    child = scripted(folder, "hanging", "\n".join([*first, body]))
    assert Supervisor([child], SystemClock(), said.append, lambda: None, silent_s=SILENT_S).run() == 0
    return said


KILLED = [
    "the hanging process has not answered for 4 s; killing it",
    "the hanging process was ended by signal 9; starting it again in 0.25 s",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "hang",
    [
        pytest.param("os.kill(os.getpid(), signal.SIGSTOP)", id="halted"),
        pytest.param("parent.turned(); time.sleep(60)", id="its main loop stands still"),
    ],
)
def test_a_process_that_hangs_is_killed_and_started_again(tmp_path: Path, hang: str) -> None:
    assert supervised(tmp_path, f"if again: end()\n{hang}") == KILLED


@pytest.mark.slow
@pytest.mark.parametrize(
    "wait",
    [
        pytest.param("while time.monotonic() < until: parent.turned(); time.sleep(0.5)", id="it turns"),
        pytest.param("parent.turned(); parent.busy(); time.sleep(until - time.monotonic())", id="it said so"),
        pytest.param("time.sleep(until - time.monotonic())", id="it still starts"),
    ],
)
def test_a_process_that_is_at_something_for_long_is_let_be(tmp_path: Path, wait: str) -> None:
    assert supervised(tmp_path, f"until = time.monotonic() + {SILENT_S + 2.5}\n{wait}\nend()") == []


def test_a_supervisor_that_stood_still_itself_blames_nobody() -> None:
    child, (ours, theirs) = Child("web", []), socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        child._ours = ours
        child._listen(0.0)
        child._listen(3_600.0)
        assert child.silent_s == LONGEST_LOOK_S
        child._listen(3_600.2)
        assert child.silent_s == pytest.approx(LONGEST_LOOK_S + 0.2)
        theirs.sendall(b"ready\n.")
        child._listen(3_600.4)
        assert child.silent_s == 0.0 and child.ready


def test_a_run_says_that_it_turns_while_it_waits_for_the_store(tmp_path: Path) -> None:
    clock, turns, left = StepClock(), list[float](), [UnreachableError("locked")] * 30
    settings = load(configured(tmp_path / "config"))

    def write() -> None:
        if left:
            raise left.pop()

    with session(tmp_path / "a.db", Run.of(settings), clock, mode="live") as found:
        live = Live(found, clock, lambda text: None, turned=lambda: turns.append(clock.s))
        live._worker.persist(write)
    waited_s = turns[-1] - turns[0]
    assert waited_s > 60
    assert max(after - before for before, after in pairwise(turns)) < 10


def beside(act: Callable[[], None]) -> tuple[threading.Thread, list[BaseException]]:
    """Run it beside the supervisor, which needs the main thread, and ask that to end then."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failed


@pytest.mark.slow
def test_a_work_process_outlasts_a_locked_store_and_is_started_again_when_it_hangs(tmp_path: Path) -> None:
    config, db = configured(tmp_path / "config"), tmp_path / "a.db"
    up, said, counts = threading.Event(), list[str](), list[int]()
    child = Child("work", ["work", "--config", str(config), "--db", str(db)])

    def spoken_ms() -> int:
        with open_store(db) as store:
            return max((process.at_ms for process in standing(store, 0).processes), default=0)

    def act() -> None:
        assert up.wait(60)
        until(spoken_ms, "its first row")
        other = sqlite3.connect(db, isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(2 * SILENT_S)
        other.execute("ROLLBACK")
        other.close()
        counts.append(child.starts)
        before_ms = spoken_ms()
        assert child.process is not None
        until(lambda: spoken_ms() > before_ms, "it goes on")
        os.kill(child.process.pid, signal.SIGSTOP)
        until(lambda: child.starts == 2 and child.ready, "it was started again", 60)

    thread, failed = beside(act)
    code = Supervisor([child], SystemClock(), said.append, up.set, silent_s=SILENT_S).run()
    thread.join()
    assert failed == [], said
    assert (code, counts) == (0, [1])
    assert [text.partition(";")[0] for text in said] == [
        "the work process has not answered for 4 s",
        "the work process was ended by signal 9",
    ]

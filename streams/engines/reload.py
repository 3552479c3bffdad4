"""Notices a changed configuration while a process runs: to work on it, or to say that it keeps to its own.

Promises
- What is in force stays until the files hold together: a mistake, or a file half written, changes nothing and is said.
- Files count once they have stood still from one look to the next.
"""

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from detector.errors import ConfigError, TocsinError
from streams.clock import Clock
from streams.settings import Settings, load

LOOK_S = 1.0
SELDOM_S = 3.0
"""Who only says it looks so often."""
_SUFFIXES = {".yml", ".yaml", ".csv", ".txt", ".html", ".md", ".j2"}
_MOST_FILES = 1_000

Prints = tuple[tuple[str, int, int], ...]


class Configuration:
    """A configuration directory as a process knows it.

    Parameters
    ----------
    say
        Tells the operator of a mistake, once for each change.
    """

    def __init__(self, settings: Settings, clock: Clock, say: Callable[[str], None]) -> None:
        self.settings = settings
        """In force."""
        self.error = ""
        """What is wrong with the files as they are; empty where they hold."""
        self._clock, self._say = clock, say
        self._seen = self._last = prints(settings.directory)
        self._looked_s = clock.monotonic_s()

    def changed(self) -> Settings | None:
        """Return the new settings where the files have changed and hold; ask as often as you like."""
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s < LOOK_S:
            return None
        self._looked_s = now_s
        found = prints(self.settings.directory)
        settled, self._last = found == self._last, found
        if not settled or found == self._seen:
            return None
        self._seen = found
        try:
            new = load(self.settings.directory)
        except (TocsinError, OSError) as error:
            self.refuse(error)
            return None
        self.settings, self.error = new, ""
        return new

    def refuse(self, error: Exception, before: Settings | None = None) -> None:
        """Keep to the settings before, and say why."""
        if before is not None:
            self.settings = before
        problems = error.problems if isinstance(error, ConfigError) else [error]
        self.error = "; ".join(str(problem) for problem in problems)
        self._say(f"the configuration was changed and has a mistake; the one before stays in force: {self.error}")


class Kept:
    """The configuration that a process keeps to as long as it runs, and says so where the files are others.

    Parameters
    ----------
    say
        Tells the operator, once for each change.
    """

    def __init__(self, settings: Settings, clock: Clock, say: Callable[[str], None]) -> None:
        self.current = True
        """Whether the files say what this process works on."""
        self._files = Configuration(settings, clock, say)
        self._say, self._own = say, _meaning(settings)

    @property
    def error(self) -> str:
        """What is wrong with the files as they are; empty where they hold."""
        return self._files.error

    def look(self) -> None:
        new = self._files.changed()
        if new is None:
            self.current = self.current and not self.error
            return
        self.current = _meaning(new) == self._own
        if not self.current:
            self._say(
                "the configuration was changed: this worker goes on with the one it started with; "
                "start the workers again, one after the other"
            )

    def start(self) -> None:
        """Look from a thread as long as the process runs."""
        threading.Thread(target=self._run, name="configuration", daemon=True).start()

    def _run(self) -> None:
        never = threading.Event()
        while not never.wait(SELDOM_S):
            self.look()


def _meaning(settings: Settings) -> tuple[Settings, str]:
    """Return what makes two configurations different: a comment does not, a customer's line does."""
    file = settings.customers
    try:
        rows = b"" if file is None else file.read_bytes()
    except OSError:
        rows = b""
    return settings, hashlib.sha256(rows).hexdigest()


def prints(directory: Path) -> Prints:
    """Return what changes with the configuration's files; those of hidden and of deeper folders are none."""
    out: list[tuple[str, int, int]] = []
    try:
        for entry in _files(directory, depth=3):
            found = entry.stat()
            out.append((entry.path, found.st_mtime_ns, found.st_size))
    except OSError:  # a file that went away while we looked: the next look sees what stands there then
        return ()
    return tuple(sorted(out))


def _files(directory: Path, depth: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        for entry in itertools.islice(entries, _MOST_FILES):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth > 1:
                    yield from _files(Path(entry.path), depth - 1)
            elif os.path.splitext(entry.name)[1] in _SUFFIXES:
                yield entry

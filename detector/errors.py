"""The error tree. Every message says where, what was found, what is allowed and what to do.

A bad *event* is not an error but a value (`detector.events.Invalid`) on its way to the dead letter.
"""

from dataclasses import dataclass


class TocsinError(Exception):
    """The root: shown to a person as one line, never a traceback. `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(TocsinError):
    """Wrong usage: an unknown case, a missing file, an illegal command for a state."""

    exit_code = 2


class UnreachableError(TocsinError):
    """A needed service or file cannot be reached (database locked, disk full, broker gone)."""

    exit_code = 3


class FencedError(TocsinError):
    """Another process has advanced this store's position: nothing was written, this one must stop."""

    exit_code = 3


class DamagedStoreError(TocsinError):
    """The store's bytes do not hold what they should: nothing is guessed, and nothing starts empty in their place."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in the configuration: where (`path`), what was found, what is allowed, what to do."""

    path: str
    found: str
    allowed: str
    do: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: expected {self.allowed}, found {self.found}"
        return f"{text} ({self.do})" if self.do else text


class ConfigError(TocsinError):
    """The configuration does not hold; `problems` lists every error at once."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))

"""Sets a run up: opens the store, holds its lock, takes the customers in, makes decoder and runner; then reads files.

A run stops between two blocks when it is asked to (SIGINT, SIGTERM), with everything committed.
"""

import hashlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

import msgspec

from detector.config import Config
from detector.decode.customers import CustomerKeys
from streams.clock import Clock
from streams.engines.embedded import COMMIT_S, FilePlace, Runner, Step
from streams.engines.lock import only_runner
from streams.intake.bytestream import STDIN, changed_ms
from streams.intake.files import BLOCK_BYTES, Identity, Known, RecordDecoder, Source
from streams.intake.formats import OWN, decoder_for
from streams.intake.sshd import SshdDecoder
from streams.settings import Settings
from streams.store import Store, open_store
from streams.store.customers_csv import BadRow
from streams.store.directory import CustomerDirectory
from streams.store.engines import refuse_kafka_input

FORMAT = "format"


class InputFormat(msgspec.Struct, frozen=True):
    """How the input is read; the store remembers it, so that its dead letters can be read again."""

    name: str = OWN
    formats: dict[str, Any] = {}
    year: int | None = None

    def decoder(self, config: Config, keys: CustomerKeys, partitions: int = 1) -> RecordDecoder:
        return decoder_for(
            self.name,
            config.schema,
            keys,
            self.formats,
            partitions=partitions,
            max_record_bytes=config.input.max_record_bytes,
            year=self.year,
        )


@dataclass(frozen=True)
class Run:
    """What to run, as the settings and the command line say."""

    config: Config
    format: InputFormat = field(default_factory=InputFormat)
    customers: Path | None = None
    customer_key: bytes | None = None
    partitions: int = 1
    learn_only: bool = False
    commit_s: float = COMMIT_S
    block_bytes: int = BLOCK_BYTES
    settings: Settings | None = None
    """Where there are some: how notices go out."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the run that a configuration directory describes."""
        formats = {name: dict(mapping) for name, mapping in settings.formats.items()}
        return cls(
            settings.config,
            InputFormat(settings.format, formats),
            customers=settings.customers,
            customer_key=None if settings.customer_key is None else settings.customer_key.read(),
            settings=settings,
        )


@dataclass
class Stop:
    """Whether the run was asked to stop, and by which signal."""

    signal: int | None = None


class Aliases:
    """The directory's ids and aliases as a decoder sees them; what changes in them counts from the next block on."""

    def __init__(self, directory: CustomerDirectory, secret: bytes) -> None:
        self._directory, self._version = directory, directory.version
        self._known = directory.aliases()
        self.keys = CustomerKeys(secret, self._known)

    def refresh(self) -> None:
        """Take the directory in anew where it has changed: called between two blocks."""
        version = self._directory.version
        if version == self._version:
            return
        self._version = version
        self._known.clear()
        self._known.update(self._directory.aliases())
        self.keys.forget()


@dataclass
class Session:
    """A run that is set up."""

    store: Store
    runner: Runner
    decoder: RecordDecoder
    aliases: Aliases
    run: Run
    stop: Stop
    clock: Clock
    say: Callable[[str], None]
    bad_customers: list[BadRow] = field(default_factory=list)
    _year_told: bool = False

    def read(self, paths: Sequence[str]) -> None:
        """Read files in this order from where they were left; at their end every window closes.

        Asked to stop, it commits what it has and closes nothing.
        """
        self.runner.open_letters()
        for path in paths:
            self._read(path)
            if self.stop.signal is not None:
                self.runner.commit()
                return
        self.runner.end()

    def _read(self, path: str) -> None:
        places = self.runner.file_places()
        source = Source(
            path,
            known_files(places),
            block_bytes=self.run.block_bytes,
            max_record_bytes=self.run.config.input.max_record_bytes,
        )
        with source:
            if source.key in places:
                self.decoder.restore(places[source.key][0].decoder)
            at_ms = changed_ms(path)
            if isinstance(self.decoder, SshdDecoder):
                self.decoder.assume(self.clock.now_ms() if at_ms is None else at_ms)
            for block in source.blocks():
                self.aliases.refresh()
                self.runner.feed(block)
                self.tell_year(source.key, "the clock" if at_ms is None else "the file's last change")
                self.runner.commit_when_due()
                if self.stop.signal is not None:
                    return

    def tell_year(self, source: str, by: str) -> None:
        """Say it, once, where stamps have no year and one was taken for granted."""
        decoder = self.decoder
        if self._year_told or not isinstance(decoder, SshdDecoder) or decoder.taken is None:
            return
        self._year_told = True
        name = "standard input" if source == STDIN else source
        self.say(f"{name}: stamps have no year: taken as {decoder.taken}, by {by}; --year Y states another")


def known_files(places: Mapping[str, tuple[FilePlace, int]]) -> Known:
    """Return the files read before as the intake knows them."""
    return {key: (Identity.parse(place.identity), position) for key, (place, position) in places.items()}


@contextmanager
def session(
    db: str | Path,
    run: Run,
    clock: Clock,
    *,
    mode: str,
    watch: Callable[[Step], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Session]:
    """Set a run up on a store, alone on it until the end.

    Parameters
    ----------
    watch
        Called after every block.
    say
        Tells the operator what was taken for granted.

    Raises
    ------
    UsageError
        The store is of the other mode, or was made otherwise than the settings say.
    RunnerActiveError
        Another process runs on it.
    """
    config = run.config
    with open_store(db, tenant=config.tenant, create=True, customer_key=run.customer_key) as store:
        with only_runner(store), stopping() as stop:
            refuse_kafka_input(store)
            if not run.learn_only:
                store.claim_mode(mode)
            store.set_meta(f"{FORMAT}:{store.tenant}", msgspec.json.encode(run.format))
            directory = CustomerDirectory(store, config.policy.channels)
            bad = import_customers(store, directory, run.customers)
            aliases = Aliases(directory, store.customer_key)
            decoder = run.format.decoder(config, aliases.keys, run.partitions)
            runner = Runner(
                store,
                config,
                decoder,
                clock,
                partitions=run.partitions,
                learn_only=run.learn_only,
                commit_s=run.commit_s,
                watch=watch,
            )
            yield Session(store, runner, decoder, aliases, run, stop, clock, say, bad)


def import_customers(store: Store, directory: CustomerDirectory, file: Path | None) -> list[BadRow]:
    """Take the settings' customers in where the file has changed since."""
    if file is None:
        return []
    name = f"customers:{store.tenant}"
    digest = hashlib.sha256(file.read_bytes()).digest()
    if store.meta(name) == digest:
        return []
    bad = directory.import_file(file).bad
    store.set_meta(name, digest)
    return bad


@contextmanager
def stopping() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a wish to stop; a second SIGINT interrupts at once."""
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        if stop.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

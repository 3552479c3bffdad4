"""Reads dead letters again, once the cause (a format, a limit, a signal's fields) has been put right."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from detector.config import Config
from detector.decode.customers import CustomerKeys
from detector.errors import UsageError
from detector.pack import unpack
from streams.clock import Clock
from streams.engines.embedded import Kept, Runner
from streams.engines.lock import only_runner
from streams.engines.session import FORMAT, InputFormat
from streams.store import Store
from streams.store.directory import CustomerDirectory
from streams.store.engines import refuse_kafka_input
from streams.store.queries import DeadLetter


@dataclass
class Retried:
    """What came of it: `left` are still no events, or are longer than what was kept of them."""

    applied: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    left: int = 0


def retry(
    store: Store, letters: Sequence[DeadLetter], clock: Clock, given: tuple[Config, InputFormat] | None
) -> Retried:
    """Feed dead letters through decoder and pipeline again; what is late by now is counted late.

    Parameters
    ----------
    given
        Configuration and format; None for those that the store was last run with.

    Raises
    ------
    UsageError
        The store has seen no events yet.
    RunnerActiveError
        A process runs on the store.
    """
    out = Retried()
    refuse_kafka_input(store)
    with only_runner(store):
        in_force, snapshot = store.in_force(), store.snapshot()
        if snapshot is None or not in_force:
            message = f"{store.where}: has seen no events yet"
            raise UsageError(message)
        if given is None:
            config = msgspec.json.decode(in_force[-1].body, type=Config)
            remembered = store.meta(f"{FORMAT}:{store.tenant}")
            given = config, InputFormat() if remembered is None else msgspec.json.decode(remembered, type=InputFormat)
        config, format = given
        partitions = unpack(snapshot.data, Kept).partitions
        directory = CustomerDirectory(store, config.policy.channels)
        keys = CustomerKeys(store.customer_key, directory.aliases())
        runner = Runner(store, config, format.decoder(config, keys, partitions), clock, partitions=partitions)
        ended = runner.ended
        for letter in letters:
            whole = letter.size == len(letter.data)
            effects = runner.retry(letter.n, letter.source, letter.position, letter.data) if whole else None
            if effects is None:
                out.left += 1
                continue
            out.applied += effects.applied
            out.dropped.update(effects.dropped)
        if ended:
            runner.end()
        runner.commit()
    return out

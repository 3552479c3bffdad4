"""Which store a consumer group works for: its workers note it beside the offsets that they commit."""

from detector.errors import UsageError
from streams.kafka.admin import administration, patiently
from streams.kafka.client import KafkaSettings

_MARK = "store="


def note_of(store: str) -> str:
    """Return what is committed beside each offset; `store` is the store's identity."""
    return f"{_MARK}{store}"


def refuse_another_store(settings: KafkaSettings, group: str, store: str, where: object) -> None:
    """Keep a worker out of a group whose workers work for another store: each would get half of the input.

    Where nobody works in the group any more, a new store may take it over.

    Raises
    ------
    UsageError
        There are workers of another store.
    UnreachableError
        No broker answers.
    """
    with administration(settings) as client:
        members = patiently(lambda: client.describe_groups([group]))[group]["members"]
        offsets = patiently(lambda: client.list_group_offsets({group: None}))[group] if members else {}
    noted = {of.metadata for of in offsets.values() if of.metadata.startswith(_MARK)}
    if noted - {note_of(store)}:
        message = (
            f"{where}: {len(members)} worker(s) of the group {group} work for another store, and would share the input "
            "with this one: give --db the same store to all of them, or kafka.group another name; "
            "one that has just ended is forgotten after kafka.session_timeout"
        )
        raise UsageError(message)

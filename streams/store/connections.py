"""What connections are for, as execution options, and how long one waits for the write lock."""

BUSY_MS = 40_000
READS = {"reads": True}
"""Execution options of a connection that only reads: it sees one state throughout and holds up nobody."""
BESIDE = {"beside": True}
"""Of one that writes without the write lock, where the database locks single rows (`Store.beside`)."""

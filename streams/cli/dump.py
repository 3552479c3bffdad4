"""`tocsin dump`: cases, ledger and notices in one canonical form, for comparing two runs byte by byte."""

import sys

import msgspec

from streams.cli import common
from streams.cli.common import store_option


@common.command(example="tocsin dump --db demo/tocsin.db > first.ndjson")
@store_option
@common.json_option
def command(db: str, as_json: bool) -> None:
    """Print cases, ledger and notices as sorted NDJSON: no clock, no random id, floats to six digits.

    The same input and configuration give the same bytes, however the run was cut up.
    """
    from streams.store.documents import dump

    encoder = msgspec.json.Encoder(order="deterministic")
    with common.open_store(db) as store:
        for document in dump(store):
            sys.stdout.write(encoder.encode(document).decode() + "\n")

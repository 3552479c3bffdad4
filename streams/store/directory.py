"""The customer directory: the one place that knows who a customer is, and the only source of a recipient.

Promises
- A customer whom it does not know (a bare row, an erased one) is in no `reach`, so nobody tells them anything.
- An alias that two customers share names neither; it is reported.
- Who was erased (`streams.store.erasing`) is not brought back by later events and imports: no id of theirs is stored
  again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from detector.decode.customers import alias_forms, customer_key
from detector.desk.records import Reach
from detector.errors import UsageError
from detector.events import Ints
from streams.store import rows
from streams.store import tables as t
from streams.store.customers_csv import ALL_CHANNELS, BadRow, CustomerRow, Read, read_customers, read_stream
from streams.store.erasing import VERSION, Also, Erased, changed, erase
from streams.store.store import Store

ADDRESS = {"email": "email", "whatsapp": "phone", "sms": "phone"}
"""Which address a channel needs; a channel that is not named here needs none."""

NOBODY = 0
"""The customer of an alias that several share."""

_BATCH = 500


@dataclass(frozen=True)
class Customer:
    """One row of the directory."""

    id: str
    name: str
    language: str
    time_zone: str
    email: str
    phone: str
    consent: tuple[str, ...]
    known: bool
    withdrawn: tuple[str, ...] = ()
    """What they want nothing on any more, whatever `consent` says."""
    tier: str | None = None
    contract_value_milli: int | None = None

    def address(self, channel: str) -> str:
        """Where this channel reaches them; "" where it can't, or where they do not consent to it."""
        if self.why_not(channel):
            return ""
        field = ADDRESS.get(channel)
        return self.id if field is None else str(getattr(self, field))

    def why_not(self, channel: str) -> str:
        """Return why a channel may not be used: `withdrawn`, `no-consent`, `no-address`; "": it may."""
        if channel in self.withdrawn or ALL_CHANNELS in self.withdrawn:
            return "withdrawn"
        if channel not in self.consent and ALL_CHANNELS not in self.consent:
            return "no-consent"
        field = ADDRESS.get(channel)
        return "" if field is None or getattr(self, field) else "no-address"


@dataclass(frozen=True)
class Imported:
    """What an import brought: `bad` lists what was not taken."""

    imported: int
    bad: list[BadRow]


class CustomerDirectory:
    """`detector.desk.records.Directory` over a store, and what people do with it."""

    def __init__(self, store: Store, channels: Iterable[str] = ADDRESS) -> None:
        self._store, self._secret = store, store.customer_key
        self._channels = tuple(channels)
        self._here = t.customer.c.tenant == store.tenant

    # --- for deciding ---------------------------------------------------------------------------------------------

    def reach(self, customers: Ints) -> Mapping[int, Reach]:
        """Return how to reach those of these customers whom the directory really knows."""
        out: dict[int, Reach] = {}
        keys = [int(key) for key in np.unique(customers) if key]
        with self._store.reading() as connection:
            for i in range(0, len(keys), _BATCH):
                batch = keys[i : i + _BATCH]
                withdrawn = self._withdrawn(connection, batch)
                wanted = sa.select(t.customer).where(self._here, t.customer.c.known == 1)
                for row in connection.execute(wanted.where(t.customer.c.key.in_(batch))):
                    found = _customer(row, withdrawn.get(row.key, ()))
                    channels = frozenset(c for c in self._channels if found.address(c))
                    out[row.key] = Reach(found.language, found.time_zone, channels)
        return out

    def aliases(self) -> dict[int, int]:
        """Return the hash of every known id and unambiguous alias → the customer's hash, for the decoder."""
        ours = t.customer_alias.c.tenant == self._store.tenant
        with self._store.reading() as connection:
            wanted = sa.select(t.customer_alias.c.alias, t.customer_alias.c.key)
            found = connection.execute(wanted.where(ours, t.customer_alias.c.key != NOBODY))
            out = {row.alias: row.key for row in found}
            known = connection.execute(sa.select(t.customer.c.key).where(self._here, t.customer.c.known == 1))
            out.update((row.key, row.key) for row in known)
        return out

    @property
    def version(self) -> bytes | None:
        """Changes with every change of an id or alias, so that a running decoder knows when to read them again."""
        return self._store.meta(VERSION)

    # --- for people -----------------------------------------------------------------------------------------------

    def find(self, text: str) -> int:
        """Return the hash of the customer whom an id or alias names.

        Raises
        ------
        UsageError
            Nobody is known by it.
        """
        forms = [customer_key(self._secret, form) for form in alias_forms(text)]
        by_id = sa.select(t.customer.c.key, t.customer.c.key.label("form")).where(
            self._here, t.customer.c.key.in_(forms)
        )
        by_alias = sa.select(t.customer_alias.c.key, t.customer_alias.c.alias.label("form")).where(
            self._ours(t.customer_alias), t.customer_alias.c.key != NOBODY, t.customer_alias.c.alias.in_(forms)
        )
        # A bare row is asked last: it may be an alias that came before the directory knew it.
        with self._store.reading() as connection:
            for way in (by_id.where(t.customer.c.known == 1), by_alias, by_id):
                found = {row.form: int(row.key) for row in connection.execute(way)}
                if found:
                    return next(found[form] for form in forms if form in found)
        message = f"customer {text!r}: nobody in {self._store.where} is known by that id or alias"
        raise UsageError(message)

    def get(self, key: int) -> Customer | None:
        with self._store.reading() as connection:
            row = connection.execute(sa.select(t.customer).where(self._here, t.customer.c.key == key)).first()
            return None if row is None else _customer(row, self._withdrawn(connection, [key]).get(key, ()))

    def get_many(self, keys: Iterable[int]) -> dict[int, Customer]:
        """Return those of these customers who are there, as of one moment."""
        wanted, out = sorted(set(keys)), dict[int, Customer]()
        with self._store.reading() as connection:
            for i in range(0, len(wanted), _BATCH):
                batch = wanted[i : i + _BATCH]
                withdrawn = self._withdrawn(connection, batch)
                for row in connection.execute(sa.select(t.customer).where(self._here, t.customer.c.key.in_(batch))):
                    out[row.key] = _customer(row, withdrawn.get(row.key, ()))
        return out

    def count(self) -> tuple[int, int]:
        """Return how many customers are known, and how many have failed that are not."""
        wanted = sa.select(t.customer.c.known, sa.func.count().label("n")).where(self._here)
        with self._store.reading() as connection:
            found = {row.known: row.n for row in connection.execute(wanted.group_by(t.customer.c.known))}
        return found.get(1, 0), found.get(0, 0)

    def import_file(self, path: Path, also: Also | None = None) -> Imported:
        """Take a customers file in: good rows replace what is there, bad ones and shared aliases are reported."""
        return self._take(read_customers(path), also)

    def import_stream(self, stream: Iterable[str], label: str, also: Also | None = None) -> Imported:
        """Take a customers file in that is read line by line."""
        return self._take(read_stream(stream, label), also)

    def put(self, row: CustomerRow, also: Also | None = None) -> Imported:
        """Take one customer in, in the place of what is there, as an import does."""
        return self._take(Read([row]), also)

    def _take(self, read: Read, also: Also | None) -> Imported:
        keyed = [(customer_key(self._secret, row.id), row) for row in read.rows]
        with self._store.transaction() as connection:
            gone = {row.key for row in connection.execute(sa.select(t.erased.c.key).where(self._ours(t.erased)))}
            for key, row in keyed:
                if key in gone:
                    read.bad.append(BadRow(row.line, "id", row.id, "a customer who was not erased"))
            keyed = [(key, row) for key, row in keyed if key not in gone]
            if keyed:
                rows.put(connection, t.customer, (self._values(key, row) for key, row in keyed))
                read.bad.extend(self._take_aliases(connection, keyed))
            changed(connection)
            if also is not None:
                also(connection)
        return Imported(len(keyed), sorted(read.bad, key=lambda bad: (bad.line, bad.column)))

    def prefer(
        self,
        key: int,
        *,
        consent: Sequence[str] | None = None,
        language: str | None = None,
        time_zone: str | None = None,
        also: Also | None = None,
    ) -> None:
        """Set what a customer prefers; None leaves it as it is.

        Consent is what the customer says now, so it takes the place of what they withdrew before.
        """
        given = {
            "consent": None if consent is None else " ".join(consent),
            "language": language,
            "time_zone": time_zone,
        }
        values = {name: value for name, value in given.items() if value is not None}
        with self._store.transaction() as connection:
            if values:
                connection.execute(sa.update(t.customer).where(self._here, t.customer.c.key == key).values(values))
            if consent is not None:
                mine = self._ours(t.withdrawn) & (t.withdrawn.c.key == key)
                connection.execute(sa.delete(t.withdrawn).where(mine))
            if also is not None:
                also(connection)

    def opt_out(self, key: int, also: Also | None = None) -> None:
        """Withdraw the customer's consent to every channel."""
        with self._store.transaction() as connection:
            connection.execute(sa.update(t.customer).where(self._here, t.customer.c.key == key).values(consent=""))
            self._withdraw(connection, key, ALL_CHANNELS)
            if also is not None:
                also(connection)

    def withdraw(self, key: int, channel: str, also: Also | None = None) -> None:
        """Note that the customer wants nothing on this channel: it holds whatever an import says of their consent."""
        with self._store.transaction() as connection:
            self._withdraw(connection, key, channel)
            if also is not None:
                also(connection)

    def erase(self, key: int, also: Also | None = None) -> Erased:
        """Forget who the customer is, for good, and say what was removed where."""
        return erase(self._store, key, also)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _withdraw(self, connection: sa.Connection, key: int, channel: str) -> None:
        values = {"tenant": self._store.tenant, "key": key, "channel": channel}
        connection.execute(rows.upsert(t.withdrawn, replace=False), values)

    def _withdrawn(self, connection: sa.Connection, keys: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """Return what these customers want nothing on."""
        out: dict[int, tuple[str, ...]] = {}
        wanted = sa.select(t.withdrawn).where(self._ours(t.withdrawn), t.withdrawn.c.key.in_(keys))
        for row in connection.execute(wanted):
            out[row.key] = (*out.get(row.key, ()), row.channel)
        return out

    def _ours(self, table: sa.Table) -> sa.ColumnElement[bool]:
        return table.c.tenant == self._store.tenant

    def _values(self, key: int, row: CustomerRow) -> rows.Row:
        names = ("id", "name", "language", "time_zone", "email", "phone", "tier", "contract_value_milli")
        values = {name: getattr(row, name) for name in names}
        return {**values, "tenant": self._store.tenant, "key": key, "consent": " ".join(row.consent), "known": 1}

    def _take_aliases(self, connection: sa.Connection, keyed: list[tuple[int, CustomerRow]]) -> list[BadRow]:
        """Write the customers' aliases anew; what several share is nobody's, and reported."""
        ours = self._ours(t.customer_alias)
        remove = sa.delete(t.customer_alias).where(
            t.customer_alias.c.tenant == sa.bindparam("of"), t.customer_alias.c.key == sa.bindparam("who")
        )
        connection.execute(remove, [{"of": self._store.tenant, "who": key} for key, _ in keyed])
        owners = {row.alias: row.key for row in connection.execute(sa.select(t.customer_alias).where(ours))}
        known = sa.select(t.customer.c.key).where(self._here, t.customer.c.known == 1)
        ids = {row.key for row in connection.execute(known)}
        shared, taken = list[BadRow](), dict[int, int]()
        for key, row in keyed:
            for text in dict.fromkeys(filter(None, (row.phone, row.email, *row.aliases))):
                for form in (text,) if text == row.phone else alias_forms(text):
                    alias = customer_key(self._secret, form)
                    owner = owners.get(alias, key)
                    if alias == key:
                        continue
                    if alias in ids or owner != key:
                        shared.append(BadRow(row.line, "alias", text, "an alias that no other customer has"))
                        owner = NOBODY
                    owners[alias] = taken[alias] = owner
        values = [{"tenant": self._store.tenant, "alias": alias, "key": key} for alias, key in taken.items()]
        rows.put(connection, t.customer_alias, values)
        return shared


def _customer(row: sa.Row[tuple[object, ...]], withdrawn: tuple[str, ...]) -> Customer:
    found = row._mapping
    texts = {name: str(found[name]) for name in ("id", "name", "language", "time_zone", "email", "phone")}
    consent = tuple(str(found["consent"]).split())
    return Customer(
        **texts,
        consent=consent,
        known=bool(found["known"]),
        tier=found["tier"],
        contract_value_milli=found["contract_value_milli"],
        withdrawn=withdrawn,
    )

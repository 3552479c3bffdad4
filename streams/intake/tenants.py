"""Whose a record is, where several tenants share a topic: decided before anything of it is taken.

Its record names the tenant by a header, or each of its events by a field of its own. Every tenant's workers read the
whole topic and pass over what is others'; what names nobody is taken by the one tenant that says so, as dead letters.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

OTHERS, OWN, NAMELESS, UNSAID = 0, 1, 2, 3
NO_TENANT = "no-tenant"
DOOR = "tocsin-tenant"
"""The header by which a tenant's door names it where events do by a field: the door knows whose they are, be they
events or not, and leaves them as they came."""

Verdicts = NDArray[np.int8]
"""Of each record or line: `OTHERS`, `OWN`, `NAMELESS`, or `UNSAID` by its header, so that its fields say it."""


class Headed(Protocol):
    """A record with headers."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


@dataclass(frozen=True)
class Naming:
    """How a record says whose it is, and who we are.

    Attributes
    ----------
    header, field
        One of the two; the field stands at the top of an event's JSON.
    takes_nameless
        We take what names nobody, or somebody who is not among `others`.
    others
        The other tenants of the topic; empty: whoever is named is believed to be one.

    Examples
    --------
    >>> Naming("toko", field="shop").by_field([b'{"shop":"toko"}', b'{"shop":"bank"}', b'{}']).tolist()
    [1, 0, 0]
    >>> ours = Naming("toko", field="shop", takes_nameless=True, others=frozenset({"bank"}))
    >>> ours.by_field([b'{"shop":"bank"}', b'{"shop":"bnak"}', b'{"shop":7}', b"{}"]).tolist()
    [0, 2, 2, 2]
    """

    own: str
    header: str | None = None
    field: str | None = None
    takes_nameless: bool = False
    others: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Where a dead letter says that the name should be."""
        return f"$.{self.field}" if self.header is None else f"header {self.header}"

    def by_header(self, records: Iterable[Headed]) -> Verdicts:
        """int8[records]: whose each is; of several headers of the name the last counts, as Kafka's own clients do."""
        known = {self.own.encode(): OWN} | {name.encode(): OTHERS for name in self.others}
        nobody = NAMELESS if self.takes_nameless else OTHERS
        unknown = nobody if self.others else OTHERS
        header = DOOR if self.header is None else self.header
        if self.header is None:
            nobody = UNSAID
        out = []
        for record in records:
            given: bytes | None = None
            for name, value in record.headers:
                if name == header:
                    given = value
            out.append(known.get(given, unknown) if given else nobody)
        return np.array(out, np.int8)

    def by_field(self, lines: Sequence[bytes]) -> Verdicts:
        """int8[lines]: whose each is; a line that is no JSON names nobody."""
        known = {self.own: OWN} | dict.fromkeys(self.others, OTHERS)
        nobody = NAMELESS if self.takes_nameless else OTHERS
        unknown = nobody if self.others else OTHERS
        names = self._names(lines)
        return np.array([known.get(name, unknown) if name else nobody for name in names], np.int8)

    def _names(self, lines: Sequence[bytes]) -> list[str | None]:
        named: Any = msgspec.defstruct("Named", [("tenant", str | None, None)], rename={"tenant": self.field or ""})
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(named)
        try:
            found = decoder.decode_lines(b"\n".join(lines))
        except (msgspec.DecodeError, RecursionError):
            found = []
        if len(found) != len(lines):  # one of them is none, or empty
            found = [_decoded(decoder, line) for line in lines]
        return [None if event is None else event.tenant for event in found]


def _decoded(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None

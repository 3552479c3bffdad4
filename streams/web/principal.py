"""Who asks."""

from dataclasses import dataclass, field

from streams.store.tokens import ALLOWS, Scope

IDENTIFIED = "tocsin.identified"
"""Where the guard leaves who asks, in the request's ASGI scope."""


@dataclass(frozen=True)
class Principal:
    """Who asks, and what they may do."""

    who: str
    """For the audit log: `token:ID`, or `person:NAME`."""
    scope: Scope
    via: str
    """`token`, `session`, `proxy`."""
    csrf: str = field(default="", repr=False)
    """Of a session: what a change by its browser has to bring with it."""

    def may(self, scope: Scope) -> bool:
        return scope in ALLOWS[self.scope]

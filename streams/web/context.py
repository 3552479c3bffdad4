"""What every route works with: one tenant's store and settings, made once at the start of the web process."""

from dataclasses import dataclass, field
from typing import Protocol, cast

from fastapi import Request
from starlette.requests import HTTPConnection

from detector.config import Config
from streams.clock import Clock
from streams.engines.operating import in_force
from streams.settings import Settings
from streams.store import Store
from streams.store.directory import CustomerDirectory
from streams.store.tokens import Scope
from streams.web.principal import Principal


class Identifier(Protocol):
    """Finds out who asks."""

    async def identify(self, request: HTTPConnection) -> Principal | None:
        """Return who asks, or None.

        Raises
        ------
        ProblemError
            What they came with opens nothing any more, or too many guesses came from where they are.
        """
        ...

    def denied(self, principal: Principal, scope: Scope) -> None:
        """Note that somebody asked for more than they may do."""
        ...

    def forget_token(self, token_id: str) -> None:
        """Look this token up anew at its next use: it was revoked."""
        ...

    def flush(self) -> None:
        """Wait until what was noted is written."""
        ...

    def close(self) -> None:
        """Write what is still to be noted; the app ends."""
        ...


@dataclass
class Web:
    """What the web process holds.  `settings` is replaced whole when the configuration changed."""

    settings: Settings
    store: Store
    directory: CustomerDirectory
    clock: Clock
    brokers: str | None = None
    """Kafka's, instead of those of the settings."""
    identifier: Identifier = field(init=False)
    """Made by `create_app`."""

    @property
    def tenant(self) -> str:
        return self.store.tenant

    @property
    def config(self) -> Config:
        """What the engines work by: the configuration in force, before the first that of the settings."""
        return in_force(self.store) or self.settings.config


def web_of(request: Request) -> Web:
    """Return what this app works with."""
    return cast(Web, request.app.state.web)

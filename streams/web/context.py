"""What every route works with: one tenant's store and settings, made once at the start of the web process."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from streams.clock import Clock
from streams.settings import Settings
from streams.store import Store
from streams.store.directory import CustomerDirectory


@dataclass
class Web:
    """What the web process holds.  `settings` is replaced whole when the configuration changed."""

    settings: Settings
    store: Store
    directory: CustomerDirectory
    clock: Clock

    @property
    def tenant(self) -> str:
        return self.store.tenant


def web_of(request: Request) -> Web:
    """Return what this app works with."""
    return cast(Web, request.app.state.web)

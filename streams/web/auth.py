"""Finds out who asks: a bearer token, a signed-in browser, a proxy in front."""

import asyncio

from fastapi import Request

from streams.store import tokens
from streams.store.tokens import Standing
from streams.web.context import Web
from streams.web.principal import Principal
from streams.web.problem import ProblemError


class Auth:
    """`Identifier` over one tenant's store."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def identify(self, request: Request) -> Principal | None:
        """Return who asks, or None."""
        given = request.headers.get("authorization", "")
        kind, _, text = given.partition(" ")
        if kind.lower() != "bearer":
            return None
        token = await asyncio.to_thread(tokens.find, self._web.store, text.strip())
        standing = None if token is None else token.standing(self._web.clock.now_ms())
        if token is None or standing is not Standing.VALID:
            what = (
                "is not known"
                if standing is None
                else f"has been {standing}"
                if standing is Standing.REVOKED
                else "has expired"
            )
            raise ProblemError(
                401, "token-refused", f"this token {what}", {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            )
        return Principal(token.who, token.scope, "token")

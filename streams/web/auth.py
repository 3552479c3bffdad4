"""Finds out who asks: a bearer token, a signed-in browser, a proxy in front; the first that is there counts.

Promises
- A token that was revoked opens nothing after `CACHED_S` seconds at the latest, wherever it was revoked.
- Whoever guesses is slowed down (`backoff`); who came with a good token before is not held up by that.
- Nothing of a token, a cookie or an address is logged.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response

from streams.store import sign_ins, tokens
from streams.store.sign_ins import Session
from streams.store.tokens import Scope, Standing, Token
from streams.web.backoff import Backoff
from streams.web.context import Web
from streams.web.notes import Notes
from streams.web.oidc import Oidc
from streams.web.principal import Principal
from streams.web.problem import ProblemError
from streams.web.surroundings import Surroundings

CACHED_S = 1.0
MAX_KNOWN = 4_096

COOKIE = "tocsin_session"

_REFUSED = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@dataclass
class _Known:
    token: Token
    at_s: float
    noted_ms: int


class Auth:
    """`Identifier` over one tenant's store."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.backoff = Backoff(web.clock)
        self.oidc = Oidc(web.clock)
        self.notes = Notes(web.store, web.clock)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._noted_sessions: OrderedDict[bytes, int] = OrderedDict()
        self._surroundings = (web.settings.service, Surroundings(web.settings.service))

    @property
    def surroundings(self) -> Surroundings:
        service = self.web.settings.service
        if service is not self._surroundings[0]:
            self._surroundings = (service, Surroundings(service))
        return self._surroundings[1]

    async def identify(self, request: HTTPConnection) -> Principal | None:
        """Return who asks, or None.

        Raises
        ------
        ProblemError
            401: what they came with opens nothing (any more). 429: too many guesses.  403: the proxy vouches for
            somebody who may do nothing here.
        """
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        foreign = not text.strip().startswith(tokens.PREFIX) and self.surroundings.from_proxy(request)
        if (
            kind.lower() == "bearer" and not foreign
        ):  # a proxy may hand the provider's token over: that is no word to us
            return await self._by_token(request, text.strip())
        session = await self.session(request)
        if session is not None:
            return Principal(session.who, session.scope, "session", session.csrf)
        return self._by_proxy(request)

    def allow_attempt(self, request: HTTPConnection) -> str:
        """Return the address that an attempt counts for.

        Raises
        ------
        ProblemError
            429: it has to wait.
        """
        address = self.surroundings.address(request)
        wait_s = self.backoff.wait_s(address)
        if wait_s:
            self.notes.refused("nobody", "attempts.limited", "")
            detail = f"too many wrong tokens or sign-in links; try again in {wait_s} s"
            raise ProblemError(429, "too-many-attempts", detail, {"Retry-After": str(wait_s)})
        return address

    def forget_token(self, token_id: str) -> None:
        """Look this token up anew: it was revoked."""
        self._known = OrderedDict((k, known) for k, known in self._known.items() if known.token.id != token_id)

    def denied(self, principal: Principal, scope: Scope) -> None:
        """Note that somebody asked for more than they may do."""
        self.notes.refused(principal.who, "denied", f"scope:{scope}")

    def flush(self) -> None:
        """Wait until what was noted is written."""
        self.notes.flush()

    def close(self) -> None:
        """Write what is still to be noted."""
        self.notes.close()

    # --- bearer tokens --------------------------------------------------------------------------------------------

    async def _by_token(self, request: HTTPConnection, text: str) -> Principal:
        key, now_s = hashlib.sha256(text.encode()).digest(), self.web.clock.monotonic_s()
        known = self._known.get(key)
        if known is None or now_s - known.at_s >= CACHED_S:
            address = self.allow_attempt(request) if known is None else ""
            token = await asyncio.to_thread(tokens.find, self.web.store, text)
            if token is None:
                self._known.pop(key, None)
                self.backoff.failed(address or self.surroundings.address(request))
                self.notes.refused("nobody", "token.unknown", "")
                detail = "this token is not known here; `tocsin token list` shows those that are"
                raise ProblemError(401, "token-unknown", detail, _REFUSED)
            known = self._keep(key, token, now_s, known)
        token, now_ms = known.token, self.web.clock.now_ms()
        standing = token.standing(now_ms)
        if standing is not Standing.VALID:
            self.notes.refused(token.who, f"token.{standing}", token.who)
            detail = f"this token {'has expired' if standing is Standing.EXPIRED else 'was revoked'}"
            raise ProblemError(401, f"token-{standing}", f"{detail}; `tocsin token create` makes another", _REFUSED)
        if now_ms - known.noted_ms >= tokens.USED_EVERY_MS:
            known.noted_ms = now_ms
            self.notes.write(lambda: tokens.used(self.web.store, token.id, now_ms))
        return Principal(token.who, token.scope, "token")

    def _keep(self, key: bytes, token: Token, now_s: float, before: _Known | None) -> _Known:
        noted_ms = (token.used_ms or 0) if before is None else before.noted_ms
        known = self._known[key] = _Known(token, now_s, noted_ms)
        self._known.move_to_end(key)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return known

    # --- browsers -------------------------------------------------------------------------------------------------

    def cookie_name(self, request: HTTPConnection) -> str:
        """Return the session cookie's name: over https one that no other host or plain http can set."""
        return f"__Host-{COOKIE}" if self.surroundings.https(request) else COOKIE

    def cookie(self, request: HTTPConnection) -> str:
        """Return what the browser has as its session; "" where it has nothing."""
        return request.cookies.get(self.cookie_name(request), "")

    def set_cookie(self, request: HTTPConnection, response: Response, value: str) -> None:
        """Give the browser its session; it forgets it when it is closed."""
        secure = self.surroundings.https(request)
        response.set_cookie(self.cookie_name(request), value, path="/", secure=secure, httponly=True, samesite="strict")

    def unset_cookie(self, request: HTTPConnection, response: Response) -> None:
        secure = self.surroundings.https(request)
        response.delete_cookie(self.cookie_name(request), path="/", secure=secure, httponly=True, samesite="strict")

    async def session(self, request: HTTPConnection) -> Session | None:
        """Return the session of this browser; None where it is not signed in."""
        cookie = self.cookie(request)
        if not cookie:
            return None
        now_ms, idle_ms = self.web.clock.now_ms(), self.web.settings.service.session
        session = await asyncio.to_thread(sign_ins.find_session, self.web.store, cookie, now_ms, idle_ms=idle_ms)
        if session is None:
            return None
        if now_ms - max(session.seen_ms, self._noted_sessions.get(session.hash, 0)) >= sign_ins.SEEN_EVERY_MS:
            self._noted_sessions[session.hash] = now_ms
            if len(self._noted_sessions) > sign_ins.MAX_SESSIONS:
                self._noted_sessions.popitem(last=False)
            self.notes.write(lambda: sign_ins.seen(self.web.store, session, now_ms))
        return session

    # --- a proxy in front -----------------------------------------------------------------------------------------

    def _by_proxy(self, request: HTTPConnection) -> Principal | None:
        section = self.web.settings.service.proxy
        if section is None or not section.roles or not self.surroundings.from_proxy(request):
            return None
        users = request.headers.getlist(section.user_header)
        if len(users) != 1 or not users[0].strip():
            return None
        who = f"person:{users[0].strip()}"
        groups = [g.strip() for value in request.headers.getlist(section.role_header) for g in value.split(",")]
        scope = scope_of(section.roles, groups)
        if scope is None:
            self.notes.refused(who, "sign-in.no-role", "")
            raise ProblemError(403, "no-role", "none of your groups may enter; ask for one of service.proxy.roles")
        return Principal(who, scope, "proxy")


def scope_of(roles: Mapping[str, str], groups: list[str]) -> Scope | None:
    """Return the widest scope of these groups; None where none of them may enter."""
    return tokens.widest(Scope(roles[group]) for group in groups if group in roles)

"""A small OpenID provider on loopback: real HTTP, real RS256 tokens, PKCE checked; a test may make it lie."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.servers.clocks import HandClock

CLIENT, SECRET = "tocsin", "the client's secret / with : signs"


@dataclass
class Provider:
    """What it says, and how it may lie."""

    clock: HandClock
    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    """Claims of the token beside the usual ones, or instead of them; None takes one out."""
    user: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    status: int = 200
    """What every answer but the configuration's has as its status."""
    token: str | None = None
    """Sent instead of the token."""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2_048, {"kid": "one", "use": "sig"}))
    signing: Any = None
    """The key that signs, where it is not the published one."""
    seen: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def rotate(self) -> None:
        self.key = RSAKey.generate_key(2_048, {"kid": f"k{secrets.token_hex(4)}", "use": "sig"})

    async def configuration(self, _request: Request) -> Response:
        self.seen.append("configuration")
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/user",
            "scopes_supported": ["openid", "profile", "groups"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            **self.config,
        }
        return JSONResponse({name: value for name, value in found.items() if value is not None})

    async def keys(self, _request: Request) -> Response:
        self.seen.append("keys")
        return JSONResponse({"keys": [self.key.as_dict(private=False)]}, self.status)

    async def authorize(self, request: Request) -> Response:
        """Sign everybody in without asking."""
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256" and "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def exchange(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        fits = asked is not None and asked["code_challenge"] == challenge
        fits = fits and asked is not None and asked["redirect_uri"] == form.get("redirect_uri")
        if not fits or asked is None or (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now_s = self.clock.now_ms() // 1_000
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "u-17",
            "iat": now_s,
            "exp": now_s + 300,
            "nonce": asked["nonce"],
            "preferred_username": "ani",
            "groups": ["support"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm, "kid": self.key.kid, **self.header}
        if self.algorithm == "HS256":
            signed = self._by_the_public_key(header, claims)
        else:
            signed = jwt.encode(header, claims, self.signing or self.key, algorithms=[self.algorithm])
        answer = {"access_token": "access", "token_type": "Bearer", "id_token": self.token or signed}
        return JSONResponse(answer, self.status)

    def _by_the_public_key(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Return a token with the public key's text as a shared secret: what a confused client would accept."""
        text = f"{jsoned(header)}.{jsoned(claims)}"
        found = hmac.digest(self.key.as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{base64.urlsafe_b64encode(found).decode().rstrip('=')}"

    async def person(self, request: Request) -> Response:
        self.seen.append("user")
        assert request.headers["authorization"] == "Bearer access"
        return JSONResponse({"sub": "u-17", **self.user}, self.status)

    def unsigned(self, nonce: str) -> str:
        """Return a token of the algorithm `none`."""
        now_s = self.clock.now_ms() // 1_000
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "u-17", "iat": now_s, "exp": now_s + 300, "nonce": nonce}
        parts = (jsoned({"alg": "none"}), jsoned({**claims, "groups": ["support"]}))
        return ".".join((*parts, ""))


def jsoned(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@contextmanager
def provider(clock: HandClock) -> Iterator[Provider]:
    """Run a provider until the block ends."""
    found = Provider(clock)
    app = Starlette(
        routes=[
            Route("/.well-known/openid-configuration", found.configuration),
            Route("/keys", found.keys),
            Route("/authorize", found.authorize),
            Route("/token", found.exchange, methods=["POST"]),
            Route("/user", found.person),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, name="oidc", daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive() and time.monotonic() < until, "the provider did not start"
        time.sleep(0.01)
    found.issuer = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the provider did not stop"

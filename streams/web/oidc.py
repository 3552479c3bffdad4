"""Sign-in by the identity provider (OpenID Connect): the code flow with PKCE, state and nonce.

Promises
- Who signs in is who the provider's signed token says, for this client, this browser and this attempt: signature,
  issuer, audience, time, nonce, state and code verifier are all checked, and one that fails signs nobody in.
- What they may do follows from a claim and `service.oidc.roles`; who has no role there does not get in.
- An attempt lives in a cookie of the browser that began it, for ten minutes: nothing is stored for who never returns.
- The provider's tokens are forgotten at once; a session of ours begins.
"""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from detector.errors import TocsinError, UnreachableError
from streams.clock import Clock
from streams.sections import OidcSection

ATTEMPT_MS = 600_000
LEEWAY_S = 60
TIMEOUT_S = 10.0
KNOWN_S = 3_600.0
KEYS_AGAIN_S = 60.0
ANSWER_BYTES = 262_144
NAME_LENGTH = 200

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key that only the provider has."""

_SCOPES = ("openid", "profile", "email", "groups")
_SECRETS = ("client_secret_basic", "client_secret_post")


class NotSignedInError(TocsinError):
    """The provider's answer does not hold; the text says why, without anything of the answer."""


@dataclass(frozen=True)
class Attempt:
    """A sign-in that was begun: what its answer is held against."""

    state: str
    nonce: str
    verifier: str
    at_ms: int

    def sealed(self) -> str:
        """Return it as a cookie's value."""
        text = json.dumps([self.state, self.nonce, self.verifier, self.at_ms])
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unsealed(cookie: str) -> Attempt | None:
    """Return the attempt of a cookie; None where it is none.

    Examples
    --------
    >>> attempt = Attempt("a", "b", "c", 1)
    >>> unsealed(attempt.sealed()) == attempt, unsealed("x"), unsealed("")
    (True, None, None)
    """
    try:
        found = json.loads(urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
        state, nonce, verifier, at_ms = found
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (state, nonce, verifier)
    if not all(isinstance(text, str) and text for text in texts) or type(at_ms) is not int:
        return None
    return Attempt(state, nonce, verifier, at_ms)


@dataclass(frozen=True)
class Person:
    """Whom the provider vouches for."""

    name: str
    groups: list[str]


@dataclass
class _Provider:
    """What a provider says of itself."""

    issuer: str
    config: dict[str, Any]
    at_s: float
    keys: KeySet | None = None
    keys_at_s: float = 0.0


class Oidc:
    """Asks the provider; knows what it said of itself for an hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: _Provider | None = None

    async def begin(self, section: OidcSection, redirect_uri: str) -> tuple[str, Attempt]:
        """Return where to send the browser, and the attempt that it is to keep.

        Raises
        ------
        UnreachableError
            The provider does not answer.
        NotSignedInError
            It is not the one that the settings name.
        """
        provider = await self._provider(section)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        attempt = Attempt(state, nonce, verifier, self._clock.now_ms())
        offered = provider.config.get("scopes_supported")
        known = offered if isinstance(offered, list) else _SCOPES[:3]
        url = prepare_grant_uri(
            provider.config["authorization_endpoint"],
            section.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(scope for scope in _SCOPES if scope == "openid" or scope in known),
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return str(url), attempt

    async def finish(
        self, section: OidcSection, secret: str, attempt: Attempt, answer: Mapping[str, str], redirect_uri: str
    ) -> Person:
        """Return whom the provider's answer is about.

        Parameters
        ----------
        answer
            The query with which the browser came back.

        Raises
        ------
        UnreachableError
            The provider does not answer.
        NotSignedInError
            It refused, or its answer does not hold.
        """
        if not compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            _refuse("the answer is to another attempt")
        if not 0 <= self._clock.now_ms() - attempt.at_ms < ATTEMPT_MS:
            _refuse("it took too long")
        if not answer.get("code"):
            _refuse("the provider refused")
        provider = await self._provider(section)
        if answer.get("iss", provider.issuer) != provider.issuer:
            _refuse("another provider answered")
        tokens = await self._exchange(provider, section, secret, attempt, answer["code"], redirect_uri)
        claims = await self._claims(provider, section.client_id, tokens.get("id_token"), attempt.nonce)
        found = groups_of(claims, section.role_claim)
        if found is None:
            found = groups_of(await self._user(provider, tokens, claims["sub"]), section.role_claim)
        return Person(_name(claims), found or [])

    async def _exchange(
        self,
        provider: _Provider,
        section: OidcSection,
        secret: str,
        attempt: Attempt,
        code: str,
        redirect_uri: str,
    ) -> dict[str, Any]:
        """Return the tokens for a code."""
        offered = provider.config.get("token_endpoint_auth_methods_supported") or _SECRETS[:1]
        method = next((name for name in _SECRETS if name in offered), _SECRETS[0])
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=attempt.verifier
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url, headers, body = ClientAuth(section.client_id, secret, method).prepare(
            "POST", provider.config["token_endpoint"], headers, body
        )
        return await _ask("POST", url, headers=headers, content=body)

    async def _claims(self, provider: _Provider, client_id: str, token: object, nonce: str) -> dict[str, Any]:
        """Return what a signed token says, checked."""
        if not isinstance(token, str):
            _refuse("the provider sent no token of who it is")
        claims = await self._verified(provider, token)
        audience = claims.get("aud")
        many = isinstance(audience, list) and len(audience) > 1
        if claims.get("azp", None if many else client_id) != client_id:
            _refuse("the token was made for another client")
        registry = jwt.JWTClaimsRegistry(
            now=lambda: self._clock.now_ms() // 1_000,
            leeway=LEEWAY_S,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True},
        )
        try:
            registry.validate(claims)
        except JoseError as error:
            _refuse(f"the token does not hold ({error.error})")
        if not isinstance(claims["sub"], str) or not compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
            _refuse("the token is of another attempt")
        return claims

    async def _verified(self, provider: _Provider, token: str) -> dict[str, Any]:
        """Return a token's claims; keys that are not known are asked for again, once a minute."""
        for again in (False, True):
            keys = await self._keys(provider, again=again)
            try:
                return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)
            except (JoseError, ValueError, TypeError):
                if again or self._clock.monotonic_s() - provider.keys_at_s < KEYS_AGAIN_S:
                    break
        _refuse("the token's signature does not hold")

    async def _keys(self, provider: _Provider, *, again: bool) -> KeySet:
        now_s = self._clock.monotonic_s()
        if provider.keys is None or again:
            found = await _ask("GET", provider.config["jwks_uri"])
            try:
                provider.keys = KeySet.import_key_set({"keys": [key for key in found["keys"] if _signs(key)]})
            except (JoseError, KeyError, ValueError, TypeError):
                _refuse("the provider's keys can't be read")
            provider.keys_at_s = now_s
        return provider.keys

    async def _user(self, provider: _Provider, tokens: Mapping[str, Any], subject: str) -> dict[str, Any]:
        """Return what the provider says of a person beside the token."""
        url, token = provider.config.get("userinfo_endpoint"), tokens.get("access_token")
        if not isinstance(url, str) or not isinstance(token, str):
            return {}
        found = await _ask("GET", url, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
        if found.get("sub") != subject:
            _refuse("the provider speaks of somebody else")
        return found

    async def _provider(self, section: OidcSection) -> _Provider:
        now_s = self._clock.monotonic_s()
        known = self._known
        if known is not None and known.issuer.rstrip("/") == section.issuer and now_s - known.at_s < KNOWN_S:
            return known
        config = await _ask("GET", f"{section.issuer}/.well-known/openid-configuration")
        issuer = config.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != section.issuer:
            _refuse("the provider calls itself otherwise than service.oidc.issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            _check_endpoint(config.get(name), section.issuer)
        if config.get("userinfo_endpoint") is not None:
            _check_endpoint(config["userinfo_endpoint"], section.issuer)
        self._known = _Provider(issuer, config, now_s)
        return self._known


def groups_of(claims: Mapping[str, Any], name: str) -> list[str] | None:
    """Return a claim's values; None where it is not there. A name with dots leads into the claims of claims.

    Examples
    --------
    >>> groups_of({"groups": ["support"]}, "groups"), groups_of({"role": "ops"}, "role"), groups_of({}, "role")
    (['support'], ['ops'], None)
    >>> groups_of({"realm_access": {"roles": ["ops", 7]}}, "realm_access.roles")
    ['ops']
    """
    found: Any = claims
    if name in claims:
        found = claims[name]
    else:
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [value for value in found if isinstance(value, str)] if isinstance(found, list) else None


def _name(claims: Mapping[str, Any]) -> str:
    """Return how the audit log calls somebody: by the name that they sign in with, else by the provider's number."""
    email = claims.get("email") if claims.get("email_verified") is True else None
    found = claims.get("preferred_username") or email or claims["sub"]
    return "".join(c if c.isprintable() else "\ufffd" for c in str(found))[:NAME_LENGTH]


def _signs(key: Any) -> bool:
    """Return whether a key is one that signatures are checked by; a shared secret is none."""
    return isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"


def _check_endpoint(url: object, issuer: str) -> None:
    """Refuse an unencrypted endpoint, unless the provider itself is on this machine."""
    if not isinstance(url, str) or not (url.startswith("https://") or urlsplit(issuer).scheme == "http"):
        _refuse("the provider names an address that is not encrypted")


def _refuse(why: str) -> NoReturn:
    message = f"service.oidc: {why}"
    raise NotSignedInError(message) from None


async def _ask(method: str, url: str, **how: Any) -> dict[str, Any]:
    """Return the JSON object of an answer, within its time and size; redirects are not followed."""
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream(method, url, **how) as response,
        ):
            body = b""
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > ANSWER_BYTES:
                    _refuse("the provider's answer is too large")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"service.oidc: the provider can't be reached ({type(error).__name__})"
        raise UnreachableError(message) from None
    if response.status_code >= 500:
        message = f"service.oidc: the provider answers {response.status_code}"
        raise UnreachableError(message)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if response.status_code != 200 or not isinstance(found, dict):
        _refuse(f"the provider refused ({response.status_code})")
    return found

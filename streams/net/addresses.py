"""Decides where HTTP may go: which URLs, names and addresses are public, and what an operator opens beside them.

Nothing is asked of anyone here. The tables are our own, so that they do not change with the version of Python.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

URL_LENGTH = 2_048

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_CLOSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a provider's inner network"),
        ("127.0.0.0/8", "this machine"),
        ("169.254.0.0/16", "link-local"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "an IPv4 address in disguise"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::1/128", "this machine"),
        ("::/128", "this machine"),
        ("::/96", "an IPv4 address in disguise"),
        ("::ffff:0:0/96", "an IPv4 address in disguise"),
        ("::ffff:0:0:0/96", "an IPv4 address in disguise"),
        ("64:ff9b::/96", "an IPv4 address in disguise"),
        ("64:ff9b:1::/48", "an IPv4 address in disguise"),
        ("2001::/32", "an IPv4 address in disguise"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "an IPv4 address in disguise"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "a private network"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "a private network"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")
"""Nothing else of IPv6 is given out."""

_INNER_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "corp", "home", "home.arpa")
_METADATA = ("metadata.google.internal", "metadata.goog")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class Rules:
    """What is allowed beyond https to public addresses, by an operator who says so."""

    allow: tuple[Network, ...] = ()
    """Networks that are not public and may be reached all the same."""
    insecure: bool = False
    """http too, unencrypted."""


STRICT = Rules()


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks that texts name: `10.1.0.0/16`, or an address alone.

    Raises
    ------
    ValueError
        One is none.
    """
    return tuple(ip_network(text) for text in texts)


def check_address(address: Address, rules: Rules = STRICT) -> str | None:
    """Return why nothing is sent to this address, or None.

    Examples
    --------
    >>> check_address(ip_address("10.1.2.3"))
    '10.1.2.3 is not a public address (a private network)'
    >>> check_address(ip_address("10.1.2.3"), Rules(networks(["10.1.0.0/16"])))
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return f"{address} is not a public address (link-local)"
    if any(address in network for network in rules.allow if network.version == address.version):
        return None
    for network, what in _CLOSED:
        if network.version == address.version and address in network:
            return f"{address} is not a public address ({what})"
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return f"{address} is not a public address (reserved)"
    return None


def check_url(url: str, rules: Rules = STRICT) -> list[str]:
    """Return every reason why nothing is sent to this address, without asking anyone; empty where it may be.

    What its name stands for is looked up when something is sent, and by `Way.check`.

    Examples
    --------
    >>> check_url("https://hooks.example.com/tocsin")
    []
    >>> check_url("http://0x7f.1/")
    ['expected https, found http', "'0x7f.1' is a number in disguise, not a name"]
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        return ["expected an address such as https://hooks.example.com/tocsin, found none"]
    reasons = []
    if len(url) > URL_LENGTH:
        reasons.append(f"expected at most {URL_LENGTH} characters, found {len(url)}")
    if parsed.scheme not in ("https", "http"):
        reasons.append(f"expected https, found {parsed.scheme[:20] or 'no scheme'}")
    elif parsed.scheme == "http" and not rules.insecure:
        reasons.append("expected https, found http")
    if parsed.userinfo or "@" in parsed.netloc.decode("ascii", "replace"):
        reasons.append("expected no user and password before the host, found some")
    if parsed.port is not None and not 1 <= parsed.port <= 65_535:
        reasons.append(f"expected a port from 1 to 65535, found {parsed.port}")
    return reasons + _against_host(parsed.raw_host.decode("ascii", "replace"), rules)


def _against_host(given: str, rules: Rules) -> list[str]:
    host = given.lower().removesuffix(".")
    if not host:
        return ["expected a host, found none"]
    try:
        against = check_address(ip_address(host), rules)
    except ValueError:
        pass
    else:
        return [against] if against else []
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return [f"{host[:60]!r} is a number in disguise, not a name"]
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        return [f"expected a host's name, found {host[:60]!r}"]
    if host in _METADATA or (not rules.allow and _is_inner(host)):
        return [f"{host} is an inner name, not a public one"]
    return []


def _is_inner(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{name}") for name in _INNER_NAMES)

"""Where a request comes from: its address, its name for us, whether it is encrypted, whether our own page sent it.

Rules of the file
- What a header says about the way (`X-Forwarded-*`) counts only from the listed addresses of a proxy.
- Names under which we are asked are a closed list: a stranger's name that leads here (DNS rebinding) is refused.
"""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from streams.kinds import is_address
from streams.sections import ServiceSection

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANYWHERE = ("0.0.0.0", "::")


class Surroundings:
    """What the settings say about the way to us."""

    def __init__(self, service: ServiceSection) -> None:
        self._proxies = tuple(ip_network(a, strict=False) for a in (service.proxy.addresses if service.proxy else ()))
        public = urlsplit(service.public_url or "")
        self._public, self._public_host = public.netloc.lower(), (public.hostname or "").lower()
        self._public_https = public.scheme == "https"
        own = () if service.host in ANYWHERE else (service.host,)
        self._hosts = frozenset(name.lower() for name in (*LOOPBACK, *own, self._public_host, *service.hosts) if name)

    def from_proxy(self, request: HTTPConnection) -> bool:
        """Return whether a listed proxy handed this request over."""
        return request.client is not None and self._is_proxy(request.client.host)

    def address(self, request: HTTPConnection) -> str:
        """Return the address of whoever asks: behind listed proxies the last one that none of them has."""
        peer = "" if request.client is None else request.client.host
        if not self.from_proxy(request):
            return peer
        way = [hop.strip() for value in request.headers.getlist("x-forwarded-for") for hop in value.split(",")]
        for hop in reversed(way):
            if not is_address(hop):
                break
            if not self._is_proxy(hop):
                return hop
        return peer

    def https(self, request: HTTPConnection) -> bool:
        """Return whether the browser speaks https, to us or to what stands in front of us."""
        if request.scope["scheme"] == "https":
            return True
        if self.from_proxy(request) and "x-forwarded-proto" in request.headers:
            return request.headers["x-forwarded-proto"].strip().lower() == "https"
        return self._public_https and host_name(request.headers.get("host", "")) == self._public_host

    def knows_host(self, request: HTTPConnection) -> bool:
        """Return whether we are asked under one of our names."""
        given = request.headers.getlist("host")
        return len(given) == 1 and host_name(given[0]) in self._hosts

    def same_origin(self, headers: Mapping[str, str]) -> bool:
        """Return whether our own page sent this request, or no page at all (a program says nothing of a page).

        A proxy may ask us under another name than the browser asked it: `public_url` counts as ours too.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None and site != "same-origin":
            return False
        if origin is None:
            return True
        return bool(sender := urlsplit(origin).netloc.lower()) and sender in (
            headers.get("host", "").lower(),
            self._public,
        )

    def _is_proxy(self, address: str) -> bool:
        if not self._proxies or not is_address(address):
            return False
        found = ip_address(address)
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._proxies)


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port; "" where it is none.

    Examples
    --------
    >>> host_name("Tocsin.Example.:443"), host_name("[::1]:8321"), host_name("evil@localhost"), host_name("[::1")
    ('tocsin.example', '::1', '', '')
    """
    try:
        found = urlsplit(f"//{host}")
        if found.username is not None or found.path or found.query or found.fragment or found.netloc != host:
            return ""
        _port = found.port
        return (found.hostname or "").removesuffix(".")
    except ValueError:
        return ""

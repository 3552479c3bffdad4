"""The way out: nothing is sent where nothing may go, by whatever name, and no answer holds it up or fills it."""

import asyncio
import time
import tracemalloc
from collections.abc import Coroutine, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.net import (
    ANSWER_BYTES,
    STRICT,
    Answer,
    NoAnswerError,
    RefusedError,
    Resolve,
    Rules,
    Way,
    check_address,
    check_url,
    networks,
)
from tests.servers import http
from tests.servers.http import Play, Server, serving

LOOPBACK = Rules(networks(["127.0.0.0/8"]), insecure=True)
PUBLIC = "93.184.215.14"
LIMIT_S = 0.5
PATIENT_S = 2.0
"""Where something else than the limit is to end a request: a busy machine is none of it."""


def run(doing: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(doing)


async def ask(
    url: str,
    rules: Rules = LOOPBACK,
    *,
    resolver: Resolve | None = None,
    authorities: Path | None = None,
    body: bytes = b"{}",
    limit_s: float = PATIENT_S,
) -> Answer:
    more: dict[str, Any] = {} if resolver is None else {"resolver": resolver}
    way = Way(rules, limit_s=limit_s, authorities=authorities, **more)
    try:
        return await way.request("POST", url, {"X-Test": "1"}, body)
    finally:
        await way.close()


class Names:
    """A resolver that gives one answer after the other, the last for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, int]]()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


INNER_HOSTS = [
    "127.0.0.1",
    "127.8.8.8",
    "[::1]",
    "[::]",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fec0::1]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[100::1]",
    "[4000::1]",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "127.0.0.1%00.example.com",
    "%31%32%37.0.0.1",
    "①②⑦.⓪.⓪.①",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "intranet",
    "db.internal",
    "printer.local",
    "nas.lan",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata.goog",
    "metadata",
    "-a.example.com",
    "a..example.com",
    "x" * 64 + ".example.com",
    ".".join(["x" * 60] * 5) + ".com",
]


@pytest.mark.parametrize("host", [pytest.param(host, id=host[:40]) for host in INNER_HOSTS])
def test_a_host_that_is_not_public_is_refused_when_stored_and_at_each_request(host: str) -> None:
    url = f"https://{host}/hook"
    assert check_url(url)
    names = Names([PUBLIC])
    with pytest.raises(RefusedError):
        run(ask(url, STRICT, resolver=names))
    assert names.asked == [], "nothing was even looked up"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("http://hooks.example.com/", "expected https, found http", id="http"),
        pytest.param("ftp://hooks.example.com/", "expected https, found ftp", id="ftp"),
        pytest.param("file:///etc/passwd", "expected https, found file", id="file"),
        pytest.param("gopher://hooks.example.com/", "found gopher", id="gopher"),
        pytest.param("javascript:alert(1)", "found javascript", id="javascript"),
        pytest.param("hooks.example.com", "found no scheme", id="no scheme"),
        pytest.param("https://", "found none", id="no host"),
        pytest.param("https:///hook", "found none", id="no host but a path"),
        pytest.param("", "found no scheme", id="nothing"),
        pytest.param("https://user:pw@hooks.example.com/", "no user and password", id="user and password"),
        pytest.param("https://user@hooks.example.com/", "no user and password", id="user"),
        pytest.param("https://hooks.example.com\\@127.0.0.1/", "127.0.0.1 is not a public", id="backslash"),
        pytest.param("https://hooks.example.com:0/", "expected a port", id="port 0"),
        pytest.param("https://hooks.example.com:99999/", "expected a port", id="port too high"),
        pytest.param("https://hooks.example.com\r\nX: y/", "found none", id="line break"),
        pytest.param("https://hooks.example.com/" + "x" * 3000, "2048 characters", id="too long"),
        pytest.param("https://[::1/", "found none", id="half an address"),
    ],
)
def test_what_is_no_address_for_us_is_refused_with_the_reason(url: str, says: str) -> None:
    assert says in "; ".join(check_url(url))
    with pytest.raises(RefusedError):
        run(ask(url, STRICT, resolver=Names([PUBLIC])))


def test_all_reasons_come_at_once_and_hold_no_secret() -> None:
    reasons = check_url("http://user:hunter22@127.0.0.1/s3cr3t-path?token=abc")
    assert len(reasons) == 3
    assert not any(secret in str(reasons) for secret in ("hunter22", "s3cr3t", "token"))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/",
        "https://hooks.example.com:8443/a?b=c",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://bücher.example/",
        "https://hooks.example.com./",
    ],
)
def test_public_addresses_may_be_stored(url: str) -> None:
    assert check_url(url) == []


@given(st.ip_addresses())
def test_no_address_passes_that_python_knows_as_not_global(address: IPv4Address | IPv6Address) -> None:
    if check_address(address) is None:
        assert address.is_global and not address.is_multicast and not address.is_reserved
        assert not address.is_link_local and not address.is_loopback and not address.is_unspecified


@given(st.ip_addresses(v=4))
def test_no_disguise_helps_an_ipv4_address(inner: IPv4Address) -> None:
    number = int(inner)
    for disguise in (0xFFFF << 32, 0, 0x64FF9B << 96, 0x2002 << 112):
        value = disguise | (number << 80 if disguise >> 112 == 0x2002 else number)
        assert check_address(IPv6Address(value)) is not None
    assert check_url(f"https://{number}/")


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(["127.0.0.1"], id="loopback"),
        pytest.param([PUBLIC, "10.0.0.1"], id="one of several is private"),
        pytest.param(["169.254.169.254"], id="metadata"),
        pytest.param(["::ffff:127.0.0.1"], id="mapped"),
        pytest.param(["fd00::1"], id="unique local"),
        pytest.param(["fe80::1%lo"], id="with a zone"),
    ],
)
def test_a_public_name_that_leads_inside_is_refused(found: list[str]) -> None:
    async def checked() -> list[str]:
        way = Way(STRICT, resolver=Names(found))
        try:
            return await way.check("https://hooks.example.com/")
        finally:
            await way.close()

    with pytest.raises(RefusedError, match="not a public address"):
        run(ask("https://hooks.example.com/", STRICT, resolver=Names(found)))
    (reason,) = asyncio.run(checked())
    assert "not a public address" in reason


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to() -> None:
    """DNS rebinding: what a second look would find does not matter, there is none."""
    with serving(http.says(200)) as server:
        rebinding = Names(["127.0.0.1"], ["10.0.0.1"])
        run(ask(f"http://hooks.example.com:{server.port}/x", LOOPBACK, resolver=rebinding))
        assert rebinding.asked == [("hooks.example.com", server.port)]
        (seen,) = server.seen
        assert seen.headers["host"] == f"hooks.example.com:{server.port}"
        with pytest.raises(RefusedError, match=r"10\.0\.0\.1"):
            run(ask(f"http://hooks.example.com:{server.port}/x", LOOPBACK, resolver=rebinding))
        assert server.connections == 1


def test_a_name_is_checked_anew_at_each_request_of_one_way() -> None:
    async def twice(server: Server) -> None:
        way = Way(LOOPBACK, resolver=Names(["127.0.0.1"], ["192.168.0.1"]))
        try:
            await way.request("GET", f"http://hooks.example.com:{server.port}/", {})
            with pytest.raises(RefusedError):
                await way.request("GET", f"http://hooks.example.com:{server.port}/", {})
        finally:
            await way.close()

    with serving(http.says(200)) as server:
        asyncio.run(twice(server))
        assert server.connections == 1


def test_tls_verifies_the_name_not_the_pinned_address(tmp_path: Path) -> None:
    file = http.certificate(tmp_path / "server.pem", "hooks.example.com")
    with serving(http.says(200, b"ok"), tls=file) as server:
        names = Names(["127.0.0.1"])
        url = f"https://hooks.example.com:{server.port}/"
        answer = run(ask(url, LOOPBACK, resolver=names, authorities=file))
        assert (answer.status, answer.body, answer.whole) == (200, b"ok", True)
        assert server.names == ["hooks.example.com"]
        for other, trusted in ((url.replace("hooks", "other"), file), (url, None)):
            with pytest.raises(NoAnswerError, match="certificate is not trusted") as refused:
                run(ask(other, LOOPBACK, resolver=names, authorities=trusted))
            assert (refused.value.reason, refused.value.sent) == ("tls", False)
        assert len(server.seen) == 1


def test_the_first_address_that_answers_is_taken() -> None:
    with serving(http.says(204)) as server:
        url = f"http://hooks.example.com:{server.port}/"
        rules = Rules(networks(["127.0.0.0/8", "::1/128"]), insecure=True)
        assert run(ask(url, rules, resolver=Names(["127.0.0.9", "127.0.0.1"]))).status == 204


def test_only_what_is_allowed_is_opened() -> None:
    rules = Rules(networks(["10.1.0.0/16", "fd12::/16"]))
    assert check_address(ip_address("10.1.2.3"), rules) is None
    assert check_address(ip_address("fd12::1"), rules) is None
    assert check_address(ip_address("10.2.0.1"), rules)
    assert check_address(ip_address("127.0.0.1"), rules)
    assert check_address(ip_address("::ffff:10.1.2.3"), rules), "no disguise"
    assert check_url("https://hooks.corp.internal/", rules) == [], "where it leads is asked at the request"
    assert check_url("http://10.1.2.3/", rules) == ["expected https, found http"]
    with pytest.raises(ValueError, match="no-network"):
        networks(["no-network"])


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with serving(http.says(200)) as inner:
        to = {"Location": f"{inner.url}/secret"}
        with serving(http.says(302, b"", to)) as server:
            assert run(ask(server.url)).status == 302
        assert inner.connections == 0


def test_proxies_of_the_environment_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(http.says(200)) as server:
        assert run(ask(server.url)).status == 200


def test_the_request_arrives_as_it_was_given() -> None:
    with serving(http.says(200)) as server:
        run(ask(f"{server.url}/a/b?c=d%20e", body=b'{"a": 1}'))
        (seen,) = server.seen
        assert (seen.method, seen.path, seen.body) == ("POST", "/a/b?c=d%20e", b'{"a": 1}')
        assert (seen.headers["x-test"], seen.headers["accept-encoding"]) == ("1", "identity")


@pytest.mark.parametrize(
    ("play", "reason", "sent"),
    [
        pytest.param(http.hangs, "timeout", True, id="never answers", marks=pytest.mark.slow),
        pytest.param(http.drips, "timeout", True, id="slow headers", marks=pytest.mark.slow),
        pytest.param(http.endless_headers, "protocol", True, id="endless headers"),
        pytest.param(http.endless_hints, "timeout", True, id="endless promises", marks=pytest.mark.slow),
        pytest.param(http.swallows, "protocol", True, id="closes without an answer"),
        pytest.param(http.resets, "connection", True, id="reset in the middle of the answer"),
        pytest.param(http.writes(b"\x00\xff\r\n\r\n"), "protocol", True, id="garbage"),
        pytest.param(http.writes(b"HTTP/1.1 two hundred\r\n\r\n"), "protocol", True, id="no status"),
    ],
)
def test_where_there_is_no_answer_it_ends_in_time_and_says_so(play: Play, reason: str, sent: bool) -> None:
    limit_s = LIMIT_S if reason == "timeout" else PATIENT_S
    with serving(play) as server:
        begun_s = time.monotonic()
        with pytest.raises(NoAnswerError) as error:
            run(ask(server.url, limit_s=limit_s))
        assert time.monotonic() - begun_s < LIMIT_S + 2
        assert (error.value.reason, error.value.sent) == (reason, sent)
        assert server.url not in str(error.value)


def test_nobody_there_is_no_answer_and_nothing_was_sent() -> None:
    with pytest.raises(NoAnswerError) as error:
        run(ask(f"http://127.0.0.1:{http.free_port()}/"))
    assert (error.value.reason, error.value.sent) == ("connection", False)


@pytest.mark.parametrize("found", [pytest.param([], id="nothing"), pytest.param(None, id="an error")])
def test_a_name_that_leads_nowhere_is_no_answer(found: list[str] | None) -> None:
    async def nowhere(_host: str, _port: int) -> Sequence[str]:
        if found is None:
            raise OSError
        return found

    with pytest.raises(NoAnswerError, match="leads nowhere"):
        run(ask("https://hooks.example.com/", STRICT, resolver=nowhere))


def test_a_resolver_that_hangs_does_not_hold_it_up() -> None:
    async def hangs(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(NoAnswerError) as error:
        run(ask("https://hooks.example.com/", STRICT, resolver=hangs, limit_s=0.2))
    assert (error.value.reason, error.value.sent) == ("timeout", False)


@pytest.mark.parametrize(
    ("play", "status"),
    [
        pytest.param(http.endless(200), 200, id="endless body"),
        pytest.param(http.drips_body(500), 500, id="slow body", marks=pytest.mark.slow),
        pytest.param(http.bomb(200), 200, id="gzip bomb"),
        pytest.param(http.says(200, b"x" * 20, {"Content-Encoding": "gzip"}), 200, id="not what it says it is"),
        pytest.param(http.says(200, b"x" * 20, {"Content-Encoding": "br"}), 200, id="packed in another way"),
        pytest.param(http.says(200, b"x", {"Content-Length": "9"}), 200, id="shorter than it says"),
    ],
)
def test_of_an_answer_no_more_is_read_than_may_be_and_its_status_counts(play: Play, status: int) -> None:
    with serving(play) as server:
        tracemalloc.start()
        try:
            answer = run(ask(server.url, limit_s=LIMIT_S))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (answer.status, answer.whole) == (status, False)
    assert len(answer.body) <= ANSWER_BYTES
    assert peak < 16 * 2**20
    assert "body" not in repr(answer)


def test_a_packed_answer_is_unpacked() -> None:
    with serving(http.bomb(200, unpacked=1_000)) as server:
        answer = run(ask(server.url))
    assert (answer.body, answer.whole) == (bytes(1_000), True)


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("0", 0.0, id="at once"),
        pytest.param("Mon, 02 Mar 2026 02:01:00 GMT", 60.0, id="a date"),
        pytest.param("Mon, 02 Mar 2026 01:00:00 GMT", 0.0, id="a date that is over"),
        pytest.param("999999999", 86_400.0, id="too long"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0, id="a date too far"),
        pytest.param("-5", None, id="negative"),
        pytest.param("soon", None, id="words"),
        pytest.param("99999999999999999999999", None, id="a number too big"),
        pytest.param("1e999", None, id="infinite"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_how_long_to_wait_is_read_in_seconds_or_as_a_date(text: str, expected_s: float | None) -> None:
    assert Answer(429, {"retry-after": text}, b"").retry_after_s(1_772_416_800_000) == expected_s

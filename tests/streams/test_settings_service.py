"""The service's section: who is believed, under which names it is asked, whom people sign in with."""

import pytest

from detector.errors import ConfigError
from streams.sections import parse_document

OIDC = {"client_id": "tocsin", "client_secret": {"env": "SECRET"}}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        *(
            ({"proxy": {"addresses": [text]}}, "proxy.addresses")
            for text in ("0.0.0.0/0", "::/0", "proxy", "10.0.0.0/33")
        ),
        *(
            ({"public_url": text}, "public_url")
            for text in ("tocsin.example", "ftp://a", "https://a/b", "https://a?b=1")
        ),
        *(
            ({"public_url": text}, "public_url")
            for text in ("https://me@a", "https://", "https://a:99999", "https://a b")
        ),
        *(({"hosts": [text]}, "hosts") for text in ("https://a", "a:8321", "a b", "a/b", "*", "a..b", "[::1]")),
        *(({"oidc": {**OIDC, "issuer": text}}, "oidc.issuer") for text in ("http://id.example", "id.example", "")),
        ({"oidc": {"issuer": "https://a", "client_id": "b", "client_secret": "in plain"}}, "oidc.client_secret"),
        ({"proxy": {"roles": {"support": "root"}}}, "proxy.roles.support"),
        ({"session": "30s"}, "session"),
    ],
)
def test_what_does_not_hold_is_named(given: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_document({"service": given})
    assert [problem.path for problem in found.value.problems] == [f"tocsin.yml: service.{path}"]
    assert "in plain" not in str(found.value)


def test_what_holds_is_taken() -> None:
    service = parse_document(
        {
            "service": {
                "public_url": "https://tocsin.example:8443/",
                "hosts": ["alerts.internal", "tocsin", "10.0.0.7", "fd00::7"],
                "proxy": {"addresses": ["10.0.0.5", "10.1.0.0/16", "fd00::/8"], "roles": {"support": "operate"}},
                "oidc": {**OIDC, "issuer": "http://127.0.0.1:9000/realm", "roles": {"ops": "admin"}},
            }
        }
    ).service
    assert service.public_url == "https://tocsin.example:8443"
    assert service.proxy is not None and service.proxy.addresses[1] == "10.1.0.0/16"
    assert service.oidc is not None and service.oidc.issuer == "http://127.0.0.1:9000/realm"

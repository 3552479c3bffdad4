"""The first start: a token that only the owner can read, a link, and no address that others reach."""

from pathlib import Path

import pytest

from detector.errors import UsageError
from streams.sections import ServiceSection, parse_document
from streams.settings import defaults_directory
from streams.store import Store, audit, sign_ins, tokens
from streams.store.tokens import Scope
from streams.web.first_start import OVERRIDE, FirstStart, check_listening, has_team_sign_in, note_settings, prepare
from tests.servers.clocks import HandClock
from tests.servers.stores import new_store
from tests.servers.web import settings_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "tocsin.db")


def start(store: Store) -> FirstStart:
    return prepare(store, settings_of(), HandClock(), "eko")


def test_the_first_start_writes_a_token_for_the_owner_alone(store: Store) -> None:
    found = start(store)
    assert found.token_file == store.path.parent / "admin.token"
    assert found.token_file.stat().st_mode & 0o777 == 0o600
    token = tokens.find(store, found.token_file.read_text().strip())
    assert token is not None and token.scope is Scope.ADMIN and token.expires_ms is None
    assert [e.what for e in audit.entries(store)] == [
        "config.first",
        "token.created",
        "link.created",
    ]


def test_each_start_gives_a_link_that_signs_in_once(store: Store) -> None:
    links = [start(store).link_path for _ in range(2)]
    for path in links:
        code = path.removeprefix("/sign-in?code=")
        opened = sign_ins.use_link(store, code, HandClock().now_ms(), idle_ms=1_000)
        assert opened is not None and (opened[1].who, opened[1].scope) == ("person:eko", Scope.ADMIN)
        assert sign_ins.use_link(store, code, HandClock().now_ms(), idle_ms=1_000) is None


def test_a_store_with_tokens_gets_no_other_even_if_all_are_revoked(store: Store) -> None:
    file = start(store).token_file
    assert file is not None
    tokens.revoke(store, tokens.listed(store)[0].id, "cli:eko", 1)
    file.unlink()
    assert start(store).token_file is None and not file.exists()


def test_a_token_of_another_store_beside_it_stays(store: Store, tmp_path: Path) -> None:
    first = start(store).token_file
    assert first is not None
    before = first.read_bytes()
    for _ in range(2):  # the second time a file is left of a start that was killed
        (tmp_path / "second.db").unlink(missing_ok=True)
        with new_store(tmp_path / "second.db") as second:
            file = start(second).token_file
            assert file == tmp_path / "second.db.admin.token" and first.read_bytes() == before
            assert tokens.find(second, file.read_text().strip()) is not None


def test_a_link_in_the_way_is_not_followed(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "admin.token").symlink_to(elsewhere)
    found = start(store).token_file
    assert found == tmp_path / "tocsin.db.admin.token" and not elsewhere.exists()


def test_another_configuration_than_last_time_is_noted(store: Store, tmp_path: Path) -> None:
    (tmp_path / "signals.yml").write_bytes((defaults_directory() / "signals.yml").read_bytes())
    clock = HandClock()

    def noted() -> bool:
        return note_settings(store, settings_of(tmp_path), "service", clock.now_ms())

    assert [noted(), noted()] == [True, False]
    (tmp_path / "tocsin.yml").write_text("notices: {per_day: 3}\n", encoding="utf-8")
    assert [noted(), noted()] == [True, False]
    assert [(e.who, e.what) for e in audit.entries(store)] == [
        ("service", "config.first"),
        ("service", "config.changed"),
    ]


OIDC = {"issuer": "https://id.example", "client_id": "tocsin", "client_secret": {"env": "SECRET"}}
ROLES = {"roles": {"support": "operate"}}


def service(**given: object) -> ServiceSection:
    return parse_document({"service": given}).service


@pytest.mark.parametrize(
    ("found", "teams"),
    [
        pytest.param(service(), False, id="nothing"),
        pytest.param(service(oidc={**OIDC, **ROLES}), True, id="a provider"),
        pytest.param(service(oidc=OIDC), False, id="a provider whose people may do nothing"),
        pytest.param(service(proxy={"addresses": ["10.0.0.5"], **ROLES}), True, id="a proxy"),
        pytest.param(service(proxy={"addresses": ["10.0.0.5"]}), False, id="a proxy whose people may do nothing"),
        pytest.param(service(proxy=ROLES), False, id="a proxy without an address"),
    ],
)
def test_others_reach_it_only_where_teams_can_sign_in(found: ServiceSection, teams: bool) -> None:
    assert has_team_sign_in(found) is teams
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        check_listening(found, host, override=False)
    for host in ("0.0.0.0", "::", "192.0.2.1", "tocsin.example"):
        check_listening(found, host, override=True)
        if teams:
            check_listening(found, host, override=False)
        else:
            with pytest.raises(UsageError, match=OVERRIDE):
                check_listening(found, host, override=False)

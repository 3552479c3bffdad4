"""`tocsin token`: made, listed, revoked from the command line, with the service running or not."""

import asyncio
from pathlib import Path

import pytest

from streams.clock import SystemClock
from streams.store import audit, open_store, sign_ins, tokens
from streams.store.standing import FRESH_MS, speak
from streams.web.app import create_app
from tests.servers.clocks import HandClock
from tests.servers.stores import new_store
from tests.servers.web import client, web
from tests.streams.commands import Tocsin


@pytest.fixture
def tocsin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tocsin:
    new_store(tmp_path / "tocsin.db").close()
    return Tocsin(tmp_path / "tocsin.db", capsys)


def test_a_token_is_made_listed_and_revoked(tocsin: Tocsin) -> None:
    made = tocsin.json("token", "create", "--scope", "read", "--name", "grafana", "--expires", "90d")
    assert made["token"].startswith(f"toc_{made['id']}_") and made["scope"] == "read" and made["expires"]
    [listed] = tocsin.json("token", "list")
    assert (listed["id"], listed["name"], listed["standing"]) == (made["id"], "grafana", "valid")
    assert made["token"] not in tocsin("token", "list")
    assert tocsin.json("token", "revoke", made["id"])["standing"] == "revoked"
    assert [row["standing"] for row in tocsin.json("token", "list")] == ["revoked"]


def test_for_people_the_token_alone_is_on_standard_output(tocsin: Tocsin) -> None:
    text = tocsin("token", "create", "--scope", "ingest").strip()
    with open_store(tocsin.db) as store:
        assert tokens.find(store, text) is not None
    assert "nothing shows it again" in tocsin.err


def test_a_link_leads_to_the_sign_in(tocsin: Tocsin) -> None:
    assert tocsin("token", "link").startswith("http://127.0.0.1:8321/sign-in?code=")
    assert tocsin.json("token", "link", "--scope", "operate", "--for", "5m")["scope"] == "operate"


def test_a_link_leads_to_where_the_service_runs_whatever_port_its_command_line_said(tocsin: Tocsin) -> None:
    with open_store(tocsin.db) as store:
        speak(store, "web", 7, SystemClock().now_ms(), {"url": "http://127.0.0.1:9000"})
        assert tocsin("token", "link").startswith("http://127.0.0.1:9000/sign-in?code=")
        speak(store, "web", 7, SystemClock().now_ms() - FRESH_MS, {"url": "http://127.0.0.1:9000"})
        assert tocsin("token", "link").startswith("http://127.0.0.1:8321/sign-in?code=")  # it runs no more


def test_a_person_or_everybody_is_signed_out_on_the_server(tocsin: Tocsin) -> None:
    now_ms = HandClock().now_ms()
    with open_store(tocsin.db) as store:
        for name in ("ani", "ani", "budi"):
            sign_ins.open_session(store, f"person:{name}", tokens.Scope.READ, "by test", now_ms, idle_ms=1_000)
        assert tocsin.json("token", "sign-out", "ani") == {"browsers": 2}
        tocsin("token", "sign-out")
        assert "1 browsers are signed out" in tocsin.err
        assert audit.newest(store, limit=2)[1].target == "person:ani"


def test_with_a_configuration_a_token_is_there_before_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tocsin = Tocsin(tmp_path / "new.db", capsys)
    tocsin("token", "list", exits=2)
    (tmp_path / "tocsin.yml").write_text("tenant: shop\n", encoding="utf-8")
    source = Path(__file__).parents[2] / "deploy" / "config" / "signals.yml"
    (tmp_path / "signals.yml").write_bytes(source.read_bytes())
    made = tocsin.json("token", "create", "--scope", "ingest", "--config", str(tmp_path))
    assert [row["id"] for row in tocsin.json("token", "list")] == [made["id"]]
    with open_store(tocsin.db) as store:
        assert store.tenant == "shop"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create",), "--scope"),
        (("create", "--scope", "root"), "'root' is not one of"),
        (("create", "--scope", "read", "--expires", "soon"), "--expires: expected a duration such as 90d"),
        (("create", "--scope", "read", "--expires", "0s"), "--expires: expected a duration such as 90d"),
        (("create", "--scope", "read", "--name", "x" * 61), "name: expected printable text"),
        (("revoke", "000000000000"), "there is none of this id"),
        (("link", "--scope", "ingest"), "'ingest' is not one of"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tocsin: Tocsin, arguments: tuple[str, ...], message: str) -> None:
    tocsin("token", *arguments, exits=2)
    assert message in tocsin.err and "Traceback" not in tocsin.err


def test_a_running_service_knows_a_revoked_token_within_a_second(tocsin: Tocsin) -> None:
    made = tocsin.json("token", "create", "--scope", "read")
    clock = HandClock()

    async def test() -> None:
        with open_store(tocsin.db) as store:
            async with client(store, None, application=create_app(web(store, clock=clock))) as asked:
                headers = {"Authorization": f"Bearer {made['token']}"}
                assert (await asked.get("/v1/feed", headers=headers)).status_code == 200
                await asyncio.to_thread(tocsin, "token", "revoke", made["id"])
                clock.advance(1)
                answer = await asked.get("/v1/feed", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "token-revoked")

    asyncio.run(test())

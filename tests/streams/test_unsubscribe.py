"""Withdrawing consent by the link of a message: one button, one click of a mailbox, and nobody else's."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from detector.decode.customers import customer_key
from streams.outbox.unsubscribe import Links, Unsubscribed
from streams.store import Store
from streams.store import tables as t
from streams.store.directory import Customer, CustomerDirectory
from tests.servers.stores import new_store
from tests.servers.web import client

KEY = bytes(range(32))
LINKS = Links(KEY, "shop", "https://tocsin.example/")

ROWS = (
    "id,name,language,time_zone,email,phone,consent\n"
    "C-1,Budi,id,,budi@example.com,+6281234567890,all\n"
    "C-2,Sari,en,,sari@example.com,,email\n"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = new_store(tmp_path / "tocsin.db")
    (tmp_path / "customers.csv").write_text(ROWS, "utf-8")
    CustomerDirectory(made).import_file(tmp_path / "customers.csv")
    return made


def path(store: Store, who: str = "C-1", channel: str = "email") -> str:
    return "/u/" + Links(store.customer_key, store.tenant).token(customer_key(store.customer_key, who), channel)


def customer(store: Store, who: str = "C-1") -> Customer:
    found = CustomerDirectory(store).get(customer_key(store.customer_key, who))
    assert found is not None
    return found


def ask(store: Store, go: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]) -> httpx.Response:
    async def run() -> httpx.Response:
        async with client(store, None) as asked:
            return await go(asked)

    return asyncio.run(run())


# --- tokens ---


@given(st.integers(-(2**63), 2**63 - 1), st.from_regex(r"[a-z0-9]{1,20}(-[a-z0-9]{1,8})?", fullmatch=True))
def test_a_token_says_what_was_put_in(customer: int, channel: str) -> None:
    token = LINKS.token(customer, channel)
    assert LINKS.read(token) == Unsubscribed(customer, channel)
    assert LINKS.url(customer, channel) == f"https://tocsin.example/u/{token}"


@given(st.text(max_size=80))
def test_what_we_did_not_make_opens_nothing(text: str) -> None:
    assert LINKS.read(text) is None


@given(st.integers(0, 300), st.integers(1, 255))
def test_a_changed_token_opens_nothing(place: int, change: int) -> None:
    token = LINKS.token(77, "email")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = place % len(token)
    other = letters[(letters.index(token[at]) + 1 + change % 63) % 64]
    changed = token[:at] + other + token[at + 1 :]
    # The last letter may carry bits that no byte holds: then it is the same token in another spelling.
    assert LINKS.read(changed) in (None, Unsubscribed(77, "email"))
    if at < len(token) - 1:
        assert LINKS.read(changed) is None


def test_another_tenants_or_stores_token_opens_nothing() -> None:
    token = LINKS.token(77, "email")
    assert Links(KEY, "other").read(token) is None
    assert Links(bytes(32), "shop").read(token) is None
    assert Links(KEY, "shop").url(77, "email") == "", "nobody could reach it"


def test_a_token_holds_no_id() -> None:
    assert "C-1" not in LINKS.token(customer_key(KEY, "C-1"), "email")


# --- the page ---


def test_opening_the_link_changes_nothing(store: Store) -> None:
    answer = ask(store, lambda asked: asked.get(path(store)))
    assert answer.status_code == 200
    assert answer.headers["content-language"] == "id"
    assert "Berhenti menerima pesan lewat e-mail" in answer.text
    assert answer.text.count("<button") == 1
    assert customer(store).address("email") == "budi@example.com"
    for text in ("Budi", "budi@example.com", "C-1", "<script"):
        assert text not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_page_is_in_the_customers_language(store: Store) -> None:
    answer = ask(store, lambda asked: asked.get(path(store, "C-2")))
    assert (answer.headers["content-language"], "No more messages by e-mail" in answer.text) == ("en", True)


@pytest.mark.slow
def test_the_button_withdraws_that_channel_and_no_other(store: Store) -> None:
    answer = ask(store, lambda asked: asked.post(path(store), headers={"Origin": "http://127.0.0.1:8321"}))
    assert answer.status_code == 200
    assert "Kami tidak akan mengirim pesan" in answer.text
    assert "<button" not in answer.text
    assert (customer(store).address("email"), customer(store).address("whatsapp")) == ("", "+6281234567890")
    assert customer(store, "C-2").address("email") == "sari@example.com"
    assert "<button" not in ask(store, lambda asked: asked.get(path(store))).text


@pytest.mark.slow
def test_a_mailboxes_one_click_needs_no_page_cookie_or_sign_in(store: Store) -> None:
    body = {"List-Unsubscribe": "One-Click"}
    answer = ask(store, lambda asked: asked.post(path(store), data=body))
    assert answer.status_code == 200
    assert customer(store).address("email") == ""


def test_a_browser_that_comes_from_a_mailboxes_page_may_click(store: Store) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example", "Cookie": "tocsin=x"}
    assert ask(store, lambda asked: asked.post(path(store), headers=headers)).status_code == 200
    assert customer(store).address("email") == ""


@pytest.mark.slow
def test_withdrawing_twice_is_once_and_the_audit_log_has_it_without_an_address(store: Store) -> None:
    for _ in range(3):
        ask(store, lambda asked: asked.post(path(store)))
    with store.reading() as connection:
        rows = connection.execute(sa.select(t.audit).where(t.audit.c.what == "consent.withdrawn")).all()
    ((who, target, detail),) = [(row.who, row.target, row.detail) for row in rows]
    assert (who, detail) == ("customer", "email")
    assert "C-1" not in target


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["x", "A" * 40, "A" * 5_000, "%00", "..%2f..%2fetc"])
def test_a_link_that_is_not_ours_is_answered_kindly_and_opens_nothing(store: Store, method: str, token: str) -> None:
    answer = ask(store, lambda asked: asked.request(method, f"/u/{token}"))
    assert answer.status_code == 404
    assert customer(store).address("email") == "budi@example.com"


def test_the_link_of_somebody_who_was_erased_writes_nothing_down(store: Store) -> None:
    CustomerDirectory(store).erase(customer_key(store.customer_key, "C-1"))
    assert ask(store, lambda asked: asked.post(path(store))).status_code == 200
    with store.reading() as connection:
        assert connection.execute(sa.select(t.withdrawn)).all() == []


def test_under_a_strange_name_nothing_is_answered(store: Store) -> None:
    answer = ask(store, lambda asked: asked.post(path(store), headers={"Host": "evil.example"}))
    assert answer.status_code == 421
    assert customer(store).address("email") == "budi@example.com"

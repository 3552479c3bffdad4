"""Where a customer withdraws their consent to a channel: the link in their message is all they need.

Promises
- Opening the link changes nothing: scanners and previews of mail open it too. The button on its page does, and so does
  a mailbox's own button (RFC 8058: a POST without cookie, sign-in or page of ours).
- The page names nobody: whoever gets hold of the link learns no name, address or id.
- Withdrawing twice is withdrawing once; a link that is not ours opens nothing.
"""

from functools import partial

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from detector.desk.wording import language_of
from streams.outbox.unsubscribe import Links, Unsubscribed
from streams.store import audit
from streams.store.customers_csv import ALL_CHANNELS
from streams.store.directory import Customer
from streams.web.access import public
from streams.web.console.base import environment
from streams.web.context import Web, web_of

router = APIRouter(include_in_schema=False)

_CHANNELS = {
    "en": {"email": "e-mail", "whatsapp": "WhatsApp", "sms": "text message"},
    "id": {"email": "e-mail", "whatsapp": "WhatsApp", "sms": "SMS"},
}
_WORDS = {
    "en": {
        "title": "Messages by {channel}",
        "question": "We write when something of ours did not work for you. Do you want no more of it by {channel}?",
        "button": "No more messages by {channel}",
        "done": "We will not write to you by {channel} any more. A message that is under way may still arrive.",
        "broken": "This link does not work. Please use the whole link of the message.",
    },
    "id": {
        "title": "Pesan lewat {channel}",
        "question": "Kami mengabari Anda bila layanan kami terganggu. Ingin berhenti menerimanya lewat {channel}?",
        "button": "Berhenti menerima pesan lewat {channel}",
        "done": "Kami tidak akan mengirim pesan lewat {channel} lagi. Pesan yang sudah terkirim mungkin masih tiba.",
        "broken": "Tautan ini tidak berfungsi. Gunakan tautan lengkap dari pesan kami.",
    },
}


@router.get("/u/{token}", dependencies=[public()])
def ask(request: Request, token: str) -> HTMLResponse:
    """Show the one button."""
    web = web_of(request)
    found = _links(web).read(token)
    if found is None:
        return _broken(web)
    customer = web.directory.get(found.customer)
    return _answer(web, found, customer, done=customer is None or _withdrawn(customer, found.channel))


@router.post("/u/{token}", dependencies=[public()])
def withdraw(request: Request, token: str) -> HTMLResponse:
    """Withdraw the consent."""
    web = web_of(request)
    found = _links(web).read(token)
    if found is None:
        return _broken(web)
    customer = web.directory.get(found.customer)
    if customer is not None and not _withdrawn(customer, found.channel):
        web.directory.withdraw(found.customer, found.channel, partial(_note, web=web, found=found))
    return _answer(web, found, customer, done=True)


def _links(web: Web) -> Links:
    return Links(web.store.customer_key, web.tenant)


def _withdrawn(customer: Customer, channel: str) -> bool:
    return channel in customer.withdrawn or ALL_CHANNELS in customer.withdrawn


def _note(connection: sa.Connection, web: Web, found: Unsubscribed) -> None:
    target = f"customer:{found.customer & (2**64 - 1):016x}"
    audit.record(connection, web.tenant, "customer", "consent.withdrawn", target, found.channel, web.clock.now_ms())


def _answer(web: Web, found: Unsubscribed, customer: Customer | None, *, done: bool) -> HTMLResponse:
    default = web.settings.config.policy.default_language
    language = language_of(customer.language if customer else "", default)
    channel = _CHANNELS[language].get(found.channel, found.channel)
    words = {name: text.format(channel=channel) for name, text in _WORDS[language].items()}
    return _html(language, words, done=done)


def _broken(web: Web) -> HTMLResponse:
    language = language_of("", web.settings.config.policy.default_language)
    words = _WORDS[language]
    return _html(language, {**words, "title": "", "done": words["broken"]}, 404, done=True)


def _html(language: str, words: dict[str, str], status: int = 200, *, done: bool) -> HTMLResponse:
    text = environment().get_template("unsubscribe.html").render(language=language, words=words, is_done=done)
    return HTMLResponse(text, status, {"Content-Language": language, "X-Robots-Tag": "noindex"})

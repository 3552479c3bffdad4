"""Makes the e-mail of one notice: one message for one person, as bytes.

Promises
- Headers are made by `EmailMessage` alone: a line break in a subject, name or address is refused, never sent.
- The Message-ID follows from the notice, so that a repetition can be told from a second message.
- Whatever the text holds, it is text: the HTML part is the same text, escaped, without colours of its own (it follows
  the reader's dark or light), without pictures and without links but the one for withdrawing consent.
"""

import hashlib
import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy

from streams.outbox.channel import Outgoing

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STOP = {"en": "No more of these messages", "id": "Berhenti menerima pesan ini"}
_WHOLE = frozenset({"list-unsubscribe", "message-id"})
"""Headers of one long word: folding would encode it, and nobody could use it."""
_PAGE = """\
<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{title}</title>
</head>
<body style="margin:0;padding:24px;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif">
<div style="max-width:36em;margin:0 auto">
{paragraphs}
</div>
</body>
</html>
"""


class _Policy(EmailPolicy):
    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() in _WHOLE:
            return f"{name}: {value}\r\n".encode("ascii")
        return super().fold_binary(name, value)


_POLICY = _Policy(
    **{name: getattr(SMTP, name) for name in ("linesep", "raise_on_defect", "cte_type", "max_line_length")}
)


class BadAddressError(ValueError):
    """It is no address, or not one that a header may hold."""


@dataclass(frozen=True)
class Sender:
    """Who writes, and where answers go."""

    name: str
    address: str
    reply_to: str | None = None

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def plain_address(text: str) -> str:
    """Return the address as a server takes it: one address in ASCII, a foreign domain in its encoded form.

    Raises
    ------
    BadAddressError
        It is none, or several, or its name is not ASCII.

    Examples
    --------
    >>> plain_address("budi@bücher.example.com")
    'budi@xn--bcher-kva.example.com'
    """
    from email_validator import EmailNotValidError, validate_email

    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False).ascii_email
    except EmailNotValidError:
        found = None
    if found is None:
        message = "expected one e-mail address"
        raise BadAddressError(message)
    return found


def message_id(notice: str, domain: str) -> str:
    """Return the notice's Message-ID.

    Examples
    --------
    >>> message_id("4f2a", "shop.example")
    '<4f2a@shop.example>'
    """
    name = notice if _ID.fullmatch(notice) else hashlib.blake2b(notice.encode(), digest_size=16).hexdigest()
    return f"<{name}@{domain}>"


def mail_of(outgoing: Outgoing, sender: Sender, recipient: str, now_ms: int) -> bytes:
    """Return the message.

    Parameters
    ----------
    outgoing : Outgoing
    sender : Sender
    recipient : str
        As `plain_address` gives it.
    now_ms : int
        For the header Date.

    Raises
    ------
    ValueError
        A header would hold a line break.
    """
    url = outgoing.unsubscribe_url
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = Address(sender.name, addr_spec=sender.address)
    mail["To"] = Address(addr_spec=recipient)
    mail["Subject"] = outgoing.message.subject
    mail["Date"] = datetime.fromtimestamp(now_ms / 1_000, UTC)
    mail["Message-ID"] = message_id(outgoing.notice, sender.domain)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    if sender.reply_to:
        mail["Reply-To"] = Address(addr_spec=sender.reply_to)
    if url.isascii() and url.startswith(("https://", "http://")) and not re.search(r"[\s<>]", url):
        mail["List-Unsubscribe"] = f"<{url}>"
        if url.startswith("https://"):
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    else:
        url = ""
    stop = _STOP.get(outgoing.language, _STOP["en"]) if url and url not in outgoing.message.body else ""
    text = outgoing.message.body + (f"\n\n{stop}: {url}" if stop else "") + "\n"
    mail.set_content(text, cte="quoted-printable")
    mail.add_alternative(_html(outgoing, stop, url), subtype="html", cte="quoted-printable")
    return mail.as_bytes()


def _html(outgoing: Outgoing, stop: str, url: str) -> str:
    blocks = re.split(r"\n{2,}", outgoing.message.body.strip())
    paragraphs = [f"<p>{html.escape(block).replace(chr(10), '<br>')}</p>" for block in blocks]
    if stop:
        paragraphs.append(f'<p style="font-size:14px"><a href="{html.escape(url)}">{html.escape(stop)}</a></p>')
    return _PAGE.format(
        language=html.escape(outgoing.language),
        title=html.escape(outgoing.message.subject),
        paragraphs="\n".join(paragraphs),
    )

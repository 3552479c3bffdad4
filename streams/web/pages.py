"""The few pages of the sign-in, in English and Bahasa Indonesia; they work without JavaScript.

Rules of the file
- Every value is escaped by the template engine; a template has no inline script or style.
- A name that a template needs and is not given is an error.
"""

from pathlib import Path
from typing import Any, Literal

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import HTTPConnection

Language = Literal["en", "id"]

FOLDER = Path(__file__).parent / "templates"

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "sign_in": "Sign in",
        "confirm": "This link signs you in on this browser, once.",
        "with_account": "Sign in with your company account",
        "get_link": "For a sign-in link, run this on the machine where Tocsin runs:",
        "link_over": "This link was used before or is too old. Ask for a new one.",
        "no_role": "Your account may not enter here. Ask whoever looks after Tocsin to give your group a role.",
        "provider_failed": "The sign-in did not work. Try again, or tell whoever looks after Tocsin.",
        "provider_away": "The company account can't be reached at the moment. Try again in a minute.",
        "signed_in": "You are signed in",
        "who": "Name",
        "may": "May",
        "tenant": "Tenant",
        "read": "read",
        "operate": "read and work on cases",
        "admin": "do everything",
        "ingest": "send events",
        "sign_out": "Sign out",
        "go_on": "Go on",
    },
    "id": {
        "sign_in": "Masuk",
        "confirm": "Tautan ini memasukkan Anda di peramban ini, satu kali saja.",
        "with_account": "Masuk dengan akun perusahaan",
        "get_link": "Untuk mendapatkan tautan masuk, jalankan ini di mesin tempat Tocsin berjalan:",
        "link_over": "Tautan ini sudah dipakai atau kedaluwarsa. Mintalah yang baru.",
        "no_role": "Akun Anda tidak diizinkan masuk. Minta pengelola Tocsin memberi peran untuk grup Anda.",
        "provider_failed": "Gagal masuk. Coba lagi; jika tetap gagal, beri tahu pengelola Tocsin.",
        "provider_away": "Akun perusahaan sedang tidak dapat dihubungi. Coba lagi sebentar lagi.",
        "signed_in": "Anda sudah masuk",
        "who": "Nama",
        "may": "Boleh",
        "tenant": "Tenant",
        "read": "membaca",
        "operate": "membaca dan menangani kasus",
        "admin": "melakukan semuanya",
        "ingest": "mengirim kejadian",
        "sign_out": "Keluar",
        "go_on": "Lanjut",
    },
}

_templates = Environment(
    loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)

STYLE = (FOLDER / "style.css").read_text(encoding="utf-8")


def page(request: HTTPConnection, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page in the browser's language."""
    language = language_of(request.headers.get("accept-language", ""))
    text = _templates.get_template(template).render(language=language, words=WORDS[language], **values)
    return HTMLResponse(text, status, {"Content-Language": language, "Vary": "Accept-Language"})


def sign_in_page(
    request: HTTPConnection, *, oidc: bool, problem: str = "", code: str = "", status: int = 200
) -> HTMLResponse:
    """Return the sign-in page; `problem` is a key of `WORDS`."""
    words = WORDS[language_of(request.headers.get("accept-language", ""))]
    return page(request, "sign_in.html", status, oidc=oidc, problem=words[problem] if problem else "", code=code)


def language_of(header: str) -> Language:
    """Return the language of ours that the browser likes best; English where it likes neither.

    Examples
    --------
    >>> language_of("id-ID,id;q=0.9,en;q=0.8"), language_of("en;q=0.3, id;q=0.5"), language_of("de")
    ('id', 'id', 'en')
    """
    best: tuple[float, Language] = (0.0, "en")
    for part in header.split(",")[:20]:
        tag, _, parameters = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        for language in WORDS:
            if primary == language and weight > best[0]:
                best = (weight, language)
    return best[1]


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if not parameters.strip():
        return 1.0
    try:
        return float(value) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0

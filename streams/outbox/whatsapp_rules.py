"""What WhatsApp asks of an approved template, as far as it can be told from its text.

A template of the category *utility* tells of what the customer did or what happened to them. An invitation, an offer
or a request for a rating makes it *marketing*, which WhatsApp caps per person: so it is warned of.
"""

import re
from collections.abc import Sequence

from detector.errors import Problem
from detector.fields import shown
from streams.outbox.provider_template import NUMBERED

PROVIDERS = ("qontak", "whatsapp-cloud")
"""Which providers send approved templates only."""

_BRACES = re.compile(r"\{\{.*?\}\}")
_MARKETING = re.compile(
    r"\b(?:"
    r"promo\w*|discount\w*|voucher\w*|coupons?|cashback|bonus|special offers?|offers?|deals?|sale|buy|shop now|"
    r"upgrade|subscribe|rate us|reviews?|feedback|survey|click here|free|win|"
    r"diskon|potongan harga|gratis|penawaran|hadiah|beli|belanja|langganan|nilai kami|beri(?:kan)? (?:nilai|ulasan)|"
    r"ulasan|survei|klik di ?sini|undian|kupon"
    r")\b",
    re.IGNORECASE,
)


def marketing(text: str) -> list[str]:
    """Return the words by which a text may pass for marketing.

    Examples
    --------
    >>> marketing("Get a FREE voucher today, click here"), marketing("Your payment did not go through.")
    (['FREE', 'voucher', 'click here'], [])
    """
    return list(dict.fromkeys(match[0] for match in _MARKETING.finditer(text)))


def body_problems(body: str, parameters: Sequence[str]) -> list[Problem]:
    """Return where an approved text breaks WhatsApp's rules for parameters.

    Examples
    --------
    >>> [p.found for p in body_problems("{{1}}{{3}} failed", ["a", "b"])]
    ['the parameters {{1}}, {{3}}', 'a parameter at the beginning', 'parameters beside each other']
    """
    text, out = body.strip(), []
    strange = [found for found in _BRACES.findall(text) if not NUMBERED.fullmatch(found)]
    if strange:
        out.append(Problem("", f"the parameter {shown(strange[0])}", "numbers: {{1}}, {{2}}, …"))
    numbers = [int(n) for n in NUMBERED.findall(text)]
    if not strange and sorted(set(numbers)) != list(range(1, len(parameters) + 1)):
        wanted = ", ".join(f"{{{{{i}}}}}" for i in range(1, len(parameters) + 1)) or "none"
        found = ", ".join(f"{{{{{n}}}}}" for n in sorted(set(numbers))) or "none"
        out.append(Problem("", f"the parameters {found}", f"{wanted}, as many as stand in `parameters`"))
    if text.startswith("{{"):
        out.append(Problem("", "a parameter at the beginning", "a word before it"))
    if text.endswith("}}"):
        out.append(Problem("", "a parameter at the end", "a word or a full stop after it"))
    if re.search(r"\}\}\s*\{\{", text):
        out.append(Problem("", "parameters beside each other", "words between them"))
    return out

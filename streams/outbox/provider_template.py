"""A template that the provider holds and has approved (WhatsApp): its name there, and what fills its parameters.

    template: gangguan_pembayaran      # as the provider calls it: a name, or an id
    language: id                       # as the provider calls it, where that is more than the file's (en_US)
    parameters:                        # in order: {{1}}, {{2}}, …
      nama: "{{ name or 'pelanggan' }}"
      transaksi: "{{ what or title }}"
    body: Halo {{1}}, {{2}} Anda …     # what was approved, to be checked and shown

The provider puts it together: what is sent is the name and the parameters, each one line of text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from detector.desk.owntext import MAY_BE_EMPTY, PLACEHOLDERS, OwnText
from detector.desk.wording import clean
from detector.errors import ConfigError, Problem
from detector.fields import did_you_mean, listed, shown

PARAMETER_LENGTH = 200
NUMBERED = re.compile(r"\{\{(\d{1,2})\}\}")
_FIELDS = ("template", "language", "parameters", "body")
_TEMPLATE = re.compile(r"[A-Za-z0-9_-]{1,512}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")
_NAME = re.compile(r"[A-Za-z0-9_]{1,60}")


@dataclass(frozen=True)
class ProviderTemplate:
    """One template of the provider's."""

    template: str
    parameters: Mapping[str, OwnText]
    body: str
    language: str = ""

    def fill(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters by name, in order: each one line, no runs of spaces."""
        return {name: clean(text.fill(values), PARAMETER_LENGTH) for name, text in self.parameters.items()}

    def shown(self, parameters: Mapping[str, str]) -> str:
        """Return what the customer will read."""
        ordered = list(parameters.values())
        return NUMBERED.sub(lambda match: _nth(ordered, int(match[1])), self.body).strip()


def _nth(values: list[str], n: int) -> str:
    return values[n - 1] if 0 < n <= len(values) else ""


def parse_provider_template(document: object) -> ProviderTemplate:
    """Return the template that a .yml describes.

    Raises
    ------
    ConfigError
        With every mistake; the paths are those of the fields.
    """
    problems: list[Problem] = []
    if not isinstance(document, dict):
        raise ConfigError([Problem("", shown(document), f"a mapping with {', '.join(_FIELDS)}")])
    for key in document:
        if key not in _FIELDS:
            problems.append(Problem(str(key), "an unknown field", listed(_FIELDS), did_you_mean(key, _FIELDS)))
    template, language, body = document.get("template"), document.get("language", ""), document.get("body")
    if not isinstance(template, str) or not _TEMPLATE.fullmatch(template):
        problems.append(Problem("template", shown(template), "the template's name or id at the provider"))
    if not isinstance(language, str) or (language and not _LANGUAGE.fullmatch(language)):
        problems.append(
            Problem("language", shown(language), "a language as the provider calls it, such as id or en_US")
        )
    if not isinstance(body, str) or not body.strip():
        problems.append(Problem("body", shown(body), "the text that was approved"))
    parameters = _parameters(document.get("parameters", {}), problems)
    if problems:
        raise ConfigError(problems)
    return ProviderTemplate(str(template), parameters, str(body), str(language))


def _parameters(given: object, problems: list[Problem]) -> dict[str, OwnText]:
    if not isinstance(given, dict):
        problems.append(Problem("parameters", shown(given), 'a mapping such as {name: "{{ name }}"}'))
        return {}
    out = {}
    for name, text in given.items():
        where = f"parameters.{name}"
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(text, str):
            problems.append(Problem(where, shown(text), "a name of letters, digits and _ with a text"))
            continue
        try:
            own = OwnText(text)
        except ConfigError as error:
            problems += [Problem(where, p.found, p.allowed, p.do) for p in error.problems]
            continue
        if re.search(r"[\n\t]| {4}", text):
            problems.append(Problem(where, "a line break, a tab or four spaces", "one line: WhatsApp refuses others"))
        elif not own.fill(_LEAST).strip():
            do = "give it a word that stands in: \"{{ name or 'pelanggan' }}\""
            problems.append(Problem(where, "a text that may be empty", "one that never is: WhatsApp refuses it", do))
        out[name] = own
    return out


_LEAST = {name: "" if name in MAY_BE_EMPTY else name for name in PLACEHOLDERS}
"""The values of a customer of whom next to nothing is known."""

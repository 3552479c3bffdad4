"""The user's own words: reads the templates folder, and lists every mistake in it at once.

    templates/<signal or _default>/<channel or _default>/<kind>.<language>.txt    what is said
                                                        /<kind>.<language>.yml    a template that the provider approved

The nearest file counts: the signal's before `_default`, then the channel's before `_default`; where there is none, the
built-in words. A text's first line may be `Subject: …`. What is checked beside the placeholders: that each file will
be used at all, its length with the longest realistic values of the signals it serves, where its links lead, and
WhatsApp's rules (`streams/outbox/whatsapp_rules.py`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from detector.desk.owntext import OwnText
from detector.desk.records import Kind
from detector.desk.templates import LANGUAGES
from detector.desk.wording import BODY_LENGTH, NoticeFacts, own_words, values_of
from detector.errors import ConfigError, Problem
from detector.fields import did_you_mean, listed, shown
from detector.signals import Measure, Signal
from streams.outbox.provider_template import ProviderTemplate, parse_provider_template
from streams.outbox.whatsapp_rules import PROVIDERS, body_problems, marketing
from streams.settings import TOCSIN, Settings
from streams.yamlfile import parse_yaml

DEFAULT = "_default"
TEXT_LENGTH = 2_000
"""Of what is written on channels that set no limit."""
WHATSAPP_LENGTH = BODY_LENGTH
_SMS_PLAIN, _SMS_OTHER = 160, 70
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€"
)
"""What a text message of 160 characters may hold; any other character makes it one of 70."""
_MAX_BYTES = 65_536
_FILE = re.compile(r"(?P<kind>[a-z-]+)\.(?P<language>[a-z]+)\.(?P<form>txt|yml)")
_LINK = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>)]+|\bwww\.[^\s\"'<>)]+|\b(?:javascript|data|mailto|tel):\S+", re.I)
_SUBJECT = "Subject:"


@dataclass(frozen=True)
class OwnWords:
    """What one text file says."""

    body: OwnText
    subject: OwnText | None = None


Own = OwnWords | ProviderTemplate
Key = tuple[str, str, Kind, str]


@dataclass(frozen=True)
class Templates:
    """The user's own words by (signal, channel, kind, language)."""

    files: Mapping[Key, Own] = field(default_factory=dict)

    def find(self, signal: str, channel: str, kind: Kind, language: str) -> Own | None:
        """Return the nearest words; None: the built-in ones."""
        for whose in (signal, DEFAULT):
            for where in (channel, DEFAULT):
                found = self.files.get((whose, where, kind, language))
                if found is not None:
                    return found
        return None


NO_TEMPLATES = Templates()


@dataclass(frozen=True)
class ReadTemplates:
    """A templates folder, read."""

    templates: Templates
    errors: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()

    def checked(self) -> Templates:
        """Return the words.

        Raises
        ------
        ConfigError
            The folder has mistakes.
        """
        if self.errors:
            raise ConfigError(list(self.errors))
        return self.templates


def length_limit(channel: str) -> int:
    """Return how long the words may be on a channel."""
    return WHATSAPP_LENGTH if channel == "whatsapp" else TEXT_LENGTH


def provider_of(settings: Settings, channel: str) -> str:
    """Return what carries a channel."""
    return str(settings.channels.get(channel, {}).get("by", channel))


def read_templates(settings: Settings) -> ReadTemplates:
    """Return what stands in the templates folder, with its mistakes; without a folder there is nothing."""
    folder = settings.directory / settings.sending.templates
    if not folder.is_dir():
        if "templates" in settings.sending.model_fields_set:
            found = shown(settings.sending.templates)
            return ReadTemplates(
                NO_TEMPLATES, [Problem(f"{TOCSIN}: sending.templates", found, "a folder that is there")]
            )
        return ReadTemplates(NO_TEMPLATES, warnings=_missing(settings, NO_TEMPLATES))
    reader = _Reader(settings, folder)
    reader.read()
    templates = Templates(reader.files)
    return ReadTemplates(templates, reader.errors, [*reader.warnings, *_missing(settings, templates)])


def longest_values(signal: Signal, kind: Kind, language: str) -> dict[str, str]:
    """Return the longest values that a signal's customers can realistically bring."""
    facts = NoticeFacts(
        kind=kind,
        when_ms=1_795_824_000_000,  # 28 Nov 2026, 00:00 UTC: a date and a zone without a name are the longest moment
        at_ms=1_796_000_000_000,
        time_zone="America/Sao_Paulo",
        title=signal.title,
        what=signal.what,
        workaround=signal.workaround,
        promise=signal.promise,
        cause={dimension: "W" * 20 for dimension in signal.dimensions},
        failed=signal.measure is not Measure.VALUE,
    )
    name = "Raden Adipati Suryaningrat Wijayakusuma"
    return {**values_of(facts, name, language), "unsubscribe_url": "https://" + "u" * 80}


class _Reader:
    """Reads one folder; what is wrong goes into `errors`, what works badly into `warnings`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._signals = {signal.name: signal for signal in settings.config.signals}
        self._channels = list(dict.fromkeys((*settings.config.policy.channels, *settings.channels)))
        hosts = {host.lower() for host in settings.sending.links}
        if settings.service.public_url:
            hosts.add(urlsplit(settings.service.public_url).hostname or "")
        self._hosts = hosts
        self.files: dict[Key, Own] = {}
        self._paths: dict[Key, Path] = {}
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def read(self) -> None:
        for signal in self._folders(self._folder, self._signals, "signal"):
            for channel in self._folders(signal, self._channels, "channel"):
                for path in _visible(channel):
                    self._file(path, signal.name, channel.name)
        for key, own in self.files.items():
            if isinstance(own, OwnWords):
                self._check_text(self._paths[key], own, key)
            else:
                self._check_template(self._paths[key], own, key)

    def _folders(self, parent: Path, known: Mapping[str, object] | Sequence[str], what: str) -> Iterator[Path]:
        for path in _visible(parent):
            if not path.is_dir():
                self._wrong(path, "a file", f"a folder for each {what}, or {DEFAULT}")
            elif path.name != DEFAULT and path.name not in known:
                names = [*known, DEFAULT]
                self._wrong(path, f"a folder for no {what}", listed(names), did_you_mean(path.name, names))
            else:
                yield path

    def _file(self, path: Path, signal: str, channel: str) -> None:
        match = _FILE.fullmatch(path.name)
        kinds = [kind.value for kind in Kind]
        if match is None or match["kind"] not in kinds or match["language"] not in LANGUAGES:
            allowed = f"<kind>.<language>.txt or .yml; kinds: {listed(kinds)}; languages: {listed(LANGUAGES)}"
            self._wrong(path, "a file that would not be used", allowed)
            return
        text = self._text(path)
        if text is None:
            return
        kind, language = Kind(match["kind"]), match["language"]
        key = (signal, channel, kind, language)
        if key in self.files:
            self._wrong(path, "a .txt and a .yml", "one of them")
            return
        try:
            if match["form"] == "txt":
                own: Own = _own_words(text)
            else:
                own = parse_provider_template(parse_yaml(text, path.name))
        except ConfigError as error:
            for problem in error.problems:
                inner = problem.path.removeprefix(path.name).removeprefix(": ")
                self._wrong(path, problem.found, problem.allowed, problem.do, inner)
            return
        self.files[key], self._paths[key] = own, path

    def _text(self, path: Path) -> str | None:
        try:
            if path.stat().st_size > _MAX_BYTES:
                self._wrong(path, "more than 64 KiB", "at most 64 KiB")
                return None
            return path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            found = "bytes that are not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
            self._wrong(path, str(found), "a text file in UTF-8")
            return None

    # --- what it says -------------------------------------------------------------------------------------------------

    def _check_text(self, path: Path, own: OwnWords, key: Key) -> None:
        _, _, kind, language = key
        self._links(path, own.body.source + " " + (own.subject.source if own.subject else ""))
        for signal, channel in self._served(key, own):
            if provider_of(self._settings, channel) in PROVIDERS:
                do = "outside 24 hours after the customer's own message WhatsApp takes nothing else"
                self._badly(path, f"a text for {channel}", "a .yml that names the approved template", do)
            whole = own_words(longest_values(signal, kind, language), own.subject, own.body, 10**6)
            self._length(path, whole.body, channel, signal.name)
            if channel == "sms" and (note := sms_note(whole.body)):
                self._badly(
                    path, f"{note}, with the longest values of {signal.name}", "one", "each of them is paid for"
                )
            if channel == "whatsapp":
                self._marketing(path, own.body.source)

    def _check_template(self, path: Path, own: ProviderTemplate, key: Key) -> None:
        _, channel, kind, language = key
        if channel == DEFAULT or (channel != "whatsapp" and provider_of(self._settings, channel) not in PROVIDERS):
            allowed = f"a .txt, or the folder of a channel that is carried by {listed(PROVIDERS)}"
            self._wrong(path, "a provider's template", allowed)
            return
        for problem in body_problems(own.body, list(own.parameters)):
            self._wrong(path, problem.found, problem.allowed, problem.do, "body")
        self._links(path, own.body + " " + " ".join(text.source for text in own.parameters.values()))
        self._marketing(path, own.body)
        for signal, _ in self._served(key, own):
            longest = own.shown(own.fill(longest_values(signal, kind, language)))
            self._length(path, longest, "whatsapp", signal.name)

    def _served(self, key: Key, own: Own) -> Iterator[tuple[Signal, str]]:
        """Yield the signals and channels for which no file is nearer."""
        found = Templates(self.files)
        for signal in self._signals.values():
            for channel in self._channels:
                if found.find(signal.name, channel, key[2], key[3]) is own:
                    yield signal, channel

    def _length(self, path: Path, text: str, channel: str, signal: str) -> None:
        limit = length_limit(channel)
        if len(text) > limit:
            found = f"{len(text)} characters on {channel} with the longest values of {signal}"
            self._wrong(path, found, f"at most {limit}", "beyond it the promise, then the workaround would be left out")

    def _links(self, path: Path, text: str) -> None:
        for match in _LINK.finditer(text):
            link = match[0] if "://" in match[0] or not match[0].lower().startswith("www.") else f"https://{match[0]}"
            try:
                parts = urlsplit(link)
                good = parts.scheme == "https" and (parts.hostname or "") in self._hosts and "@" not in parts.netloc
            except ValueError:
                good = False
            if not good:
                allowed = "https links to the hosts of sending.links and service.public_url only"
                self._wrong(path, f"the link {shown(match[0])}", allowed)

    def _marketing(self, path: Path, text: str) -> None:
        for word in marketing(text):
            allowed = "words about the fault only"
            self._badly(path, f"the word {shown(word)}", allowed, "WhatsApp would call the template marketing")

    def _wrong(self, path: Path, found: str, allowed: str, do: str = "", inner: str = "") -> None:
        self._put(self.errors, path, found, allowed, do, inner)

    def _badly(self, path: Path, found: str, allowed: str, do: str = "") -> None:
        self._put(self.warnings, path, found, allowed, do, "")

    def _put(self, into: list[Problem], path: Path, found: str, allowed: str, do: str, inner: str) -> None:
        where = path.relative_to(self._folder.parent).as_posix()
        problem = Problem(f"{where}: {inner}" if inner else where, found, allowed, do)
        if problem not in into:
            into.append(problem)


def _own_words(text: str) -> OwnWords:
    first, _, rest = text.partition("\n")
    subject, body, line = None, text, 1
    problems: list[Problem] = []
    if first.startswith(_SUBJECT):
        body, line = rest, 2
        try:
            subject = OwnText(first.removeprefix(_SUBJECT).strip())
        except ConfigError as error:
            problems += error.problems
    try:
        if not body.strip():
            raise ConfigError([Problem("", "no text", "what is said")])
        found = OwnText(body, line)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    if problems:
        raise ConfigError(problems)
    return OwnWords(found, subject)


def sms_note(text: str) -> str:
    """Return how many text messages this takes, where it is more than one; else "".

    Examples
    --------
    >>> sms_note("a" * 160), sms_note("a" * 161), sms_note("—" + "a" * 70)
    ('', '161 characters: 2 messages of 153', '71 characters, some beyond the plain ones: 2 messages of 67')
    """
    plain = set(text) <= _GSM
    one, part = (_SMS_PLAIN, 153) if plain else (_SMS_OTHER, 67)
    if len(text) <= one:
        return ""
    beyond = "" if plain else ", some beyond the plain ones"
    return f"{len(text)} characters{beyond}: {-(-len(text) // part)} messages of {part}"


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "README")) and not p.name.endswith("~"))


def _missing(settings: Settings, found: Templates) -> list[Problem]:
    """Return where a channel takes only approved templates and there is none."""
    out = []
    for channel in settings.config.policy.channels:
        if provider_of(settings, channel) not in PROVIDERS or channel not in settings.channels:
            continue
        lacking = sorted(
            {
                f"{kind.value}.{language}"
                for signal in settings.config.signals
                for kind in Kind
                for language in LANGUAGES
                if not isinstance(found.find(signal.name, channel, kind, language), ProviderTemplate)
            }
        )
        if lacking:
            where = f"{settings.sending.templates}/{DEFAULT}/{channel}"
            out.append(
                Problem(where, f"no template for {', '.join(lacking)}", "a .yml for each", "those would not be sent")
            )
    return out

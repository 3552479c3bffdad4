"""What a running service says: one JSON object a line on standard error (words and colours where that is a terminal).

Promises
- A line can't be forged by what it holds: JSON escapes line breaks and controls.
- Addresses are masked wherever they stand, also in the texts of exceptions; exceptions come without local variables.
- What libraries log goes the same way, and none of them floods it.
"""

import logging
import re
import sys
from collections import Counter
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_EMAIL = re.compile(r"([A-Za-z0-9])[A-Za-z0-9._%+-]*@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_URL = re.compile(r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20}://)(?P<user>[^\s/?#:]*)(?P<password>:[^\s/?#]*)?@")
_STORE = ("postgresql", "postgres")
"""Whose URLs name a user of the server before the `@`, and no customer's address."""
_PHONE = re.compile(r"(?<![\w.:-])(\+?(?:62|0)8\d)\d{4,9}(\d{2})(?![\w.:-])")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_QUIET = dict.fromkeys(
    ("httpx", "httpcore", "apprise", "alembic", "faust", "mode", "aiokafka", "kafka", "streams.engines.faust_app"),
    logging.WARNING,
)
"""Libraries that tell of every request: what matters of it we say ourselves."""
_FLOODING = ("aiokafka", "asyncio", "faust", "kafka", "mode", "streams.engines.faust_app")
"""Those that say the same some dozen times a second while a broker is away."""
_NORMAL = ("Thread keepalive is not responding", "Missing sensor state")
"""What they say in every rebalance, and what means nothing."""
_CRASHED = "Crashed"
SELDOM_S = 60.0


def masked_text(text: str) -> str:
    """Return the text with e-mail addresses and phone numbers masked.

    Examples
    --------
    >>> masked_text("no route to budi@example.com or +6281234567890, 3 of 812 left")
    'no route to b•••@example.com or +6281•••90, 3 of 812 left'

    A URL's password is masked too; the user of a store's is no address:

    >>> masked_text("postgresql://tocsin:secret@db.example/tocsin is away")
    'postgresql://tocsin:•••@db.example/tocsin is away'
    """
    out, done = [], 0
    for found in _URL.finditer(text):
        scheme, user = found["scheme"], found["user"]
        if scheme.startswith(_STORE) and "@" not in user:
            out += [_masked(text[done : found.start()]), scheme, user, ":•••@" if found["password"] else "@"]
        elif found["password"]:
            out += [_masked(text[done : found.start()] + scheme + user), ":•••@"]
        else:
            continue
        done = found.end()
    return "".join([*out, _masked(text[done:])])


def _masked(text: str) -> str:
    return _PHONE.sub(r"\1•••\2", _EMAIL.sub(r"\1•••@\2", text))


class Seldom(logging.Filter):
    """Lets what a library says at one place of its code through once in `SELDOM_S`, with how often it was held back.

    What went wrong on the way to a server is one line; other exceptions keep their traceback. What such a library calls
    an error is a warning, as it comes in every rebalance and first start, but for a crash.
    """

    def __init__(self) -> None:
        super().__init__()
        self._let_s: dict[tuple[str, int], float] = {}
        self._held: Counter[tuple[str, int]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_FLOODING):
            return True
        if any(text in str(record.msg) for text in _NORMAL):
            return False
        place = record.pathname, record.lineno
        if record.created - self._let_s.get(place, -SELDOM_S) < SELDOM_S:
            self._held[place] += 1
            return False
        self._let_s[place] = record.created
        held = self._held.pop(place, 0)
        error = record.exc_info[1] if record.exc_info else None
        said = record.getMessage() + (f" (and {held} more of this)" if held else "")
        if isinstance(error, OSError) or type(error).__module__.startswith(("aiokafka.", "kafka.")):
            said += f" ({type(error).__name__}: {error})"
            record.exc_info = record.exc_text = None
        if record.levelno == logging.ERROR and not record.exc_info and _CRASHED not in said:
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.msg, record.args = said, ()
        return True


def configure(process: str, stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send what this process and its libraries log to `stream`, each line with the process' name."""
    stream = sys.stderr if stream is None else stream
    for_people = stream.isatty()

    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(["reason"]),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        name,
        structlog.processors.format_exc_info,
        _mask,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(stream)
    handler.addFilter(Seldom())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for library, least in _QUIET.items():
        logging.getLogger(library).setLevel(least)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and not key.startswith("_"):
            clean = _CONTROLS.sub(" ", value) if key == "event" else value
            event[key] = masked_text(clean)
    return event

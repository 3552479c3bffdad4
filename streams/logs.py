"""What a running service says: one JSON object a line on standard error (words and colours where that is a terminal).

Promises
- A line can't be forged by what it holds: JSON escapes line breaks and controls.
- Addresses are masked wherever they stand, also in the texts of exceptions; exceptions come without local variables.
- What libraries log goes the same way.
"""

import logging
import re
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_EMAIL = re.compile(r"([A-Za-z0-9])[A-Za-z0-9._%+-]*@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_PHONE = re.compile(r"(?<![\w.:-])(\+?(?:62|0)8\d)\d{4,9}(\d{2})(?![\w.:-])")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_QUIET = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "apprise": logging.WARNING, "alembic": logging.WARNING}
"""Libraries that tell of every request: what matters of it we say ourselves."""


def masked_text(text: str) -> str:
    """Return the text with e-mail addresses and phone numbers masked.

    Examples
    --------
    >>> masked_text("no route to budi@example.com or +6281234567890, 3 of 812 left")
    'no route to b•••@example.com or +6281•••90, 3 of 812 left'
    """
    return _PHONE.sub(r"\1•••\2", _EMAIL.sub(r"\1•••@\2", text))


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

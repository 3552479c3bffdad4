"""The process in which Apprise works: one JSON line in per message, one out. It imports nothing of ours.

Apprise's plugins block, follow redirects and read answers of any length; here a message ends this process when it takes
too long, redirects are not followed, and of an answer no more than `ANSWER_BYTES` are read.
"""

import json
import logging
import re
import signal
import sys
from typing import Any

ANSWER_BYTES = 65_536
_STATUS = re.compile(r"error=(\d{3})\b")


class _Said(logging.Handler):
    """Keeps the HTTP status that a plugin complains of."""

    status = 0

    def emit(self, record: logging.LogRecord) -> None:
        found = _STATUS.search(record.getMessage())
        if found:
            self.status = int(found[1])


def _bounded() -> None:
    """Make every request of this process end after one answer of a bounded size."""
    import requests

    send = requests.Session.send

    def once(self: requests.Session, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        answer = send(self, request, **{**given, "allow_redirects": False, "stream": True})
        with answer:
            answer._content = answer.raw.read(ANSWER_BYTES, decode_content=True)
            answer._content_consumed = True
        return answer

    requests.Session.send = once  # type: ignore[method-assign]


def main() -> None:
    """Send until there is no more input."""
    import apprise

    _bounded()
    said, log = _Said(logging.WARNING), logging.getLogger("apprise")
    log.handlers, log.propagate = [said], False
    asset = apprise.AppriseAsset(async_mode=False)
    out, sys.stdout = sys.stdout, sys.stderr  # what a plugin prints is no answer
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, message["limit_s"])
        said.status = 0
        plugin = apprise.Apprise.instantiate(message["url"], asset=asset)
        taken = plugin is not None and bool(
            plugin.notify(title=message["title"], body=message["body"], body_format=apprise.NotifyFormat.TEXT)
        )
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"known": plugin is not None, "taken": taken, "status": said.status}), file=out, flush=True)


if __name__ == "__main__":
    main()

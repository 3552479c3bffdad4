"""The format `sshd`: an OpenSSH server's log → one event for each attempt to log in.

What counts. `Failed METHOD for USER` and `Accepted METHOD for USER` are an attempt each; `message repeated N times:
[ … ]` stands for N more of the message in it. Lines that say the same again do not count: `Invalid user` stands before
its `Failed`, `maximum authentication attempts exceeded`, `PAM … more authentication failures` and `Connection closed by
authenticating user` behind it. All other lines, and other programs', are `dropped["not-an-event"]`.

An event has kind "ssh", outcome ("success" or "failure"), user, known ("no" where sshd calls the user invalid), source
(the address), method. It has no customer and no id: offsets guard against reading twice.

Stamps are syslog's (`Mar 27 13:06:56`, of the zone that is given, without a year) or ISO 8601. A stamp without a year
is put into the year that brings it nearest to the line before it; so a log runs through New Year. The first line is put
into the given year. Without one, lines with an ingest time are put nearest to that, and a recording's first line into
the latest year in which it is not after the file's last change; `taken` says which year that was.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from detector.config import DAY_MS
from detector.decode import invalid
from detector.decode.times import MAX_MS, OLDEST_MS, day_number, iso_ms
from detector.events import Batch, EventSchema, Ints, Invalid
from detector.signals import Condition, CountBy, Measure, Mode, Severity, Signal

SSHD_SIGNALS = (
    Signal(
        name="ssh-failures",
        title={"en": "Failed SSH logins", "id": "Gagal masuk SSH"},
        events=(Condition("kind", any_of=("ssh",)), Condition("outcome", any_of=("failure",))),
        measure=Measure.COUNT,
        count_by=CountBy.ATTEMPTS,
        dimensions=("user", "known", "source"),
        window_ms=300_000,
        severity=Severity.MEDIUM,
        mode=Mode.LIVE,
    ),
)
"""What `--format sshd` watches where no configuration says otherwise."""

NOT_AN_EVENT = "not-an-event"

_MONTHS = {name: i for i, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}
_STAMP = r"(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_LINE = re.compile(
    rf"(?:<\d{{1,3}}>)?(?:{_STAMP}|(?P<iso>\d{{4}}-\d\d-\d\dT\S+))"
    r" \S+ (?P<program>[^\s:\[]+)(?:\[\d+\])?: (?P<text>.*)",
    re.ASCII | re.DOTALL,
)
_REPEATED = re.compile(r"message repeated (\d{1,6}) times: \[ (.*)\]", re.ASCII | re.DOTALL)
_NAMES_ATTEMPT = re.compile(r"(?:Failed|Accepted) \S+ for ")
# A user's name may hold anything, " from 10.0.0.1 port 1" too: what stands last is sshd's own.
_ATTEMPT = re.compile(
    r"(?P<what>Failed|Accepted) (?P<method>\S+) for (?P<unknown>(?:invalid|illegal) user )?(?P<user>.*)"
    r" from (?P<source>\S+) port \d+(?: ssh\d?)?(?:: .*)?",
    re.ASCII | re.DOTALL,
)
_PROGRAM = re.compile(r"sshd(?:-session|-auth)?")


class SshdDecoder:
    """Lines of an OpenSSH log → batches of events.

    Parameters
    ----------
    schema
        Which fields the signals use; what a login does not have is None.
    year
        Of the first line, where stamps have none. None: such a line is a `bad-time` unless it has an ingest time, or
        `assume` has said when the log ended.
    zone_ms
        How far ahead of UTC stamps are that state no zone.

    Attributes
    ----------
    taken : int or None
        The year into which the first stamp without one was put, where none was given.
    """

    def __init__(
        self,
        schema: EventSchema,
        *,
        year: int | None = None,
        zone_ms: int = 0,
        max_record_bytes: int = 262_144,
        oldest_ms: int = OLDEST_MS,
    ) -> None:
        self._schema, self._year, self._zone_ms = schema, year, zone_ms
        self._max_record_bytes, self._oldest_ms = max_record_bytes, oldest_ms
        self._last_ms: int | None = None
        self._today: tuple[tuple[str, str], int | None] = (("", ""), None)
        self._changed_ms: int | None = None
        self.taken: int | None = None

    def assume(self, changed_ms: int) -> None:
        """Let the first stamp without a year be of the latest year in which it is not after this moment."""
        self._changed_ms = changed_ms

    @property
    def state(self) -> bytes:
        """The time of the last line: which year it is."""
        return b"" if self._last_ms is None else str(self._last_ms).encode()

    def restore(self, state: bytes) -> None:
        """Go on from a stored state."""
        self._last_ms = int(state) if state else None
        self._today = (("", ""), None)

    def decode(self, lines: bytes, position: int, ingest_ms: int = -1) -> Batch:
        """Return the attempts in a block of lines that begins at `position`; repeated ones count up from there."""
        records = lines.split(b"\n")
        if not records[-1]:
            records.pop()
        sizes = np.fromiter((len(record) + 1 for record in records), np.int64, len(records))
        starts = position + np.cumsum(sizes) - sizes
        return self._batch(records, starts.tolist(), [ingest_ms] * len(records), step=1)

    def decode_records(self, records: Sequence[bytes], positions: Sequence[int], ingest_ms: Sequence[int]) -> Batch:
        """Return the attempts in lines that stand in no file; those of a repeated message share its position."""
        return self._batch(records, positions, ingest_ms, step=0)

    def reject(self, refused: Invalid) -> Batch:
        """Return the batch of a line that the reader has refused."""
        return Batch.none(self._schema, refused)

    def _batch(self, records: Sequence[bytes], starts: Sequence[int], ingest: Sequence[int], step: int) -> Batch:
        position: list[int] = []
        time_ms: list[int] = []
        ingest_ms: list[int] = []
        fields: list[tuple[object, ...]] = []
        lines: list[bytes] = []
        refused: list[Invalid] = []
        dropped: Counter[str] = Counter()
        for record, start, at_ms in zip(records, starts, ingest, strict=True):
            found = self._attempts(record, at_ms)
            if found is None:
                dropped[NOT_AN_EVENT] += 1
            elif isinstance(found, str):
                refused.append(invalid(start, found, "", record))
            else:
                moment_ms, times, row = found
                position += range(start, start + times) if step else [start] * times
                time_ms += [moment_ms] * times
                ingest_ms += [at_ms] * times
                fields += [row] * times
                lines += [record] * times
        n = len(position)
        return Batch(
            position=_ints(position),
            time_ms=_ints(time_ms),
            ingest_ms=_ints(ingest_ms),
            customer=np.zeros(n, np.int64),
            raw_customer=[None] * n,
            event_id=[None] * n,
            fields=fields,
            numbers={name: np.full(n, np.nan) for name in self._schema.numbers},
            partition=np.zeros(n, np.int64),
            invalid=refused,
            dropped=dict(dropped),
            record=lines.__getitem__,
        )

    def _attempts(self, record: bytes, ingest_ms: int) -> tuple[int, int, tuple[object, ...]] | str | None:
        """Return time, number and fields of the attempts in a line; a reason for a bad one, None for any other line."""
        if len(record) > self._max_record_bytes:
            return "oversized"
        line = record.decode(errors="replace").rstrip("\r")
        if not line.strip():
            return "empty"
        match = _LINE.fullmatch(line)
        if match is None:
            return "unreadable-line" if " sshd" in line and _NAMES_ATTEMPT.search(line) else None
        moment_ms = self._moment_ms(match, ingest_ms)
        text = match["text"]
        repeated = _REPEATED.fullmatch(text)
        times, text = (int(repeated[1]), repeated[2]) if repeated else (1, text)
        if not _PROGRAM.fullmatch(match["program"]) or not _NAMES_ATTEMPT.match(text):
            return None
        if "\ufffd" in line and not _is_utf8(record):
            return "not-utf8"
        attempt = _ATTEMPT.fullmatch(text)
        if attempt is None or not 1 <= times <= len(record):  # More than there is place for positions: no sshd does it.
            return "unreadable-line"
        if moment_ms is None or moment_ms > MAX_MS:
            return "bad-time"
        if moment_ms < self._oldest_ms:
            return "ancient"
        values = {
            "kind": "ssh",
            "outcome": "failure" if attempt["what"] == "Failed" else "success",
            "user": attempt["user"],
            "known": "no" if attempt["unknown"] else "yes",
            "source": attempt["source"],
            "method": attempt["method"],
        }
        return moment_ms, times, tuple(values.get(name) for name in self._schema.fields)

    def _moment_ms(self, match: re.Match[str], ingest_ms: int) -> int | None:
        if match["iso"]:
            return iso_ms(match["iso"], self._zone_ms)
        hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
        if hour > 23 or minute > 59 or second > 60:
            return None
        by_ingest = ingest_ms >= 0 and self._year is None
        near_ms = ingest_ms if by_ingest else self._last_ms
        stamp = (match["month"], match["day"])
        if by_ingest or stamp != self._today[0]:  # Two lines of one day are nearest in the same year.
            self._today = (stamp, self._day_ms(_MONTHS.get(stamp[0], 0), int(stamp[1]), near_ms))
        day_ms = self._today[1]
        if day_ms is None:
            return None
        if self._last_ms is None and self._year is None:
            self.taken = _year(day_ms + self._zone_ms)
        self._last_ms = day_ms + ((hour * 60 + minute) * 60 + second) * 1_000
        return self._last_ms

    def _day_ms(self, month: int, day: int, near_ms: int | None) -> int | None:
        """Return the start of a day: in the year that brings it nearest, or else in the first line's."""
        if near_ms is not None:
            year = _year(near_ms)
            years = [year - 1, year, year + 1]
        else:
            first = self._year
            if first is None and self._changed_ms is not None:
                first = latest_year(month, day, self._changed_ms)
            years = [] if first is None else [first]
        days = [day_number(year, month, day) for year in years]
        starts = [number * DAY_MS - self._zone_ms for number in days if number is not None]
        return min(starts, key=lambda ms: abs(ms - (near_ms or 0)), default=None)


def latest_year(month: int, day: int, changed_ms: int) -> int | None:
    """Return the latest year in which this day is not after a moment, with a day's grace: its zone may be any.

    Examples
    --------
    >>> latest_year(12, 31, 1_775_000_000_000), latest_year(2, 30, 1_775_000_000_000)
    (2025, None)
    """
    year = _year(changed_ms)
    for candidate in range(year, year - 9, -1):  # A leap day may be eight years back.
        number = day_number(candidate, month, day)
        if number is not None and (number - 1) * DAY_MS <= changed_ms:
            return candidate
    return None


def _year(at_ms: int) -> int:
    return int(np.datetime64(at_ms, "ms").astype("M8[Y]").astype(int)) + 1970


def _is_utf8(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ints(values: list[int]) -> Ints:
    return np.array(values, np.int64)

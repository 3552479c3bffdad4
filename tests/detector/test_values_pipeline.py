"""A value signal without a limit from events to a case: nobody is named, and it says what is usual."""

import json

import msgspec
import numpy as np
import pytest

from detector.config import MINUTE_MS, Config
from detector.desk.wording import shift_in_words
from detector.signals import CountBy, Direction, Measure, Severity
from tests.detector.counting import SHARE, T0
from tests.detector.piping import decided, play, stamp

LATENCY = msgspec.structs.replace(
    SHARE,
    name="latency",
    title={"en": "Payments are slow"},
    bad=(),
    measure=Measure.VALUE,
    value="latency_ms",
    direction=Direction.UP,
    severity=Severity.MEDIUM,
    dimensions=("bank",),
)
CONFIG = Config(signals=(LATENCY,))


def payments(minutes: int, *, slow_from: int, where: str | None = "BNI", bot: bool = False) -> list[bytes]:
    """Forty payments a minute; from `slow_from` on those of one bank (None: all) take twice as long."""
    rng = np.random.default_rng(5)
    out = []
    for minute in range(minutes):
        for i in range(40):
            bank = ("BNI", "BCA", "BRI")[int(rng.integers(3))]
            slow = minute >= slow_from and where in (None, bank)
            latency, customer = 200 * float(np.exp(0.4 * rng.normal())) * (2 if slow else 1), f"C-{minute}-{i}"
            if bot and minute >= slow_from and i < 15:
                bank, latency, customer = "BNI", 9_000.0, "bot"
            event = {"id": f"{minute}-{i}", "time": stamp(T0 + minute * MINUTE_MS + i * 1_000), "kind": "payment"}
            out.append(json.dumps(event | {"customer": customer, "bank": bank, "latency_ms": latency}).encode() + b"\n")
    return out


LINES = payments(150, slow_from=110)


@pytest.mark.slow
def test_a_slower_bank_becomes_a_case_that_names_nobody_and_says_what_is_usual() -> None:
    case = play(LINES, config=CONFIG)[0].desk.cases[-1]
    assert [c.where for c in case.causes] == [{"bank": "BNI"}]
    assert case.affected is None
    assert case.shift is not None
    assert case.shift.observed / case.shift.usual == pytest.approx(2.0, rel=0.3)
    assert "usually" in shift_in_words(case.shift)


@pytest.mark.slow
def test_all_values_higher_is_as_severe_as_the_signal_says() -> None:
    case = play(payments(150, slow_from=110, where=None), config=CONFIG)[0].desk.cases[-1]
    assert [c.where for c in case.causes] == [{}]
    assert case.severity is Severity.MEDIUM


@pytest.mark.slow
def test_one_busy_customer_is_no_problem() -> None:
    lines = payments(140, slow_from=110, bot=True, where="none")
    assert play(lines, config=CONFIG)[0].desk.cases == []
    every = msgspec.structs.replace(LATENCY, count_by=CountBy.ATTEMPTS)
    assert play(lines, config=Config(signals=(every,)))[0].desk.cases != []


@pytest.mark.slow
@pytest.mark.parametrize("restart", [False, True], ids=["cut", "restarted"])
def test_the_same_log_gives_the_same_decisions_however_it_is_cut(restart: bool) -> None:
    lines = payments(130, slow_from=100)
    whole = decided(play(lines, config=CONFIG)[0])
    assert decided(play(lines, [1, 77, 2_400, 4_444, 4_801], config=CONFIG, restart=restart)[0]) == whole


def test_history_is_replayed_to_learn_only() -> None:
    assert play(LINES, config=CONFIG, learn_only=True)[0].desk.cases == []

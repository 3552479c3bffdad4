"""A problem that comes and goes is one case, and its customers hear of it once."""

import json
from collections import Counter

import msgspec
import numpy as np
import pytest

from detector.config import MINUTE_MS, Policy, QuietHours
from detector.decode import JSON, CustomerKeys, Decoder
from detector.desk.records import Kind, NoticeState, Reach
from detector.events import Ints
from detector.pipeline import Effects, Pipeline
from detector.signals import Mode
from tests.detector.counting import T0
from tests.detector.piping import CONFIG, KEY, Nothing, stamp

FROM, UNTIL, MINUTES = 120, 420, 540


class Everyone(Nothing):
    """A directory that knows everybody."""

    def reach(self, customers: Ints) -> dict[int, Reach]:
        reach = Reach(language="id", time_zone="Asia/Jakarta", channels=frozenset({"email"}))
        return dict.fromkeys(map(int, customers), reach)


def flapping(on: int, off: int, seed: int) -> list[bytes]:
    """Payments of which those of one bank fail for `on` minutes, then work for `off`, and so on for five hours."""
    rng, out = np.random.default_rng(seed), []
    for minute in range(MINUTES):
        broken = FROM <= minute < UNTIL and (minute - FROM) % (on + off) < on
        for i in range(60):
            bank = ("BNI", "BCA", "BRI")[int(rng.integers(3))]
            bad = rng.random() < (0.5 if bank == "BNI" and broken else 0.02)
            event = {
                "id": f"{minute}-{i}",
                "time": stamp(T0 + minute * MINUTE_MS + int(rng.integers(MINUTE_MS))),
                "kind": "payment",
                "customer": f"C-{int(rng.integers(4_000))}",
                "outcome": "failure" if bad else "success",
                "bank": bank,
                "city": ("Jakarta", "Medan")[int(rng.integers(2))],
            }
            out.append(json.dumps(event).encode() + b"\n")
    return out


def run(lines: list[bytes]) -> Effects:
    live = tuple(msgspec.structs.replace(signal, mode=Mode.LIVE) for signal in CONFIG.signals)
    policy = Policy(quiet=QuietHours(0, 0), channels=("email",), per_day=100)
    config = msgspec.structs.replace(CONFIG, signals=live, policy=policy)
    pipeline = Pipeline(config, Nothing(), Everyone())
    out = pipeline.feed(Decoder(config.schema, JSON, CustomerKeys(KEY)).decode(b"".join(lines), 0))
    out.extend(pipeline.end())
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("on", "off"), [(2, 2), (8, 8), (30, 30), (5, 20)])
def test_a_problem_that_blinks_opens_once_resolves_once_and_each_customer_hears_of_it_once(on: int, off: int) -> None:
    effects = run(flapping(on, off, seed=on))
    story = Counter(entry.what for entry in effects.desk.timeline)
    assert (story["opened"], story["resolved"] <= 1, story["reopened"]) == (1, True, 0)
    told = Counter(
        (notice.customer, notice.kind) for notice in effects.desk.notices if notice.state is NoticeState.SIMULATED
    )
    assert sum(kind is Kind.PROBLEM for _, kind in told) > 100
    assert max(told.values()) == 1

"""A joint signal through Watch and Desk: one problem is one case, one customer one person, and no word of parts."""

from typing import Any

import msgspec
import numpy as np
import pytest

from detector.config import MINUTE_MS, Config
from detector.desk.casefile import CaseFile
from detector.desk.cases import open_case
from detector.desk.ledger import Ledger
from detector.desk.problems import Bond, Strand, bond, same_problem, strand_of
from detector.pack import pack, unpack
from detector.pipeline import Pipeline
from detector.signals import PART, Measure, Mode, parse_signals
from tests.detector.counting import T0
from tests.detector.desk_world import LOGIN, PAYMENT, Minute, anomaly, ints, signal
from tests.detector.piping import Kept, Nothing, decided, play, stamp

BOTH = msgspec.structs.replace(signal("both", (PART, "app")), measure=Measure.JOINT, signals=("login", "payment"))
SIGNALS = {s.name: s for s in (LOGIN, PAYMENT, BOTH)}
Where = dict[str, str]
NOW = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS + 60 * MINUTE_MS


def strand(name: str, *where: Where) -> Strand:
    return strand_of(anomaly(name, name, where, NOW - 60 * MINUTE_MS), SIGNALS[name])


@pytest.mark.parametrize(
    ("joint", "part", "expected"),
    [
        pytest.param({"app": "5"}, {"app": "5"}, Bond.CAUSE, id="the same cause"),
        pytest.param({PART: "login", "app": "5"}, {"app": "5"}, Bond.CAUSE, id="the same cause in the part"),
        pytest.param({"app": "5"}, {"app": "5", "provider": "K"}, Bond.CAUSE, id="nested"),
        pytest.param({}, {}, Bond.CAUSE, id="everyone"),
        pytest.param({PART: "login"}, {}, Bond.CAUSE, id="everyone in the part"),
        pytest.param({PART: "payment"}, {}, None, id="everyone in another part"),
        pytest.param({PART: "login", "app": "6"}, {"app": "5"}, None, id="another value"),
        pytest.param({}, {"app": "5"}, None, id="everyone and somebody"),
    ],
)
def test_a_joint_anomaly_and_that_of_its_part_are_one_case(joint: Where, part: Where, expected: Bond | None) -> None:
    none = ints([])
    assert bond(strand("both", joint), none, [(strand("login", part), none)], NOW) is expected
    assert bond(strand("login", part), none, [(strand("both", joint), none)], NOW) is expected


def test_two_problems_of_one_part_are_two() -> None:
    none = ints([])
    one, other = strand("both", {PART: "login", "app": "5"}), strand("both", {PART: "login", "app": "6"})
    assert bond(one, none, [(other, none)], NOW) is None
    assert not same_problem(one, other)
    assert same_problem(one, strand("both", {PART: "login", "app": "5"}))
    assert same_problem(strand("both", {PART: "login"}), strand("both", {PART: "login"}))


def test_the_part_goes_without_saying_where_its_own_anomaly_says_it() -> None:
    def causes(*strands: Strand) -> list[Where]:
        opened = open_case(anomaly("a", "login", {}, NOW), "a", "default", Mode.LIVE, NOW)
        return [c.where for c in CaseFile(case=opened, strands=list(strands), ledger=Ledger()).causes()]

    pinned = strand("both", {PART: "login", "app": "5"})
    assert causes(pinned) == [{PART: "login", "app": "5"}]
    assert causes(pinned, strand("login", {"app": "5"})) == [{"app": "5"}]
    assert causes(pinned, strand("payment", {"app": "5"})) == [{PART: "login", "app": "5"}, {"app": "5"}]


def test_a_failure_that_both_tell_of_is_one_try() -> None:
    at = NOW - 30 * MINUTE_MS
    strands = [strand("both", {"app": "5"}), strand("login", {"app": "5"})]
    both = ("login", "5")
    minute = Minute(bad={"login": [(7, ("5", "K"), 10)], "both": [(7, both, 10), (8, ("payment", "5"), 20)]})
    again = Minute(bad={"login": [(9, ("6", "K"), 10)], "both": [(9, ("login", "6"), 10)]})
    ledger = Ledger()
    ledger.rebuild([minute.record(at), again.record(at + MINUTE_MS)], strands, NOW, 30 * MINUTE_MS)
    ledger.weigh(strands)
    assert ledger["customer"].tolist() == [7, 8]
    assert ledger["tries"].tolist() == [1, 1]
    assert [ledger.hit_by(i).tolist() for i in range(2)] == [[8], [7]]


# --- through the whole pipeline ---------------------------------------------------------------------------------------

ENTRY: dict[str, Any] = {
    "title": {"en": "Login fails", "id": "Login gagal"},
    "measure": "share",
    "events": {"kind": "login"},
    "bad": {"outcome": "failure"},
    "dimensions": ["version", "city"],
    "mode": "live",
}
PAYMENTS = ENTRY | {"events": {"kind": "payment"}, "dimensions": ["city", "bank"]}
JOINT: dict[str, Any] = {
    "title": {"en": "The app fails", "id": "Aplikasi gagal"},
    "what": {"en": "action in {city}"},
    "measure": "joint",
    "signals": ["logins", "payments"],
    "mode": "live",
}
CITIES = ("Ambon", "Bali", "Medan", "Solo")
ONSET, MINUTES = 180, 240


def configured(**more: Any) -> Config:
    signals = parse_signals({"signals": {"logins": ENTRY, "payments": PAYMENTS, "both": JOINT} | more})
    return Config(signals=signals)


def traffic(city_share: float, minutes: int = MINUTES, seed: int = 1) -> list[bytes]:
    """Logins and payments of 24 customers a minute each; from ONSET on so many of those of Ambon fail, in both."""
    rng = np.random.default_rng(seed)
    out = []
    for minute in range(minutes):
        for i in range(48):
            city = CITIES[int(rng.integers(4))]
            share = city_share if city == "Ambon" and minute >= ONSET else 0.05
            event = {
                "id": f"{minute}-{i}",
                "time": stamp(T0 + minute * MINUTE_MS + i * 1000),
                "kind": ("login", "payment")[i % 2],
                "customer": f"C-{int(rng.integers(20_000))}",
                "outcome": "failure" if rng.random() < share else "success",
                "city": city,
                "version": f"v{int(rng.integers(3))}",
                "bank": ("BNI", "BCA")[int(rng.integers(2))],
            }
            out.append(msgspec.json.encode(event) + b"\n")
    return out


STRONG = traffic(0.6)


@pytest.mark.slow
def test_one_problem_in_two_signals_and_their_joint_one_is_one_case_with_each_customer_once() -> None:
    effects, _ = play(STRONG, config=configured())
    case = effects.desk.cases[-1]
    assert len({c.id for c in effects.desk.cases}) == 1
    assert set(case.signals) == {"logins", "payments", "both"}
    assert [c.where for c in case.causes] == [{"city": "Ambon"}]
    rows = {r.customer: r for r in effects.desk.ledger}
    failures: dict[int, int] = {}
    for record in effects.windows:
        window = record.signals.get("both")
        if window is not None and record.window_ms >= case.onset_ms:
            for customer, cell in zip(window.bad_customer.tolist(), window.bad_cell.tolist(), strict=True):
                if window.cells[cell][1] == "Ambon":
                    failures[customer] = failures.get(customer, 0) + 1
    assert {customer: row.tries for customer, row in rows.items() if not row.withdrawn} == failures


@pytest.mark.slow
def test_the_joint_signal_alone_finds_names_and_tells_of_who_was_hit() -> None:
    config = configured(logins=ENTRY | {"mode": "shadow"}, payments=PAYMENTS | {"mode": "shadow"})
    effects, _ = play(STRONG, config=config)
    case = next(c for c in reversed(effects.desk.cases) if c.mode is Mode.LIVE)
    assert case.signals == ("both",)
    assert case.affected is not None and case.affected.confirmed > 50
    assert [c.where for c in case.causes] == [{"city": "Ambon"}]
    assert case.title["en"] == "The app fails · city Ambon"
    noticed = [n for n in effects.desk.notices if n.case == case.id]
    assert noticed and {n.signal for n in noticed} == {"both"}


@pytest.mark.slow
def test_a_shift_too_small_for_either_is_found_by_both() -> None:
    effects, _ = play(traffic(0.165, 240), config=configured())
    assert {c.signals for c in effects.desk.cases} == {("both",)}


@pytest.mark.slow
def test_restarts_do_not_show() -> None:
    straight, _ = play(STRONG, config=configured())
    resumed, _ = play(STRONG, [700, 8_900, 10_100], config=configured(), restart=True)
    assert decided(straight) == decided(resumed)


@pytest.mark.slow
def test_a_joint_signal_starts_anew_with_any_of_its_parts() -> None:
    _, pipeline = play(STRONG[:6000], config=configured())
    changed = configured(payments=PAYMENTS | {"bad": {"outcome": ["failure", "timeout"]}})
    again = Pipeline(changed, Kept(), Nothing())
    again.restore(pipeline.snapshot())
    before, after = (unpack(p.snapshot(), dict)["watches"] for p in (pipeline, again))
    assert pack(after["logins"]) == pack(before["logins"])
    assert after["both"]["first_ms"] is None and after["payments"]["first_ms"] is None

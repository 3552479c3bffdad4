"""A topic that tenants share: each record is one tenant's, or ends once in somebody's dead letters; and the quota."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import JSON, CustomerKeys, Decoder
from detector.events import Batch, EventSchema
from streams.intake.cloudevents import STRUCTURED
from streams.intake.kafka import Messages
from streams.intake.quota import OVER, SPAN_MS, Quota
from streams.intake.tenants import DOOR, Naming
from tests.servers.reading import Record

SCHEMA = EventSchema(("kind",), ())
AT_MS = 1_774_616_820_000


def messages(naming: Naming | None = None) -> Messages:
    return Messages(Decoder(SCHEMA, JSON, CustomerKeys(b"k")), naming=naming)


def event(n: int, **more: object) -> bytes:
    return json.dumps({"id": f"e{n}", "time": "2026-03-27T13:06:56Z", "kind": "payment"} | more).encode()


def ids(batch: Batch) -> list[str | None]:
    return batch.event_id


def refused(batch: Batch) -> list[tuple[int, str, str]]:
    return [(one.position, one.reason, one.path) for one in batch.invalid]


TOKO, BANK = (("tenant", b"toko"),), (("tenant", b"bank"),)


def test_a_header_says_whose_a_record_is_and_others_records_are_not_even_decoded() -> None:
    records = [
        Record(event(1), TOKO, offset=1),
        Record(b"not decoded at all", BANK, offset=2),
        Record(event(3) + b"\n" + event(4), TOKO, offset=3),
        Record(event(5), (*BANK, *TOKO), offset=4),
        Record(event(6), (("Tenant", b"toko"),), offset=5),
        Record(event(7), (("tenant", None),), offset=6),
        Record(event(8), (("tenant", b"\xff"),), offset=7),
    ]
    batch = messages(Naming("toko", header="tenant")).batch(records)
    assert ids(batch) == ["e1", "e3", "e4", "e5"] and batch.position.tolist() == [1, 3, 3, 4]
    assert batch.records == 4 and not batch.invalid
    assert messages(Naming("nobody", header="tenant")).batch(records).records == 0


def test_where_a_field_says_it_a_tenants_door_says_it_before() -> None:
    toko, bank = ((DOOR, b"toko"),), ((DOOR, b"bank"),)
    records = [
        Record(event(1, shop="bank") + b"\nnull\n" + event(2), toko, offset=1),
        Record(event(3, shop="toko"), offset=2),
        Record(event(4, shop="toko"), bank, offset=3),
        Record(event(5), offset=4),
    ]
    batch = messages(Naming("toko", field="shop")).batch(records)
    assert ids(batch) == ["e1", "e2", "e3"] and batch.position.tolist() == [1, 1, 2]
    assert refused(batch) == [(1, "not-an-object", "line 2")]
    taker = messages(Naming("third", field="shop", takes_nameless=True, others=frozenset({"toko"}))).batch(records)
    assert [(one.position, one.reason) for one in taker.invalid] == [(3, "no-tenant"), (4, "no-tenant")]


def test_a_field_says_whose_each_line_is_also_in_cloud_events() -> None:
    envelope = {"specversion": "1.0", "id": "9", "source": "/s", "type": "payment", "time": "2026-03-27T13:06:56Z"}
    structured = json.dumps({**envelope, "shop": "toko", "data": {}}).encode()
    of_data = json.dumps({**envelope, "shop": "bank", "data": {"shop": "toko"}}).encode()
    binary = tuple((f"ce_{name}", value.encode()) for name, value in {**envelope, "shop": "toko"}.items())
    records = [
        Record(b"\n".join([event(1, shop="toko"), event(2, shop="bank"), b"no json", event(4)]), offset=1),
        Record(event(5, shop="bank"), offset=2),
        Record(structured, (("content-type", STRUCTURED.encode()),), offset=3),
        Record(of_data, (("content-type", STRUCTURED.encode()),), offset=4),
        Record(b"{}", binary, offset=5),
        Record(None, offset=6),
        Record(json.dumps(json.loads(event(7, shop="toko")), indent=1).encode(), offset=7),
    ]
    toko = messages(Naming("toko", field="shop")).batch(records)
    assert toko.position.tolist() == [1, 3, 4, 5, 7] and not toko.invalid
    bank = messages(Naming("bank", field="shop", takes_nameless=True)).batch(records)
    assert ids(bank) == ["e2", "e5"]
    assert refused(bank) == [
        (1, "no-tenant", "line 3 $.shop"),
        (1, "no-tenant", "line 4 $.shop"),
        (6, "no-tenant", "$.shop"),
    ]
    assert [one.data for one in bank.invalid] == [b"no json", event(4), b""]


NAMES = st.sampled_from(["a", "b", "c", "nobody-serves", "", None])
LINES = st.one_of(
    st.tuples(NAMES, st.integers(0, 99)).map(lambda x: event(x[1], **({} if x[0] is None else {"of": x[0]}))),
    st.sampled_from([b"", b"no json", b"[1]", b'{"of":1}', b'{"of":"a"', b'{"of":"b","time":7}', b"[" * 5_000]),
)


@given(st.lists(st.tuples(st.lists(LINES, min_size=1, max_size=4), NAMES), max_size=12), st.sampled_from(["of", None]))
def test_every_line_is_of_exactly_one_tenant_or_dead_exactly_once(
    found: list[tuple[list[bytes], str | None]], field: str | None
) -> None:
    records = [
        Record(b"\n".join(lines), () if name is None else (("of", name.encode()),), offset=i)
        for i, (lines, name) in enumerate(found)
    ]
    header = None if field else "of"
    ours = Naming("a", header, field, takes_nameless=True, others=frozenset("bc"))
    batches = [messages(of).batch(records) for of in (ours, Naming("b", header, field), Naming("c", header, field))]
    assert sum(batch.records for batch in batches) == messages().batch(records).records
    assert not any(one.reason == "no-tenant" for batch in batches[1:] for one in batch.invalid)
    assert all(one.path.endswith(ours.path) for one in batches[0].invalid if one.reason == "no-tenant")
    if header:
        theirs = [record for record in records if record.headers == (("of", b"b"),)]
        assert batches[1].records == messages().batch(theirs).records


# --- the quota --------------------------------------------------------------------------------------------------------


def slow(at_ms: Sequence[int], per_second: int, partitions: int) -> list[bool]:
    """Event by event, in parts of an event: what the quota should say."""
    full = max(per_second * SPAN_MS, 1_000 * partitions)
    left, last, out = full, None, list[bool]()
    for now in at_ms:
        if last is None or now < last - SPAN_MS:
            last = now
        elif now > last:
            left, last = min(full, left + per_second * (now - last)), now
        out.append(left >= 1_000 * partitions)
        left -= 1_000 * partitions * out[-1]
    return out


STEPS = st.one_of(st.just(0), st.integers(0, 3_000), st.integers(-3_000, 0), st.sampled_from([-(10**9), 10**9]))


@given(st.data(), st.lists(st.tuples(STEPS, st.integers(1, 90)), max_size=40), st.integers(1, 5), st.integers(1, 7))
def test_the_same_records_however_cut_and_resumed_give_the_same_drops(
    data: st.DataObject, steps: list[tuple[int, int]], per_second: int, partitions: int
) -> None:
    at, moments = AT_MS, list[int]()
    for step, count in steps:
        at += step
        moments += [at] * count
    expected = slow(moments, per_second, partitions)
    at_ms = np.array(moments, np.int64)
    assert Quota(per_second, partitions).admit(at_ms).tolist() == expected
    cuts = sorted(data.draw(st.lists(st.integers(0, len(moments)), max_size=6)))
    quota, parts = Quota(per_second, partitions), list[bool]()
    for start, stop in zip([0, *cuts], [*cuts, len(moments)], strict=True):
        parts += quota.admit(at_ms[start:stop]).tolist()
        if data.draw(st.booleans()):
            state = quota.state()
            quota = Quota(per_second, partitions)
            quota.restore(state)
    assert parts == expected


@given(st.integers(1, 50), st.integers(1, 12))
def test_a_flood_is_thinned_to_the_quota_evenly_and_what_stays_within_it_loses_nothing(
    per_second: int, partitions: int
) -> None:
    quota = Quota(per_second * partitions, partitions)
    flood = np.repeat(np.arange(AT_MS, AT_MS + 300_000, 1_000), 10 * per_second)
    taken = quota.admit(flood)
    per_span = taken[60 * 10 * per_second :].reshape(-1, 10 * per_second).sum(axis=1)
    assert taken.sum() <= per_second * (300 + SPAN_MS // 1_000)
    assert (per_span >= per_second).all() and (per_span[60:] == per_second).all()
    calm = np.repeat(np.arange(AT_MS, AT_MS + 300_000, 1_000), per_second)
    assert Quota(per_second * partitions, partitions).admit(calm).all()


def test_a_time_of_the_far_future_closes_the_quota_for_nobody() -> None:
    quota = Quota(10, 1)
    assert quota.admit(np.array([AT_MS, AT_MS + 10**10, AT_MS + 1])).all()
    assert quota.admit(np.repeat(AT_MS + np.arange(0, 100_000, 1_000), 10)).sum() >= 990


def test_with_another_quota_it_begins_anew() -> None:
    quota = Quota(1, 1)
    quota.admit(np.full(100, AT_MS))
    other = Quota(2, 1)
    other.restore(quota.state())
    assert other.admit(np.full(200, AT_MS)).sum() == 120
    other.restore(None)
    assert other.admit(np.full(200, AT_MS)).sum() == 120


@pytest.mark.parametrize("naming", [None, Naming("toko", header="tenant", takes_nameless=True)])
def test_over_the_quota_nothing_is_decoded_and_the_sums_add_up(naming: Naming | None) -> None:
    lines: list[bytes] = [event(n) if n % 3 else b"no json" for n in range(100)]
    records: list[Any] = [Record(line, TOKO if n % 2 else (), offset=n) for n, line in enumerate(lines)]
    batch = messages(naming).batch(records, Quota(1, 1))
    assert batch.dropped == {OVER: 40} and batch.records == 100
    assert max([*batch.position.tolist(), *(one.position for one in batch.invalid)]) == 59
    positions = [one.position for one in batch.invalid]
    assert positions == sorted(positions)

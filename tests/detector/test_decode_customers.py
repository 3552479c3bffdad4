"""Whom an event names, and where it is placed."""

import importlib
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import CustomerKeys, alias_forms, customer_key, phone_e164
from detector.decode.placement import murmur2, partition_of, partitions_of

KEY = b"a secret"

with warnings.catch_warnings():  # kafka-python reads its schemas by a deprecated function.
    warnings.simplefilter("ignore", DeprecationWarning)
    kafka_murmur2 = importlib.import_module("kafka.partitioner.default").murmur2


@given(st.binary(max_size=40))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafka_murmur2(data)


@given(
    st.lists(st.one_of(st.text(max_size=20), st.sampled_from(["a\nb", "x" * 64, "x" * 65])), min_size=1),
    st.integers(1, 50),
)
def test_keys_are_placed_in_columns_as_each_alone(keys: list[str], partitions: int) -> None:
    expected = [(kafka_murmur2(key.encode()) & 0x7FFFFFFF) % partitions for key in keys]
    assert partitions_of(keys, partitions).tolist() == expected
    assert [partition_of(key, partitions) for key in keys] == expected


@given(st.text(max_size=20), st.integers(0, 2**64).map(str))
def test_a_customer_is_never_nobody(raw: str, other: str) -> None:
    assert customer_key(KEY, raw) != 0
    assert -(2**63) <= customer_key(KEY, raw) < 2**63
    assert (customer_key(KEY, raw) == customer_key(KEY, other)) == (raw == other)


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        pytest.param("+62 812-3456-7890", "+6281234567890", id="international"),
        pytest.param("081234567890", "+6281234567890", id="national"),
        pytest.param("6281234567890", "+6281234567890", id="without the plus"),
        pytest.param("(021) 555 1234", "+62215551234", id="with an area code"),
        pytest.param("+1 212 555 0123", "+12125550123", id="abroad"),
        pytest.param("C-081234567890", None, id="a letter"),
        pytest.param("123", None, id="too short"),
        pytest.param("+999999999999999", None, id="no such country"),
        pytest.param("0" * 40, None, id="too long"),
        pytest.param("٠٨١٢٣٤٥٦٧٨٩٠", None, id="other digits"),
    ],
)
def test_a_phone_number_has_one_form(raw: str, number: str | None) -> None:
    assert phone_e164(raw) == number
    assert alias_forms(raw) == ((raw,) if number is None else (raw, number))


def test_an_address_is_known_in_lower_case() -> None:
    assert alias_forms(" Ani@Example.COM") == (" Ani@Example.COM", "ani@example.com")
    assert alias_forms("ani@example.com") == ("ani@example.com",)


def test_a_customer_number_is_nobodys_phone() -> None:
    assert phone_e164("81234567890") == "+6281234567890"
    assert alias_forms("81234567890") == ("81234567890",)


def test_aliases_lead_to_the_customer() -> None:
    ani = customer_key(KEY, "C1")
    aliases = {customer_key(KEY, form): ani for form in ("C1", "+6281234567890", "ani@example.com", "ani")}
    keys = CustomerKeys(KEY, aliases)
    assert [keys[raw] for raw in ("C1", "0812 3456 7890", "+6281234567890", "Ani@example.com", "ani")] == [ani] * 5
    assert keys["Ani"] == customer_key(KEY, "Ani")
    assert keys["budi@example.com"] == customer_key(KEY, "budi@example.com")


def test_the_literal_form_wins() -> None:
    ani, budi = customer_key(KEY, "C1"), customer_key(KEY, "C2")
    keys = CustomerKeys(KEY, {customer_key(KEY, "0812 3456 7890"): ani, customer_key(KEY, "+6281234567890"): budi})
    assert (keys["0812 3456 7890"], keys["081234567890"]) == (ani, budi)


def test_nobody_is_zero_and_a_number_is_its_digits() -> None:
    keys = CustomerKeys(KEY)
    assert (keys[None], keys[""], keys[17] == keys["17"]) == (0, 0, True)


@given(st.lists(st.text(max_size=3)))
def test_no_result_depends_on_what_is_remembered(raws: list[str]) -> None:
    forgetful, plain = CustomerKeys(KEY, remembered=2), CustomerKeys(KEY)
    assert [forgetful[raw] for raw in raws] == [plain[raw] for raw in raws]
    assert len(forgetful) <= 2


def test_new_aliases_are_seen_after_forgetting() -> None:
    aliases: dict[int, int] = {}
    keys = CustomerKeys(KEY, aliases)
    before = keys["ani"]
    aliases[before] = 5
    keys.forget()
    assert keys["ani"] == 5


_ids = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=6),
    st.sampled_from(["C1", "C1\0", "C1\n", "\n", "\0", "", "Jaténg €𝄞", "x" * 64, "x" * 65, "0" * 200]),
    st.text(alphabet="ab\n", max_size=5),
)


@given(st.lists(st.lists(_ids, min_size=1, max_size=30), min_size=1, max_size=4))
def test_a_column_of_ids_is_each_of_them(columns: list[list[str | int | None]]) -> None:
    keys, alone = CustomerKeys(KEY), CustomerKeys(KEY)
    for raw in columns:
        expected = [alone[one] for one in raw]
        assert keys.column(raw).tolist() == expected
        assert keys.column(raw).tolist() == expected


@pytest.mark.parametrize("form", ["C{:07}", "{}"], ids=["of one length", "of many"])
def test_columns_of_many_customers_are_each_of_them(form: str) -> None:
    keys, alone = CustomerKeys(KEY), CustomerKeys(KEY)
    raw = [form.format(i * i % 19_997) for i in range(20_000)]
    expected = [alone[one] for one in raw]
    for start in [*range(0, 20_000, 1000)] * 2:
        assert keys.column(raw[start : start + 1000]).tolist() == expected[start : start + 1000]


def test_columns_see_new_aliases_after_forgetting() -> None:
    aliases: dict[int, int] = {}
    keys = CustomerKeys(KEY, aliases)
    (before,) = keys.column(["ani"]).tolist()
    aliases[before] = 5
    keys.forget()
    assert keys.column(["ani"]).tolist() == [5]

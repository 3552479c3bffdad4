"""Texts that the user wrote: what they may hold, and that values in them stay values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.desk.owntext import PLACEHOLDERS, OwnText
from detector.desk.wording import own_words
from detector.errors import ConfigError

VALUES = {"name": "Budi", "what": "pembayaran BNI", "when": "pukul 14.32 WIB", "failed": "yes"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("Halo {{ name }}.", "Halo Budi.", id="a placeholder"),
        pytest.param("Halo {{ promise or 'ya' }}.", "Halo ya.", id="a word that stands in"),
        pytest.param("{% if failed %}gagal{% else %}lambat{% endif %}", "gagal", id="a choice"),
        pytest.param("{% if not promise and what %}a{% endif %}", "a", id="and, not"),
        pytest.param("{{ 'a' if promise else 'b' }}", "b", id="a choice in a line"),
        pytest.param("a{# nobody reads this #}b", "ab", id="a remark"),
        pytest.param("{% if what %}\nx\n{% endif %}\ny", "x\ny", id="lines of their own leave none"),
        pytest.param("50% { } %} }}", "50% { } %} }}", id="what only looks like one"),
    ],
)
def test_a_text_is_filled(source: str, expected: str) -> None:
    assert OwnText(source).fill(VALUES) == expected


@pytest.mark.parametrize(
    ("source", "path", "found"),
    [
        pytest.param("a\n{{ nmae }}", "line 2", 'the placeholder "nmae"', id="unknown"),
        pytest.param("{{ name.__class__ }}", "line 1", "more than that (getattr)", id="an attribute"),
        pytest.param("{{ name['x'] }}", "line 1", "more than that (getitem)", id="an item"),
        pytest.param("{{ name() }}", "line 1", "more than that (call)", id="a call"),
        pytest.param("{{ name|upper }}", "line 1", "more than that (filter)", id="a filter"),
        pytest.param("{{ 7*7 }}", "line 1", "more than that (mul)", id="a sum"),
        pytest.param("{{ 7 }}", "line 1", "more than that (const)", id="a number"),
        pytest.param("{% for x in name %}{% endfor %}", "line 1", "more than that (for)", id="a loop"),
        pytest.param("{% set name = 'x' %}", "line 1", "more than that (assign)", id="an assignment"),
        pytest.param("{% include 'x' %}", "line 1", "more than that (include)", id="another file"),
        pytest.param("{% macro a() %}{% endmacro %}", "line 1", "more than that (macro)", id="a macro"),
    ],
)
def test_more_than_placeholders_is_an_error_with_its_line(source: str, path: str, found: str) -> None:
    with pytest.raises(ConfigError) as raised:
        OwnText(source)
    (problem,) = raised.value.problems
    assert (problem.path, problem.found) == (path, found)


@pytest.mark.parametrize("source", ["{{ name", "{% if name %}", "{% endif %}", "{{ }}", "{% frobnicate %}"])
def test_a_broken_text_is_an_error_with_its_line(source: str) -> None:
    with pytest.raises(ConfigError) as raised:
        OwnText("first\n" + source, first_line=2)
    assert raised.value.problems[0].path == "line 3"


def test_every_mistake_is_listed() -> None:
    with pytest.raises(ConfigError) as raised:
        OwnText("{{ a }}\n{{ b }}\n{{ name|upper }}")
    assert [problem.path for problem in raised.value.problems] == ["line 1", "line 2", "line 3"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_value_is_never_a_template(name: str, what: str) -> None:
    made = OwnText("<{{ name }}|{{ what }}>").fill({"name": name, "what": what})
    assert made == f"<{name}|{what}>"


@pytest.mark.parametrize("text", ["{{7*7}}", "{{ ''.__class__ }}", "{% for x in y %}", "{# x #}", "%n", "${x}", "{0}"])
def test_templates_in_values_stay_what_they_are(text: str) -> None:
    assert OwnText("a {{ name }}").fill({"name": text}) == f"a {text}"


@given(st.dictionaries(st.sampled_from(sorted(PLACEHOLDERS)), st.text(max_size=400)), st.integers(20, 600))
def test_own_words_keep_their_length_and_hold_nothing_invisible(values: dict[str, str], length: int) -> None:
    body = OwnText("Halo {{ name }},\n\n\n\n{{ what }} {{ when }} {{ promise }} {{ workaround }}\n  {{ title }}\n")
    made = own_words(values, OwnText("{{ what }}"), body, length)
    assert len(made.body) <= length
    assert "\n\n\n" not in made.body
    assert not set("\r\t\u202e\u2066\x00") & set(made.body + made.subject)
    assert "\n" not in made.subject


def test_the_promise_goes_first_where_it_gets_too_long() -> None:
    body = OwnText("{{ promise }}{{ workaround }}x")
    values = {"promise": "p" * 300, "workaround": "w" * 300}
    assert own_words(values, None, body, 400).body == "w" * 300 + "x"
    assert own_words(values, None, body, 100).body == "x"

"""Why we think so: an anomaly's numbers as a few sentences that a person reads, in English and Indonesian.

Pure words: every number stands in the `Account`, nothing is worked out anew but ratios. A dimension's name or value is
data: stripped of what cannot be seen, cut to a length, never markup and never a template.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from detector.signals import ALL_OTHERS, Direction, Measure, Signal
from detector.watch.anomaly import Beside, Cause, Shift, Why

VALUE_LENGTH = 40
LEAST_SEASON = 0.05
"""An hour that differs less from the average is not spoken of."""
USUAL_SD = 2.0
"""Surroundings within so many standard deviations of chance and noise are as usual."""
TELLING_NATS = 3.0
"""Below this chance explains what is seen."""
MOST_NATS = 27.6
"""Where a trillion is passed nobody reads the number."""
SOURCES = ("theory", "own peaks")

_NOTHING = {"en": "(none)", "id": "(kosong)"}
"""A missing value, in brackets: `none` may be one that is there, such as a user's name."""
_OTHERS = {"en": "others", "id": "lainnya"}
_BUDGET = re.compile(r"(\d+) false cases? per (?:(\d+) )?(hour|day|week|month|year)s?(?:, split over (\d+) signals)?")
_PERIODS = {"hour": "jam", "day": "hari", "week": "minggu", "month": "bulan", "year": "tahun"}
_SCALES = {
    "en": ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")),
    "id": ((1e12, "triliun"), (1e9, "miliar"), (1e6, "juta")),
}


class Counted(StrEnum):
    """What `observed` and `expected` count."""

    FAILED = "failed"  # a share's bad ones
    CAME = "came"  # a count, upward
    FEWER = "fewer"  # a count, downward
    BEYOND = "beyond"  # values past a limit
    RANKED = "ranked"  # values by their rank among the usual ones


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the explanation of one anomaly speaks of, as Watch last said it."""

    signal: str
    anomaly: str
    counted: Counted
    causes: tuple[Cause, ...]
    observed: int
    expected: float
    trials: int
    why: Why
    new_level: float | None = None
    """It has become normal: so many times what was expected before."""


def counted_of(signal: Signal) -> Counted:
    """Return what a signal's anomalies count."""
    if signal.measure is Measure.VALUE:
        return Counted.RANKED if signal.ranked else Counted.BEYOND
    if signal.measure is Measure.COUNT:
        return Counted.CAME if signal.direction is Direction.UP else Counted.FEWER
    return Counted.FAILED


# --- pieces ---------------------------------------------------------------------------------------------------------


def clean(text: str, length: int) -> str:
    r"""One line of visible text, cut to `length`: no controls, line breaks or marks that turn the reading direction.

    Examples
    --------
    >>> clean("Bu\u202edi\r\nBcc: x@y ", 40)
    'Budi Bcc: x@y'
    >>> clean("a" * 9, 5)
    'aaaa…'
    """
    kept = []
    for character in unicodedata.normalize("NFC", text[: 20 * length]):
        category = unicodedata.category(character)
        if character.isspace() or category in ("Zl", "Zp"):
            kept.append(" ")
        elif category[0] != "C":
            kept.append(character)
    line = " ".join("".join(kept).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def value_in_words(value: str, language: str) -> str:
    """Return a dimension's value as people read it.

    Examples
    --------
    >>> value_in_words("BNI", "en"), value_in_words("", "en"), value_in_words("", "id"), value_in_words("none", "en")
    ('BNI', '(none)', '(kosong)', 'none')
    """
    if value == ALL_OTHERS:
        return _OTHERS[language]
    return clean(value, VALUE_LENGTH) or _NOTHING[language]


def place_in_words(where: Mapping[str, str], language: str) -> str:
    """Return dimension values as people read them; "" for everyone.

    Examples
    --------
    >>> place_in_words({"otp_provider": "Karta", "app_version": "5.2.0"}, "en")
    'app_version 5.2.0 × otp_provider Karta'
    """
    return " × ".join(f"{clean(d, VALUE_LENGTH)} {value_in_words(v, language)}" for d, v in sorted(where.items()))


def _local(text: str, language: str) -> str:
    """Return digits as the language groups them: 1,310.5 is 1.310,5 in Indonesian."""
    return text if language == "en" else text.translate(str.maketrans(",.", ".,"))


def number(value: float, language: str) -> str:
    """Return a number with as many digits as a reader needs.

    Examples
    --------
    >>> number(20.44, "en"), number(1310, "en"), number(1310.4, "id"), number(0.0213, "en"), number(0, "id")
    ('20.4', '1,310', '1.310', '0.021', '0')
    """
    if abs(value) >= 100 or value == round(value):
        return _local(f"{value:,.0f}", language)
    return _local(f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}", language)


def times(factor: float, language: str) -> str:
    """Return a factor: 2.7 or 14.

    Examples
    --------
    >>> times(2.73, "en"), times(2.73, "id"), times(14.2, "en"), times(0.42, "en")
    ('2.7', '2,7', '14', '0.42')
    """
    digits = f"{factor:,.0f}" if factor >= 9.95 else f"{factor:.1f}" if factor >= 0.95 else f"{factor:.2g}"
    return _local(digits, language)


def _rounded_down(value: float, language: str) -> str:
    """Return a large number to one digit, never more than it is."""
    step = 10.0 ** math.floor(math.log10(value))
    low = math.floor(value / step + 1e-9) * step
    for scale, name in _SCALES[language]:
        if low >= scale:
            return f"{number(low / scale, language)} {name}"
    return number(low, language)


def shift_in_words(shift: Shift, language: str = "en") -> str:
    """Return what values are like, and what they usually are.

    Examples
    --------
    >>> shift_in_words(Shift(quantile=0.5, observed=340.0, usual=210.0, values=1520))
    'median 340 of 1,520 values, usually 210'
    >>> shift_in_words(Shift(quantile=0.99, observed=4.1e6, usual=1200.0, values=90))
    '99th percentile 4,100,000 of 90 values, usually 1,200'
    >>> shift_in_words(Shift(quantile=0.99, observed=4.25, usual=1.5, values=1520), "id")
    'persentil ke-99 4,25 dari 1.520 nilai, biasanya 1,5'
    """
    percent = round(100 * shift.quantile)
    pair = (f"{v:,.0f}" if abs(v) >= 100 else f"{v:g}" for v in (shift.observed, shift.usual))
    observed, usual = (_local(text, language) for text in pair)
    values = number(shift.values, language)
    if language == "id":
        what = "median" if percent == 50 else f"persentil ke-{percent}"
        return f"{what} {observed} dari {values} nilai, biasanya {usual}"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(percent % 10 if percent // 10 != 1 else 0, "th")
    what = "median" if percent == 50 else f"{percent}{ending} percentile"
    return f"{what} {observed} of {values} values, usually {usual}"


def new_level_in_words(factor: float, language: str = "en") -> str:
    """Return that a deviation has become normal.

    Examples
    --------
    >>> new_level_in_words(1.8)
    'it has become normal: 1.8 times what was expected before'
    """
    if language == "id":
        return f"ini sudah menjadi normal: {times(factor, language)} kali dari yang dulu diperkirakan"
    return f"it has become normal: {times(factor, language)} times what was expected before"


def budget_in_words(budget: str, language: str) -> str:
    """Return a budget as Watch names it, in the language.

    Examples
    --------
    >>> budget_in_words("2 false cases per week, split over 3 signals", "id")
    '2 kasus keliru per minggu, dibagi ke 3 sinyal'
    """
    match = _BUDGET.fullmatch(budget)
    if language == "en" or match is None:
        return clean(budget, 100).removesuffix(", split over 1 signals")
    cases, periods, period, signals = match.groups()
    text = f"{cases} kasus keliru per {periods + ' ' if periods else ''}{_PERIODS[period]}"
    return text if signals in (None, "1") else f"{text}, dibagi ke {signals} sinyal"


# --- sentences ------------------------------------------------------------------------------------------------------


def explain_in_words(account: Account, language: str) -> tuple[str, ...]:
    """Return why an anomaly is thought to be one, sentence by sentence.

    What was seen, how sure the cause is, what the surroundings show, how far chance goes, where the threshold comes
    from, what the hour is like, and whether it has become normal: what there is nothing to say of is left out.

    Parameters
    ----------
    account : Account
    language : str
        `en` or `id`.

    Examples
    --------
    >>> why = Why(15.9, 15.3, "1 false case per week, split over 2 signals", 325, 0.14, source="own peaks",
    ...           segment={"bank": "BRI"}, beside=(Beside({"bank": "BRI"}, 41, 39.8, 900),))
    >>> account = Account(signal="payment", anomaly="a", counted=Counted.FAILED,
    ...                   causes=(Cause({"bank": "BRI", "method": "qris"}, 0.97),),
    ...                   observed=56, expected=20.4, trials=1310, why=why)
    >>> for sentence in explain_in_words(account, "en"):
    ...     print(sentence)
    56 failed where 20.4 were expected, 2.7 times as many; 1,310 tried.
    Around it: elsewhere in bank BRI 41 failed, 39.8 expected, as usual.
    Chance and the usual wandering of the rate (14 %) go so far less than once in 8 million looks at one place.
    bank BRI passed the threshold of 15.3 nats (the evidence is at 15.9 now). It follows from the budget of \
1 false case per week, split over 2 signals, with 325 places looked at, and from the stream's own past peaks.
    """
    parts = (_seen, _named, _around, _chance, _threshold, _hour, _normal)
    return tuple(sentence for part in parts if (sentence := part(account, language)))


def _seen(account: Account, language: str) -> str:
    a, english = account, language == "en"
    k, m, n = (number(v, language) for v in (a.observed, a.expected, a.trials))
    factor = ""
    if a.expected > 0 and a.observed > a.expected:
        ratio = times(a.observed / a.expected, language)
        factor = f", {ratio} times as many" if english else f", {ratio} kali lipat"
    if a.counted is Counted.FEWER:
        part = number(round(100 * a.observed / a.expected, 1) if a.expected > 0 else 0, language)
        if english:
            return f"{k} came where {m} were expected: {part} % of them."
        return f"{k} datang, padahal diperkirakan {m}: {part} % saja."
    if a.counted is Counted.CAME:
        return f"{k} came where {m} were expected{factor}." if english else f"{k} datang, diperkirakan {m}{factor}."
    if a.counted is Counted.BEYOND:
        if english:
            return f"{k} were beyond the limit where {m} were expected{factor}; {n} were measured."
        return f"{k} melewati batas, diperkirakan {m}{factor}; {n} diukur."
    if a.counted is Counted.RANKED:
        shift = f"{_capital(shift_in_words(a.why.shift, language))}. " if a.why.shift else ""
        if english:
            return f"{shift}Ranked among the usual values, {k} of {n} lie as far out as {m} usually do{factor}."
        return f"{shift}Menurut peringkat di antara nilai biasa, {k} dari {n} sejauh itu, biasanya {m}{factor}."
    if english:
        return f"{k} failed where {m} were expected{factor}; {n} tried."
    return f"{k} gagal, diperkirakan {m}{factor}; {n} mencoba."


def _named(account: Account, language: str) -> str:
    """Say how sure the causes are, and which other names their cells have; more of the same name says nothing."""
    english, found = language == "en", []
    for cause in account.causes:
        if not cause.where or cause.confidence is None:
            continue
        sure = min(math.floor(100 * cause.confidence), 99)
        place = place_in_words(cause.where, language)
        others = [o for o in cause.same_as if not cause.where.items() <= o.items()]
        names = ", ".join(dict.fromkeys(place_in_words(other, language) for other in others))
        if english:
            found.append(
                f"{place} is the cause with {sure} % confidence" + (f" (the same as {names})" if names else "")
            )
        else:
            found.append(
                f"{place} penyebabnya dengan keyakinan {sure} %" + (f" (sama dengan {names})" if names else "")
            )
    return f"{'; '.join(found)}." if found else ""


_VERBS = {
    "en": {Counted.FAILED: "failed", Counted.BEYOND: "were beyond the limit", Counted.RANKED: "lie so far out"},
    "id": {Counted.FAILED: "gagal", Counted.BEYOND: "melewati batas", Counted.RANKED: "sejauh itu"},
}


def _around(account: Account, language: str) -> str:
    english = language == "en"
    if all(not cause.where for cause in account.causes):
        return "It is everyone: no part stands out." if english else "Semua terkena: tidak ada bagian yang menonjol."
    found = [_beside(b, account, language) for b in account.why.beside]
    if not found:
        return ""
    return f"{'Around it' if english else 'Di sekitarnya'}: {'; '.join(found)}."


def _beside(beside: Beside, account: Account, language: str) -> str:
    english, place = language == "en", place_in_words(beside.where, language)
    where = f"elsewhere in {place}" if english else f"di {place} selebihnya"
    if not place:
        where = "everywhere else" if english else "di semua tempat lain"
    if beside.observed == 0 and beside.trials == 0 and beside.expected < 0.5:
        return f"{where} nothing happened" if english else f"{where} tidak terjadi apa-apa"
    k, m = number(beside.observed, language), number(beside.expected, language)
    verb = _VERBS[language].get(account.counted, "came" if english else "datang")
    spread = math.sqrt(beside.expected + (account.why.noise * beside.expected) ** 2)
    off = beside.observed - beside.expected
    if abs(off) <= max(USUAL_SD * spread, 1.0):
        said = "as usual" if english else "seperti biasa"
    elif off > 0:
        factor = times(beside.observed / max(beside.expected, 0.01), language)
        said = f"{factor} times as many" if english else f"{factor} kali lipat"
    else:
        said = "fewer than usual" if english else "kurang dari biasanya"
    if english:
        return f"{where} {k} {verb}, {m} expected, {said}"
    return f"{where} {k} {verb}, diperkirakan {m}, {said}"


def _chance(account: Account, language: str) -> str:
    """Say how often chance goes so far in one place and one look: P(T ≥ t) ≤ exp(-t), Chernoff's bound."""
    score, english = account.why.score_nats, language == "en"
    noise = number(round(100 * account.why.noise), language)
    if score < TELLING_NATS:
        if english:
            return f"Chance and the usual wandering of the rate ({noise} %) explain by now what is left of it."
        return f"Kebetulan dan goyangan laju yang biasa ({noise} %) kini cukup menjelaskan yang tersisa."
    rare = _rounded_down(math.exp(min(score, MOST_NATS + 0.05)), language)
    if english:
        return (
            f"Chance and the usual wandering of the rate ({noise} %) go so far less than once in {rare} looks "
            "at one place."
        )
    return (
        f"Kebetulan dan goyangan laju yang biasa ({noise} %) sampai sejauh ini kurang dari sekali dalam {rare} "
        "pengamatan di satu tempat."
    )


def _threshold(account: Account, language: str) -> str:
    why, english = account.why, language == "en"
    place = place_in_words(why.segment, language)
    threshold, score = number(why.threshold_nats, language), number(why.score_nats, language)
    budget, segments = budget_in_words(why.budget, language), number(why.segments, language)
    if english:
        theory, peaks = "from theory, until the stream's own peaks are known", "from the stream's own past peaks"
        source = {"theory": theory, "own peaks": peaks}.get(why.source, f"from {clean(why.source, VALUE_LENGTH)}")
        return (
            f"{place or 'The whole signal'} passed the threshold of {threshold} nats (the evidence is at {score} now). "
            f"It follows from the budget of {budget}, with {segments} {'place' if why.segments == 1 else 'places'} "
            f"looked at, and {source}."
        )
    theory, peaks = (
        "dari teori, sampai puncak aliran data ini sendiri dikenal",
        "dari puncak aliran data ini di masa lalu",
    )
    source = {"theory": theory, "own peaks": peaks}.get(why.source, f"dari {clean(why.source, VALUE_LENGTH)}")
    return (
        f"{place or 'Seluruh sinyal'} melewati ambang {threshold} nat (bukti kini {score}). Ambang itu mengikuti "
        f"anggaran {budget}, dengan {segments} tempat yang diamati, dan {source}."
    )


def _hour(account: Account, language: str) -> str:
    season, english = account.why.season, language == "en"
    if abs(season - 1) < LEAST_SEASON:
        return ""
    percent = number(round(100 * abs(season - 1)), language)
    if english:
        return (
            f"This hour is usually {percent} % {'above' if season > 1 else 'below'} the average; that is in it already."
        )
    return (
        f"Jam ini biasanya {percent} % {'di atas' if season > 1 else 'di bawah'} rata-rata; itu sudah diperhitungkan."
    )


def _normal(account: Account, language: str) -> str:
    if account.new_level is None:
        return ""
    return f"{_capital(new_level_in_words(account.new_level, language))}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

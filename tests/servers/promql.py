"""Holds expressions for Prometheus to the metrics that there are: which series and labels they may name."""

import re

from streams.metrics import KAFKA_METRICS, METRICS, SERVICE_METRICS, Kind
from tests.servers.prometheus import rules

LISTED = {metric.name: metric for metric in (*METRICS, *SERVICE_METRICS, *KAFKA_METRICS)}
OF_A_SCRAPE = {"job", "instance"}
"""Labels that Prometheus gives every series."""
NOT_OURS = {"up": OF_A_SCRAPE, "ALERTS": {"alertname", "alertstate"}}
WORDS = {
    *("sum by without on ignoring and or unless max min avg count topk bool offset le group_left group_right".split()),
    *(
        "rate increase delta deriv predict_linear histogram_quantile absent clamp_max clamp_min label_replace vector".split()
    ),
}

_MATCHED = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
GROUPED = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')


def metric_labels(name: str) -> set[str]:
    """Return the labels of a series: of a metric as it is listed, or of what a rule records (its level)."""
    if ":" in name:
        recorded = {rule["record"] for rule in rules("record")}
        assert name in recorded, f"{name} is recorded nowhere"
        return set(name.split(":")[0].split("_"))
    if name in NOT_OURS:
        return NOT_OURS[name]
    part = re.sub(r"_(bucket|sum|count)$", "", name)
    if part in LISTED and LISTED[part].kind is Kind.HISTOGRAM:
        assert part != name, f"{name} is a histogram: only its parts can be asked for"
        return {*LISTED[part].labels, *OF_A_SCRAPE, *({"le"} if name.endswith("_bucket") else ())}
    assert name in LISTED, f"{name} is no metric of streams/metrics.py"
    return {*LISTED[name].labels, *OF_A_SCRAPE}


def names_in(expression: str) -> set[str]:
    """Return the series that an expression names."""
    bare = re.sub(r"\[[^\]]*\]|\$\w+", "", re.sub(r"\{[^}]*\}", "", GROUPED.sub("", expression)))
    found = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*", bare)
    return {name for name in found if name not in WORDS}


def hold_to_the_list(expression: str) -> set[str]:
    """Fail where an expression names a series or a label that is not there; return the series."""
    names = names_in(expression)
    assert names, expression
    known = {name: metric_labels(name) for name in names}
    for name, matchers in _MATCHED.findall(expression):
        for label in _MATCHER.findall(matchers):
            assert label in known[name], f"{name} has no label {label}: {expression}"
    every = set().union(*known.values())
    for _, labels in GROUPED.findall(expression):
        for label in filter(None, map(str.strip, labels.split(","))):
            assert label in every, f"nothing has the label {label}: {expression}"
    return names

"""Rules and dashboard for Prometheus: they hold, each alert is tried both ways, and they name what there is."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.prometheus import DEPLOY, ROOT, deployed, rules, run
from tests.servers.promql import GROUPED, hold_to_the_list, metric_labels, names_in

BASE = "https://tocsin.example/docs/operations.md#"


def test_what_is_not_there_is_noticed() -> None:
    assert hold_to_the_list('sum by (job) (rate(tocsin_events_total{job="a"}[5m])) > 0 and on (job) up == 0') == {
        "tocsin_events_total",
        "up",
    }
    for wrong in (
        "tocsin_event_total",
        'tocsin_events_total{reason="late"}',
        "sum by (customer) (tocsin_events_total)",
        "tocsin_http_request_seconds",
        "job:tocsin_nothing:rate5m",
        'tocsin_http_request_seconds_count{le="1"}',
    ):
        with pytest.raises(AssertionError):
            hold_to_the_list(wrong)


EVERY = [pytest.param(rule, id=rule.get("alert") or rule["record"]) for rule in [*rules("record"), *rules("alert")]]


@pytest.mark.parametrize("rule", EVERY)
def test_a_rule_names_only_metrics_and_labels_that_are_there(rule: Mapping[str, Any]) -> None:
    hold_to_the_list(rule["expr"])
    if "record" in rule:
        (grouped, *_) = [set(map(str.strip, labels.split(","))) for _, labels in GROUPED.findall(rule["expr"])]
        level = rule["record"].split(":")[0]
        assert set(level.split("_")) == grouped - {"le"}, "a recorded name begins with the labels that are left"


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in rules("alert")])
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_its_runbook_is(rule: Mapping[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == BASE + rule["alert"].lower()
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
    assert rule["alert"] in headings
    shown = set(re.findall(r"\$labels\.(\w+)", notes["summary"] + notes["description"]))
    every = set().union(*(metric_labels(name) for name in names_in(rule["expr"])))
    assert shown <= every


def test_every_runbook_is_one_of_an_alert() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    part = page[page.index("\n## The alerts\n") : page.index("\n## Sizing\n")]
    assert re.findall(r"^### (\w+)$", part, re.MULTILINE) == [rule["alert"] for rule in rules("alert")]
    for runbook in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
        assert all(word in runbook for word in ("**Means**", "**Look**", "**Do**")), runbook.splitlines()[0]


def trials() -> Iterator[Mapping[str, Any]]:
    for file in sorted((DEPLOY / "tests").glob("*_test.yml")):
        for group in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            yield from group["alert_rule_test"]


def test_every_alert_is_tried_where_it_fires_and_where_it_does_not() -> None:
    fires, silent = set[str](), set[str]()
    for trial in trials():
        (fires if trial["exp_alerts"] else silent).add(trial["alertname"])
    assert fires == silent == {rule["alert"] for rule in rules("alert")}


@pytest.mark.prometheus
def test_the_configuration_and_its_rules_hold(tmp_path: Path) -> None:
    there = deployed(tmp_path)
    checked = run("promtool", "check", "config", "prometheus.yml", cwd=there)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "WARNING" not in checked.stdout + checked.stderr, "every file that is named is there"
    linted = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *sorted((there / "rules").glob("*.yml")))
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.prometheus
@pytest.mark.slow
def test_the_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    there = deployed(tmp_path)
    tried = run("promtool", "test", "rules", *sorted((there / "tests").glob("*_test.yml")))
    assert tried.returncode == 0, tried.stdout + tried.stderr


@pytest.mark.prometheus
def test_the_configuration_of_alertmanager_holds_and_sends_cases_where_they_belong() -> None:
    file = DEPLOY / "alertmanager.yml"
    checked = run("amtool", "check-config", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for labels, receiver in (
        (("alertname=TocsinCase", "tenant=shop", "case=3f2a", "severity=critical"), "cases"),
        (("alertname=TocsinCase", "severity=low"), "cases"),
        (("alertname=TocsinDown", "severity=critical"), "operations"),
    ):
        routed = run("amtool", "config", "routes", "test", f"--config.file={file}", *labels)
        assert routed.stdout.strip() == receiver, routed.stderr


def test_inhibitions_name_alerts_that_are_there() -> None:
    known = {rule["alert"] for rule in rules("alert")} | {"TocsinCase"}
    config = yaml.safe_load((DEPLOY / "alertmanager.yml").read_text("utf-8"))
    for rule in config["inhibit_rules"]:
        named = re.findall(r"Tocsin\w+", " ".join([*rule["source_matchers"], *rule["target_matchers"]]))
        assert named and set(named) <= known

"""The dashboard: what is committed is what the code builds, its queries hold, and it shows what it should."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import dashboard
from tests.servers.prometheus import ROOT, run
from tests.servers.promql import hold_to_the_list, names_in

FOLDER = ROOT / "deploy" / "grafana"


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(dashboard.FILE.read_text("utf-8"))["panels"] if panel["type"] != "row"]


def asked(expression: str) -> str:
    """Return an expression as Grafana asks it."""
    return expression.replace("$__rate_interval", "1m").replace("$job", "tocsin|tocsin-worker")


def test_the_committed_dashboard_is_what_the_code_builds() -> None:
    assert dashboard.FILE.read_text("utf-8") == dashboard.written(), "run `python -m deploy.grafana.dashboard`"


@pytest.mark.prometheus
def test_every_query_is_one_that_prometheus_understands(tmp_path: Path) -> None:
    made = [{"record": f"panel:query:n{n}", "expr": asked(e)} for n, e in enumerate(dashboard.expressions())]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}), encoding="utf-8")
    checked = run("promtool", "check", "rules", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(made)} rules found" in checked.stdout


def test_every_panel_has_a_place_a_unit_of_its_own_and_says_what_it_shows() -> None:
    places = set[tuple[int, int]]()
    for panel in panels():
        assert panel["title"] and panel["description"] and panel["targets"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, f"{panel['title']} stands on another"
        places |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_query_is_of_the_service_that_is_chosen() -> None:
    for expression in dashboard.expressions():
        series = re.findall(r"(?:job\w*:)?tocsin_\w+(?::\w+)?(\{[^}]*\})?", re.sub(r"ALERTS\{[^}]*\}", "", expression))
        assert all('job=~"$job"' in matchers for matchers in series), expression


def test_a_query_names_only_metrics_and_labels_that_are_there() -> None:
    for expression in dashboard.expressions():
        hold_to_the_list(asked(expression))


@pytest.mark.parametrize(
    "name",
    [
        *("tocsin_events_total", "tocsin_event_delay_seconds", "tocsin_backlog_seconds", "tocsin_kafka_lag_records"),
        *("job:tocsin_events_late:share30m", "tocsin_events_dropped_total", "tocsin_dead_letters"),
        *("tocsin_windows_total", "tocsin_open_cases", "job_signal:tocsin_time_to_detect_seconds:p50_7d"),
        *("job_budget:tocsin_budget_spent:ratio", "tocsin_outbox_notices", "tocsin_deliveries_total"),
        *("tocsin_kill_switch", "tocsin_commit_age_seconds"),
    ],
)
def test_it_shows(name: str) -> None:
    assert any(name in names_in(asked(expression)) for expression in dashboard.expressions())


def test_what_provisions_it_is_what_grafana_reads() -> None:
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/tocsin.yml").read_text("utf-8"))["providers"]
    assert provider["type"] == "file" and provider["options"]["path"] == "/var/lib/grafana/dashboards"
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    assert source["type"] == "prometheus"

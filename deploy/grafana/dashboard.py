"""The Grafana dashboard as code: what is wrong now at the top, then the way of the data from input to customer.

    python -m deploy.grafana.dashboard        # writes tocsin.json beside this file

Every panel is a few queries on the metrics of `streams/metrics.py` and what `deploy/prometheus/rules` record; the
variable `job` chooses among services, `datasource` among Prometheus servers.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)

FILE = Path(__file__).with_name("tocsin.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED = "green", "yellow", "red"
SEVERITIES = {"critical": "dark-red", "high": "red", "medium": "orange", "low": "yellow"}
_DASHED = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)


@dataclass(frozen=True)
class Query:
    """One expression of a panel, and what its lines are called."""

    expression: str
    legend: str = ""


def build() -> Dashboard:
    """Return the dashboard."""
    made = (
        dashboard.Dashboard("Tocsin")
        .uid("tocsin")
        .description("Is a problem found in time, and are its customers told? docs/operations.md says what to do.")
        .tags(["tocsin"])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("job")
            .label("Service")
            .datasource(SOURCE)
            .query("label_values(tocsin_events_total, job)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
        )
    )
    number = itertools.count(1)
    for name, panels in _rows():
        made = made.with_row(dashboard.Row(name).id(next(number)))
        for panel in panels:
            made = made.with_panel(panel.id(next(number)))
    return made.build()


def written() -> str:
    """Return the dashboard as Grafana reads it."""
    return json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def expressions() -> list[str]:
    """Return the expressions of all panels."""
    return [query["expr"] for panel in json.loads(written())["panels"] for query in panel.get("targets", ())]


Panels = Sequence[stat.Panel | timeseries.Panel]


def _rows() -> list[tuple[str, Panels]]:
    return [
        ("Now", _now()),
        ("Input", _input()),
        ("Engines", _engines()),
        ("Cases", _cases()),
        ("Sending", _sending()),
        ("Service", _service()),
    ]


def _now() -> Panels:
    return (
        _stat(
            "Open live cases",
            "Unfinished, of signals that are live.",
            'sum(tocsin_open_cases{job=~"$job",mode="live"})',
        )
        .thresholds(_steps((1, YELLOW), (5, RED)))
        .no_value("0"),
        _stat(
            "Unacknowledged for",
            "How long the oldest live case waits for somebody.",
            'max(tocsin_unacknowledged_seconds{job=~"$job"})',
        )
        .unit(units.Seconds)
        .thresholds(_steps((300, YELLOW), (900, RED))),
        _stat("Events", "Records read a second.", 'sum(job:tocsin_events:rate5m{job=~"$job"})').unit(
            units.EventsPerSecond
        ),
        _stat(
            "Delay beyond the lateness",
            "By how much windows close after the time at which they are due.",
            'clamp_min(max(tocsin_event_delay_seconds{job=~"$job"} - tocsin_event_delay_due_seconds{job=~"$job"}), 0)',
        )
        .unit(units.Seconds)
        .thresholds(_steps((60, YELLOW), (300, RED))),
        _stat("Notices waiting", "In the outbox, whatever they wait for.", 'sum(tocsin_outbox_notices{job=~"$job"})')
        .no_value("0")
        .thresholds(_steps()),
        _stat("Kill switch", "On: nobody is told of anything.", 'max(tocsin_kill_switch{job=~"$job"})').thresholds(
            _steps((1, RED))
        ),
        _stat(
            "Checks that fail",
            "What readiness finds fault with.",
            'count(tocsin_check_ok{job=~"$job"} == 0) or vector(0)',
        ).thresholds(_steps((1, RED))),
        _stat(
            "Alerts on Tocsin",
            "Firing in Prometheus.",
            'count(ALERTS{alertname=~"Tocsin.+",alertstate="firing"}) or vector(0)',
        ).thresholds(_steps((1, YELLOW))),
    )


def _input() -> Panels:
    return (
        _lines(
            "Input",
            "Records read, and events that were counted in a window.",
            Query('sum by (job) (rate(tocsin_events_total{job=~"$job"}[$__rate_interval]))', "{{job}} read"),
            Query('sum by (job) (rate(tocsin_events_applied_total{job=~"$job"}[$__rate_interval]))', "{{job}} counted"),
        ).unit(units.EventsPerSecond),
        _stacked(
            "Not counted, by reason",
            "late: its window was closed; duplicate: its id was seen; unwatched: no signal wants it.",
            Query('sum by (reason) (rate(tocsin_events_dropped_total{job=~"$job"}[$__rate_interval]))', "{{reason}}"),
        ).unit(units.EventsPerSecond),
        _lines(
            "Late share",
            "Of the last half hour's events.",
            Query('job:tocsin_events_late:share30m{job=~"$job"}', "{{job}}"),
        )
        .unit(units.PercentUnit)
        .min(0)
        .thresholds(_steps((0.05, RED)))
        .thresholds_style(_DASHED),
        _stacked(
            "Dead letters",
            "Records that are no events and wait for somebody to look at them, by reason.",
            Query('sum by (reason) (tocsin_dead_letters{job=~"$job"}) > 0', "{{reason}}"),
        ),
        _stacked(
            "Refused at the door",
            "Requests with events that were sent back.",
            Query('sum by (reason) (rate(tocsin_door_refused_total{job=~"$job"}[$__rate_interval]))', "{{reason}}"),
        ).unit(units.RequestsPerSecond),
        _lines(
            "To the disk",
            "How long an accepted request waits for the disk, at the 99th percentile.",
            Query('job:tocsin_door_commit_seconds:p99_5m{job=~"$job"}', "{{job}}"),
        ).unit(units.Seconds),
    )


def _engines() -> Panels:
    return (
        _lines(
            "Delay",
            "From the end of the last closed window until now, and what the lateness explains.",
            Query('max by (job) (tocsin_event_delay_seconds{job=~"$job"})', "{{job}}"),
            Query('max by (job) (tocsin_event_delay_due_seconds{job=~"$job"})', "{{job}} due"),
        ).unit(units.Seconds),
        _lines(
            "Lag",
            "Accepted and not worked off; on Kafka, what the workers have before them at the present pace.",
            Query('max by (job) (tocsin_backlog_seconds{job=~"$job"})', "{{job}} oldest waits"),
            Query('job:tocsin_kafka_lag:seconds{job=~"$job"}', "{{job}} to work off"),
        ).unit(units.Seconds),
        _lines(
            "Lag by partition",
            "Records that a worker has before it.",
            Query('sum by (topic, partition) (tocsin_kafka_lag_records{job=~"$job"})', "{{topic}}/{{partition}}"),
        ),
        _lines(
            "Read from Kafka",
            "Records of the input that the workers have read, and what of them was other tenants'.",
            Query('sum by (job) (rate(tocsin_kafka_records_total{job=~"$job"}[$__rate_interval]))', "{{job}} read"),
            Query(
                'sum by (job) (rate(tocsin_kafka_passed_over_total{job=~"$job"}[$__rate_interval]))', "{{job}} others'"
            ),
        ).unit(units.EventsPerSecond),
        _lines(
            "Commit age",
            "For how long an engine has had something to do and has not committed.",
            Query('max by (engine) (tocsin_commit_age_seconds{job=~"$job"})', "{{engine}}"),
        )
        .unit(units.Seconds)
        .thresholds(_steps((120, RED)))
        .thresholds_style(_DASHED),
        _lines(
            "Windows",
            "Base windows that were closed, a minute.",
            Query('60 * sum by (job) (rate(tocsin_windows_total{job=~"$job"}[$__rate_interval]))', "{{job}}"),
        ),
        _lines(
            "Segments searched",
            "By signal and by what they fix.",
            Query('sum by (signal, level) (tocsin_segments{job=~"$job"})', "{{signal}} {{level}}"),
        ),
    )


def _cases() -> Panels:
    return (
        _by_severity(
            _stacked(
                "Open cases by severity",
                "Live ones.",
                Query('sum by (severity) (tocsin_open_cases{job=~"$job",mode="live"})', "{{severity}}"),
            )
        ),
        _stacked(
            "Cases opened",
            "An hour, by their first signal.",
            Query(
                'sum by (signal, mode) (increase(tocsin_cases_opened_total{job=~"$job"}[1h]))', "{{signal}} {{mode}}"
            ),
        ),
        _lines(
            "Time to detect",
            "From onset to detection, the median of a week, by signal.",
            Query('job_signal:tocsin_time_to_detect_seconds:p50_7d{job=~"$job"}', "{{signal}}"),
        ).unit(units.Seconds),
        _lines(
            "Anomalies followed",
            "By signal.",
            Query('sum by (signal) (tocsin_anomalies_open{job=~"$job"})', "{{signal}}"),
        ),
        _lines(
            "Budget spent",
            "False cases of this period over those that are put up with.",
            Query('job_budget:tocsin_budget_spent:ratio{job=~"$job"}', "{{budget}}"),
        )
        .unit(units.PercentUnit)
        .min(0)
        .thresholds(_steps((1, RED)))
        .thresholds_style(_DASHED),
        _lines(
            "Thresholds",
            "Evidence from which an anomaly is raised, in nats.",
            Query('max by (signal, level) (tocsin_threshold_nats{job=~"$job"})', "{{signal}} {{level}}"),
        ),
    )


def _sending() -> Panels:
    return (
        _stacked(
            "Outbox by state and channel",
            "Waiting, claimed, or unknown: those may have gone out, and a person decides.",
            Query('sum by (channel, state) (tocsin_outbox_notices{job=~"$job"})', "{{channel}} {{state}}"),
        ),
        _lines(
            "Oldest due notice",
            "For how long it waits.",
            Query('max by (channel) (tocsin_outbox_seconds{job=~"$job"})', "{{channel}}"),
        ).unit(units.Seconds),
        _stacked(
            "Deliveries by outcome",
            "Attempts a second.",
            Query(
                'sum by (channel, outcome) (job_channel_outcome:tocsin_deliveries:rate5m{job=~"$job"})',
                "{{channel}} {{outcome}}",
            ),
        ),
        _stacked(
            "Failures by reason",
            "Attempts of the last hour that did not get through, for now or for good.",
            Query(
                'sum by (channel, reason) (increase(tocsin_deliveries_total{job=~"$job",outcome!="sent"}[1h])) > 0',
                "{{channel}} {{reason}}",
            ),
        ),
        _lines(
            "Kill switch, circuits, limits",
            "1: it holds notices back.",
            Query('max by (job) (tocsin_kill_switch{job=~"$job"})', "{{job}} kill switch"),
            Query('max by (channel) (tocsin_circuit_open{job=~"$job"})', "circuit {{channel}}"),
            Query('max by (limit) (tocsin_limit_reached{job=~"$job"})', "limit {{limit}}"),
        )
        .min(0)
        .max(1),
        _lines(
            "Feed",
            "Entries on their way to webhooks, and who reads the stream.",
            Query('sum by (state) (tocsin_webhook_entries{job=~"$job"})', "webhooks {{state}}"),
            Query('sum(tocsin_feed_clients{job=~"$job"})', "streams"),
        ),
    )


def _service() -> Panels:
    return (
        _lines(
            "Processes and checks",
            "1: up, or well.",
            Query('min by (job, process) (tocsin_process_up{job=~"$job"})', "{{job}} {{process}}"),
            Query('min by (job, check) (tocsin_check_ok{job=~"$job"})', "{{job}} {{check}}"),
            Query('min by (endpoint) (tocsin_alertmanager_ok{job=~"$job"})', "Alertmanager {{endpoint}}"),
        )
        .min(0)
        .max(1),
        _lines(
            "Requests that fail",
            "Answered with 5xx or not at all.",
            Query('job:tocsin_http_errors:share5m{job=~"$job"}', "{{job}}"),
        ).unit(units.PercentUnit),
        _lines(
            "Slowest routes",
            "The 99th percentile of the ten slowest.",
            Query('topk(10, job_route:tocsin_http_request_seconds:p99_5m{job=~"$job"})', "{{route}}"),
        ).unit(units.Seconds),
        _lines(
            "Room on the store's disk",
            "Where the store is a file.",
            Query('min by (job) (tocsin_disk_free_bytes{job=~"$job"})', "{{job}}"),
        )
        .unit(units.BytesIEC)
        .min(0),
    )


def _stat(title: str, description: str, expression: str) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .height(4)
        .span(3)
        .color_mode(BigValueColorMode.BACKGROUND)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(Query(expression), "A").instant())
    )


def _lines(title: str, description: str, *queries: Query) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .height(8)
        .span(8)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    for query, name in zip(queries, "ABCDE", strict=False):
        panel = panel.with_target(_target(query, name))
    return panel


def _stacked(title: str, description: str, *queries: Query) -> timeseries.Panel:
    stacking = common.StackingConfig().mode(StackingMode.NORMAL)
    return _lines(title, description, *queries).stacking(stacking).fill_opacity(40)


def _target(query: Query, name: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(query.expression)
        .legend_format(query.legend or "__auto")
        .ref_id(name)
    )


def _said(words: dict[str, str]) -> ValueMap:
    """Return a mapping of values to words."""
    return ValueMap(options={value: ValueMappingResult(text=word) for value, word in words.items()})


def _by_severity(panel: timeseries.Panel) -> timeseries.Panel:
    for name, colour in SEVERITIES.items():
        fixed = DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})
        panel = panel.override_by_name(name, [fixed])
    return panel


def _steps(*steps: tuple[float, str]) -> dashboard.ThresholdsConfig:
    """Return thresholds: green, then each colour from its value on."""
    found = [Threshold(value=None, color=GREEN), *(Threshold(value=value, color=colour) for value, colour in steps)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")

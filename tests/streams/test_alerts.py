"""Cases as alerts: which labels, what is kept, what is resolved; and that no Alertmanager waits for another."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detector.desk.records import Affected, Case, CaseState, NoticeCounts
from detector.errors import ConfigError
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause
from streams.alerts.sender import AlertSender, problems
from streams.alerts.told import Told, following, labels_of, numbers, posted
from streams.cli.main import main
from streams.clock import SystemClock
from streams.sections import AlertmanagerSection, parse_document
from streams.settings import Settings, load
from streams.store import LIVE, Store
from streams.store.standing import speak
from tests.servers.http import Seen, certificate, free_port, hangs, says, serving
from tests.servers.service import configured, until
from tests.servers.stores import new_store
from tests.streams.feed_rows import NOW_MS, a_case, commit, live_store

LATER_MS = NOW_MS + 60_000


def section(**given: Any) -> AlertmanagerSection:
    document = parse_document({"alertmanager": {"urls": ["https://alerts.example"], **given}})
    assert document.alertmanager is not None
    return document.alertmanager


def told(*cases: Case, before: tuple[Told, ...] = (), now_ms: int = LATER_MS, **given: Any) -> tuple[Told, ...]:
    return following(before, cases, section(**given), now_ms, "https://tocsin.example")


# --- what is told -----------------------------------------------------------------------------------------------------


def test_a_live_case_fires_from_its_opening_with_its_labels() -> None:
    (alert,) = told(a_case(), labels={"team": "payments"})
    assert alert.labels == {
        "alertname": "TocsinCase",
        "tenant": "default",
        "case": "case-1",
        "severity": "high",
        "signal": "login",
        "team": "payments",
    }
    assert alert.annotations == {
        "summary": "Logins fail at BNI",
        "description": "1 customers were hit (1 confirmed), 1 still fail, 0 notices went out.",
        "console": "https://tocsin.example/cases/case-1",
    }
    assert (alert.starts_ms, alert.ended_ms) == (NOW_MS, None)
    body = posted(alert, LATER_MS, 900_000)
    assert (body["startsAt"], body["endsAt"]) == ("2026-03-02T02:00:00.000Z", "2026-03-02T02:16:00.000Z")
    assert body["generatorURL"] == "https://tocsin.example/cases/case-1"


def test_what_is_in_the_shadow_or_of_another_severity_is_told_to_nobody() -> None:
    assert told(a_case(mode=Mode.SHADOW)) == ()
    assert told(a_case(severity=Severity.LOW), severities=["critical", "high"]) == ()
    assert len(told(a_case(severity=Severity.CRITICAL), severities=["critical", "high"])) == 1


def test_words_are_in_the_configured_language() -> None:
    (alert,) = told(a_case(), language="id")
    assert alert.annotations["summary"] == "Login gagal di BNI"
    assert alert.annotations["description"].startswith("1 pelanggan terdampak")
    assert numbers(a_case(affected=None), "id") == "Tidak ada pelanggan yang bisa disebutkan."


def test_values_of_a_cause_are_labels_only_where_their_dimension_is_configured() -> None:
    case = a_case(causes=(Cause({"bank": "BNI", "app-version": "5.2\n"}, 0.9), Cause({"bank": "BCA"}, 0.1)))
    assert "bank" not in told(case)[0].labels
    (alert,) = told(case, dimensions=["bank", "app-version", "city"])
    assert {name: alert.labels[name] for name in ("bank", "app_version")} == {"bank": "BNI", "app_version": "5.2"}
    assert "city" not in alert.labels


def test_labels_stay_whatever_is_learned_and_the_numbers_follow() -> None:
    first = told(a_case(), dimensions=["bank", "method"])
    grown = a_case(
        signals=("payments", "login"),
        causes=(Cause({"bank": "Mandiri", "method": "card"}, 0.9),),
        affected=Affected(confirmed=20, likely=2, still_failing=8),
        notices=NoticeCounts(sent=18),
        state=CaseState.ACKNOWLEDGED,
    )
    (alert,) = told(grown, before=first, dimensions=["bank", "method"])
    assert alert.labels == first[0].labels
    assert alert.annotations["description"].startswith("22 customers were hit (20 confirmed), 8 still fail, 18 notices")
    assert alert.starts_ms == first[0].starts_ms


@pytest.mark.parametrize(
    ("language", "sent", "simulated", "said"),
    [
        ("en", 18, 18, "1 still fail, 18 notices would have gone out (dry run)."),
        ("en", 20, 18, "1 still fail, 2 notices went out, 18 notices would have gone out (dry run)."),
        ("id", 18, 18, "1 masih gagal, 18 pemberitahuan akan terkirim (uji coba)."),
    ],
)
def test_what_was_only_simulated_is_not_said_to_have_gone_out(
    language: str, sent: int, simulated: int, said: str
) -> None:
    (alert,) = told(a_case(notices=NoticeCounts(sent=sent, simulated=simulated)), language=language)
    assert alert.annotations["description"].endswith(said)


def test_another_choice_of_dimensions_is_another_alert() -> None:
    first = told(a_case())
    firing, ended = told(a_case(), before=first, dimensions=["bank"])
    assert (firing.labels["bank"], firing.ended_ms) == ("BNI", None)
    assert (ended.labels, ended.ended_ms) == (first[0].labels, LATER_MS)


@pytest.mark.parametrize("state", [CaseState.RESOLVED, CaseState.DISMISSED, CaseState.MERGED])
def test_a_case_that_is_over_is_resolved_now_and_stays_so(state: CaseState) -> None:
    first = told(a_case("a"), a_case("b"))
    after = told(a_case("b"), before=first)
    assert [(one.case, one.ended_ms) for one in after] == [("b", None), ("a", LATER_MS)]
    again = told(a_case("b"), before=after, now_ms=LATER_MS + 5_000)
    assert [(one.case, one.ended_ms) for one in again] == [("b", None), ("a", LATER_MS)]


def test_a_case_that_grows_worse_is_a_new_alert_and_goes_back_without_two_of_the_same() -> None:
    first = told(a_case())
    worse = told(a_case(severity=Severity.CRITICAL), before=first)
    assert [(one.labels["severity"], one.starts_ms, one.ended_ms) for one in worse] == [
        ("critical", NOW_MS, None),
        ("high", NOW_MS, LATER_MS),
    ]
    better = told(a_case(), before=worse, now_ms=LATER_MS + 1_000)
    assert [(one.labels["severity"], one.starts_ms, one.ended_ms) for one in better] == [
        ("high", LATER_MS + 1_000, None),
        ("critical", NOW_MS, LATER_MS + 1_000),
    ]


def test_a_case_that_opens_again_fires_from_then_on() -> None:
    over = told(before=told(a_case()))
    (alert,) = told(a_case(episode=2), before=over, now_ms=LATER_MS + 60_000)
    assert (alert.starts_ms, alert.ended_ms) == (LATER_MS + 60_000, None)


def test_an_alert_ends_after_it_began_whatever_the_clocks_say() -> None:
    first = told(a_case(opened_ms=LATER_MS + 5_000))
    assert first[0].starts_ms == LATER_MS, "not in the future"
    (ended,) = told(before=first, now_ms=LATER_MS - 10_000)
    assert ended.ended_ms is not None and ended.ended_ms > ended.starts_ms


def test_no_two_alerts_ever_have_the_same_labels() -> None:
    alerts: tuple[Told, ...] = ()
    severities = list(Severity)
    for i in range(40):
        cases = [a_case(f"c{n}", severity=severities[(i * n) % 4]) for n in range(5) if (i >> n) & 1]
        alerts = told(*cases, before=alerts, now_ms=LATER_MS + i * 1_000)
        assert len({one.key for one in alerts}) == len(alerts)
        assert {one.case for one in alerts if one.ended_ms is None} == {case.id for case in cases}


def test_what_was_told_is_read_back() -> None:
    alerts = told(a_case(), before=told(a_case("other")))
    assert msgspec.json.decode(msgspec.json.encode(alerts), type=tuple[Told, ...]) == alerts


# --- the settings -----------------------------------------------------------------------------------------------------

WRONG = [
    pytest.param({"urls": []}, "from 1 to 10 urls", id="nowhere"),
    pytest.param({"urls": ["http://alerts.example"]}, "expected https, found http", id="unencrypted"),
    pytest.param({"urls": ["https://127.0.0.1:9093"]}, "not a public address", id="this machine"),
    pytest.param({"urls": ["https://a.example", "https://u:p4ss@a.example"]}, "urls[1]", id="a password in it"),
    pytest.param({"urls": ["https://a.example/?t=p4ss"]}, "no query", id="a query"),
    pytest.param({"labels": {"case": "x"}}, "other than", id="a label of ours"),
    pytest.param({"labels": {"a b": "x"}}, "letters, digits", id="no label"),
    pytest.param({"labels": {"team": ""}}, "1 to 200", id="an empty label"),
    pytest.param({"dimensions": ["signal"]}, "not called", id="a dimension called as a label of ours"),
    pytest.param({"dimensions": ["a-b", "a_b"]}, "each once", id="two dimensions of one label"),
    pytest.param({"labels": {"bank": "x"}, "dimensions": ["bank"]}, "other names", id="a label twice"),
    pytest.param({"expire": "90s"}, "at least twice", id="it expires before it is sent again"),
    pytest.param({"headers": {"Authorization": "Bearer p4ss"}}, "{env: NAME}", id="a secret in the file"),
    pytest.param({"headers": {"Host": {"env": "A"}}}, "Authorization", id="a header of ours"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_a_mistake_is_said_without_what_may_be_a_secret(given: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        section(**given)
    assert said in str(error.value) and "alertmanager" in str(error.value)
    assert "p4ss" not in str(error.value)


def test_a_network_that_is_opened_and_http_may_be_reached() -> None:
    assert section(urls=["http://127.0.0.1:9093/am"], allow=["127.0.0.0/8"], insecure=True).urls


def test_labels_of_a_case_are_those_the_documentation_lists() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in labels_of(a_case(), section()))


# --- sending ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with live_store(tmp_path / "tocsin.db") as found:
        yield found


@contextmanager
def sending(store: Store, folder: Path, *urls: str, **given: Any) -> Iterator[AlertSender]:
    sender = AlertSender(store, settings(folder, *urls, **given), SystemClock())
    sender.start()
    try:
        yield sender
    finally:
        assert sender.stop()


def settings(folder: Path, *urls: str, **given: Any) -> Settings:
    rules: dict[str, Any] = {
        "allow": ["127.0.0.0/8"],
        "insecure": True,
        "resend": "1s",
        "expire": "1m",
        "timeout": "1s",
    }
    text = json.dumps({"alertmanager": {"urls": urls, **rules, **given}})
    return load(configured(folder / "config", text))


def alerts_in(seen: list[Seen]) -> list[dict[str, Any]]:
    return [alert for one in seen for alert in json.loads(one.body)]


def firing_in(seen: list[Seen]) -> set[str]:
    """Return the cases that fire, as the last word on each says."""
    last = {alert["labels"]["case"]: alert for alert in alerts_in(seen)}
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    return {case for case, alert in last.items() if alert["endsAt"] > now}


@pytest.mark.slow
def test_a_case_is_told_at_once_and_again_until_it_is_over(store: Store, tmp_path: Path) -> None:
    with serving(says(200)) as server, sending(store, tmp_path, f"{server.url}/prefix/") as sender:
        commit(store, a_case())
        sender.wake()
        until(lambda: server.seen, "the alert", 2)
        assert (server.seen[0].method, server.seen[0].path) == ("POST", "/prefix/api/v2/alerts")
        until(lambda: len(server.seen) >= 3, "it is sent again")
        assert firing_in(server.seen) == {"case-1"}
        assert sender.status() == {"alive": True, "error": "", "firing": 1, "taken": [True]}
        commit(store, a_case(state=CaseState.DISMISSED))
        sender.wake()
        until(lambda: not firing_in(server.seen), "its end", 3)
        ends = {alert["endsAt"] for alert in alerts_in(server.seen)[-1:]}
        n = len(server.seen)
        until(lambda: len(server.seen) > n, "the end is told again")
        assert {alert["endsAt"] for alert in alerts_in(server.seen)[-1:]} == ends, "it ended once"


@pytest.mark.slow
def test_a_restart_resolves_nothing_and_resolves_what_ended_meanwhile(db: str, tmp_path: Path) -> None:
    with new_store(db) as store:
        store.claim_mode(LIVE)
        commit(store, a_case("a"), a_case("b"))
        with serving(says(200)) as server, sending(store, tmp_path, server.url, dimensions=["bank"]):
            until(lambda: firing_in(server.seen) == {"a", "b"}, "both")
            labels = {alert["labels"]["case"]: alert["labels"] for alert in alerts_in(server.seen)}
        assert firing_in(server.seen) == {"a", "b"}, "the stop resolves nothing"
        other = a_case("b", causes=(Cause({"bank": "BCA"}, 1),))
        commit(store, a_case("a", state=CaseState.MERGED, merged_into="b"), other)
        with serving(says(200)) as server, sending(store, tmp_path, server.url, dimensions=["bank"]):
            until(lambda: len(alerts_in(server.seen)) >= 2, "both")
            until(lambda: firing_in(server.seen) == {"b"}, "what ended has ended", 3)
            assert {alert["labels"]["case"]: alert["labels"] for alert in alerts_in(server.seen)} == labels


@pytest.mark.slow
def test_each_gets_all_and_none_waits_for_one_that_is_down_or_hangs(store: Store, tmp_path: Path) -> None:
    port = free_port()
    commit(store, a_case("a"), a_case("b"))
    with serving(says(200)) as well, serving(hangs) as stuck, serving(says(503)) as busy:
        urls = (f"http://127.0.0.1:{port}", stuck.url, well.url, busy.url)
        with sending(store, tmp_path, *urls) as sender:
            until(lambda: firing_in(well.seen) == {"a", "b"}, "the one that is well", 3)
            until(lambda: sender.status()["taken"] == [False, False, True, False], "what the status says")
            before = len(well.seen)
            until(lambda: len(well.seen) > before + 2, "it goes on", 10)
            assert sender.alive


@pytest.mark.slow
def test_one_that_comes_back_gets_what_fires_and_what_ended_meanwhile(store: Store, tmp_path: Path) -> None:
    commit(store, a_case("a"), a_case("b"))
    up = {"now": True}

    async def play(seen: Seen, writer: Any) -> None:
        await says(200 if up["now"] else 500)(seen, writer)

    with serving(play) as server, sending(store, tmp_path, server.url) as sender:
        until(lambda: firing_in(server.seen) == {"a", "b"}, "both")
        up["now"] = False
        until(lambda: sender.status()["taken"] == [False], "it is away")
        commit(store, a_case("a", state=CaseState.RESOLVED), a_case("c"))
        sender.wake()
        until(lambda: sender.status()["firing"] == 2, "b and c fire")
        del server.seen[:]
        up["now"] = True
        until(lambda: sender.status()["taken"] == [True], "it is back", 40)
        assert {alert["labels"]["case"] for alert in alerts_in(server.seen)} == {"a", "b", "c"}
        assert firing_in(server.seen) == {"b", "c"}


@pytest.mark.slow
def test_what_was_told_is_kept_firing_where_the_store_is_locked(store: Store, tmp_path: Path) -> None:
    commit(store, a_case())
    with serving(says(200)) as server, sending(store, tmp_path, server.url):
        until(lambda: firing_in(server.seen) == {"case-1"}, "it fires")
        other = sqlite3.connect(tmp_path / "tocsin.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            n = len(server.seen)
            until(lambda: len(server.seen) > n + 2, "it is sent again")
            assert firing_in(server.seen) == {"case-1"}
            other.execute("ROLLBACK")
        finally:
            other.close()


@pytest.mark.slow
def test_a_header_by_reference_is_sent_and_its_absence_is_no_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, a_case())
    headers = {"Authorization": {"env": "SHOP_ALERTS"}}
    with serving(says(200)) as server, sending(store, tmp_path, server.url, headers=headers) as sender:
        until(lambda: sender.status()["taken"] == [False], "no secret, nothing sent")
        assert not server.seen
        monkeypatch.setenv("SHOP_ALERTS", "Bearer abc")
        until(lambda: server.seen, "it is sent once the secret is there", 10)
        assert server.seen[0].headers["authorization"] == "Bearer abc"


@pytest.mark.slow
def test_a_place_that_is_not_trusted_or_not_public_is_not_sent_to(store: Store, tmp_path: Path) -> None:
    commit(store, a_case())
    with serving(says(200), tls=certificate(tmp_path / "tls.pem")) as server:
        with sending(store, tmp_path, server.url) as sender:
            until(lambda: sender.status()["taken"] == [False], "its certificate is not trusted")
        assert not server.seen
        with sending(store, tmp_path, server.url, ca_file=str(tmp_path / "tls.pem")) as sender:
            until(lambda: server.seen, "now it is")
        del server.seen[:]
        url = f"https://localhost:{server.port}"
        with sending(store, tmp_path, url, ca_file=str(tmp_path / "tls.pem"), allow=["10.0.0.0/8"]) as sender:
            until(lambda: sender.status()["taken"] == [False], "its name leads to this machine")
        assert not server.seen


@pytest.mark.slow
def test_what_is_written_of_it_and_can_not_be_read_is_told_anew(store: Store, tmp_path: Path) -> None:
    commit(store, a_case())
    store.set_meta("alerts:default", b"{broken")
    with serving(says(200)) as server, sending(store, tmp_path, server.url):
        until(lambda: firing_in(server.seen) == {"case-1"}, "it fires")


def test_what_the_settings_name_and_is_not_there_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"headers": {"Authorization": {"env": "SHOP_ALERTS"}}, "ca_file": "none.pem", "dimensions": ["bnk"]}
    found = settings(tmp_path, "http://127.0.0.1:1", **given)
    assert [problem.path for problem in problems(found)] == [
        "tocsin.yml: alertmanager.headers.Authorization",
        "tocsin.yml: alertmanager.ca_file",
        "tocsin.yml: alertmanager.dimensions[0]",
    ]
    monkeypatch.setenv("SHOP_ALERTS", "Bearer abc")
    assert not problems(settings(tmp_path, "http://127.0.0.1:1", headers=given["headers"], dimensions=["bank"]))
    assert main(["check", str(found.directory)]) == 0, "the last one written"


def test_the_doctor_says_which_takes_nothing(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speak(store, "work", 1, SystemClock().now_ms(), {"alertmanager": {"taken": [True, False]}})
    assert main(["doctor", "--db", str(tmp_path / "tocsin.db")]) == 1
    assert "number 1 of the settings takes no cases" in capsys.readouterr().out


def test_certificates_that_are_not_there_are_a_mistake_of_the_configuration(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alertmanager\.ca_file"):
        AlertSender(store, settings(tmp_path, "http://127.0.0.1:1", ca_file="none.pem"), SystemClock())

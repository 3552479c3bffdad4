"""docs/security.md says what is so: settings, routes, limits, tables."""

import re
from pathlib import Path

import pytest

from streams.sections import Document, parse_document
from streams.store import sign_ins
from streams.store import tables as t
from streams.store.tokens import Scope
from streams.web import backoff, guard
from streams.web.access import PUBLIC, policies
from streams.yamlfile import parse_yaml
from tests.servers.stores import new_store
from tests.servers.web import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text("utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def cells(text: str, column: int) -> list[str]:
    """Return what stands as code in a column of the section's tables."""
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row[column + 1])]


def test_every_scope_is_explained() -> None:
    scopes = [cell for cell in cells(section("Who may do what"), 0) if not cell.startswith("/")]
    assert scopes == [scope.value for scope in Scope]


@pytest.mark.slow
def test_every_public_route_is_listed(tmp_path: Path) -> None:
    with new_store(tmp_path / "tocsin.db") as store:
        public = {policy.path for policy in policies(app(store)) if policy.allowed == PUBLIC}
    assert {cell for cell in cells(section("Who may do what"), 0) if cell.startswith("/")} == public


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
def test_every_configuration_shown_holds(text: str) -> None:
    assert parse_document(parse_yaml(text, "docs/security.md")).service.public_url == "https://tocsin.example"


def test_every_setting_named_is_one() -> None:
    document = Document()
    for name in re.findall(r"`((?:service|notices|sending)(?:\.[a-z_]+)+)`", TEXT):
        head, *rest = name.split(".")
        model = type(getattr(document, head))
        assert rest[0] in model.model_fields, name


def test_every_table_is_on_the_map_or_holds_no_persons_data() -> None:
    named = set(cells(section("Where personal data is"), 0))
    without = {
        *(
            "meta",
            "config",
            "position",
            "snapshot",
            "window_record",
            "cases",
            "evidence",
            "tally",
            "process",
            "anomalies",
        ),
        *("sign_in", "webhook", "webhook_queue"),
    }
    assert named == set(t.metadata.tables) - without


@pytest.mark.parametrize(
    "said",
    [
        f"{backoff.FREE}, then each further one waits twice as long, up to {backoff.LONGEST_S / 60:.0f} minutes",
        f"{backoff.BURST:.0f} at once, then {backoff.PER_SECOND:.0f} a second",
        f"{guard.JSON_BYTES / 2**20:.0f} MiB, {guard.JSON_DEPTH} levels deep, within {guard.BODY_S:.0f} s",
        f"{guard.FORM_BYTES / 2**10:.0f} KiB",
    ],
)
def test_limits_are_as_said(said: str) -> None:
    assert f"| {said} |" in section("Limits")


def test_spans_are_as_said() -> None:
    assert sign_ins.LONGEST_MS == 7 * 86_400_000 and "after seven days in any case" in TEXT
    assert sign_ins.LINK_MS == 3_600_000 and "**once**, within an hour" in TEXT
    assert parse_document({}).service.session == 12 * 3_600_000 and "(12 hours)" in TEXT

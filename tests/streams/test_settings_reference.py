"""The reference pages are current: whoever changes a setting runs `make docs`."""

from pathlib import Path

import pytest

from detector.signalfields import FIELDS
from detector.signals import parse_signals
from streams.reference import pages
from streams.yamlfile import parse_yaml

DIRECTORY = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["signals.md", "settings.md", "metrics.md"])
def test_the_page_is_what_the_settings_say(name: str) -> None:
    assert (DIRECTORY / name).read_text("utf-8") == pages()[name], "run `make docs`"


@pytest.mark.slow
def test_the_signals_page_names_every_field_and_its_example_is_read() -> None:
    page = pages()["signals.md"]
    assert all(f"| `{field.name}` |" in page for field in FIELDS)
    example = page[page.index("```yaml\n") + 8 : page.rindex("```")]
    (signal,) = parse_signals(parse_yaml(example, "example"))
    assert signal.name == "login-failures"

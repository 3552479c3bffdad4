"""The page on notices shows configurations, texts and templates that work as they stand there."""

import re
from pathlib import Path
from typing import Any

import pytest

from detector.desk.owntext import PLACEHOLDERS, OwnText
from detector.desk.records import Kind
from streams.outbox.channel import available, provider
from streams.outbox.kill_switch import kill_switch
from streams.outbox.provider_template import parse_provider_template
from streams.outbox.smtp_replies import Stage, judged
from streams.outbox.whatsapp_rules import body_problems, marketing
from streams.sections import checked, parse_document
from streams.yamlfile import parse_yaml
from tests.servers.stores import new_store

PAGE = (Path(__file__).parents[1] / "docs" / "notices.md").read_text("utf-8")
BLOCKS: list[Any] = [parse_yaml(block, "notices.md") for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
CHANNELS = [(name, given) for block in BLOCKS for name, given in block.get("channels", {}).items()]


def test_a_configuration_is_shown_for_every_provider() -> None:
    shown = {given["by"] for _, given in CHANNELS}
    assert shown | {"log"} == set(available())


@pytest.mark.parametrize(("name", "given"), [pytest.param(*found, id=found[1]["by"]) for found in CHANNELS])
def test_each_channel_that_is_shown_has_good_options(name: str, given: dict[str, Any]) -> None:
    own = {key: value for key, value in given.items() if key not in ("by", "per_second", "per_day", "on_unknown")}
    checked(provider(given["by"]).Options, own, f"channels.{name}")


def test_each_configuration_that_is_shown_is_one() -> None:
    documents = [block for block in BLOCKS if "channels" in block or "notices" in block]
    assert len(documents) > 5
    for document in documents:
        parse_document(document)


def test_the_text_and_the_template_that_are_shown_are_good() -> None:
    (text,) = re.findall(r"```jinja\n(.*?)```", PAGE, re.DOTALL)
    filled = OwnText(text).fill({"what": "pembayaran BNI", "when": "pukul 14.32 WIB", "failed": "yes"})
    assert "Halo pelanggan,\n\npembayaran BNI Anda pukul 14.32 WIB belum berhasil.\n" in filled
    (document,) = [block for block in BLOCKS if "template" in block]
    template = parse_provider_template(document)
    assert body_problems(template.body, list(template.parameters)) == []
    assert marketing(template.body) == []


def test_every_placeholder_and_kind_is_explained() -> None:
    assert [name for name in PLACEHOLDERS if f"| `{name}` | {PLACEHOLDERS[name]} |" not in PAGE] == []
    assert [kind.value for kind in Kind if f"| `{kind.value}` |" not in PAGE] == []


def test_what_is_said_of_a_mail_servers_answers_holds() -> None:
    for stage, code, text, reason in (
        (Stage.RECIPIENT, 550, "5.2.1", "hard-bounce"),
        (Stage.RECIPIENT, 450, "", "soft-bounce"),
        (Stage.SENDER, 421, "", "unavailable"),
        (Stage.MESSAGE, 554, "5.7.1", "content"),
    ):
        assert judged(stage, code, text, "a@example.com").reason == reason
        assert f"`{reason}`: " in PAGE


@pytest.mark.slow
def test_the_file_of_the_kill_switch_is_named_as_it_is(tmp_path: Path) -> None:
    with new_store(tmp_path / "tocsin.db") as store:
        assert not kill_switch(store).on
        assert "`tocsin.db.kill`" in PAGE
        (tmp_path / "tocsin.db.kill").touch()
        assert kill_switch(store).on

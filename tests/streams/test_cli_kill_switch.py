"""`tocsin kill-switch`: on, off, how it stands; who did it is noted."""

from pathlib import Path

from streams.outbox.kill_switch import killed
from streams.store import audit, open_store
from tests.streams.commands import Tocsin


def test_on_and_off_are_said_stored_and_noted(tocsin: Tocsin) -> None:
    assert "is off" in tocsin("kill-switch")
    said = tocsin.json("kill-switch", "on", "--reason", "wrong words", "--by", "rina")
    assert (said["on"], said["by"], said["reason"]) == (True, "cli:rina", "wrong words")
    with open_store(tocsin.db) as store:
        assert killed(store)
    shown = tocsin("kill-switch", "status")
    assert "nothing is sent (by cli:rina, since 2" in shown
    assert "wrong words" in shown
    assert "is off" in tocsin("kill-switch", "off", "--by", "rina")
    assert tocsin.json("kill-switch", "status")["on"] is False
    with open_store(tocsin.db) as store:
        assert not killed(store)
        noted = [(entry.who, entry.what, entry.detail) for entry in audit.entries(store)]
    assert noted == [("cli:rina", "kill-switch.on", "wrong words"), ("cli:rina", "kill-switch.off", "")]


def test_a_file_made_by_hand_stops_sending_and_off_removes_it(tocsin: Tocsin) -> None:
    file = Path(f"{tocsin.db}.kill")
    file.touch()
    assert tocsin.json("kill-switch", "status") == {"on": True, "by": None, "reason": "", "at": None}
    tocsin("kill-switch", "off")
    assert not file.exists()

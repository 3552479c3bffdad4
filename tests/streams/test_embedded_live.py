"""Following a file: what came is durable before anything is made of it, silence counts, a crash repeats nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from detector.config import Config
from detector.errors import UnreachableError, UsageError
from streams.cli.replay import summary
from streams.engines.embedded import Step
from streams.engines.live import Follower
from streams.engines.session import InputFormat, Run, session
from streams.intake.sshd import SSHD_SIGNALS
from streams.store import Store, open_store, queries
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.documents import dump
from tests.streams.shop import MINUTES, START_MS, Shop, lines, rfc3339, write

MINUTE_MS = 60_000
LAG_MS = 3 * MINUTE_MS


class World:
    """A clock that only waiting moves, and a log whose lines appear as it moves."""

    def __init__(self, file: Path, *, until_ms: int, lag_ms: int = 0, step_ms: int = 30_000) -> None:
        self.file, self.until_ms, self.lag_ms, self.step_ms = file, until_ms, lag_ms, step_ms
        self.now = START_MS
        self.session: Any = None
        self.left = [(_time_of(line), line) for line in lines()]
        newest = START_MS
        for i, (at_ms, line) in enumerate(self.left):  # what is no event stands with the line before it
            newest = at_ms if at_ms is not None else newest
            self.left[i] = (newest, line)
        file.touch()

    def now_ms(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1_000

    def sleep(self, seconds: float) -> None:
        self.now += self.step_ms
        arrived = [line for at_ms, line in self.left if (at_ms or 0) + self.lag_ms <= self.now]
        self.left = self.left[len(arrived) :]
        with self.file.open("ab") as stream:
            stream.write(b"".join(line + b"\n" for line in arrived))
        if self.now >= self.until_ms:
            self.session.stop.signal = 15


def _time_of(line: bytes) -> int | None:
    from detector.decode.times import iso_ms

    try:
        return iso_ms(msgspec.json.decode(line)["time"], None)
    except (msgspec.DecodeError, KeyError):
        return None


def follow(db: Path, world: World, run: Run, watch: Callable[[Step], None] | None = None) -> dict[str, Any]:
    said: list[str] = []
    with session(db, run, world, mode="live", watch=watch) as found:
        world.session = found
        Follower(found, world, said.append).run(str(world.file))
        return summary(found.store)


def dumped(db: Path) -> list[dict[str, Any]]:
    with open_store(db) as store:
        return list(dump(store))


END_MS = START_MS + (MINUTES + 30) * MINUTE_MS


@pytest.fixture(scope="module")
def followed(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("followed")
    follow(folder / "live.db", World(folder / "log.ndjson", until_ms=END_MS), shop.run())
    return folder / "live.db"


@pytest.mark.slow
def test_silence_closes_windows(shop: Shop, followed: Path) -> None:
    with open_store(followed) as store:
        found = summary(store)
        (case,) = queries.list_cases(store, finished=True)
    assert found["events"] == len(lines())
    assert found["windows"] >= MINUTES + 20
    assert found["dropped"] == {}
    assert [cause.where for cause in case.causes] == [{"bank": "BNI"}]


@pytest.mark.slow
def test_a_log_that_lags_behind_loses_nothing_by_it(shop: Shop, followed: Path, tmp_path: Path) -> None:
    world = World(tmp_path / "log.ndjson", until_ms=END_MS, lag_ms=LAG_MS)
    found = follow(tmp_path / "lag.db", world, shop.run())
    assert found["dropped"] == {}
    with open_store(tmp_path / "lag.db") as store:
        (case,) = queries.list_cases(store, finished=True)
    assert [cause.where for cause in case.causes] == [{"bank": "BNI"}]


@pytest.mark.slow
def test_a_backlog_of_last_month_lets_no_time_pass(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "old.ndjson"
    file.write_bytes(b"\n".join(lines()) + b"\n")
    world = World(file, until_ms=START_MS + 31 * 86_400_000, step_ms=3_600_000)
    world.now, world.left = START_MS + 30 * 86_400_000, []
    found = follow(tmp_path / "old.db", world, shop.run())
    assert MINUTES - 5 <= found["windows"] <= MINUTES


@pytest.mark.slow
def test_a_crash_at_any_step_repeats_nothing_and_loses_nothing(shop: Shop, followed: Path, tmp_path: Path) -> None:
    db, seen = tmp_path / "crashed.db", 0
    world = World(tmp_path / "log.ndjson", until_ms=END_MS)

    def crash(_step: Step) -> None:
        nonlocal seen
        seen += 1
        if seen % 31 == 0:
            raise InterruptedError

    crashes, run = 0, shop.run(commit_s=200.0)
    for _ in range(100):
        try:
            follow(db, world, run, crash)
        except InterruptedError:
            crashes += 1
        else:
            break
    assert crashes > 5
    assert dumped(db) == dumped(followed)
    with open_store(db) as store, store.reading() as connection:
        assert connection.execute(sa.select(t.intake)).all() == []  # pruned behind the snapshot


@pytest.mark.slow
def test_a_store_that_cannot_be_written_pauses_the_run_and_loses_nothing(
    shop: Shop, followed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, tries = tmp_path / "full.db", 0
    whole = Store.transaction

    def full_now_and_then(store: Store) -> Any:
        nonlocal tries
        tries += 1
        if tries % 7 == 0:
            message = "the disk is full"
            raise UnreachableError(message)
        return whole(store)

    world = World(tmp_path / "log.ndjson", until_ms=END_MS)
    said: list[str] = []
    with session(db, shop.run(), world, mode="live") as found:
        world.session = found
        monkeypatch.setattr(Store, "transaction", full_now_and_then)
        Follower(found, world, said.append).run(str(world.file))
        monkeypatch.undo()
    assert "going on" in said
    assert sum("disk is full" in text for text in said) == said.count("going on")
    with open_store(db) as store:
        found_there = summary(store)
    assert found_there["events"] == len(lines())
    assert found_there["dropped"] == {}


@pytest.mark.slow
def test_a_live_store_and_a_recording_do_not_mix(shop: Shop, followed: Path, replayed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no recording events"):
        with session(followed, shop.run(), World(tmp_path / "a", until_ms=0), mode="recording"):
            pass
    with pytest.raises(UsageError, match="takes no live events"):
        with session(replayed, shop.run(), World(tmp_path / "b", until_ms=0), mode="live"):
            pass


def test_a_followed_log_without_years_is_of_the_clocks_year_and_that_is_said_once(tmp_path: Path) -> None:
    line = b"Mar  2 0%d:00:00 host sshd[1]: Failed password for root from 10.0.0.1 port 4 ssh2"
    world = World(tmp_path / "auth.log", until_ms=START_MS + 10 * MINUTE_MS)
    world.left = [(START_MS, line % 1), (START_MS + MINUTE_MS, line % 2)]
    said: list[str] = []
    run = Run(Config(signals=SSHD_SIGNALS), InputFormat("sshd"))
    with session(tmp_path / "ssh.db", run, world, mode="live", say=said.append) as found:
        world.session = found
        Follower(found, world, said.append).run(str(world.file))
        assert summary(found.store)["applied"] == 2
    assert said == [f"{world.file}: stamps have no year: taken as 2026, by the clock; --year Y states another"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["recording", "live"])
def test_what_changes_in_the_directory_counts_from_the_next_block_on(shop: Shop, tmp_path: Path, mode: str) -> None:
    events = [
        {"time": rfc3339(START_MS + i * MINUTE_MS), "kind": "payment", "customer": name, "outcome": "declined"}
        for i, name in enumerate(("guest-1", "guest-2", "guest-2", "guest-3"))
    ]
    data, file, db = [msgspec.json.encode(event) for event in events], tmp_path / "log.ndjson", tmp_path / "a.db"
    more = tmp_path / "more.csv"
    more.write_text("id,login\nC-1,guest-2\n", encoding="utf-8")
    seen = 0

    def learn(step: Step) -> None:
        nonlocal seen
        seen += step.effects.records
        if seen == 1:
            with open_store(db) as beside:
                CustomerDirectory(beside).import_file(more)

    run = shop.run(block_bytes=len(data[0]) + 1)
    if mode == "live":
        world = World(file, until_ms=START_MS + 10 * MINUTE_MS)
        world.left = [(START_MS + i * MINUTE_MS, line) for i, line in enumerate(data)]
        follow(db, world, run, learn)
    else:
        file.write_bytes(b"\n".join(data) + b"\n")
        with session(db, run, World(tmp_path / "none", until_ms=0), mode=mode, watch=learn) as found:
            found.read([str(file)])
    assert seen == len(events)
    with open_store(db) as store, store.reading() as connection:
        bare = connection.execute(sa.select(t.customer.c.id).where(t.customer.c.known == 0))
        assert {row.id for row in bare} == {"guest-1", "guest-3"}


# --- sending ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sending(tmp_path: Path) -> Shop:
    shop = write(tmp_path / "sending")
    (shop.folder / "tocsin.yml").write_text(
        "customers: customers.csv\nnotices: {send: true, channels: [log]}\n", encoding="utf-8"
    )
    text = (shop.folder / "customers.csv").read_text(encoding="utf-8")
    (shop.folder / "customers.csv").write_text(text.replace("whatsapp", "all"), encoding="utf-8")
    return shop


@pytest.mark.slow
def test_what_is_decided_live_is_sent_once_and_known_as_sent(
    sending: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "sent.db"
    follow(db, World(tmp_path / "log.ndjson", until_ms=END_MS), sending.run())
    sent = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    with open_store(db) as store:
        (case,) = queries.list_cases(store, finished=True)
        notices = {n.id: n for n in queries.notices(store, case.id) if n.state == "sent"}
        with store.reading() as connection:
            assert {row.state for row in connection.execute(sa.select(t.outbox))} == {"sent"}
    assert len(sent) > 50
    assert sorted(line["notice"] for line in sent) == sorted(notices)
    assert all(line["body"].startswith("Halo Name ") for line in sent)
    assert all("•••" in line["to"] for line in sent)


@pytest.mark.slow
def test_the_gate_asks_again_at_the_moment_of_sending(
    sending: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "gated.db"
    world = World(tmp_path / "log.ndjson", until_ms=END_MS)

    def withdraw(step: Step) -> None:
        if step.effects.desk.notices:  # decided just now, not yet sent
            with world.session.store.transaction() as connection:
                connection.execute(sa.update(t.customer).values(consent=""))

    follow(db, world, sending.run(), withdraw)
    assert capsys.readouterr().err == ""
    with open_store(db) as store, store.reading() as connection:
        attempts = {(row.outcome, row.detail) for row in connection.execute(sa.select(t.delivery))}
        assert attempts == {("suppressed", "no-consent")}


@pytest.mark.slow
def test_a_channel_that_cannot_send_is_refused_at_the_start(sending: Shop, tmp_path: Path) -> None:
    (sending.folder / "tocsin.yml").write_text("notices: {send: true, channels: [pigeon]}\n", encoding="utf-8")
    world = World(tmp_path / "log.ndjson", until_ms=END_MS)
    with pytest.raises(UsageError, match="'pigeon'"):
        follow(tmp_path / "pigeon.db", world, sending.run())

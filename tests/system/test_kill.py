"""kill -9 at random points, other block sizes, files in pieces: what comes out is the same to the byte."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.simulate import simulate
from tests.servers import postgres

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("TOCSIN_TEST_SEED", "20260302"))
KILLS = 6
TIMEOUT_S = 300


def tocsin(*arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    code = "import sys; from streams.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root, env={**kept, **(env or {})}
    )


def done(*arguments: str, env: Mapping[str, str] | None = None) -> bytes:
    process = tocsin(*arguments, env=env)
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors.decode()
    return out


@dataclass
class Recording:
    """A simulated recording, and what an undisturbed run made of it."""

    folder: Path
    events: int
    dump: bytes
    summary: dict[str, Any]

    def replay(self, db: Path | str, *files: str) -> list[str]:
        named = files or (str(self.folder / "events.ndjson"),)
        return ["replay", "--json", "--config", str(self.folder), "--db", str(db), *named]

    def same(self, db: Path | str) -> None:
        assert done("dump", "--db", str(db)) == self.dump


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    folder = tmp_path_factory.mktemp("recording")
    world = simulate(SEED, 0.4, 4.0)
    (folder / "events.ndjson").write_bytes(b"".join(world.blocks()))
    for name, text in (
        ("customers.csv", world.customers_csv()),
        ("signals.yml", world.signals_yml()),
        ("tocsin.yml", world.tocsin_yml()),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    made = Recording(folder, world.events, b"", {})
    made.summary = json.loads(done(*made.replay(folder / "undisturbed.db")))
    made.dump = done("dump", "--db", str(folder / "undisturbed.db"))
    kinds = {json.loads(line)["type"] for line in made.dump.splitlines()}
    assert kinds == {"case", "ledger", "notice"}, "the recording must have something to lose"
    yield made


def test_every_record_ends_in_exactly_one_place(recording: Recording) -> None:
    found = recording.summary
    assert found["events"] == recording.events
    assert found["events"] == found["applied"] + sum(found["dropped"].values()) + sum(found["dead"].values())


def test_a_finished_recording_adds_nothing_when_run_again(recording: Recording) -> None:
    db = recording.folder / "undisturbed.db"
    assert json.loads(done(*recording.replay(db))) == recording.summary
    recording.same(db)


def test_kill_9_at_random_points_changes_nothing(recording: Recording, db: str) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    env, killed = {"TOCSIN_COMMIT_SECONDS": "0.05", "TOCSIN_BLOCK_BYTES": "65536"}, 0
    while killed < KILLS:
        process = tocsin(*recording.replay(db), env=env)
        try:
            process.communicate(timeout=chance.uniform(1.0, 3.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        else:
            assert process.returncode == 0
            assert killed, "the run was over before the first kill"
            break
    print(f"killed {killed} times")
    assert json.loads(done(*recording.replay(db), env=env)) == recording.summary
    recording.same(db)


@pytest.mark.postgres
def test_a_server_that_is_killed_and_started_again_at_random_points_changes_nothing(recording: Recording) -> None:
    print(f"seed {SEED}")
    chance, kills = random.Random(SEED), 0
    env = {"TOCSIN_COMMIT_SECONDS": "0.05", "TOCSIN_BLOCK_BYTES": "65536"}
    with postgres.running(fsync=True) as server:
        db = server.store_url()
        while True:
            process = tocsin(*recording.replay(db), env=env)
            try:
                process.communicate(timeout=chance.uniform(1.5, 4.0) if kills < KILLS else TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                kills += 1
                _, errors = process.communicate(timeout=TIMEOUT_S)
                server.start()
                assert process.returncode in (0, 3), errors.decode()
                assert errors.count(b"\n") == (1 if process.returncode else 0), errors.decode()
            if process.returncode == 0:
                break
        print(f"killed {kills} times")
        assert kills, "the run was over before the first kill"
        assert json.loads(done(*recording.replay(db), env=env)) == recording.summary
        recording.same(db)


@pytest.mark.parametrize(
    "block_bytes", [pytest.param(4_999, id="a few lines"), pytest.param(10**8, id="the whole file")]
)
def test_the_size_of_blocks_changes_nothing(recording: Recording, tmp_path: Path, block_bytes: int) -> None:
    db = tmp_path / "blocks.db"
    found = done(*recording.replay(db), env={"TOCSIN_BLOCK_BYTES": str(block_bytes)})
    assert json.loads(found) == recording.summary
    recording.same(db)


def test_a_recording_in_several_files_is_the_same_recording(recording: Recording, tmp_path: Path) -> None:
    data = (recording.folder / "events.ndjson").read_bytes()
    cuts = [0, data.index(b"\n", len(data) // 3) + 1, data.index(b"\n", len(data) // 2) + 1, len(data)]
    names = []
    for i, (start, end) in enumerate(pairwise(cuts)):
        names.append(str(tmp_path / f"part-{i}.ndjson"))
        Path(names[-1]).write_bytes(data[start:end])
    db = tmp_path / "parts.db"
    assert json.loads(done(*recording.replay(db, *names))) == recording.summary
    recording.same(db)


def test_standard_input_is_the_same_recording(recording: Recording, tmp_path: Path) -> None:
    db = tmp_path / "stdin.db"
    code = "import sys; from streams.cli.main import main; sys.exit(main())"
    with (recording.folder / "events.ndjson").open("rb") as stream:
        command = [sys.executable, "-c", code, *recording.replay(db, "-")]
        found = subprocess.run(
            command, stdin=stream, capture_output=True, check=True, timeout=TIMEOUT_S, cwd=Path(__file__).parents[2]
        )
    assert json.loads(found.stdout) == recording.summary
    recording.same(db)

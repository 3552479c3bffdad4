"""The compose files, where there is no Docker: by the schema, confined, and each part held to what it runs and reads.

Tocsin's own processes are run as their containers would: the same words by the same shell, on a real broker and server.
"""

import json
import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploy.kafka.broker import HERE
from streams.cli.main import cli
from streams.kafka.admin import administration
from streams.kafka.client import KafkaSettings
from tests.servers.http import free_port
from tests.servers.kafka import started
from tests.servers.postgres import PASSWORD, Server
from tests.servers.postgres import postgres as postgres
from tests.servers.service import until

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "deploy" / "compose"
ONE, TEAM = COMPOSE / "one.yml", ROOT / "docker-compose.yml"
FILES = [pytest.param(ONE, id="one machine"), pytest.param(TEAM, id="a team")]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PROGRAMS = Path(sys.executable).parent
OURS = ("topics", "worker-1", "worker-2", "web", "notifier")
ONCE = ("topics",)


def services(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))["services"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES)
def test_a_compose_file_holds_to_its_schema(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES)
def test_every_service_is_confined(path: Path) -> None:
    for name, service in services(path).items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), name
        assert not service.get("privileged") and "network_mode" not in service and "pid" not in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "build" in service or re.fullmatch(r"[a-z/]+:v?\d+(\.\d+)*(-\w+)?", service["image"]), name


@pytest.mark.parametrize("path", FILES)
def test_every_service_is_looked_after(path: Path) -> None:
    for name, service in services(path).items():
        assert int(service["stop_grace_period"].removesuffix("s")) > 25, name
        assert "restart" in service, name
        assert "healthcheck" in service or name in ONCE, name


def test_secrets_come_from_files() -> None:
    document = yaml.safe_load(TEAM.read_text("utf-8"))
    for name, service in document["services"].items():
        for key, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|SECRET|TOKEN|KEY", key) or str(value).startswith("/run/secrets/"), name
        for secret in service.get("secrets", []):
            assert (secret if isinstance(secret, str) else secret["source"]) in document["secrets"]
    assert all(set(secret) == {"file"} for secret in document["secrets"].values())


@pytest.mark.parametrize("path", FILES)
def test_what_is_mounted_is_there(path: Path) -> None:
    document = yaml.safe_load(path.read_text("utf-8"))
    for service in document["services"].values():
        for volume in service.get("volumes", []):
            source, target, *_ = re.sub(r"^\$\{\w+:-([^}]+)\}", r"\1", volume).split(":")
            if source.startswith("."):
                there = path.parent / source
                assert there.exists() and volume.endswith(":ro"), volume
                assert there.is_dir() or Path(target).suffix == there.suffix or target == "/entry", volume
            else:
                assert source in document["volumes"], volume
        if "build" in service:
            context = path.parent / service["build"]["context"]
            assert context.resolve() == ROOT and (context / service["build"]["dockerfile"]).is_file()


def test_the_image_holds_what_each_of_its_processes_imports() -> None:
    locked = (ROOT / "requirements" / "core.txt").read_text("utf-8")
    assert "requirements/core.txt" in DOCKERFILE.read_text("utf-8")
    for package in ("psycopg-binary", "faust-streaming", "aiokafka", "kafka-python", "uvicorn"):
        assert re.search(rf"^{package}==", locked, re.MULTILINE), package
    assert re.search(r"^USER 10001:10001$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", FILES)
def test_a_probe_asks_a_port_that_its_process_listens_on(path: Path) -> None:
    listened = {"alertmanager": 9093, "grafana": 3000, "prometheus": 9090, "tocsin": 8321, "web": 8321}
    for name, service in services(path).items():
        words = " ".join(service.get("healthcheck", {}).get("test", []))
        asked = {int(port) for port in re.findall(r"127\.0\.0\.1[:/](\d+)", words)}
        if name.startswith("worker"):
            assert asked == {int(service["command"][2].rpartition(":")[2])}, name
        elif name in listened:
            assert asked == {listened[name]}, name
        elif name == "kafka":
            assert asked == {9092} and "INSIDE://:9092" in service["environment"]["KAFKA_LISTENERS"]
        else:
            assert not asked, name
        outside = {int(port.split(":")[-1]) for port in service.get("ports", [])}
        assert outside <= ({9094} if name == "kafka" else {listened.get(name, 0)}), name


def test_prometheus_asks_each_process_where_it_answers() -> None:
    known = services(TEAM)
    targets = {
        file.stem: [target for group in json.loads(file.read_text("utf-8")) for target in group["targets"]]
        for file in (COMPOSE / "targets").glob("*.json")
    }
    assert targets == {
        "tocsin": ["web:8321"],
        "workers": [f"{name}:8322" for name in known if name.startswith("worker-")],
        "alertmanager": ["alertmanager:9093"],
    }
    assert set(targets) == {path.stem for path in (ROOT / "deploy" / "prometheus" / "targets").glob("*.json")}
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    tokens = {job["authorization"]["credentials_file"] for job in config["scrape_configs"] if "authorization" in job}
    assert {f"/etc/prometheus/{token}" for token in tokens} == {known["prometheus"]["secrets"][0]["target"]}
    mounted = {volume.split(":")[1] for volume in known["prometheus"]["volumes"]}
    assert {"/etc/prometheus/prometheus.yml", "/etc/prometheus/rules", "/etc/prometheus/targets"} <= mounted
    assert config["rule_files"] == ["rules/*.yml"]


def test_grafana_finds_the_dashboard_and_prometheus() -> None:
    grafana = services(TEAM)["grafana"]
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tocsin.yml").read_text("utf-8"))["providers"]
    mounted = dict(reversed(volume.removesuffix(":ro").split(":")) for volume in grafana["volumes"])
    assert mounted[f"{provider['options']['path']}/tocsin.json"] == "./deploy/grafana/tocsin.json"
    assert mounted["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    assert source["url"] == "${PROMETHEUS_URL}" and grafana["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


@pytest.mark.slow
def test_the_image_is_written_as_hadolint_wants_it() -> None:
    done = subprocess.run([PROGRAMS / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _command(name: str) -> click.Command:
    """Return the command of a service."""
    words = iter(services(TEAM)[name]["command"])
    command: click.Command = cli
    context = click.Context(cli, info_name="tocsin")
    while isinstance(command, click.Group):
        found = command.get_command(context, next(words))
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize("name", OURS)
def test_the_commands_and_their_flags_are_ones_that_there_are(name: str) -> None:
    command = _command(name)
    parsed = command.make_context(name, services(TEAM)[name]["command"][2 if name == "topics" else 1 :])
    assert parsed.args == []
    known = {variable for option in command.params for variable in [option.envvar] if isinstance(variable, str)}
    assert {"TOCSIN_CONFIG", "TOCSIN_DB", "TOCSIN_BROKERS"} & known
    every = {option.envvar for one in map(_command, OURS) for option in one.params}
    assert set(services(TEAM)[name]["environment"]) <= every


@pytest.mark.slow
def test_secrets_are_drawn_once_and_closed_to_others(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_bytes((COMPOSE / "secrets.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", str(script)], check=True, capture_output=True)
        found = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    document = yaml.safe_load(TEAM.read_text("utf-8"))
    assert set(found) == {Path(secret["file"]).name for secret in document["secrets"].values()}
    assert all(len(found[name]) == 48 for name in ("postgres.password", "grafana.password"))
    assert found["postgres.password"] != found["grafana.password"] and found["prometheus.token"] == ""
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


@dataclass
class Containers:
    """The processes of the team's file, without the containers: on loopback, with other ports."""

    folder: Path
    environment: dict[str, str]
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str, *, port: str = "", free: int = 0) -> "subprocess.Popen[bytes]":
        """Run a service's words by the shell that its entrypoint names; `free` instead of `port`."""
        service = services(TEAM)[name]
        given = {"TOCSIN_PORT": str(free)} if name == "web" else {}
        entry = str(self.folder / "entry")
        words = [word.replace("$$", "$").replace("/entry", entry) for word in service["entrypoint"]]
        words += [word.replace(port, str(free)) if port else word for word in service["command"]]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                words, env=self.environment | given, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )
        self.running[name] = process
        return process

    def probe(self, name: str, port: str, free: int) -> bool:
        """Run a service's healthcheck."""
        kind, *words = services(TEAM)[name]["healthcheck"]["test"]
        assert kind == "CMD" and any(port in word for word in words)
        words = [word.replace(port, str(free)) for word in words]
        return subprocess.run(words, env=self.environment, capture_output=True, check=False).returncode == 0

    def said(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text('utf-8')}" for path in sorted(self.folder.glob("*.log")))


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.postgres
def test_each_process_of_ours_starts_with_the_words_and_the_password_of_its_container(
    postgres: Server, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    entry = (COMPOSE / "entry.sh").read_text("utf-8")
    assert entry.count("/run/secrets/postgres-password") == 1
    (tmp_path / "entry").write_text(entry.replace("/run/secrets/postgres-password", str(tmp_path / "password")))
    database = postgres.database()
    postgres.execute(f"CREATE USER bob PASSWORD '{PASSWORD}'")
    postgres.execute(f"ALTER DATABASE {database} OWNER TO bob")
    with started(tmp_path / "kafka") as brokers:
        given = {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "TOCSIN_CONFIG": str(ROOT / "deploy" / "config"),
            "TOCSIN_DB": postgres.url(database, user="bob"),
            "TOCSIN_BROKERS": brokers.bootstrap,
        }
        assert set(services(TEAM)["web"]["environment"]) == set(given) - {"PATH"}
        ours = Containers(tmp_path, given)
        try:
            assert ours.start("topics").wait(60) == 0, ours.said()
            health, page = free_port(), free_port()
            ours.start("web", free=page)
            until(lambda: ours.probe("web", "8321", page), "web is well", 60)
            ours.start("worker-1", port="8322", free=health)
            until(lambda: ours.probe("worker-1", "8322", health), "the worker is well", 60)
            ours.start("notifier")
            sending = "SELECT count(*) FROM process WHERE name LIKE 'notifier%'"
            until(lambda: postgres.execute(sending, database)[0][0], "the notifier speaks", 60)
            for name in ("notifier", "worker-1", "web"):
                ours.running[name].terminate()
                assert ours.running[name].wait(30) in (0, -15), ours.said()
        finally:
            for process in ours.running.values():
                process.kill()
                process.wait()
    assert "Traceback" not in ours.said() and PASSWORD not in ours.said()


@pytest.mark.slow
@pytest.mark.kafka
def test_a_broker_takes_the_settings_that_the_container_is_given(tmp_path: Path) -> None:
    """What the image makes of its environment, on loopback."""
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in services(TEAM)["kafka"]["environment"].items()
    }
    ours = (HERE / "server.properties").read_text("utf-8")
    addressed = ("node.id", "log.dirs", "listener", "voters")
    kept = {key: value for key, value in given.items() if not any(part in key for part in addressed)}
    assert kept.pop("process.roles") == "broker,controller"
    assert kept["auto.create.topics.enable"] == "false" and "auto.create.topics.enable=false" in ours
    assert given["listeners"].count("://") == 3 and given["advertised.listeners"].count("://") == 2
    with started(tmp_path, properties=kept) as running:
        with administration(KafkaSettings(tuple(running.bootstrap.split(",")))) as client:
            assert len(client.describe_cluster()["brokers"]) == 1

"""Debian's Prometheus and Alertmanager as tests run them: on loopback, on free ports, with their data in a folder.

PROMETHEUS, PROMTOOL, ALERTMANAGER and AMTOOL name other programs than those of the path.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.servers.http import free_port
from tests.servers.missing import missing
from tests.servers.service import until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "prometheus"
_CALLED = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "amtool": ("amtool",),
}


def program(name: str) -> str:
    """Return where a program is; where it is not the test is skipped, but not in CI."""
    for called in (os.environ.get(name.upper(), ""), *_CALLED[name]):
        found = shutil.which(called) if called else None
        if found:
            return found
    missing("prometheus", f"no {name} found ({name.upper()} names one)")


def run(name: str, *arguments: str | Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run promtool or amtool to its end."""
    words = [program(name), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


def deployed(folder: Path, token: str = "toc_none") -> Path:
    """Return a copy of `deploy/prometheus` with a token in its place."""
    there = folder / "prometheus"
    shutil.copytree(DEPLOY, there)
    (there / "tocsin.token").write_text(token, encoding="utf-8")
    return there


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules of the project: those with `record`, or those with `alert`."""
    return [rule for rule in _every_rule() if kind in rule]


def _every_rule() -> Iterator[dict[str, Any]]:
    for file in sorted((DEPLOY / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            yield from group["rules"]


@dataclass
class Alertmanager:
    """A running Alertmanager."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = [
            program("alertmanager"),
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        with (self.folder / "alertmanager.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder)
        until(lambda: _answers(f"{self.url}/-/ready"), "Alertmanager is ready")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def alerts(self, *matchers: str) -> list[dict[str, Any]]:
        """Return the active alerts, as `amtool alert query` prints them."""
        found = run("amtool", "alert", "query", f"--alertmanager.url={self.url}", "--output=json", *matchers)
        assert found.returncode == 0, found.stderr
        return list(json.loads(found.stdout or "[]") or [])


@contextmanager
def alertmanager(folder: Path, config: str | None = None) -> Iterator[Alertmanager]:
    """Run an Alertmanager until the block ends, with the project's configuration unless another is given."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (DEPLOY / "alertmanager.yml").read_text("utf-8") if config is None else config
    (folder / "alertmanager.yml").write_text(text, encoding="utf-8")
    made = Alertmanager(free_port(), folder)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **parameters: str) -> Any:
        found = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False, timeout=30).json()
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> dict[str, float]:
        """Return an expression's values now, by their labels as text."""
        found = self.get("query", query=expression)["result"]
        return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in found}

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the labels of the alerts that fire, by name."""
        found = self.get("alerts")["alerts"]
        return {one["labels"]["alertname"]: one["labels"] for one in found if one["state"] == "firing"}


@contextmanager
def prometheus(folder: Path, targets: dict[str, list[str]], token: str = "") -> Iterator[Prometheus]:
    """Run a Prometheus on the project's configuration and rules until the block ends.

    Its addresses are the test's, it looks every second, and alerts wait a second instead of minutes (`for`).

    Parameters
    ----------
    targets
        By file of `targets/`: `{"tocsin": ["127.0.0.1:8321"], "workers": […], "alertmanager": […]}`.
    """
    there = deployed(folder, token)
    file = there / "prometheus.yml"
    config = yaml.safe_load(file.read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for name, addresses in {"tocsin": [], "workers": [], "alertmanager": [], **targets}.items():
        (there / "targets" / f"{name}.json").write_text(json.dumps([{"targets": addresses}]), encoding="utf-8")
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] != "prometheus"]
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    alerts = there / "rules" / "alerts.yml"
    written = yaml.safe_load(alerts.read_text("utf-8"))
    for group in written["groups"]:
        for rule in group["rules"]:
            rule["for"] = "1s"
    alerts.write_text(yaml.safe_dump(written), encoding="utf-8")
    port = free_port()
    words = [
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={there / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    ]
    with (there / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=there)
    made = Prometheus(port)
    try:
        until(lambda: _answers(f"{made.url}/-/ready"), "Prometheus is ready")
        yield made
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False

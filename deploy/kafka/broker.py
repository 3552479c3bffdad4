"""Apache Kafka on loopback without Docker: one node or three, from Maven Central's jars.

`python -m deploy.kafka.broker` (or `make kafka`) runs it in the foreground, in a data directory of its own, until
ctrl-C; the tests use `Cluster`. Needs Java 17, and Maven the first time: the jars are kept in the user's cache.

A node keeps its data and its port through kill, stop and start, as a real one does. For development and tests only.
"""

import argparse
import base64
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
VERSION = "4.4.0"
OLDER = "3.9.2"
"""The oldest that is tested."""
VERSIONS = (VERSION, OLDER)

_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_LOG = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
_READY_S = 60.0
_STOP_S = 20.0
_MAVEN_S = 900.0
_KEPT = "cluster.json"
_PORTS = range(20_000, 32_000)
"""Below those that systems hand out: nobody takes a node's port while the node is down."""


class NoKafka(Exception):
    """Java, Maven or the jars can't be had; the message says which."""


# --- the jars ---------------------------------------------------------------------------------------------------------


def cache_directory() -> Path:
    """Return where the jars are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tocsin" / "kafka"


def jars(version: str = VERSION) -> Path:
    """Return the folder of a version's jars, fetched by Maven the first time (a minute).

    Raises
    ------
    NoKafka
        Java or Maven is missing, or Maven could not fetch them.
    """
    if shutil.which("java") is None:
        message = "no Java found: Kafka needs Java 17 (Debian: apt install openjdk-17-jre-headless)"
        raise NoKafka(message)
    folder = cache_directory() / version
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{version}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _fetch(version, folder)
    return folder


def _fetch(version: str, folder: Path) -> None:
    if shutil.which("mvn") is None:
        message = "no Maven found: it fetches Kafka's jars the first time (Debian: apt install maven)"
        raise NoKafka(message)
    unfinished = folder.with_name(f"{version}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}")
    maven = ("mvn", "-B", "-q", "-Dstyle.color=never", "-f", str(HERE / "pom.xml"))
    command = (*maven, f"-Dkafka.version={version}", *goal)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MAVEN_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        message = f"Maven did not fetch Kafka {version} within {_MAVEN_S:.0f} s"
        raise NoKafka(message) from error
    if done.returncode or not list(unfinished.glob("kafka_*.jar")):
        said = (done.stdout + done.stderr).strip().splitlines()
        message = f"Maven could not fetch Kafka {version}: {said[0] if said else 'it said nothing'}"
        raise NoKafka(message)
    unfinished.rename(folder)


# --- nodes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listener:
    """A further way in, beside the open one: `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.

    Attributes
    ----------
    properties
        Of server.properties, without the prefix that names the listener: `{"ssl.keystore.location": …}`.
    """

    protocol: str
    properties: Mapping[str, str] = field(default_factory=dict)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    message = "no free port on loopback"
    raise NoKafka(message)


def _is_free(port: int) -> bool:
    """Whether nobody listens there; what is left of connections to who did is nobody."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Node:
    """One broker and controller: a process that can be killed, frozen and started again on its data."""

    def __init__(self, libraries: Path, directory: Path, number: int, ports: Mapping[str, int]) -> None:
        self.number = number
        self.ports = ports
        self.directory = directory
        self.configuration = directory / "server.properties"
        self.log = directory / "broker.log"
        self._libraries = libraries
        self._archive = libraries.parent / f"{libraries.name}.jsa"
        self._own_archive = directory / "classes.jsa"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where clients reach it, without security."""
        return f"127.0.0.1:{self.ports['PLAINTEXT']}"

    @property
    def pid(self) -> int:
        """The process of the last start."""
        assert self._process is not None, "the node was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, be it frozen."""
        return self._process is not None and self._process.poll() is None

    def formatting(self, cluster: str, *arguments: str) -> "subprocess.Popen[str]":
        """Start to make the data directory."""
        command = ("kafka.tools.StorageTool", "format", "--ignore-formatted", f"--cluster-id={cluster}", "-c")
        return subprocess.Popen(
            [*self._java(), *command, str(self.configuration), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self) -> None:
        """Start the process; `wait` says when it can be used."""
        assert not self.running, f"node {self.number} runs already"
        for port in self.ports.values():
            if not _is_free(port):
                message = (
                    f"127.0.0.1:{port} is taken: a broker runs already, perhaps this one ({self.directory.parent}); "
                    "use it, stop it, or name another --port and --directory"
                )
                raise NoKafka(message)
        # The classes that a broker loads, kept by the first one that stops: later starts take half the time.
        if self._archive.exists():
            sharing = f"-XX:SharedArchiveFile={self._archive}"
        else:
            sharing = f"-XX:ArchiveClassesAtExit={self._own_archive}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java(sharing), "kafka.Kafka", str(self.configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, limit_s: float = _READY_S) -> None:
        """Wait until it answers."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if not self.running:
                message = f"node {self.number} has stopped: {self.said()}"
                raise NoKafka(message)
            with suppress(OSError):
                for protocol, port in self.ports.items():
                    if protocol != "CONTROLLER":
                        socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.05)
        message = f"node {self.number} did not answer within {limit_s:.0f} s: {self.said()}"
        raise NoKafka(message)

    def kill(self) -> None:
        """End it as a power cut does (`kill -9`)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Stop it from doing anything; its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Ask it to stop, frozen or not; does not wait."""
        if self.running:
            self.thaw()
            assert self._process is not None
            self._process.terminate()

    def stop(self, limit_s: float = _STOP_S) -> None:
        """Stop it in order; kill it if it takes too long."""
        self.end()
        if self._process is None:
            return
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._keep_archive()

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text("utf-8", "replace")[-2_000:] if self.log.exists() else "nothing"

    def _java(self, *options: str) -> list[str]:
        return ["java", *options, *_JVM, *_LOG, "-cp", f"{self._libraries}/*"]

    def _keep_archive(self) -> None:
        if self._own_archive.exists():
            if not self._archive.exists():
                kept = self._archive.with_name(f"{self._archive.name}.{uuid.uuid4().hex}")
                shutil.copyfile(self._own_archive, kept)
                kept.rename(self._archive)
            self._own_archive.unlink()


class Cluster:
    """So many nodes on loopback; `with Cluster(directory) as cluster: cluster.bootstrap`.

    A directory that held a cluster before goes on with its data, its nodes and its ports.

    Parameters
    ----------
    listeners : sequence of Listener
        Further ways in; `cluster.addresses("SASL_SSL")` says where they are.
    users : sequence of str
        For SCRAM, as Kafka writes them: `SCRAM-SHA-256=[name=ani,password=secret]`.
    properties : mapping
        Further lines of server.properties.
    port : int, optional
        Of the first node; that of the directory, or a free one, unless given.

    Raises
    ------
    NoKafka
        Java, Maven or the jars can't be had, a port is taken, or a node does not start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 1,
        version: str = VERSION,
        listeners: Sequence[Listener] = (),
        users: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        libraries = jars(version)
        directory.mkdir(parents=True, exist_ok=True)
        kept = directory / _KEPT
        protocols = ["PLAINTEXT", "CONTROLLER", *(listener.protocol for listener in listeners)]
        if kept.exists():
            known = json.loads(kept.read_text("utf-8"))
            if (known["version"], len(known["ports"])) != (version, nodes):
                message = (
                    f"{directory} holds {len(known['ports'])} node(s) of Kafka {known['version']}, not {nodes} of "
                    f"{version}: name another directory"
                )
                raise NoKafka(message)
            if port not in (None, known["ports"][0]["PLAINTEXT"]):
                at = known["ports"][0]["PLAINTEXT"]
                message = f"{directory} holds nodes at port {at}, not {port}: name another directory, or that port"
                raise NoKafka(message)
        else:
            free = iter(free_ports(nodes * len(protocols)))
            ports = [{protocol: next(free) for protocol in protocols} for _ in range(nodes)]
            if port is not None:
                ports[0]["PLAINTEXT"] = port
            cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            known = {"version": version, "id": cluster_id, "ports": ports}
        self.version = version
        self.nodes = [
            Node(libraries, directory / f"node-{number}", number, ports)
            for number, ports in enumerate(known["ports"], start=1)
        ]
        for node in self.nodes:
            node.directory.mkdir(exist_ok=True)
            node.configuration.write_text(self._written(node, listeners, properties or {}), "utf-8")
        if not kept.exists():
            arguments = [part for user in users for part in ("--add-scram", user)]
            at_work = [node.formatting(known["id"], *arguments) for node in self.nodes]
            said = [process.communicate()[0].strip()[-2_000:] for process in at_work]
            failed = [text for process, text in zip(at_work, said, strict=True) if process.returncode]
            if failed:
                message = f"a node could not be formatted: {failed[0]}"
                raise NoKafka(message)
            kept.write_text(json.dumps(known), "utf-8")

    def _written(self, node: Node, listeners: Sequence[Listener], properties: Mapping[str, str]) -> str:
        lines = [f"{key}={value}" for key, value in properties.items()]
        for listener in listeners:
            prefix = f"listener.name.{listener.protocol.lower()}."
            lines += [f"{prefix}{key}={value}" for key, value in listener.properties.items()]
        return Template((HERE / "server.properties").read_text("utf-8")).substitute(
            node=node.number,
            port=node.ports["PLAINTEXT"],
            controller_port=node.ports["CONTROLLER"],
            voters=",".join(f"{n.number}@127.0.0.1:{n.ports['CONTROLLER']}" for n in self.nodes),
            data=node.directory / "data",
            replication=min(3, len(self.nodes)),
            more_listeners="".join(f",{li.protocol}://127.0.0.1:{node.ports[li.protocol]}" for li in listeners),
            more="\n".join(lines),
        )

    @property
    def bootstrap(self) -> str:
        """Where clients begin, without security: addresses with commas."""
        return ",".join(node.address for node in self.nodes)

    def addresses(self, protocol: str) -> tuple[str, ...]:
        """Return where clients begin that come in by a further listener."""
        return tuple(f"127.0.0.1:{node.ports[protocol]}" for node in self.nodes)

    def start(self) -> "Cluster":
        """Start what does not run, and wait until it answers."""
        for node in self.nodes:
            if not node.running:
                node.start()
        for node in self.nodes:
            node.wait()
        return self

    def stop(self) -> None:
        """Stop all nodes in order."""
        for node in self.nodes:
            node.end()
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> "Cluster":
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> int:
    """Run a broker in the foreground; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.kafka.broker", description="A Kafka broker on loopback.")
    parser.add_argument("--directory", type=Path, default=Path("build/kafka"), help="its data, kept (build/kafka)")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="one node, or three")
    parser.add_argument("--version", default=VERSION, help=f"Kafka's version ({VERSION}; {OLDER} is tested too)")
    parser.add_argument("--port", type=int, help="of the first node (9092; that which its directory has)")
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars of the versions that are tested")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if given.fetch:
            for version in VERSIONS:
                print(f"Kafka {version}: {jars(version)}")
            return 0
        directory = given.directory.resolve()
        port = given.port or (None if (directory / _KEPT).exists() else 9092)
        cluster = Cluster(directory, nodes=given.nodes, version=given.version, port=port)
        with cluster:
            print(f"Kafka {cluster.version} at {cluster.bootstrap} (data and logs in {directory}); ctrl-C stops it.")
            print(f"  export TOCSIN_BROKERS={cluster.bootstrap}", flush=True)
            while all(node.running for node in cluster.nodes):
                time.sleep(0.5)
            stopped = next(node for node in cluster.nodes if not node.running)
            print(f"Error: node {stopped.number} has stopped: {stopped.said()}", file=sys.stderr)
            return 1
    except NoKafka as error:
        print(f"Error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("Kafka has stopped.")
        return 0


if __name__ == "__main__":
    sys.exit(main())

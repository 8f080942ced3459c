"""What a worker was told at `join`, and where its files are: all below one data directory."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from common.errors import FailedPrecondition, InvalidArgument, Unavailable
from common.process.launch import ENGINE_HOST
from common.process.private_files import write_private
from common.tls import CredentialFiles
from common.wire.messages import DEFAULT_PORT

DEFAULT_DATA_DIR = Path("/var/lib/swarm-worker")
UNIT = "swarm-worker"
DEFAULT_IMAGE_PORT = 2378
DEFAULT_KEEP_IMAGES = 7
# The characters of a host's name or address; whether there is such a host, the resolver says.
_HOST = re.compile(r"[\w.:%-]{1,255}")
_PORT = re.compile(r"[0-9]{1,5}")
# Bytes that a new worker needs: for its database, certificates and log.
_ROOM = 1 << 20


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`managers` are `host:port`, the ones that were last known; `advertise_addr` is empty for the manager to see.

    `image_port`: where other workers fetch images from this one; with 0 they do so through the manager. `keep_images`:
    days for which images that were fetched are kept after their last use; 0 keeps them for ever. `epoch`: the latest
    leadership that has welcomed this worker.
    """

    node_id: str
    cluster_id: str
    managers: tuple[str, ...]
    advertise_addr: str = ""
    docker_host: str = ENGINE_HOST
    image_port: int = DEFAULT_IMAGE_PORT
    keep_images: int = DEFAULT_KEEP_IMAGES
    epoch: tuple[int, int] = (0, 0)


class DataDir:
    """The files of one worker, for its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config = self.path / "config.json"
        self.database = self.path / "state.db"
        self.status = self.path / "status.json"
        self.files = self.path / "files"
        self.copies = self.path / "copies"
        self.fetched_images = self.path / "fetched-images.json"
        self.credentials = CredentialFiles(self.path / "certificates")

    @property
    def joined(self) -> bool:
        return self.config.exists()

    def check_writable(self) -> None:
        """Check that there is room here for the files that a worker begins with.

        Raises:
            Unavailable: they cannot; an empty directory is removed.

        """
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(_ROOM))
        except OSError as error:
            with suppress(OSError):  # it holds something
                self.path.rmdir()
            raise Unavailable(f"cannot write to the data directory {self.path}: {error.strerror}") from error

    def save(self, config: WorkerConfig) -> None:
        """Write the configuration. Its presence is what says that this host has joined."""
        write_private(self.config, msgspec.json.format(msgspec.json.encode(config)))

    def load(self) -> WorkerConfig:
        """Read the configuration.

        Raises:
            FailedPrecondition: there is none: this host has not joined.
            Unavailable: it cannot be read.

        """
        try:
            return msgspec.json.decode(self.config.read_bytes(), type=WorkerConfig)
        except FileNotFoundError:
            raise FailedPrecondition(
                f"there is no worker in {self.path}: join a cluster with 'swarm-worker join --token TOKEN HOST:PORT' "
                "('swarm-manager join-token worker' on a manager prints it)"
            ) from None
        except (OSError, msgspec.MsgspecError) as error:
            raise Unavailable(f"cannot read {self.config}: {error}") from error

    def wipe(self) -> None:
        """Remove the worker's own files, and the directory unless it holds others."""
        self.config.unlink(missing_ok=True)
        for folder in (self.credentials.directory, self.files, self.copies):
            shutil.rmtree(folder, ignore_errors=True)
        for name in (
            "state.db*",
            "state.unreadable*",
            "status.json",
            "fetched-images.json",
            "status.tmp",
            "daemon.pid",
            "daemon.log",
            ".*.json.*",
        ):
            for found in self.path.glob(name):
                found.unlink(missing_ok=True)
        with suppress(OSError):  # it holds files of others, or is not there
            self.path.rmdir()


def format_address(host: str, port: int) -> str:
    """Write what `parse_address` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(text: str) -> tuple[str, int]:
    """Read `HOST`, `HOST:PORT` or `[IPv6]:PORT`.

    Raises:
        InvalidArgument: it is none of these.

    """
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if _HOST.fullmatch(host) is None or _PORT.fullmatch(port) is None or not 0 < int(port) < 65536:
        raise InvalidArgument(
            f"{text!r} is not the address of a manager: write HOST or HOST:PORT, for example 10.0.0.1:2377"
        )
    return host, int(port)


def is_manager_address(text: str) -> bool:
    """Whether `parse_address` can read it."""
    try:
        parse_address(text)
    except InvalidArgument:
        return False
    return True

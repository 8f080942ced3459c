"""What a manager was told at `init`: kept in its data directory, read by every later command and by the daemon."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from common.errors import FailedPrecondition, InvalidArgument, Unavailable

DEFAULT_DATA_DIR = Path("/var/lib/swarm-manager")
DEFAULT_HOST = "unix:///run/swarm-manager/docker.sock"
UNIT = "swarm-manager"


class ManagerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`advertise_addr` and `listen_addr` are `HOST:PORT` of the cluster's port; `hosts` are where the API listens."""

    node_id: str
    advertise_addr: str
    listen_addr: str
    hosts: tuple[str, ...] = (DEFAULT_HOST,)


class DataDir:
    """The files of a manager, all below one directory that is for its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config = self.path / "config.json"
        self.store = self.path / "store.db"
        self.certificates = self.path / "certificates"

    def initialised(self) -> bool:
        return self.config.exists()

    def create(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make the data directory {self.path}: {error.strerror}") from error

    def clear(self) -> None:
        """Remove a cluster's files: the configuration first, so that a half-removed cluster counts as none."""
        self.config.unlink(missing_ok=True)
        for file in self.path.glob(f"{self.store.name}*"):
            file.unlink()
        shutil.rmtree(self.certificates, ignore_errors=True)

    def save(self, config: ManagerConfig) -> None:
        """Write the configuration, whole or not at all. Its presence is what says that `init` was completed."""
        draft = self.config.with_suffix(".tmp")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(config)))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.config)

    def load(self) -> ManagerConfig:
        """Read the configuration.

        Raises:
            FailedPrecondition: there is no manager in this directory.
            Unavailable: the file cannot be read or is damaged.

        """
        try:
            return msgspec.json.decode(self.config.read_bytes(), type=ManagerConfig)
        except FileNotFoundError:
            raise FailedPrecondition(f"no manager in {self.path}: run 'swarm-manager init' first") from None
        except OSError as error:
            raise Unavailable(f"cannot read {self.config}: {error.strerror}: run this as root") from error
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self.config} is damaged: {error}: restore it from a backup") from error


def split_address(text: str, default_port: int = 2377) -> tuple[str, int]:
    """Split `HOST[:PORT]`, IPv6 hosts in brackets when they have a port; no host means every address.

    Raises:
        InvalidArgument: it is neither.

    """
    host, colon, port = text.rpartition(":")
    if not colon or (text.count(":") > 1 and not text.startswith("[")):
        return text.strip("[]"), default_port
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidArgument(f"address {text!r} is not HOST or HOST:PORT, such as 192.0.2.10:2377")
    return host.strip("[]"), int(port)

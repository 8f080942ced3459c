"""The ways in which a command fails, each with the words that its user reads."""

from __future__ import annotations

import json
from typing import ClassVar

from common.errors import SwarmError


class ApiError(SwarmError):
    """The manager answered with an error; `http_status` is its status and `reason` its own words."""

    def __init__(self, http_status: int, reason: str) -> None:
        super().__init__(f"Error response from daemon: {reason}")
        self.http_status = http_status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        return self.http_status == 404


class CannotConnect(SwarmError):
    """Nothing answers at the manager's address; the message says which, why and what to do."""


class CommandFailed(SwarmError):
    """The command did not do what it was asked to; an empty message means that all is said already."""

    exit_code: ClassVar[int] = 1


def not_a_manager(url: str) -> CannotConnect:
    """Explain that a Docker engine answers, which is part of no swarm of its own."""
    return CannotConnect(
        f"At {url} a Docker engine answers, and no manager.\n"
        "Give the manager's address with --host or SWARM_MANAGER_HOST (default unix:///run/swarm-manager/docker.sock)."
    )


def no_answer(url: str, seconds: float) -> CannotConnect:
    """Explain a manager that takes connections and does not answer for so long."""
    return CannotConnect(
        f"The manager at {url} takes connections, but has not answered for {seconds:g} s: it hangs, or its host does.\n"
        "On its host `journalctl -u swarm-manager` is its log (without systemd: daemon.log in its data directory), and "
        "`systemctl restart swarm-manager` starts it anew; containers run on meanwhile."
    )


def reason_in(text: str, otherwise: str) -> str:
    """Return why the manager refused: the message in an answer's text, else the text itself."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or otherwise


def cannot_connect(url: str, cause: BaseException) -> CannotConnect:
    """Explain a failed connection to the manager's socket or address `url`."""
    head = f"Cannot connect to the manager at {url}"
    if isinstance(cause, PermissionError):
        return CannotConnect(
            f"{head}: permission denied.\n"
            "Run the command with sudo, or add your user to the group swarm (usermod -aG swarm USER) and log in again."
        )
    if isinstance(cause, FileNotFoundError):
        return CannotConnect(
            f"{head}: there is no such socket. Is swarm-manager running?\n"
            "`swarm-manager start` starts this host's manager again, `swarm-manager init` makes a new cluster; another "
            "address is given with --host or SWARM_MANAGER_HOST."
        )
    if isinstance(cause, ConnectionRefusedError):
        return CannotConnect(
            f"{head}: nothing listens there. Is swarm-manager running?\n`swarm-manager start` on its host starts it."
        )
    why = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    if url.startswith("tcp://"):
        return CannotConnect(
            f"{head}: {why}.\nIs the address right (--host)? Over TCP a manager answers only those with a certificate: "
            "`swarm-manager client-cert` on its host makes one, and SWARM_MANAGER_CERT_PATH names its directory."
        )
    return CannotConnect(f"{head}: {why}.\nIs swarm-manager running there, and is the address right (--host)?")

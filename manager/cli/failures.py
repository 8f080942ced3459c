"""The ways in which a command fails: each with the words that its user reads, and the exit code."""

from __future__ import annotations

import json
import os
from typing import ClassVar

import click

from common.errors import SwarmError, leaves
from common.process.launch import INTERRUPTED_EXIT
from common.process.usage import FULL, explain_usage, no_room


def explain(error: BaseException) -> tuple[str, int]:
    """Turn an error into a message for standard error (may be empty) and an exit code; anything unknown is a bug."""
    error = next(leaves(error))  # of several waits that failed at once, one reason is enough
    match error:
        case click.UsageError():
            said = explain_usage(error)
        case click.ClickException():
            said = error.format_message(), error.exit_code
        case SwarmError():
            said = error.message, 1
        case KeyboardInterrupt() | click.Abort():
            said = "", INTERRUPTED_EXIT
        case json.JSONDecodeError():  # in the middle of a stream, or in what `inspect` passes on
            said = f"what answers is not a manager: {error}\nGive the manager's address with --host.", 1
        case OSError() if error.errno in FULL:
            said = no_room(error), 1
        case _:
            report = "This is a bug in swarm-manager; run the command again with --debug to see where."
            said = f"{type(error).__name__}: {error}\n{report}", 1
    return said


# --- errors ---


class ApiError(SwarmError):
    """The manager answered with an error; `http_status` is its status and `reason` its own words."""

    def __init__(self, http_status: int, reason: str) -> None:
        super().__init__(f"Error response from daemon: {reason}")
        self.http_status = http_status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        return self.http_status == 404

    @property
    def overtaken(self) -> bool:
        """Whether somebody else has changed what this was to change, since it was looked at."""
        return self.http_status == 412


class CannotConnect(SwarmError):
    """Nothing answers at the manager's address; the message says which, why and what to do."""


class CommandFailed(SwarmError):
    """The command did not do what it was asked to; an empty message means that all is said already."""


class Overtaken(CommandFailed):
    """Somebody else has changed what this was to change, since it was looked at: nothing was done."""

    exit_code: ClassVar[int] = 1


def not_a_manager(url: str, what: str = "something else") -> CannotConnect:
    """Explain that another program answers than a manager: a web server, or a Docker engine."""
    return CannotConnect(
        f"At {url} {what} answers, not a manager.\n"
        "Give the manager's address with --host or SWARM_MANAGER_HOST (default unix:///run/swarm-manager/docker.sock)."
    )


def refusal(url: str, status: int, reason: str, server: str, text: str) -> SwarmError:
    """Make the error of an answer with a status from 400 on, whose text has the manager's words."""
    if status == 503 and server.startswith("Docker/"):
        return not_a_manager(url, "a Docker engine")  # which is part of no swarm of its own
    return ApiError(status, reason_in(text, f"{status} {reason}"))


def no_answer(url: str, seconds: float) -> CannotConnect:
    """Explain a manager that takes connections and does not answer for so long."""
    return CannotConnect(
        f"The manager at {url} takes connections, but has not answered for {seconds:g} s: it hangs, or its host does.\n"
        "On its host `journalctl -u swarm-manager` is its log (without systemd: daemon.log in its data directory), and "
        "`systemctl restart swarm-manager` restarts it; containers keep running meanwhile."
    )


def reason_in(text: str, otherwise: str) -> str:
    """Return why the manager refused: the message in an answer's text, else the text itself, but of no web page."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        said = text.strip()
        return otherwise if said.startswith("<") else said or otherwise


BROKE_OFF = "it ended the connection before it had answered"
NOT_HTTP = "what answers does not speak HTTP"


def _dockers_own() -> str:
    """Say that the docker command line's way to say where it goes is not this program's, to who has used it."""
    name = next((name for name in ("DOCKER_HOST", "DOCKER_CONTEXT") if os.environ.get(name)), "")
    return f" {name} is not used: on the cluster's hosts it names the engine." if name else ""


def _in_words(cause: BaseException) -> str:
    said = getattr(cause, "strerror", None)
    if isinstance(cause, OSError) and cause.errno is not None and (said or "").startswith("Connect call failed"):
        return os.strerror(cause.errno)  # asyncio's words have the address, as Python writes it
    return said or str(cause) or type(cause).__name__


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
            "`swarm-manager start` starts this host's manager again, `swarm-manager init` makes a new "
            f"cluster. Give another address with --host or SWARM_MANAGER_HOST.{_dockers_own()}"
        )
    if isinstance(cause, ConnectionRefusedError):
        return CannotConnect(
            f"{head}: nothing listens there. Is swarm-manager running?\n`swarm-manager start` on its host starts it."
        )
    why = _in_words(cause)
    if url.startswith("tcp://"):
        return CannotConnect(
            f"{head}: {why}.\nIs the address right (--host)? Over TCP a manager answers only those with a certificate: "
            "`swarm-manager client-cert` on its host makes one, and SWARM_MANAGER_CERT_PATH names its directory."
        )
    return CannotConnect(f"{head}: {why}.\nIs swarm-manager running there, and is the address right (--host)?")

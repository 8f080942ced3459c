"""What secrets and configs have in common: reading the content, lists, and updates.

`secret update` and `config update` give new content, which is rolled out to the services that use it.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from common.clock import parse_rfc3339, seconds
from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli import codec
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, flag
from manager.cli.files import digest
from manager.cli.flags.types import DETACH, LABEL, TIMEOUT
from manager.cli.format.tables import Row, ago, natural, pairs
from manager.cli.session import with_client


def read_content(source: str) -> str:
    """Read a file, or standard input for `-`, as base64.

    Raises:
        InvalidArgument: the file cannot be read.

    """
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"error reading content from {source!r}: {error.strerror}") from error
    return base64.b64encode(data).decode()


def content(source: str | None, variable: str | None) -> str:
    """Return the content that a command was given, as base64: a file, standard input, or an environment variable.

    Raises:
        InvalidArgument: it was given none, two, or what cannot be read.

    """
    if (source is None) == (variable is None):
        raise InvalidArgument("give the content once: FILE, - for standard input, or --env NAME")
    if source is not None:
        return read_content(source)
    assert variable is not None
    if variable not in os.environ:
        raise InvalidArgument(f"--env {variable}: this command's environment has no such variable")
    return base64.b64encode(os.environb[os.fsencode(variable)]).decode()


def rows(objects: Iterable[Any], now: float) -> list[Row]:
    """Make the rows of secrets or configs, by name; `Driver` is a secret's."""
    return [
        {
            "ID": each["ID"],
            "Name": each["Spec"]["Name"],
            "Driver": (each["Spec"].get("Driver") or {}).get("Name", ""),
            "CreatedAt": ago(parse_rfc3339(each["CreatedAt"]), now),
            "UpdatedAt": ago(parse_rfc3339(each["UpdatedAt"]), now),
            "Labels": pairs(each["Spec"].get("Labels")),
        }
        for each in sorted(objects, key=lambda each: natural(each["Spec"]["Name"]))
    ]


# --- update ---


def command(kind: str, complete: Any) -> click.Command:
    """Make the command for a `secret` or a `config`."""

    @click.command(
        "update",
        cls=SwarmCommand,
        help=f"Give a {kind} new content, and the services that use it, by their update configuration.",
        examples=f"""
        swarm-manager {kind} update {kind}-name ./file
        generate | swarm-manager {kind} update --detach {kind}-name -
        """,
    )
    @click.argument("name", metavar=kind.upper(), shell_complete=complete)
    @click.argument("source", metavar="[file|-]", required=False, type=click.Path())
    @DETACH
    @flag("--env", metavar="NAME", help="Take the content from an environment variable.")
    @flag("-l", "--label", type=LABEL, multiple=True, help="Labels to add or change.")
    @flag("-q", "--quiet", is_flag=True, default=False, help="Suppress progress output.")
    @TIMEOUT
    @with_client
    async def update(
        client: Client, /, name: str, source: str | None, label: tuple[tuple[str, str], ...], **given: Any
    ) -> None:
        before = await client.get(f"/{kind}s/{name}")
        full_name = before["Spec"]["Name"]
        query = {"version": str(before["Version"]["Index"])}
        body = _body(kind, before["Spec"], content(source, given["env"]), dict(label))
        await client.post(f"/{kind}s/{before['ID']}/update", body, query)
        after = await client.get(f"/{kind}s/{full_name}")
        if after["ID"] == before["ID"]:
            echo(f"{full_name} has this content already")
            return
        echo(after["ID"])
        services = {each["ID"]: each["Spec"]["Name"] for each in await client.get("/services") if _uses(each, after)}
        if services and not given["detach"]:
            # Only here are they needed, and commands that list or create files start without them.
            from manager.cli.progress.converge import converge  # noqa: PLC0415
            from manager.cli.progress.judgement import WaitOptions  # noqa: PLC0415

            await converge(client, services, WaitOptions(timeout=seconds(given["timeout"])), quiet=given["quiet"])
            if not given["quiet"]:
                await _count(client, services)

    return update


async def _count(client: Client, services: Mapping[str, str]) -> None:
    """Say of each service how many of its running tasks have the content."""
    for service_id, name in services.items():
        running = await _running(client, service_id)
        fresh = await _running(client, service_id, **{"_up-to-date": ["true"]})
        echo(f"{name}: {len(fresh & running)}/{len(running)} tasks have it")


async def _running(client: Client, service_id: str, **more: list[str]) -> set[str]:
    tasks = await client.get("/tasks", filter_query({"service": [service_id], "desired-state": ["running"], **more}))
    return {task["ID"] for task in tasks if task["Status"]["State"] == "running"}


def _body(kind: str, spec: Mapping[str, Any], data: str, added: Mapping[str, str]) -> dict[str, Any]:
    """Write what is there, with new content."""
    labels = {**(spec.get("Labels") or {}), **added}
    if kind == "secret":
        labels = digest.with_digest(labels, digest.decode_content(data), labels.get(digest.LABEL, ""))
    return {**spec, "Labels": labels, "Data": data}


def _uses(service: Any, file: Any) -> bool:
    container = codec.service(service).spec.task_template.container_spec
    if container is None:
        return False
    used = {*(each.secret_id for each in container.secrets), *(each.config_id for each in container.configs)}
    return file["ID"] in used

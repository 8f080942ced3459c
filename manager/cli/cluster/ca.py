"""`swarm-manager ca`: the root certificate that the cluster's members trust, and its rotation."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import click

from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.session import with_client
from manager.cli.several import going_on

_LOOK_SECONDS = 0.5
# Whom the manager names where certificates of clients ended with the root.
_REVOKER = "the root's rotation"


@click.command(
    "ca",
    cls=SwarmCommand,
    examples="""
    swarm-manager ca
    swarm-manager ca --rotate
    """,
)
@flag("--rotate", is_flag=True, default=False, help="Replace the root; every node gets a certificate of the new one.")
@flag("-d", "--detach", is_flag=True, default=False, help="Do not wait until all nodes have it.")
@with_client
async def ca(client: Client, /, *, rotate: bool, detach: bool) -> None:
    """Print the root certificate that the cluster's members trust, or replace it without losing any of them."""
    swarm = await client.get("/swarm")
    if not rotate:
        echo(swarm["TLSInfo"]["TrustRoot"], nl=False)
        return
    spec = dict(swarm["Spec"])
    authority = dict(spec.get("CAConfig") or {})
    spec["CAConfig"] = {**authority, "ForceRotate": authority.get("ForceRotate", 0) + 1}
    await client.post("/swarm/update", spec, {"version": str(swarm["Version"]["Index"])})
    began = (await client.get("/swarm"))["UpdatedAt"]
    if detach:
        return
    with going_on("The root's rotation goes on without this command."):
        await _wait(client)
    swarm = await client.get("/swarm")
    echo(f"The root is {_digest(swarm)} now. Join tokens are new: 'swarm-manager join-token worker' shows the command.")
    found = await client.get("/swarm/client-certificates")
    ended = {str(each["Name"]) for each in found if each["RevokedBy"] == _REVOKER and each["RevokedAt"] >= began}
    if ended:
        command = "'swarm-manager client-cert NAME --replace'"
        echo(f"These clients need new certificates ({command}): {', '.join(sorted(ended))}")


async def _wait(client: Client) -> None:
    """Say how far it is, as that changes, until it is over."""
    said = ""
    while (swarm := await client.get("/swarm"))["RootRotationInProgress"]:
        words = _progress(swarm["TLSInfo"], await client.get("/nodes"))
        if words != said:
            echo(words)
            said = words
        await asyncio.sleep(_LOOK_SECONDS)


def _progress(wanted: dict[str, str], nodes: Sequence[dict[str, Any]]) -> str:
    """Count the nodes that believe the new root, and that have a certificate of it; name those that are waited for."""
    found = [(node["Description"]["Hostname"], node["Description"]["TLSInfo"]) for node in nodes]
    trusting = [name for name, tls in found if tls["TrustRoot"] == wanted["TrustRoot"]]
    signed = [name for name, tls in found if tls["CertIssuerPublicKey"] == wanted["CertIssuerPublicKey"]]
    late = [name for name, tls in found if name not in (signed if len(trusting) == len(found) else trusting)]
    waits = f"; waiting for {', '.join(late[:5])}{', …' if len(late) > 5 else ''}" if late else ""
    return f"new root: believed by {len(trusting)}/{len(found)} nodes, {len(signed)} have its certificates{waits}"


def _digest(swarm: dict[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(swarm['TLSInfo']['TrustRoot'].encode()).hexdigest()}"

"""`swarm-manager unlock` and `unlock-key`: managers whose keys are locked while they do not run."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import MutableMapping

import click

from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.failures import CommandFailed
from manager.cli.session import with_client

VARIABLE = "SWARM_UNLOCK_KEY"
# A key has 52 characters.
_MOST_CHARACTERS = 4096
_KEEP = (
    "To unlock a swarm manager after it restarts, run the `swarm-manager unlock`\n"
    "command and provide the following key:\n\n    {key}\n\n"
    "Please remember to store this key in a password manager, since without it you\n"
    "will not be able to restart the manager."
)


@click.command(
    "unlock",
    cls=SwarmCommand,
    examples="""
    swarm-manager unlock
    SWARM_UNLOCK_KEY=SWMKEY-1-… swarm-manager unlock
    """,
)
@with_client
async def unlock(client: Client, /) -> None:
    """Unlock this host's manager, which was started with locked keys; the key is asked for, or read from stdin."""
    state = (await client.get("/info"))["Swarm"]["LocalNodeState"]
    if state != "locked":
        outside = state == "inactive"
        raise CommandFailed(f"Error: {'This node is not part of a swarm' if outside else 'swarm is not locked'}")
    await client.post("/swarm/unlock", {"UnlockKey": read_unlock_key()})


@click.command(
    "unlock-key",
    cls=SwarmCommand,
    examples="""
    swarm-manager unlock-key
    swarm-manager unlock-key --rotate -q
    """,
)
@flag("-q", "--quiet", is_flag=True, default=False, help="Only display the key.")
@flag("--rotate", is_flag=True, default=False, help="Replace the key; the old one is no longer valid.")
@with_client
async def unlock_key(client: Client, /, *, quiet: bool, rotate: bool) -> None:
    """Print the key that unlocks the managers, or replace it."""
    if rotate:
        swarm = await client.get("/swarm")
        if not swarm["Spec"].get("EncryptionConfig", {}).get("AutoLockManagers"):
            raise CommandFailed("cannot rotate because autolock is not turned on")
        query = {"version": str(swarm["Version"]["Index"]), "rotateManagerUnlockKey": "true"}
        await client.post("/swarm/update", swarm["Spec"], query)
        if not quiet:
            echo("Successfully rotated manager unlock key.\n")
    key = await present_unlock_key(client)
    if not key:
        raise CommandFailed("no unlock key is set")
    echo(key if quiet else words_to_keep(key))


async def present_unlock_key(client: Client) -> str:
    return str((await client.get("/swarm/unlockkey"))["UnlockKey"])


def words_to_keep(key: str) -> str:
    """Say what an unlock key is for."""
    return _KEEP.format(key=key)


def read_unlock_key(environment: MutableMapping[str, str] = os.environ) -> str:
    """Return the unlock key that the environment has, which is taken out of it, or that a person types.

    Raises:
        InvalidArgument: no key was given, and there is no terminal to ask at.

    """
    key = environment.pop(VARIABLE, "") or (
        getpass.getpass("Please enter unlock key: ") if sys.stdin.isatty() else sys.stdin.readline(_MOST_CHARACTERS)
    )
    if not key.strip():
        raise InvalidArgument(f"no unlock key: type it, send it to standard input, or set {VARIABLE}")
    return key.strip()

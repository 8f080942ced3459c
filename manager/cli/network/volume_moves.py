"""Following a move of volumes to its end."""

from __future__ import annotations

import asyncio
from typing import Any

from common.text.quantities import human_size
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.failures import CommandFailed

LOOK_SECONDS = 0.5


async def follow_move(client: Client, move_id: str) -> None:
    """Tell how far a move is until it has ended.

    Raises:
        CommandFailed: it has failed; its tasks run at the source.

    """
    told = ""
    while True:
        (move,) = [each for each in await client.get("/swarm/transfers") if each["ID"] == move_id]
        if move["Phase"] == "failed":
            raise CommandFailed(f"not moved: {move['Error']}; its tasks run on {move['From']}")
        if move["Phase"] == "done":
            echo(f"moved; its tasks were stopped for {move['Downtime']:.1f} s")
            return
        words = _progress(move)
        if words != told:
            echo(told := words)
        await asyncio.sleep(LOOK_SECONDS)


def _progress(move: Any) -> str:
    if move["Phase"] == "last":
        return "the last pass: its tasks are stopped"
    done, left = move.get("Done", 0), move.get("Left", 0)
    if not left:
        return "copying"
    share = f"{100 * done // (done + left)} % of {human_size(done + left)}"
    return f"copying: {share}, about {move['Seconds']:.0f} s"

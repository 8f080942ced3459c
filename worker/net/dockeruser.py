"""The three rules in Docker's DOCKER-USER chain: Docker drops what comes from other networks unless they accept it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from worker.net import command
from worker.net.names import GATEWAY_BRIDGE, TUNNEL

CHAIN = "DOCKER-USER"
RULES = (
    f"-i {TUNNEL} -j ACCEPT",
    f"-o {TUNNEL} -j ACCEPT",
    f"-o {GATEWAY_BRIDGE} -m conntrack --ctstate DNAT -j ACCEPT",
)


async def ensure() -> tuple[str, ...]:
    """Put the rules that miss in front of all others, and return them. Without the chain, nothing is dropped either.

    Raises:
        Unavailable: iptables refuses.

    """
    present = await _present()
    if present is None:
        return ()
    missing = tuple(rule for rule in RULES if rule not in present)
    if missing:
        await _restore(f"-I {CHAIN} 1 {rule}" for rule in missing)
    return missing


async def remove() -> None:
    """Take the rules out. Repeatable.

    Raises:
        Unavailable: iptables refuses.

    """
    present = await _present()
    found = [rule for rule in present or () if rule in RULES]
    if found:
        await _restore(f"-D {CHAIN} {rule}" for rule in found)


async def _present() -> list[str] | None:
    """Return the chain's rules, as iptables writes them without the chain; None when there is no such chain."""
    output = await command.run("iptables", "-w", "-S", CHAIN)
    if output.code:
        return None
    start = f"-A {CHAIN} "
    return [shlex.join(shlex.split(line[len(start) :])) for line in output.text.splitlines() if line.startswith(start)]


async def _restore(lines: Iterable[str]) -> None:
    """Change the chain in one step."""
    text = "\n".join(["*filter", *lines, "COMMIT", ""])
    await command.must("iptables-restore", "-w", "--noflush", stdin=text)

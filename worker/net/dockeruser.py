"""Docker's own rules: five that we add to them, and what they need to be there.

Docker drops what comes from other networks unless rules in its chain DOCKER-USER accept it.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable

from worker.net import command
from worker.net.names import GATEWAY_BRIDGE, TUNNEL, WIREGUARD_PREFIX

CHAIN = "DOCKER-USER"
_IPV4, _IPV6 = "iptables", "ip6tables"
# Each is put in front of those before it here: what most packets meet is tried first.
RULES = (
    f"-i {WIREGUARD_PREFIX}+ -j ACCEPT",
    f"-o {WIREGUARD_PREFIX}+ -j ACCEPT",
    f"-i {TUNNEL} -j ACCEPT",
    f"-o {TUNNEL} -j ACCEPT",
    f"-o {GATEWAY_BRIDGE} -m conntrack --ctstate DNAT -j ACCEPT",
)


# What dockerd makes only when it starts, and needs for every new network; flushing all rules takes it away. The last
# four are of Docker 28 and later.
_OF_DOCKER = (
    ("nat", "DOCKER"),
    *(
        ("filter", f"DOCKER{kind}")
        for kind in ("", "-ISOLATION-STAGE-1", "-ISOLATION-STAGE-2", "-FORWARD", "-BRIDGE", "-CT", "-INTERNAL")
    ),
)


async def ensure(*, ipv6: bool = False) -> tuple[str, ...]:
    """Put the rules that miss in front of all others, and return them. Without the chain, nothing is dropped either.

    For IPv6 too if so told: Docker before 27 has no such chain there, unless it is told to keep one.

    Raises:
        Unavailable: iptables refuses.

    """
    added = await _ensure(_IPV4)
    return (*added, *await _ensure(_IPV6)) if ipv6 and shutil.which(_IPV6) else added


async def remove() -> None:
    """Take the rules out. Repeatable.

    Raises:
        Unavailable: iptables refuses.

    """
    for tool in (_IPV4, _IPV6):
        present = await _present(tool) if shutil.which(tool) else None
        found = [rule for rule in present or () if rule in RULES]
        if found:
            await _restore(tool, (f"-D {CHAIN} {rule}" for rule in found))


async def make_dockers_chains() -> None:
    """Make the chains that Docker misses, empty, so that it can work until it is restarted and fills them."""
    for tool in filter(shutil.which, (_IPV4, _IPV6)):
        for table, chain in _OF_DOCKER:
            await command.run(tool, "-w", "-t", table, "-N", chain)  # one that is there already stays


async def _ensure(tool: str) -> tuple[str, ...]:
    present = await _present(tool)
    if present is None:
        return ()
    missing = tuple(rule for rule in RULES if rule not in present)
    if missing:
        await _restore(tool, (f"-I {CHAIN} 1 {rule}" for rule in missing))
    return missing


async def _present(tool: str) -> list[str] | None:
    """Return the chain's rules, as iptables writes them without the chain; None when there is no such chain."""
    output = await command.run(tool, "-w", "-S", CHAIN)
    if output.code:
        return None
    start = f"-A {CHAIN} "
    return [shlex.join(shlex.split(line[len(start) :])) for line in output.text.splitlines() if line.startswith(start)]


async def _restore(tool: str, lines: Iterable[str]) -> None:
    """Change the chain in one step."""
    text = "\n".join(["*filter", *lines, "COMMIT", ""])
    await command.must(f"{tool}-restore", "-w", "--noflush", stdin=text)

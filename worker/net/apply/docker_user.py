"""The rules that are added to Docker's own, and the chains that Docker needs.

Docker drops what comes from other networks unless rules in its chain DOCKER-USER accept it.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection, Iterable

from worker.host import command
from worker.net.plan.names import BRIDGE_PREFIX, GATEWAY_BRIDGE, TUNNEL, WIREGUARD_PREFIX

CHAIN = "DOCKER-USER"
_IPV4, _IPV6 = "iptables", "ip6tables"
# Each is put in front of those before it here: what most packets meet is tried first.
RULES = (
    f"-i {WIREGUARD_PREFIX}+ -j ACCEPT",
    f"-o {WIREGUARD_PREFIX}+ -j ACCEPT",
    # Docker drops what goes from one bridge to another, answers too: those to a plain container on this host.
    f"-i {GATEWAY_BRIDGE} -m conntrack --ctstate DNAT --ctdir REPLY -j ACCEPT",
    f"-i {TUNNEL} -j ACCEPT",
    f"-o {TUNNEL} -j ACCEPT",
    f"-o {GATEWAY_BRIDGE} -m conntrack --ctstate DNAT -j ACCEPT",
)
# What Docker's own rules let through. `iptables -F` takes them, and the way to this chain, but not the policy to drop
# all else: until the engine is restarted, this is instead of them. What is between our bridges our own table judges.
FALLBACK_RULES = (
    f"-o {BRIDGE_PREFIX}+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    f"-i {BRIDGE_PREFIX}+ -j ACCEPT",
)
_FORWARD = "FORWARD"
_JUMP = f"-j {CHAIN}"

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
    """Put missing rules in front of all others, and return them. Without the chain there is nothing to do.

    `FALLBACK_RULES` are removed when Docker's own rules are back. With `ipv6` the same is done for IPv6: Docker before
    27 has no such chain there by default.

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
        present = await _present(tool, CHAIN) if shutil.which(tool) else None
        found = [rule for rule in present or () if rule in (*RULES, *FALLBACK_RULES)]
        if found:
            await _restore(tool, (f"-D {CHAIN} {rule}" for rule in found))


async def make_dockers_chains() -> None:
    """Make the chains that are missing, empty, so that Docker works until it is restarted and fills them."""
    for tool in filter(shutil.which, (_IPV4, _IPV6)):
        for table, chain in _OF_DOCKER:
            await command.run(tool, "-w", "-t", table, "-N", chain)  # one that is there already stays


async def _ensure(tool: str) -> tuple[str, ...]:
    present = await _present(tool, CHAIN)
    if present is None:
        return ()
    changes, added = _changes(present, await _present(tool, _FORWARD) or [])
    if changes:
        await _restore(tool, changes)
    return added


def _changes(present: Collection[str], forward: Collection[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return what to do, as iptables-restore reads it, and which rules that adds."""
    dockers = any("-j DOCKER-" in rule for rule in forward if rule != _JUMP)
    wanted = RULES if dockers else (*RULES, *FALLBACK_RULES)
    missing = tuple(rule for rule in wanted if rule not in present)
    lines = [f"-D {CHAIN} {rule}" for rule in FALLBACK_RULES if dockers and rule in present]
    lines += [f"-I {CHAIN} 1 {rule}" for rule in missing]
    if _JUMP in forward:
        return lines, missing
    return [*lines, f"-I {_FORWARD} 1 {_JUMP}"], (*missing, f"{_FORWARD} {_JUMP}")


async def _present(tool: str, chain: str) -> list[str] | None:
    """Return a chain's rules, as iptables writes them without the chain; None when there is no such chain."""
    output = await command.run(tool, "-w", "-S", chain)
    if output.code:
        return None
    start = f"-A {chain} "
    return [shlex.join(shlex.split(line[len(start) :])) for line in output.text.splitlines() if line.startswith(start)]


async def _restore(tool: str, lines: Iterable[str]) -> None:
    """Change the chains in one step."""
    text = "\n".join(["*filter", *lines, "COMMIT", ""])
    await command.must(f"{tool}-restore", "-w", "--noflush", stdin=text)

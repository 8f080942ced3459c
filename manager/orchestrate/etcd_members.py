"""Brings the members of the managers' etcd to the managers in the store, one step at a time. Pure.

Only the leader takes steps, and reads etcd's own list before each, so what a crash has interrupted goes on. No step
loses the quorum: a voter is removed only if those that are left and reachable are a majority.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from manager.store.backends.etcd.members import Member


@dataclass(frozen=True, slots=True)
class AddLearner:
    """Let a manager's host become a member without a vote."""

    node_id: str
    peer_url: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Give a learner its vote. etcd refuses while it has not been sent what the leader has: ask again."""

    member: Member


@dataclass(frozen=True, slots=True)
class Remove:
    member: Member


@dataclass(frozen=True, slots=True)
class HandOver:
    """Let another manager lead: this one is to be removed."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing to do, or nothing possible now: `waits_for` says in words what is missing, empty if nothing is."""

    waits_for: str = ""


Step: TypeAlias = AddLearner | Promote | Remove | HandOver | Nothing


def next_step(
    leader: str,
    wanted: Mapping[str, str],
    members: Sequence[Member],
    reachable: Collection[str],
    behind: Collection[Member] = (),
) -> Step:
    """Return what the leader is to do next.

    `leader` is its node id, `wanted` the managers in the store (the URL of each one's etcd by node id),
    `reachable` the node ids of managers that answer, the leader among them. A member that has not come up yet has no
    name, and is known by its URL. `behind` are learners that still take over what they were sent: with a vote they
    would be asked for it, and answer when they are done.
    """
    waits: list[str] = []
    for step in _steps(leader, wanted, members, reachable, behind):
        if isinstance(step, Nothing):
            waits.append(step.waits_for)
        else:
            return step
    return Nothing("; ".join(waits))


def _steps(
    leader: str,
    wanted: Mapping[str, str],
    members: Sequence[Member],
    reachable: Collection[str],
    behind: Collection[Member],
) -> Iterator[Step]:
    """Yield what there is to do, the most urgent first, with `Nothing` for what has to wait."""
    known = {member: node_of(member, wanted) for member in members}
    unwanted = [member for member, node_id in known.items() if node_id not in wanted]
    learners = [member for member in members if member.learner]
    yield from (Remove(member) for member in unwanted if member.learner)
    for member in learners:
        if known[member] not in reachable:
            yield Nothing(f"manager {known[member]} to start its etcd")
        elif member in behind:
            yield Nothing(f"the etcd of manager {known[member]} to take over what it was sent")
        else:
            yield Promote(member)
    for member in sorted((each for each in unwanted if not each.learner), key=lambda each: known[each] == leader):
        yield _removal(leader, wanted, members, reachable, member)
    if not learners:
        for node_id in sorted(wanted.keys() - known.values()):
            can = node_id in reachable
            yield AddLearner(node_id, wanted[node_id]) if can else Nothing(f"manager {node_id} to be reachable")


def _removal(
    leader: str, wanted: Mapping[str, str], members: Sequence[Member], reachable: Collection[str], member: Member
) -> Step:
    node_id = node_of(member, wanted)
    if reason := reason_to_keep(node_id, members, reachable):
        return Nothing(reason)
    if node_id != leader:
        return Remove(member)
    others = [each.name for each in members if not each.learner and each.name in wanted and each.name in reachable]
    return HandOver() if others else Nothing("another manager that can lead in place of this one")


def reason_to_keep(node_id: str, members: Sequence[Member], reachable: Collection[str]) -> str:
    """Return why a member cannot be removed now, as the rest would have no quorum; empty if it can."""
    voters = {member.name for member in members if not member.learner}
    left = voters - {node_id}
    if not left:
        return f"manager {node_id} is the last one: the cluster would end"
    answering, needed = len(left & set(reachable)), majority(len(left))
    if answering >= needed:
        return ""
    missing = ", ".join(sorted(left - set(reachable)))
    return (
        f"without manager {node_id}, {len(left)} managers would be left, of which {needed} are needed and "
        f"{answering} answer: not reached: {missing}"
    )


def majority(voters: int) -> int:
    """Return how many of `voters` members must agree."""
    return voters // 2 + 1


def node_of(member: Member, wanted: Mapping[str, str]) -> str:
    """Return a member's node id: its name, or that of the manager whose URL it has; empty if nobody's."""
    return member.name or next((node_id for node_id, url in wanted.items() if url == member.peer_url), "")

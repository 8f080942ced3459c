"""The members of an etcd cluster: who they are, and changing that, one at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from manager.store.backends.etcd.api import NoAnswer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Member:
    """A member. One that has not come up since it was added has no name yet; a learner has no vote."""

    id: int
    name: str
    peer_url: str
    learner: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What a member says of itself: its id and the leader's (0: it knows none), and the size of its file in bytes.

    `errors` are its alarms, such as of a full quota.
    """

    member_id: int
    leader_id: int
    revision: int
    file_bytes: int
    used_bytes: int
    errors: tuple[str, ...] = ()


class Calls(Protocol):
    async def call(self, path: str, body: bytes) -> bytes:
        """Ask something of etcd's gateway; see `EtcdClient.call`."""


AskPeer: TypeAlias = Callable[[str, str], Awaitable[bytes]]
"""Asks the member at a peer's URL for a path, as the members do among each other; raises `NoAnswer`."""


class Members:
    """Asks etcd by a client. Each call raises `NoAnswer`, or `Refused` with etcd's reason.

    Right after a change etcd may refuse the next one for a while: "unhealthy cluster".
    """

    def __init__(self, client: Calls, ask_peer: AskPeer | None = None) -> None:
        self._client = client
        self._ask_peer = ask_peer

    async def list(self) -> tuple[Member, ...]:
        """Return the members, as a majority of them knows them."""
        return await self._changed("list", {"linearizable": True})

    async def add_learner(self, peer_url: str) -> tuple[Member, ...]:
        """Add a member without a vote, which is to be started with what is returned; return all members."""
        return await self._changed("add", {"peerURLs": [peer_url], "isLearner": True})

    async def has_taken_over(self, member: Member) -> bool:
        """Whether a learner has in use what the leader sent it when it came, which may be long after it was sent.

        It lists its clients' URLs itself only then: it tells them when it is up, and so in that or after it.
        """
        if self._ask_peer is None:
            return True
        listed = _decode(await self._ask_peer(member.peer_url, "/members"), list[_Listed])
        return any(each.id == member.id and each.client_urls for each in listed)

    async def promote(self, member_id: int) -> tuple[Member, ...]:
        """Give a learner its vote; refused while it has not been sent what the leader has.

        A member that gets its vote answers nobody until it has done all that it was sent: where its vote is needed,
        nothing is decided until then. See `has_taken_over`.
        """
        return await self._changed("promote", {"ID": str(member_id)})

    async def remove(self, member_id: int) -> tuple[Member, ...]:
        return await self._changed("remove", {"ID": str(member_id)})

    async def _changed(self, what: str, request: dict[str, object]) -> tuple[Member, ...]:
        answer = await self._client.call(f"/v3/cluster/member/{what}", msgspec.json.encode(request))
        return tuple(each.told() for each in _decode(answer, _Members).members)

    async def defragment(self) -> None:
        """Give back what the file of this member has too much of; it answers nothing else meanwhile."""
        await self._client.call("/v3/maintenance/defragment", b"{}")

    async def disarm(self, member_id: int) -> None:
        """Take a member's alarm back that its space is used up, so that changes are taken again."""
        request = {"action": "DEACTIVATE", "memberID": str(member_id), "alarm": "NOSPACE"}
        await self._client.call("/v3/maintenance/alarm", msgspec.json.encode(request))

    async def status(self) -> Status:
        """Ask the member that the client is of; it answers without the others, too."""
        answer = _decode(await self._client.call("/v3/maintenance/status", b"{}"), _Status)
        return Status(
            member_id=answer.header.member_id,
            leader_id=answer.leader,
            revision=answer.header.revision,
            file_bytes=answer.file_bytes,
            used_bytes=answer.used_bytes,
            errors=tuple(answer.errors),
        )


class _Header(msgspec.Struct):
    member_id: int = 0
    revision: int = 0


class _Member(msgspec.Struct, rename={"id": "ID", "peer_urls": "peerURLs", "learner": "isLearner"}):
    id: int
    name: str = ""
    peer_urls: list[str] = []
    learner: bool = False

    def told(self) -> Member:
        return Member(self.id, self.name, self.peer_urls[0] if self.peer_urls else "", self.learner)


class _Listed(msgspec.Struct, rename={"client_urls": "clientURLs"}):
    """A member as another one lists it for its peers."""

    id: int
    client_urls: list[str] = []


class _Members(msgspec.Struct):
    members: list[_Member] = []


class _Status(msgspec.Struct, rename={"file_bytes": "dbSize", "used_bytes": "dbSizeInUse"}):
    header: _Header
    leader: int = 0
    file_bytes: int = 0
    used_bytes: int = 0
    errors: list[str] = []


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind, strict=False)
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"etcd's answer cannot be read: {error}") from error

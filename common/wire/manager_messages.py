"""What managers say to each other, and what those that do not lead say to everyone else."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from common.wire.message import Message

# Which leadership something is of, as (generation, number): a later one is greater.
WireEpoch: TypeAlias = tuple[int, int]
# What is not said at all: msgspec leaves a tuple out where it is the default itself, not one that equals it.
NO_EPOCH: WireEpoch = (0, 0)


class Elsewhere(Message):
    """The answer of a manager that does not lead, to what only the leader takes: ask there.

    `leader` is its `host:port`, empty when none is known; `managers` are all of them.
    """

    KIND: ClassVar[int] = 100
    leader: str = ""
    managers: tuple[str, ...] = ()
    epoch: WireEpoch = NO_EPOCH


class Managers(Message):
    """Where managers are from now on (`host:port`), said in a session to workers of protocol 4 and later."""

    KIND: ClassVar[int] = 101
    managers: tuple[str, ...]


class Link(Message):
    """The first frame between managers, with a manager's certificate of now.

    `clock` is in Unix seconds, `levels` the oldest and the newest format of the store that this release knows.
    """

    KIND: ClassVar[int] = 102
    protocol: int
    release: str
    clock: float
    levels: tuple[int, int]
    epoch: WireEpoch


class LinkWelcome(Message):
    """The same, of the manager that was dialled."""

    KIND: ClassVar[int] = 103
    protocol: int
    release: str
    clock: float
    levels: tuple[int, int]
    epoch: WireEpoch


class ReadIndex(Message):
    """Ask the leader for the index of a state that has all acknowledged changes. Answered by `ReadAt`, or refused."""

    KIND: ClassVar[int] = 104


class ReadAt(Message):
    KIND: ClassVar[int] = 105
    epoch: WireEpoch
    index: int


class CallerRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sent a request to the manager that passes it on; fields as of `manager.api.access.roles.Caller`."""

    name: str
    origin: str
    role: str = ""
    unit: str = ""
    serial: str = ""
    uid: int | None = None
    pid: int | None = None


class Forwarded(Message):
    """The first frame of a connection that carries a client's HTTP request to the leader, after it has said `Taken`."""

    KIND: ClassVar[int] = 106
    caller: CallerRecord


class Taken(Message):
    """The leader takes a request that is passed on: from here on bytes without frames, both ways."""

    KIND: ClassVar[int] = 107


class ForwardJoin(Message):
    """A join that was asked of a manager that does not lead. Answered as the join itself, or by `Refused`.

    `frame` is the request's whole frame; `address` where the host dialled from, `at` the manager's own node if the host
    is the manager's.
    """

    KIND: ClassVar[int] = 108
    frame: bytes
    address: str
    at: str = ""


class ManagerJoin(Message):
    """Ask to become a manager, over a connection whose server was verified by the token's digest.

    `token` is the manager token, or a ticket that `BecomeManager` gave. `csr` is a PEM certificate request, `names`
    what the certificate is to be valid for, `clock` the host's Unix seconds. Others reach the manager at `addr`
    (`host:port`), its etcd at `peer_addr`.
    """

    KIND: ClassVar[int] = 109
    protocol: int
    release: str
    levels: tuple[int, int]
    token: str
    csr: bytes
    clock: float
    hostname: str
    addr: str
    peer_addr: str
    names: tuple[str, ...] = ()


class ManagerJoined(Message):
    """What a new manager starts with; all certificates and keys are PEM.

    The store is sealed with `keys`, by number, of which `current_key` seals. With `root_key` its etcd's certificate is
    signed. `peers` are the members of etcd (`name=url`), the new one included. With `endpoints` it is an etcd that
    others run, and `etcd_files` are where the leader has the PEM files that it is asked with.
    """

    KIND: ClassVar[int] = 110
    node_id: str
    cluster_id: str
    certificate: bytes
    root_certificate: bytes
    keys: dict[int, bytes]
    current_key: int
    root_key: bytes
    peers: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    etcd_files: tuple[str, ...] = ()


class ManagerRenew(Message):
    """Ask the leader for this manager's next certificate, valid for `names`. Answered by `RenewReply`."""

    KIND: ClassVar[int] = 111
    csr: bytes
    names: tuple[str, ...] = ()


class StepTaken(Message):
    """This manager shows a certificate of a step of the authority, and its etcd believes the roots of that step.

    Answered by `ReadAt` with a change in which that is written. Said where the store is of level 2 or later.
    """

    KIND: ClassVar[int] = 120
    step: int


class BecomeManager(Message):
    """Have this worker's host run a manager as well: `ticket` is a token that lets it join once, as this node.

    `addr` is the host's address as the cluster knows it.
    """

    KIND: ClassVar[int] = 112
    ticket: str
    addr: str


class ManagerLeave(Message):
    """This manager leaves: it is to be none any more. Answered by `LeaveAck` when that is written, or refused."""

    KIND: ClassVar[int] = 113

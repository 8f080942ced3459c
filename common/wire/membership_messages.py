"""Messages with which a worker says goodbye: for a moment, with its host, without an engine, after a failed join.

And, so that nobody sends anything to what is about to go, when every node has taken in what it was sent.

`Leave`, for good, is in `messages`.
"""

from __future__ import annotations

from typing import ClassVar

from common.wire.message import Message


class Goodbye(Message):
    """The agent is stopped on purpose and its containers run on: the manager waits for it longer than for a lost node.

    With `host` the whole host is going down: the node is down at once. Answered by `GoodbyeAck` when that is written,
    and with `host` when no other node sends to its containers any more.
    """

    KIND: ClassVar[int] = 22
    host: bool = False


class GoodbyeAck(Message):
    KIND: ClassVar[int] = 23


class Withdraw(Message):
    """Take back a join that failed on the worker's host, or a manager's; the first frame of its connection.

    Answered by `LeaveAck` when the node is forgotten; long after its join it is `Leave`, or `ManagerLeave`. A manager
    that does not lead answers `Elsewhere`.
    """

    KIND: ClassVar[int] = 24


class Unfit(Message):
    """Say why there is no session: this worker's host cannot run tasks. The first frame of its connection.

    The node is down at once, and its record has `reason`, a sentence for a person, until its next session. Answered by
    `GoodbyeAck` when that is written.
    """

    KIND: ClassVar[int] = 25
    reason: str


# --- when every node has taken in what it was sent ---


class Applied(Message):
    """This host's network is as the assignment set of this number has it, or a later one (`Assignments.results_in`)."""

    KIND: ClassVar[int] = 80
    number: int


class AwaitApplied(Message):
    """Wait until every node has applied what the manager has decided up to now. Answered by `AllApplied`.

    A worker asks before it stops a container that others may still send connections to.
    """

    KIND: ClassVar[int] = 81


class AllApplied(Message):
    """So it is; or some node does not get on, and nobody should wait for it any longer."""

    KIND: ClassVar[int] = 82

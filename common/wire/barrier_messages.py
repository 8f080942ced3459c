"""Messages about when every node has taken in what it was sent."""

from __future__ import annotations

from typing import ClassVar

from common.wire.message import Message


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

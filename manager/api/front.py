"""The API of now, behind one set of sockets: a locked manager's first, then the cluster's."""

from __future__ import annotations

from typing import Protocol

from manager.api.app import Api
from manager.api.call import Answer, Body, Call, Reply
from manager.api.context import Context
from manager.api.http.answer_memory import Lease


class Served(Protocol):
    """What the HTTP shell asks of an API: see `Api`."""

    @property
    def context(self) -> Context: ...
    def end_streams(self) -> None: ...
    def body_of(self, call: Call) -> Body: ...
    def lease(self) -> Lease: ...
    async def answer(self, call: Call, lease: Lease | None = None) -> Reply: ...
    def failure(self, call: Call, error: Exception) -> Answer: ...


class Front:
    """Lets `present` answer, whichever API that is when a request comes."""

    def __init__(self, present: Api) -> None:
        self.present = present

    @property
    def context(self) -> Context:
        return self.present.context

    def end_streams(self) -> None:
        self.present.end_streams()

    def body_of(self, call: Call) -> Body:
        return self.present.body_of(call)

    def lease(self) -> Lease:
        return self.present.lease()

    async def answer(self, call: Call, lease: Lease | None = None) -> Reply:
        return await self.present.answer(call, lease)

    def failure(self, call: Call, error: Exception) -> Answer:
        return self.present.failure(call, error)

"""What a session needs of the rest of the worker: ways to reach managers, the agent, the certificate."""

from __future__ import annotations

from typing import Protocol

from common.wire.channel import Channel
from common.wire.image_messages import BringImage, Brought
from common.wire.membership_messages import Applied
from common.wire.messages import (
    Assignments,
    AttachmentReport,
    Hello,
    NodeReport,
    OpenStream,
    RegistryAuth,
    RenewReply,
    RenewRequest,
    Welcome,
)
from common.wire.usage_messages import HostUsage, Measure, MeasureHost, Usage
from common.wire.volume_copy import VolumeReport


class Dialler(Protocol):
    """How managers are reached."""

    async def session(self, address: str, hello: Hello) -> tuple[Channel, Welcome]:
        """Open a session with the manager at `host:port`; errors as `common.wire.client.open_session`."""

    async def unfit(self, address: str, reason: str) -> None:
        """Let the manager at `host:port` know why there is no session; errors as `common.wire.client.say_unfit`."""

    async def stream(self, address: str, opened: OpenStream) -> None:
        """Answer an `OpenStream` and carry its bytes until it ends; raises no SwarmError."""

    async def refuse(self, address: str, opened: OpenStream, why: str) -> None:
        """Answer an `OpenStream` with why it cannot be; raises no SwarmError."""


class Agent(Protocol):
    """What a session tells and asks."""

    async def ready(self) -> None:
        """Wait until this host can run tasks."""

    async def unfit(self) -> str:
        """Wait until this host cannot run tasks (any more), and return why, for a person."""

    def hello(self) -> Hello: ...

    def welcomed(self) -> None: ...

    async def assigned(self, message: Assignments) -> bool:
        """Take assignments; return False when they do not follow on those that are here."""

    async def applied(self) -> Applied:
        """Wait until this host's network is as newer assignments have it, and say which."""

    def authorised(self, message: RegistryAuth) -> None: ...

    def measure(self, message: Measure) -> None:
        """Measure these services' tasks from now on."""

    async def measured(self) -> Usage:
        """Wait for the next measurements."""

    def measure_host(self, message: MeasureHost) -> None:
        """Measure the host at the message's interval from now on."""

    async def host_measured(self) -> HostUsage:
        """Wait for the next measurement of the host."""

    def report_volumes(self) -> None:
        """Report volumes from now on."""

    async def volumes_changed(self) -> VolumeReport:
        """Wait until volumes have changed, if reports are wanted, and return the report."""

    async def brought(self, message: BringImage) -> Brought:
        """Have an image here."""

    async def description_changed(self) -> NodeReport:
        """Wait until this host's description differs from the last one that was sent, and return it."""

    async def attachments_changed(self) -> AttachmentReport:
        """Wait until the state of a plain container in the cluster's networks has changed, and return it."""

    def lost(self) -> None:
        """Hear that the session has ended."""

    async def removed(self, reason: str) -> None:
        """Hear that the cluster has removed this node."""


class Renewal(Protocol):
    """When and how the node's certificate is replaced."""

    async def due(self) -> RenewRequest:
        """Wait until it is time, and return the request."""

    def renew_now(self) -> None:
        """Renew the certificate now rather than when it is due."""

    def renewed(self, reply: RenewReply) -> str:
        """Take the new certificate in use; return its serial number, empty when it could not be stored."""

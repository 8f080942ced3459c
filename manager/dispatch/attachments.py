"""Unmanaged containers in the cluster's networks: reports of their workers, and what other nodes are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from common.model import NetworkAttachment
from common.wire.messages import AttachmentState, Backend, ServiceEndpoint
from manager.store.transaction import Transaction
from manager.store.view import View


@dataclass(frozen=True, slots=True)
class AttachmentReports:
    """The validated part of an `AttachmentReport` (`manager.dispatch.intake`), and the node that sent it."""

    node_id: str
    attachments: tuple[AttachmentState, ...]


def apply_attachment_reports(tx: Transaction, batch: Sequence[AttachmentReports]) -> None:
    """Store the reports of live attachments; one whose container is gone has ended."""
    for reports in batch:
        for report in reports.attachments:
            known = tx.attachments.get(report.attachment_id)
            if known is None or not known.live or known.node_id != reports.node_id:
                continue  # it ended before the report arrived
            changed = _with_report(known, report, tx.now)
            if changed != known:
                tx.put(changed)


def changes_endpoints(view: View, reports: Iterable[AttachmentState]) -> bool:
    """Whether any report changes what other nodes know of a running container."""
    return any(_changes_endpoint(view.attachments.get(report.attachment_id), report) for report in reports)


def _changes_endpoint(known: NetworkAttachment | None, report: AttachmentState) -> bool:
    if known is None or not known.live or not known.status.running:
        return False
    return report.status.gone or endpoint_facts(known) != endpoint_facts(_with_report(known, report, 0.0))


def _with_report(known: NetworkAttachment, report: AttachmentState, now: float) -> NetworkAttachment:
    status = report.status
    if status.gone:
        return msgspec.structs.replace(known, ended_at=now, status=status)
    return msgspec.structs.replace(known, status=status, name=status.name or known.name)


def same_for_worker(old: NetworkAttachment, new: NetworkAttachment) -> bool:
    """Whether nothing changed that a worker acts on or must remember: of what it reported itself, the addresses."""
    return old.status.ends == new.status.ends and all(getattr(old, name) == getattr(new, name) for name in _SENT)


_SENT = ("node_id", "container_id", "networks", "dns", "publishes", "gateway", "ended_at")


def networks_of(attachment: NetworkAttachment) -> frozenset[str]:
    return frozenset(each.target for each in attachment.networks)


def endpoint_facts(attachment: NetworkAttachment | None) -> object:
    """Return the part of an attachment that other nodes see, to compare; None if it is not live."""
    if attachment is None or not attachment.live:
        return None
    status = attachment.status
    return attachment.networks, attachment.name, attachment.container, status.running, status.ends


def endpoint_of(attachment: NetworkAttachment, *, node_up: bool) -> ServiceEndpoint:
    """Return what nodes need to reach a container: an endpoint without a virtual address, with one backend."""
    status, networks = attachment.status, networks_of(attachment)
    addresses = {end.network_id: end.address for end in status.ends if end.network_id in networks and end.address}
    backend = Backend(task_id=attachment.id, slot=0, node_id="", addresses=addresses)
    names = attachment.names()
    return ServiceEndpoint(
        service_id=attachment.id,
        name=attachment.name,
        aliases={each.target: tuple(dict.fromkeys((*each.aliases, *names))) for each in attachment.networks},
        backends=(backend,) if status.running and node_up and addresses else (),
    )

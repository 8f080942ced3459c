"""What workers say of plain containers, and what other nodes hear of them."""

from typing import Any

from msgspec.structs import replace

from common.model import NetworkAttachment
from common.model.attachment import AttachedEnd, AttachedNetwork, AttachmentStatus
from common.wire.messages import AttachmentState
from manager.dispatch.attachments import AttachmentReports, apply_attachment_reports, endpoint_of
from manager.store.tables import Tables
from manager.store.transaction import Transaction

ENDS = (AttachedEnd(network_id="net", address="10.5.16.9"), AttachedEnd(network_id="mesh", address="10.240.1.9"))
RUNNING = AttachmentStatus(container_id="c" * 64, name="box", running=True, ends=ENDS)
KNOWN = NetworkAttachment(
    id="a1", node_id="n1", hostname="own", networks=(AttachedNetwork(target="net", aliases=("alias",)),)
)


def after(status: AttachmentStatus, node_id: str = "n1", known: NetworkAttachment = KNOWN) -> Any:
    tables = Tables()
    tables.of(NetworkAttachment).put(known)
    tx = Transaction(tables, 7.0)
    apply_attachment_reports(tx, [AttachmentReports(node_id, (AttachmentState(attachment_id="a1", status=status),))])
    return tx.attachments.get("a1")


def test_a_report_is_written_and_names_the_container():
    found = after(RUNNING)
    assert (found.status, found.name, found.container, found.live) == (RUNNING, "box", "c" * 64, True)


def test_a_node_says_nothing_of_anothers_and_of_what_has_ended():
    assert after(RUNNING, "n2") == KNOWN
    ended = replace(KNOWN, ended_at=3.0)
    assert after(RUNNING, known=ended) == ended


def test_an_attachment_ends_with_its_container():
    found = after(replace(RUNNING, running=False, gone=True))
    assert (found.live, found.ended_at) == (False, 7.0)


def test_others_reach_a_running_container_by_name_and_address():
    endpoint = endpoint_of(after(RUNNING), node_up=True)
    assert (endpoint.name, endpoint.vips) == ("box", {})
    assert endpoint.aliases == {"net": ("alias", "c" * 12, "own")}
    (backend,) = endpoint.backends
    assert (backend.addresses, backend.slot, backend.node_id) == ({"net": "10.5.16.9"}, 0, "")


def test_a_stopped_or_unreachable_one_has_names_but_no_address():
    assert not endpoint_of(after(replace(RUNNING, running=False)), node_up=True).backends
    assert not endpoint_of(after(RUNNING), node_up=False).backends

"""What is believed of what a worker says of plain containers: the API makes containers with it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from common.model import Service
from common.model.attachment import AttachedEnd, AttachedNetwork, AttachmentStatus
from common.model.container import BindOptions, Mount
from common.model.service import NetworkAttachmentConfig, ServiceSpec, TaskSpec
from common.net.engine_networks import GATEWAY_NETWORK
from common.wire.messages import MESH, AttachmentReport, AttachmentState
from tests.fakes.validation import (
    CONTAINER,
    FOREIGN,
    IN_OTHER,
    IN_OWN,
    MESH_OTHER,
    MESH_OWN,
    NET,
    OTHER,
    OWN,
    attachment,
    mesh6,
    validated,
)

FILE = Mount(type="bind", source="/var/lib/swarm-worker/resolv/a1", target="/etc/resolv.conf")
END = AttachedEnd(network="orc-network-net", network_id=NET, address=IN_OWN, address6="fd00:1::a01:1009")
WAY_OUT = AttachedEnd(network=GATEWAY_NETWORK, network_id=MESH, address=MESH_OWN, address6=mesh6(MESH_OWN))
HONEST = AttachmentStatus(
    container_id=CONTAINER,
    name="box",
    running=True,
    ends=(WAY_OUT, END),
    dns=("10.240.1.1",),
    mounts=(FILE,),
)


def said(status: AttachmentStatus, *more: Any, attachment_id: str = "a1") -> tuple[Any, dict[str, str]]:
    report = AttachmentReport(attachments=(AttachmentState(attachment_id=attachment_id, status=status),))
    taken, refused = validated(report, *more)
    assert taken is not None
    return (taken.attachments[0].status if taken.attachments else None), refused


def test_an_honest_worker_is_believed_in_all() -> None:
    found, refused = said(HONEST)
    assert found is HONEST
    assert not refused


def test_so_is_one_whose_networks_are_bridges_of_its_host_alone() -> None:
    end = AttachedEnd(network=f"network.{OWN}", network_id=NET, aliases=("alias", "box"))
    bridged = replace(HONEST, ends=(end,), dns=(), mounts=())
    assert said(bridged) == (bridged, {})


def test_attachments_of_other_nodes_and_ended_ones_are_ignored() -> None:
    found, refused = said(HONEST, attachment_id="a2")
    assert found is None
    assert refused == {"AttachmentState.attachment_id": "the attachment of container other is another node's"}
    assert said(HONEST, attachment(ended_at=5.0)) == (None, {})
    assert said(HONEST, attachment_id="gone") == (None, {})


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"network_id": FOREIGN, "network": "orc-foreignwork-forei", "address": "10.2.16.9"}, "network_id"),
        ({"network": "bridge"}, "network"),
        ({"network": "../../containers/x/start?"}, "network"),
        ({"address": IN_OTHER}, "address"),
        ({"address": "10.1.16.1"}, "address"),
        ({"address": "x"}, "address"),
        ({"address6": "fd00:1::1"}, "address6"),
        ({"address": "", "address6": "fd00:1::a01:1009"}, "address6"),
        ({"aliases": ("db",)}, "aliases"),
    ],
)
def test_an_endpoint_is_in_this_nodes_part_of_its_network(changed: dict[str, Any], field: str) -> None:
    found, refused = said(replace(HONEST, ends=(WAY_OUT, replace(END, **changed))))
    assert list(refused) == [f"AttachedEnd.{field}"]
    assert found.ends == ((WAY_OUT, END) if field == "aliases" else (WAY_OUT,))


@pytest.mark.parametrize("changed", [{"address": MESH_OTHER}, {"network": "bridge"}, {"address6": mesh6(MESH_OTHER)}])
def test_its_way_out_is_this_nodes_gateway(changed: dict[str, Any]) -> None:
    found, refused = said(replace(HONEST, ends=(replace(WAY_OUT, **changed), END)))
    assert found.ends == (END,)
    assert len(refused) == 1


def test_it_has_the_address_that_its_user_asked_for() -> None:
    asked = attachment(networks=(AttachedNetwork(target=NET, address="10.1.16.7", aliases=("alias",)),))
    found, refused = said(HONEST, asked)
    assert found.ends == (WAY_OUT,)
    assert refused == {"AttachedEnd.address": f"container box is to have the address 10.1.16.7, not {IN_OWN}"}


@pytest.mark.parametrize("server", ["8.8.8.8", "10.240.2.1", MESH_OWN, "127.0.0.1", "x", "10.1.17.1"])
def test_name_servers_are_gateways_of_this_node(server: str) -> None:
    found, refused = said(replace(HONEST, dns=(server,)))
    assert found.dns == ()
    assert list(refused) == ["AttachmentStatus.dns"]


def test_that_of_its_part_of_the_network_is_one() -> None:
    status = replace(HONEST, dns=("10.1.16.1",))
    assert said(status) == (status, {})


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "/"},
        {"source": "/etc/shadow"},
        {"source": "/var/lib/a1/../../../etc/a1"},
        {"source": "a1"},
        {"source": "/x\n/a1"},
        {"target": "/host"},
        {"type": "volume"},
        {"bind_options": BindOptions(propagation="rshared")},
        {"consistency": "x"},
    ],
)
def test_a_container_gets_its_own_resolv_conf_and_no_other_file(changed: dict[str, Any]) -> None:
    found, refused = said(replace(HONEST, mounts=(replace(FILE, **changed),)))
    assert found.mounts in ((), (FILE,))
    assert len(refused) == 1
    assert next(iter(refused)).startswith("Mount.")


def test_and_only_one_of_it() -> None:
    found, refused = said(replace(HONEST, mounts=(FILE, FILE)))
    assert found.mounts == (FILE,)
    assert list(refused) == ["AttachmentStatus.mounts"]


@pytest.mark.parametrize("name", ["db", "DB", "data", "other", "Alias2", "a b", "-x", "x" * 300, "x\x1b[2J"])
def test_a_name_taken_in_its_networks_is_refused(name: str) -> None:
    networks = (NetworkAttachmentConfig(target=NET, aliases=("data",)),)
    database = Service(id="s2", spec=ServiceSpec(name="db", task_template=TaskSpec(networks=networks)))
    neighbour = attachment("a2", OTHER, name="other", networks=(AttachedNetwork(target=NET, aliases=("alias2",)),))
    found, refused = said(replace(HONEST, name=name), database, neighbour)
    assert found.name == ""
    assert list(refused) == ["AttachmentStatus.name"]


def test_it_may_be_renamed_otherwise() -> None:
    """To what something is called that is in none of its networks, too."""
    networks = (NetworkAttachmentConfig(target=FOREIGN),)
    elsewhere = Service(id="s2", spec=ServiceSpec(name="db", task_template=TaskSpec(networks=networks)))
    for name in ("crate", "db"):
        status = replace(HONEST, name=name)
        assert said(status, elsewhere) == (status, {})


def test_its_container_is_the_one_that_the_manager_created() -> None:
    made = attachment(container_id="d" * 64)
    found, refused = said(HONEST, made)
    assert found.container_id == ""
    assert list(refused) == ["AttachmentStatus.container_id"]
    found, refused = said(HONEST, attachment("a2", OTHER, container_id=CONTAINER))
    assert found.container_id == ""
    assert list(refused) == ["AttachmentStatus.container_id"]
    found, refused = said(replace(HONEST, container_id="x"))
    assert found.container_id == ""

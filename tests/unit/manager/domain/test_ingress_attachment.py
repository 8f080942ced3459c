"""Whether the mesh has a way to a task that was made before its service published a port."""

from common.model import Network, Service, Task
from common.model.network import NetworkSpec
from common.model.service import EndpointSpec, NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec
from manager.domain.revisions import has_right_attachment
from tests.fakes.world import World

PORT = PortConfig(target_port=80, published_port=8080)


def service(*networks: str, published: bool) -> Service:
    template = TaskSpec(networks=tuple(NetworkAttachmentConfig(target=each) for each in networks))
    endpoint = EndpointSpec(ports=(PORT,)) if published else None
    return Service(id="s", spec=ServiceSpec(name="web", task_template=template, endpoint_spec=endpoint))


def right(*networks: str, had: bool, published: bool) -> bool:
    world = World()
    world.put(Network(id="open", spec=NetworkSpec(name="open")))
    world.put(Network(id="inner", spec=NetworkSpec(name="inner", internal=True)))
    task = Task(id="t", ports=(PORT,) if had else ())
    return has_right_attachment(task, service(*networks, published=published), world.tables)


def test_what_has_not_changed_is_right() -> None:
    assert right("inner", had=True, published=True)
    assert right("inner", had=False, published=False)


def test_a_first_port_needs_tasks_that_have_a_way_outside() -> None:
    assert not right("inner", had=False, published=True)
    assert right("open", had=False, published=True)
    assert not right(had=False, published=True)


def test_without_ports_internal_networks_shut_a_task_in() -> None:
    assert not right("inner", had=True, published=False)
    assert right("open", had=True, published=False)
    assert right(had=True, published=False)

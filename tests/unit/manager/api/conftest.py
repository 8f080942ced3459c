"""What the tests of the API share: a cluster behind it, a client that calls it without HTTP, and tasks."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from common.model import Service, Task, TaskState, TaskStatus
from common.model.container import ContainerSpec
from common.model.service import NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec
from common.model.task import ContainerStatus
from common.wire.messages import MESH
from manager.api.http.server import serve
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.container_engine import Engines


@pytest.fixture
async def cluster() -> AsyncIterator[ApiCluster]:
    """A cluster in which only the API changes anything; `resume` lets its tasks run."""
    async with ApiCluster(idle=True) as cluster:
        yield cluster


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[Engines]:
    """Engines of both workers, which answer what a test puts there."""
    async with Engines(cluster) as engines:
        yield engines


@pytest.fixture
async def path(cluster: ApiCluster, engines: Engines) -> AsyncIterator[Path]:
    """The socket at which the API is served."""
    path = cluster.folder / "docker.sock"
    async with serve(cluster.api, [f"unix://{path}"]):
        yield path


@pytest.fixture
def client(cluster: ApiCluster) -> Client:
    return Client(cluster.api)


def add_tasks(tx: Transaction) -> None:
    template = TaskSpec(
        container_spec=ContainerSpec(image="busybox"), networks=(NetworkAttachmentConfig(target="host"),)
    )
    spec = ServiceSpec(name="web", labels={"app": "x"}, task_template=template)
    tx.put(Service(id="s" * 25, spec=spec, spec_version=5))
    for number, (node, state, desired) in enumerate(
        [
            (WORKER1, TaskState.RUNNING, TaskState.RUNNING),
            (WORKER2, TaskState.FAILED, TaskState.SHUTDOWN),
            ("", TaskState.PENDING, TaskState.RUNNING),
        ]
    ):
        status = TaskStatus(
            timestamp=1700000000.5,
            state=state,
            message="m",
            err="e" if state is TaskState.FAILED else "",
            container_status=ContainerStatus(container_id="c", pid=3, exit_code=number) if node else None,
            addresses={MESH: "10.240.1.9"} if node == WORKER1 else {},
            ports=(PortConfig(target_port=80, published_port=8080, publish_mode="host"),) if node == WORKER1 else (),
        )
        tx.put(
            Task(
                id=f"{number}" * 25,
                spec=msgspec.structs.replace(template, force_update=number % 2),
                spec_version=5 - number % 2,
                service_id="s" * 25,
                service_name="web",
                slot=number + 1,
                node_id=node,
                status=status,
                desired_state=desired,
                ports=(PortConfig(target_port=80, published_port=8081),),
            )
        )


@pytest.fixture
async def tasks(cluster: ApiCluster) -> None:
    """Three slots of the service `web`: one runs on a worker, one has failed on another, one waits for a node."""
    await cluster.store.update(add_tasks)

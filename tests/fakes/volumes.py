"""Tasks with named volumes, copies of volumes, claims: said in few words."""

from __future__ import annotations

from msgspec.structs import replace

from common.model import Service, Task, TaskState, TaskStatus, Volume, VolumeClaim
from common.model.container import ContainerSpec, DriverConfig, Mount, VolumeOptions
from common.model.service import Replicated, ServiceMode, ServiceSpec, TaskSpec
from common.model.volume import claim_id, volume_id
from common.spec.volumes import SCOPE_LABEL, SNAPSHOT_LABEL


def mount(name: str, scope: str = "", *, snapshot: str = "", **options: str) -> Mount:
    labels = {SCOPE_LABEL: scope} if scope else {}
    labels |= {SNAPSHOT_LABEL: snapshot} if snapshot else {}
    driver = DriverConfig(name="local", options=options) if options else None
    return Mount(source=name, target=f"/{name}", volume_options=VolumeOptions(labels=labels, driver_config=driver))


def spec(*volumes: str | Mount) -> TaskSpec:
    mounts = tuple(each if isinstance(each, Mount) else mount(each) for each in volumes)
    return TaskSpec(container_spec=ContainerSpec(image="db", mounts=mounts))


def service(name: str, *volumes: str | Mount, replicas: int = 1, **labels: str) -> Service:
    labels = {f"swarm.x.{label.replace('_', '-')}": value for label, value in labels.items()}
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    return Service(id=name, spec=ServiceSpec(name=name, labels=labels, task_template=spec(*volumes), mode=mode))


def task(of: Service, slot: int = 1, number: int = 1, **more: object) -> Task:
    """Make a task of a service that waits for a node, unless `more` says otherwise."""
    waits = Task(
        id=f"{of.id}.{slot}.{number}",
        service_id=of.id,
        service_name=of.name,
        labels=of.spec.labels,
        spec=of.spec.task_template,
        slot=slot,
        status=TaskStatus(state=TaskState.PENDING),
        desired_state=TaskState.RUNNING,
    )
    return replace(waits, **more)


def running(of: Service, node_id: str, slot: int = 1, number: int = 1, **more: object) -> Task:
    status = TaskStatus(state=TaskState.RUNNING)
    return task(of, slot, number, **{"node_id": node_id, "status": status, **more})


def copy(node_id: str, name: str, data_id: str = "", **more: object) -> Volume:
    made = Volume(id=volume_id(node_id, name), name=name, node_id=node_id, data_id=data_id or "d" * 32, generation=1)
    return replace(made, **more)


def claim(holder: str, volume: str, node_id: str, **more: object) -> VolumeClaim:
    """Make a claim of `SERVICE.SLOT`, for good unless `more` says otherwise."""
    of, _, slot = holder.rpartition(".")
    made = VolumeClaim(
        id=claim_id(of, int(slot), volume), service=of, slot=int(slot), volume=volume, node_id=node_id, bound=True
    )
    return replace(made, **more)

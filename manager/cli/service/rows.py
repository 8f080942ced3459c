"""Services in a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from common.clock import to_the_second
from common.model import Service
from common.model.service import PortConfig
from common.model.update import AwaitsServices
from common.text.image_names import short_name
from manager.cli import codec
from manager.cli.format.tables import Row, Table, natural, short_id

SERVICES = Table(
    columns=("{{.ID}}", "{{.Name}}", "{{.Mode}}", "{{.Replicas}}", "{{.Image}}", "{{.Ports}}"),
    headings={
        "ID": "ID",
        "Name": "NAME",
        "Mode": "MODE",
        "Replicas": "REPLICAS",
        "Image": "IMAGE",
        "Ports": "PORTS",
    },
    raw={"id": "ID", "name": "Name", "mode": "Mode", "replicas": "Replicas", "image": "Image", "ports": "Ports"},
)


def rows(services: Iterable[codec.Json]) -> list[Row]:
    """Make the rows from the answers of /services with `status=true`, by name."""
    made = [_row(codec.service(each), each.get("ServiceStatus") or {}) for each in services]
    return sorted(made, key=lambda row: natural(str(row["Name"])))


def _row(service: Service, status: codec.Json) -> Row:
    container = service.spec.task_template.container_spec
    return {
        "ID": short_id(service.id),
        "Name": service.spec.name,
        "Mode": mode_name(service),
        "Replicas": replicas(service, status),
        "Image": short_name(container.image) if container else "",
        "Ports": ports(service.endpoint.ports if service.endpoint else ()),
    }


def mode_name(service: Service) -> str:
    mode = service.spec.mode
    names = {
        "replicated": mode.replicated,
        "global": mode.global_,
        "replicated job": mode.replicated_job,
        "global job": mode.global_job,
    }
    return next((name for name, value in names.items() if value is not None), "")


def replicas(service: Service, status: codec.Json) -> str:
    """Write running and wanted tasks: `2/3`, `2/3 (max 1 per node)`, `1/1 (4/5 completed)` for a job.

    Of an autoscaled service the measurements: `2/2 (cpu at 41% (target 70%))`.
    """
    running, desired, completed = (status.get(f"{key}Tasks", 0) for key in ("Running", "Desired", "Completed"))
    text = f"{running}/{desired}"
    if waits := waiting(service):
        return f"{text} ({waits})"
    mode, placement = service.spec.mode, service.spec.task_template.placement
    if mode.replicated_job is not None:
        return f"{text} ({completed}/{mode.replicated_job.total_completions or 0} completed{next_run(service)})"
    if mode.global_job is not None:
        return f"{text} ({completed}/{desired + completed} completed{next_run(service)})"
    if (autoscale := service.autoscale_status) is not None and autoscale.reading:
        return f"{text} ({autoscale.reading})"
    if mode.replicated is not None and placement is not None and placement.max_replicas:
        return f"{text} (max {placement.max_replicas} per node)"
    return text


def next_run(service: Service) -> str:
    """Say when a scheduled job is due next: `; next run 2026-11-24T15:00:00Z`."""
    status = service.schedule_status
    return f"; next run {to_the_second(status.next_at)}" if status is not None and status.next_at else ""


def waiting(service: Service) -> str:
    """Say what a service waits for before its tasks are made or changed."""
    status = service.update_status
    return status.message if status is not None and isinstance(status.remark, AwaitsServices) else ""


def ports(published: Sequence[PortConfig]) -> str:
    """Write the ports of the routing mesh: `*:8080->80/tcp`; neighbours are drawn together, `*:80-82->80-82/tcp`."""
    mesh = [port for port in published if port.publish_mode == "ingress"]
    groups: list[list[PortConfig]] = []
    for port in sorted(mesh, key=lambda each: (each.protocol, each.published_port, each.target_port)):
        last = groups[-1][-1] if groups else None
        follows = last is not None and (last.protocol, last.published_port + 1, last.target_port + 1) == (
            port.protocol,
            port.published_port,
            port.target_port,
        )
        if follows:
            groups[-1].append(port)
        else:
            groups.append([port])
    return ", ".join(_group(group) for group in sorted(groups, key=lambda group: group[0].published_port))


def _group(group: list[PortConfig]) -> str:
    first, last = group[0], group[-1]
    published, target = f"{first.published_port}", f"{first.target_port}"
    if first is not last:
        published, target = f"{published}-{last.published_port}", f"{target}-{last.target_port}"
    return f"{first.host_ip or '*'}:{published}->{target}/{first.protocol}"

"""What `{{…}}` in a task's hostname, environment, mounts and files may name (swarmkit `template/context.go`).

The worker expands them; the API expands them for a task of no node before it takes a service.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from common.model.container import ContainerSpec, Mount, VolumeOptions
from common.model.node import NodeDescription
from common.model.task import Task
from common.spec.gotemplate import Function, Template, TemplateCallError, TemplateError, render
from common.spec.volumes import scope_of, with_slot


def context(task: Task, node_id: str, node: NodeDescription) -> dict[str, Any]:
    """Make the dot of a task's templates. A global task's slot is its node's id."""
    return {
        "Service": {"ID": task.service_id, "Name": task.service_name, "Labels": task.labels},
        "Node": {
            "ID": node_id,
            "Hostname": node.hostname,
            "Platform": {"Architecture": node.platform.architecture, "OS": node.platform.os},
        },
        "Task": {"ID": task.id, "Name": task.name, "Slot": task.slot or node_id},
    }


def expand_spec(spec: ContainerSpec, dot: Mapping[str, Any]) -> ContainerSpec:
    """Expand all templates of a container's specification.

    Raises:
        TemplateError: one is not a template, or names what does not exist; the message says in which field.

    """
    return msgspec.structs.replace(
        spec,
        hostname=expand_hostname(spec, dot),
        env=tuple(_expand("environment", entry, dot) for entry in spec.env),
        mounts=tuple(_expand_mount(mount, dot) for mount in spec.mounts),
    )


def expand_hostname(spec: ContainerSpec, dot: Mapping[str, Any]) -> str:
    """Expand the container's own name for itself.

    Raises:
        TemplateError: as `expand_spec`.

    """
    return _expand("hostname", spec.hostname, dot)


def check_templates(spec: ContainerSpec, service: str, labels: Mapping[str, str]) -> None:
    """Refuse a template that no task could expand, instead of rejecting one task after the other.

    What a function says of a node that is not known yet is no reason.

    Raises:
        TemplateError: as `expand_spec`.

    """
    task = Task(id="", service_name=service, labels=dict(labels), slot=1)
    with suppress(TemplateCallError):
        expand_spec(spec, context(task, "", NodeDescription()))


def expand_file(data: bytes, dot: Mapping[str, Any], functions: Mapping[str, Function]) -> bytes:
    """Expand the content of a secret or config whose templating driver is `golang`.

    Raises:
        TemplateError: it is not a template, or names what does not exist. The message may quote from the content.

    """
    try:
        return Template(data.decode(), functions=functions).render(dot).encode()
    except UnicodeDecodeError as error:
        raise TemplateError("it is not text") from error


def _expand_mount(mount: Mount, dot: Mapping[str, Any]) -> Mount:
    options = mount.volume_options
    if options is not None:
        labels = {name: _expand("volume label", value, dot) for name, value in options.labels.items()}
        options = msgspec.structs.replace(options, labels=labels)
        options = _expand_driver(options, dot)
    return msgspec.structs.replace(
        mount,
        source=with_slot(_expand("mount source", mount.source, dot), scope_of(mount), dot["Task"]["Slot"]),
        target=_expand("mount target", mount.target, dot),
        volume_options=options,
    )


def _expand_driver(options: VolumeOptions, dot: Mapping[str, Any]) -> VolumeOptions:
    driver = options.driver_config
    if driver is None:
        return options
    expanded = {name: _expand("volume option", value, dot) for name, value in driver.options.items()}
    return msgspec.structs.replace(options, driver_config=msgspec.structs.replace(driver, options=expanded))


def _expand(where: str, text: str, dot: Mapping[str, Any]) -> str:
    try:
        return render(text, dot)
    except TemplateError as error:
        raise type(error)(f"cannot expand the {where} {text!r}: {error.message}") from error

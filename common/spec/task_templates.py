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
from common.spec.gotemplate import Budget, Function, Template, TemplateCallError, TemplateError, render
from common.spec.volumes import scope_of, with_slot

# What all templates of a specification may take, and those of a task's files. Managers and workers carry them out while
# everything else waits: a step takes some microseconds.
_STEPS, _FILE_STEPS = 20_000, 100_000
_CHARACTERS = 4 * 1024 * 1024
# Of a template that an error quotes.
_QUOTED = 500


def file_budget() -> Budget:
    """Return what all files of a task may take."""
    return Budget(_FILE_STEPS, _CHARACTERS)


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
        TemplateError: one is not a template, names what does not exist, or all of them take too much; the message
            says in which field.

    """
    expand = _Expander(dot)
    return msgspec.structs.replace(
        spec,
        hostname=expand("hostname", spec.hostname),
        env=tuple(expand("environment", entry) for entry in spec.env),
        mounts=tuple(_expand_mount(mount, expand) for mount in spec.mounts),
    )


def expand_hostname(spec: ContainerSpec, dot: Mapping[str, Any]) -> str:
    """Expand the container's own name for itself.

    Raises:
        TemplateError: as `expand_spec`.

    """
    return _Expander(dot)("hostname", spec.hostname)


def check_templates(spec: ContainerSpec, service: str, labels: Mapping[str, str]) -> None:
    """Refuse a template that no task could expand, instead of rejecting one task after the other.

    What a function says of a node that is not known yet is no reason.

    Raises:
        TemplateError: as `expand_spec`.

    """
    task = Task(id="", service_name=service, labels=dict(labels), slot=1)
    with suppress(TemplateCallError):
        expand_spec(spec, context(task, "", NodeDescription()))


def expand_file(data: bytes, dot: Mapping[str, Any], functions: Mapping[str, Function], budget: Budget) -> bytes:
    """Expand the content of a secret or config whose templating driver is `golang`.

    Raises:
        TemplateError: it is not a template, names what does not exist, or the budget is used up. The message may quote
            from the content.

    """
    try:
        return Template(data.decode(), functions=functions, budget=budget).render(dot, budget).encode()
    except UnicodeDecodeError as error:
        raise TemplateError("it is not text") from error


class _Expander:
    """Expands the fields of one specification, on one budget."""

    def __init__(self, dot: Mapping[str, Any]) -> None:
        self.dot = dot
        self._budget = Budget(_STEPS, _CHARACTERS)

    def __call__(self, where: str, text: str) -> str:
        try:
            return render(text, self.dot, self._budget)
        except TemplateError as error:
            shown = text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
            raise type(error)(f"cannot expand the {where} {shown!r}: {error.message}") from error


def _expand_mount(mount: Mount, expand: _Expander) -> Mount:
    options = mount.volume_options
    if options is not None:
        labels = {name: expand("volume label", value) for name, value in options.labels.items()}
        options = msgspec.structs.replace(options, labels=labels)
        options = _expand_driver(options, expand)
    return msgspec.structs.replace(
        mount,
        source=with_slot(expand("mount source", mount.source), scope_of(mount), expand.dot["Task"]["Slot"]),
        target=expand("mount target", mount.target),
        volume_options=options,
    )


def _expand_driver(options: VolumeOptions, expand: _Expander) -> VolumeOptions:
    driver = options.driver_config
    if driver is None:
        return options
    expanded = {name: expand("volume option", value) for name, value in driver.options.items()}
    return msgspec.structs.replace(options, driver_config=msgspec.structs.replace(driver, options=expanded))

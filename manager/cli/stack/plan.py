"""`stack plan` and `stack deploy --dry-run`: ask what is there, compare, print; nothing is changed."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import click

from common.model.service import ServiceSpec
from common.spec import autoscale
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.compose import Stack
from manager.cli.files import digest
from manager.cli.image.pins import Pins
from manager.cli.stack.compare import CHANGE, CREATE, REMOVE, Step, compare_labels, compare_services
from manager.cli.stack.deploy import (
    DeployOptions,
    check_external,
    find_targets,
    of_stack,
    present_file,
    send,
    service_order,
)

# The exit code when a deploy would change something.
CHANGES_EXIT = 2


async def show_plan(client: Client, stack: Stack, options: DeployOptions) -> None:
    """Print what a deploy of the stack would do.

    Raises:
        click.exceptions.Exit: with `CHANGES_EXIT`, it would change something.

    """
    steps = await plan(client, stack, options)
    for step in steps:
        echo(str(step))
    echo(summary(steps))
    if steps:
        raise click.exceptions.Exit(CHANGES_EXIT)


def summary(steps: list[Step]) -> str:
    """Say in one line how much changes."""
    if not steps:
        return "No changes: the stack is as the files say."
    counts = Counter(step.sign for step in steps)
    return f"Plan: {counts[CREATE]} to create, {counts[CHANGE]} to change, {counts[REMOVE]} to remove."


async def plan(client: Client, stack: Stack, options: DeployOptions) -> list[Step]:
    """Return what a deploy would do, in its order.

    Raises:
        CommandFailed: the deploy would be refused.

    """
    await check_external(client, stack)
    targets = await find_targets(client, stack, options)
    async with Pins(client, [each.spec for each in targets if each.present and each.resolve], options.tell) as pins:
        pinned = [await pins.pinned(each.spec) if each.present and each.resolve else each.spec for each in targets]
    orders = [service_order(spec, each.present) for spec, each in zip(pinned, targets, strict=True)]
    await send(client, stack, orders, options, dry_run=True)
    services = {each["Spec"]["Name"]: each for each in await client.get("/services", of_stack(stack.name))}
    networks = {each["Id"]: each["Name"] for each in await client.get("/networks")}
    steps = list(_pruned_services(services, stack)) if options.prune else []
    ours = {each["Name"] for each in await client.get("/networks", of_stack(stack.name))}
    steps += [Step(CREATE, "network", name) for name in stack.networks if name not in ours]
    for kind, specs in (("secret", stack.secrets), ("config", stack.configs)):
        steps += [step for name in specs if (step := await _file(client, kind, specs[name], options))]
    renewed = frozenset(f"{step.kind} {step.name}" for step in steps if step.remark == "new content")
    for spec, each in zip(pinned, targets, strict=True):
        if each.present is None:
            steps.append(Step(CREATE, "service", spec.name, remark=_describe_spec(spec)))
        elif step := compare_services(spec.name, each.present.spec, spec, networks, renewed):
            steps.append(step)
    return steps


def _pruned_services(services: Mapping[str, Any], stack: Stack) -> Iterator[Step]:
    wanted = {spec.name for spec in stack.services.values()}
    return (Step(REMOVE, "service", name, remark="stops its tasks") for name in services if name not in wanted)


async def _file(client: Client, kind: str, spec: Any, options: DeployOptions) -> Step | None:
    present = await present_file(client, kind, spec.name)
    if present is None:
        return Step(CREATE, kind, spec.name)
    changes = _content_changes(kind, present["Spec"], spec, options)
    return compare_labels(kind, spec.name, present["Spec"].get("Labels"), spec.labels, changes)


def _content_changes(kind: str, present: Mapping[str, Any], spec: Any, options: DeployOptions) -> bool | None:
    """Whether the content changes: of a secret by its digest. None, and a warning, when it has none."""
    driver = spec.templating.name if spec.templating is not None else ""
    if (present.get("Templating") or {}).get("Name", "") != driver:
        return True
    if kind == "config":
        return base64.b64decode(present.get("Data", "")) != bytes(spec.data)
    known = (present.get("Labels") or {}).get(digest.LABEL)
    if known is None:
        options.tell(f"secret {spec.name}: made by another client, so it is not known whether its content changes")
        return None
    return not digest.matches(known, spec.data)


def _describe_spec(spec: ServiceSpec) -> str:
    container = spec.task_template.container_spec
    image = container.image if container is not None else ""
    mode = spec.mode.replicated
    if (policy := autoscale.of(spec)) is not None and mode is not None and mode.replicas is None:
        return f"{image}, {policy.minimum} to {policy.maximum} replicas"
    if mode is None:
        return image
    count = 1 if mode.replicas is None else mode.replicas
    return f"{image}, {count} replica{'' if count == 1 else 's'}"

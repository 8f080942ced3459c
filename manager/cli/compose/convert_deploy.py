"""The `deploy` section of a service as parts of its specification."""

from __future__ import annotations

import re

from common.errors import InvalidArgument
from common.model.service import (
    DiscreteResourceSpec,
    GenericResource,
    Global,
    GlobalJob,
    Limits,
    Placement,
    PlacementPreference,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    SpreadOver,
    UpdateConfig,
)
from common.spec import constraints
from common.text.quantities import parse_cpus, parse_duration
from manager.cli.compose.config import Tree
from manager.cli.compose.errors import KeyPath
from manager.cli.compose.references import Scope

_RESTART = re.compile(r"no|always|unless-stopped|on-failure(?::(?P<attempts>[0-9]+))?")


def mode(scope: Scope, at: KeyPath, deploy: Tree) -> ServiceMode:
    """Read the service's mode. Without `replicas` a replicated service has as many as the engine's default, one."""
    name, replicas = deploy.get("mode", "replicated"), deploy.get("replicas")
    if replicas is not None and name.startswith("global"):
        raise scope.config.error((*at, "deploy", "replicas"), f"replicas means nothing in {name} mode")
    match name:
        case "global":
            return ServiceMode(global_=Global())
        case "global-job":
            return ServiceMode(global_job=GlobalJob())
        case "replicated-job":
            return ServiceMode(replicated_job=ReplicatedJob(max_concurrent=replicas, total_completions=replicas))
        case _:
            return ServiceMode(replicated=Replicated(replicas=replicas))


def placement(scope: Scope, at: KeyPath, tree: Tree) -> Placement:
    """Read `deploy.placement`. The API refuses a constraint that no node can match; here its place is known."""
    for index, constraint in enumerate(tree.get("constraints", ())):
        try:
            constraints.parse(constraint)
        except InvalidArgument as error:
            path = (*at, "deploy", "placement", "constraints", index)
            raise scope.config.error(path, error.message) from None
    return Placement(
        constraints=tuple(tree.get("constraints", ())),
        preferences=tuple(
            PlacementPreference(spread=SpreadOver(spread_descriptor=preference.get("spread", "")))
            for preference in tree.get("preferences", ())
        ),
        max_replicas=tree.get("max_replicas_per_node", 0),
    )


def resources(tree: Tree) -> Resources:
    limits, reservations = tree.get("limits"), tree.get("reservations")
    return Resources(
        limits=None
        if limits is None
        else Limits(nano_cpus=_cpus(limits), memory_bytes=_memory(limits), pids=limits.get("pids", 0)),
        reservations=None
        if reservations is None
        else Reservations(
            nano_cpus=_cpus(reservations),
            memory_bytes=_memory(reservations),
            generic_resources=tuple(_generic(resource) for resource in reservations.get("generic_resources", ())),
        ),
    )


def _cpus(tree: Tree) -> int:
    return parse_cpus(tree["cpus"]) if "cpus" in tree else 0


def _memory(tree: Tree) -> int:
    return int(tree.get("memory", 0))


def _generic(resource: Tree) -> GenericResource:
    discrete = resource.get("discrete_resource_spec")
    if discrete is None:
        return GenericResource()
    return GenericResource(
        discrete_resource_spec=DiscreteResourceSpec(kind=discrete.get("kind", ""), value=discrete.get("value", 0))
    )


def restart_policy(scope: Scope, at: KeyPath, service: Tree) -> RestartPolicy | None:
    """`deploy.restart_policy`, else what the older `restart` says; None leaves the engine's default.

    As in Docker, `restart: no` is the default too, which restarts: a service that must not is `condition: none`.
    """
    policy = service.get("deploy", {}).get("restart_policy")
    if policy is None:
        return _older_policy(scope, at, service.get("restart", ""))
    delay, window = policy.get("delay"), policy.get("window")
    return RestartPolicy(
        condition=policy.get("condition", "any"),
        delay=None if delay is None else parse_duration(delay),
        max_attempts=policy.get("max_attempts"),
        window=None if window is None else parse_duration(window),
    )


def _older_policy(scope: Scope, at: KeyPath, restart: str) -> RestartPolicy | None:
    match = _RESTART.fullmatch(restart)
    if restart and match is None:
        message = f'expected "no", "always", "unless-stopped" or "on-failure[:ATTEMPTS]", got the string "{restart}"'
        raise scope.config.error((*at, "restart"), message)
    if match is None or restart == "no":
        return None
    if not restart.startswith("on-failure"):
        return RestartPolicy(condition="any")
    return RestartPolicy(condition="on-failure", max_attempts=int(match["attempts"] or 0) or None)


def update_config(tree: Tree | None) -> UpdateConfig | None:
    """Read `update_config` or `rollback_config`; what is not given has the model's default, which is the engine's."""
    if tree is None:
        return None
    default = UpdateConfig()
    return UpdateConfig(
        parallelism=tree.get("parallelism", default.parallelism),
        delay=parse_duration(tree["delay"]) if "delay" in tree else default.delay,
        failure_action=tree.get("failure_action", default.failure_action),
        monitor=parse_duration(tree["monitor"]) if "monitor" in tree else default.monitor,
        max_failure_ratio=tree.get("max_failure_ratio", default.max_failure_ratio),
        order=tree.get("order", default.order),
    )

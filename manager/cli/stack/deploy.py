"""`stack deploy`: a stack is sent to the manager as a whole, and what was done is told in Docker's words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from common.model.network import NetworkSpec
from common.model.secret import SecretSpec
from common.model.service import STACK_LABEL, Service, ServiceSpec
from common.spec import autoscale, extensions, start_order
from common.text.terminal import warn
from manager.cli import codec, docker_config
from manager.cli.client import Client, filter_query
from manager.cli.codec import to_json
from manager.cli.compose import Stack
from manager.cli.compose.references import IMAGE_LABEL
from manager.cli.docker_config import config_path
from manager.cli.failures import ApiError, CommandFailed, Overtaken
from manager.cli.files import digest
from manager.cli.image.pins import Pins

# What was done to an object: `Action`, `Kind`, `Name` and `ID`.
Done: TypeAlias = dict[str, Any]

RESOLVE = ("always", "changed", "never")


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """How to deploy: when to ask registries for digests (one of `RESOLVE`), and whether credentials are sent along.

    `tell` hears what is worth knowing and no reason to stop. `looks` is how often a deploy looks at what is there, if
    others change it between its look and its order: once where it is to do what a plan has shown.
    """

    resolve_image: str = "always"
    registry_auth: bool = False
    prune: bool = False
    looks: int = 4
    tell: Callable[[str], None] = warn


def of_stack(stack: str) -> dict[str, str]:
    """Filter a list for what belongs to a stack."""
    return filter_query({"label": [f"{STACK_LABEL}={stack}"]})


async def deploy(client: Client, stack: Stack, options: DeployOptions) -> list[Done]:
    """Bring the cluster to what the stack says, all of it or nothing; return what was done.

    Of two deploys at once the later one looks again, and comes after the other.

    Raises:
        CommandFailed: something cannot be as it is to be.

    """
    for _ in range(options.looks - 1):
        with suppress(Overtaken):
            return await _deploy(client, stack, options)
    return await _deploy(client, stack, options)


async def _deploy(client: Client, stack: Stack, options: DeployOptions) -> list[Done]:
    await check_external(client, stack)
    targets = await find_targets(client, stack, options)
    async with Pins(client, [each.spec for each in targets if each.resolve], options.tell) as pins:
        resolved = [await pins.pinned(each.spec) if each.resolve else each.spec for each in targets]
    services = [_service_order(spec, each, options) for spec, each in zip(resolved, targets, strict=True)]
    return await send(client, stack, services, options)


def services_that_run(done: list[Done]) -> dict[str, str]:
    """Return the names, by id, of the services that a deploy has made or changed."""
    return {each["ID"]: each["Name"] for each in done if each["Kind"] == "service" and each["Action"] != "remove"}


async def rehearse(client: Client, stack: Stack, options: DeployOptions) -> None:
    """Find out whether a deploy would be refused, before anything is made for it.

    Raises:
        CommandFailed: it would be.

    """
    await check_external(client, stack)
    targets = await find_targets(client, stack, options)
    services = [service_order(each.spec, each.present) for each in targets]
    await _ask(client, stack, services, options, dry_run=True)


def _service_order(spec: ServiceSpec, target: Target, options: DeployOptions) -> dict[str, Any]:
    container = spec.task_template.container_spec
    assert container is not None, "every service of a stack has a container"
    auth = docker_config.auth_header(container.image, config_path()) if options.registry_auth else ""
    return {**service_order(spec, target.present), "RegistryAuth": auth}


def service_order(spec: ServiceSpec, present: Service | None) -> dict[str, Any]:
    """Write a service for the API, with the version of the one that is there."""
    return {"Spec": to_json(spec), "Version": present.version.index if present is not None else 0}


async def send(
    client: Client, stack: Stack, services: list[dict[str, Any]], options: DeployOptions, *, dry_run: bool = False
) -> list[Done]:
    """Have the manager do all that a deploy does in one transaction, or try it out, and tell what it warns of.

    Returns:
        What was done to each object that is not as it was.

    Raises:
        CommandFailed: something is refused; nothing has changed.

    """
    answer = await _ask(client, stack, services, options, dry_run=dry_run)
    for warning in answer["Warnings"] or []:
        options.tell(warning)
    done: list[Done] = answer["Done"]
    return done


async def _ask(
    client: Client, stack: Stack, services: list[dict[str, Any]], options: DeployOptions, *, dry_run: bool
) -> dict[str, Any]:
    order = {
        "Networks": [network_request(spec) for spec in stack.networks.values()],
        "Secrets": [
            file_body(spec, await present_file(client, "secret", name)) for name, spec in stack.secrets.items()
        ],
        "Configs": [to_json(spec) for spec in stack.configs.values()],
        "Services": services,
        "Prune": options.prune,
    }
    try:
        answer: dict[str, Any] = await client.post(
            f"/stacks/{stack.name}/deploy", order, {"dryRun": "1"} if dry_run else None
        )
    except ApiError as error:
        raise (Overtaken if error.overtaken else CommandFailed)(error.reason) from error
    return answer


def line_of(done: Done) -> str:
    """Say what was done to an object, in docker's words."""
    action, what = done["Action"], f"{done['Kind']} {done['Name']}"
    if action == "renew":
        return f"Updating {what} (new content)"
    verb = {"create": "Creating", "update": "Updating", "remove": "Removing"}[action]
    return f"{verb} {what}" + (f" (id: {done['ID']})" if action == "update" else "")


async def check_external(client: Client, stack: Stack) -> None:
    for name in stack.external_networks:
        try:
            network = await client.get(f"/networks/{name}")
        except ApiError as error:
            if not error.not_found:
                raise
            raise CommandFailed(
                f'network "{name}" is declared as external, but could not be found. You need to create a swarm-scoped '
                f"network before the stack is deployed (swarm-manager network create {name})"
            ) from error
        if network["Scope"] != "swarm":
            raise CommandFailed(
                f'network "{name}" is declared as external, but it is not in the right scope: '
                f'"{network["Scope"]}" instead of "swarm"'
            )


def network_request(spec: NetworkSpec) -> dict[str, Any]:
    """Write a network's specification as POST /networks/create takes it."""
    return {
        "Name": spec.name,
        "CheckDuplicate": True,
        "Driver": spec.driver.name,
        "Scope": spec.scope,
        "EnableIPv6": spec.ipv6_enabled,
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Options": spec.driver.options,
        "Labels": spec.labels,
        "IPAM": {
            "Driver": spec.ipam.driver.name,
            "Options": spec.ipam.driver.options,
            "Config": [
                {
                    key: value
                    for key, value in (("Subnet", c.subnet), ("IPRange", c.range), ("Gateway", c.gateway))
                    if value
                }
                for c in spec.ipam.configs
            ],
        },
    }


def file_body(spec: Any, present: Any) -> Any:
    """Write a secret or config for the API; a secret with the digest of its content."""
    if isinstance(spec, SecretSpec) and spec.data:
        known = (present["Spec"].get("Labels") or {}).get(digest.LABEL, "") if present is not None else ""
        spec = msgspec.structs.replace(spec, labels=digest.with_digest(spec.labels, spec.data, known))
    return to_json(spec)


async def present_file(client: Client, kind: str, name: str) -> Any:
    """Return a secret or config as the API shows it; None if it does not exist."""
    try:
        return await client.get(f"/{kind}s/{name}")
    except ApiError as error:
        if error.not_found:
            return None
        raise


async def find_targets(client: Client, stack: Stack, options: DeployOptions) -> list[Target]:
    """Compare what the files say of the services with what is there, in the order in which they start."""
    present = {each["Spec"]["Name"]: each for each in await client.get("/services", of_stack(stack.name))}
    return [target(spec, present.get(spec.name), options.resolve_image) for spec in in_start_order(stack)]


@dataclass(frozen=True, slots=True)
class Target:
    """A service as it is to be, and as it is (None: not yet); `resolve`: its image's digest is to be asked for."""

    spec: ServiceSpec
    present: Service | None
    resolve: bool


def target(spec: ServiceSpec, found: codec.Json | None, resolve_image: str) -> Target:
    """Compare what the files say of a service with what the API has of it."""
    if found is None:
        return Target(spec, None, resolve_image != "never")
    present = codec.service(found)
    carried, resolve = carry_over(present.spec, spec, resolve_image)
    return Target(carried, present, resolve)


def in_start_order(stack: Stack) -> list[ServiceSpec]:
    """List a stack's services, each after those that it depends on, else by name."""
    by_name = {spec.name: spec for spec in stack.services.values()}
    order = start_order.in_order({name: extensions.read(spec.labels).depends_on for name, spec in by_name.items()})
    return [by_name[name] for name in order]


def carry_over(present: ServiceSpec, spec: ServiceSpec, resolve_image: str) -> tuple[ServiceSpec, bool]:
    """Keep what a deploy must not change: the count of forced updates, the digest of an image that is the same.

    And the number of an autoscaled service's tasks.

    Returns:
        The specification to send, and whether its image's digest is to be asked for.

    """
    container, before = spec.task_template.container_spec, present.task_template.container_spec
    assert container is not None, "every service of a stack has a container"
    same = before is not None and spec.labels.get(IMAGE_LABEL) == present.labels.get(IMAGE_LABEL)
    resolve = resolve_image == "always" or (resolve_image == "changed" and not same)
    template = msgspec.structs.replace(spec.task_template, force_update=present.task_template.force_update)
    if same and not resolve and before is not None:
        template = msgspec.structs.replace(
            template, container_spec=msgspec.structs.replace(container, image=before.image)
        )
    return _keep_number(present, msgspec.structs.replace(spec, task_template=template)), resolve


def _keep_number(present: ServiceSpec, spec: ServiceSpec) -> ServiceSpec:
    """Keep the number of an autoscaled service's tasks: what the files say is only the first one."""
    policy, mode = autoscale.of(spec), present.mode.replicated
    if policy is None or mode is None or mode.replicas is None or spec.mode.replicated is None:
        return spec
    if autoscale.of(present) is None and spec.mode.replicated.replicas is not None:
        return spec
    return autoscale.with_replicas(spec, policy.within(mode.replicas))

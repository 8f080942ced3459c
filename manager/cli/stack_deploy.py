"""`stack deploy`: what a stack needs is created or updated in Docker's order and with Docker's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from common.model.network import NetworkSpec
from common.model.secret import SecretSpec
from common.model.service import STACK_LABEL, Service, ServiceSpec
from common.terminal import echo
from manager.cli import decode, digest
from manager.cli.client import Client, filtered
from manager.cli.encode import to_json
from manager.cli.failures import ApiError, CommandFailed
from manager.cli.image_pins import Pins
from manager.cli.service_write import ids, send_change, send_new
from manager.cli.stack_ports import without_passed_on
from manager.compose import Stack, with_ids
from manager.compose.scope import IMAGE_LABEL
from manager.state import autoscale, extensions, startorder

RESOLVE = ("always", "changed", "never")


@dataclass(frozen=True, slots=True)
class Manners:
    """How to deploy: when to ask registries for digests (one of `RESOLVE`), and whether credentials are sent along."""

    resolve_image: str = "always"
    registry_auth: bool = False
    prune: bool = False


def of_stack(stack: str) -> dict[str, str]:
    """Filter a list for what belongs to a stack."""
    return filtered({"label": [f"{STACK_LABEL}={stack}"]})


async def deploy(client: Client, stack: Stack, manners: Manners) -> dict[str, str]:
    """Bring the cluster to what the stack says; return the services' names by id.

    Raises:
        CommandFailed: something could not be created or updated.

    """
    await check_external(client, stack)
    if manners.prune:
        await _prune(client, stack)
    await _create_networks(client, stack)
    for kind, specs in (("secret", stack.secrets), ("config", stack.configs)):
        await _put_files(client, stack.name, kind, specs)
    return await _put_services(client, stack, manners)


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


async def _prune(client: Client, stack: Stack) -> None:
    wanted = {spec.name for spec in stack.services.values()}
    for service in await client.get("/services", of_stack(stack.name)):
        if service["Spec"]["Name"] not in wanted:
            echo(f"Removing service {service['Spec']['Name']}")
            await client.delete(f"/services/{service['ID']}")


async def _create_networks(client: Client, stack: Stack) -> None:
    present = {network["Name"] for network in await client.get("/networks", of_stack(stack.name))}
    for name, spec in stack.networks.items():
        if name not in present:
            echo(f"Creating network {name}")
            try:
                await client.post("/networks/create", network_request(spec))
            except ApiError as error:
                raise CommandFailed(f"failed to create network {name}: {error.message}") from error


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


async def _put_files(client: Client, stack: str, kind: str, specs: Mapping[str, Any]) -> None:
    """Create secrets or configs, or give those that exist the content and labels that the files say."""
    for name, spec in specs.items():
        present = await present_file(client, kind, name)
        body = file_body(spec, present)
        try:
            if present is None:
                echo(f"Creating {kind} {name}")
                await client.post(f"/{kind}s/create", body)
            else:
                # The stack's own services get the new content below, together with all else that changes.
                query = {"version": str(present["Version"]["Index"]), "unlessStack": stack}
                await client.post(f"/{kind}s/{present['ID']}/update", body, query)
        except ApiError as error:
            done = "create" if present is None else "update"
            raise CommandFailed(f"failed to {done} {kind} {name}: {error.message}") from error
        if present is not None and (await client.get(f"/{kind}s/{name}"))["ID"] != present["ID"]:
            echo(f"Updating {kind} {name} (new content)")


def file_body(spec: Any, present: Any) -> Any:
    """Write a secret or config for the API; a secret with the digest of its content."""
    if isinstance(spec, SecretSpec) and spec.data:
        known = (present["Spec"].get("Labels") or {}).get(digest.LABEL, "") if present is not None else ""
        spec = msgspec.structs.replace(spec, labels=digest.labelled(spec.labels, spec.data, known))
    return to_json(spec)


async def present_file(client: Client, kind: str, name: str) -> Any:
    """Return a secret or config as the API has it; None when there is none."""
    try:
        return await client.get(f"/{kind}s/{name}")
    except ApiError as error:
        if error.not_found:
            return None
        raise


async def _put_services(client: Client, stack: Stack, manners: Manners) -> dict[str, str]:
    present = {each["Spec"]["Name"]: each for each in await client.get("/services", of_stack(stack.name))}
    containers = [spec.task_template.container_spec for spec in stack.services.values()]
    secrets = [ref.secret_name for each in containers if each for ref in each.secrets]
    configs = [ref.config_name for each in containers if each for ref in each.configs]
    secret_ids, config_ids = await ids(client, "secrets", secrets), await ids(client, "configs", configs)
    wanted = [with_ids(spec, secret_ids, config_ids) for spec in in_start_order(stack)]
    targets = [target(spec, present.get(spec.name), manners.resolve_image) for spec in wanted]
    targets = await _pass_ports_on(client, targets)
    deployed: dict[str, str] = {}
    async with Pins(client, [each.spec for each in targets if each.resolve]) as pins:
        for each in targets:
            deployed[await _put_service(client, each, pins, auth=manners.registry_auth)] = each.spec.name
    return deployed


@dataclass(frozen=True, slots=True)
class Target:
    """A service as it is to be, and as it is (None: not yet); `resolve`: its image's digest is to be asked for."""

    spec: ServiceSpec
    present: Service | None
    resolve: bool


def target(spec: ServiceSpec, found: decode.Json | None, resolve_image: str) -> Target:
    """Compare what the files say of a service with what the API has of it."""
    if found is None:
        return Target(spec, None, resolve_image != "never")
    present = decode.service(found)
    carried, resolve = carry_over(present.spec, spec, resolve_image)
    return Target(carried, present, resolve)


async def _pass_ports_on(client: Client, targets: list[Target]) -> list[Target]:
    """Take from services the ports that go to others of the stack, and return all as they are then."""
    found = []
    for each in targets:
        others = [other.spec for other in targets if other is not each]
        present = each.present
        left = without_passed_on(present.spec, each.spec, others) if present is not None else None
        if present is not None and left is not None:
            echo(f"Updating service {left.name} (id: {present.id}): ports that go to other services")
            try:
                await send_change(client, present.id, present.version.index, left)
            except ApiError as error:
                raise CommandFailed(f"failed to update service {left.name}: {error.message}") from error
            now = decode.service(await client.get(f"/services/{present.id}"))
            found.append(Target(each.spec, now, each.resolve))
        else:
            found.append(each)
    return found


async def _put_service(client: Client, target: Target, pins: Pins, *, auth: bool) -> str:
    """Create or update a service; return its id."""
    spec, present = target.spec, target.present
    echo(f"Updating service {spec.name} (id: {present.id})" if present else f"Creating service {spec.name}")
    try:
        if target.resolve:
            spec = await pins.pinned(spec)
        if present is None:
            return await send_new(client, spec, resolve=False, auth=auth)
        await send_change(client, present.id, present.version.index, spec, auth=auth)
    except ApiError as error:
        done = "create" if present is None else "update"
        raise CommandFailed(f"failed to {done} service {spec.name}: {error.message}") from error
    return present.id


def in_start_order(stack: Stack) -> list[ServiceSpec]:
    """List a stack's services, each after those that it depends on, else by name."""
    by_name = {spec.name: spec for spec in stack.services.values()}
    order = startorder.in_order({name: extensions.read(spec.labels).depends_on for name, spec in by_name.items()})
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

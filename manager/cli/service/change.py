"""`swarm-manager service create|update|rollback|scale`.

In a specification that is sent names become ids, and images get their digests; warnings are printed.
"""

from __future__ import annotations

import os
from typing import Any

import click
import msgspec

from common.clock import seconds
from common.errors import InvalidArgument
from common.model import Service
from common.model.container import ContainerSpec
from common.model.service import NetworkAttachmentConfig, ServiceSpec
from common.text.terminal import echo
from manager.cli import codec, docker_config
from manager.cli.client import Client, filter_query
from manager.cli.codec import to_json
from manager.cli.command import Sections, SwarmCommand, flag
from manager.cli.completion import complete_images, complete_services
from manager.cli.docker_config import config_path
from manager.cli.failures import ApiError
from manager.cli.flags import spec_create, spec_update
from manager.cli.flags.references import with_config_ids, with_secret_ids
from manager.cli.flags.service_options import SECTIONS, create_flags, section_of, update_flags
from manager.cli.flags.types import DETACH, TIMEOUT
from manager.cli.image import pins
from manager.cli.progress.converge import converge
from manager.cli.progress.judgement import WaitOptions
from manager.cli.session import with_client
from manager.cli.several import finish

_SERVICE: dict[str, Any] = {"metavar": "SERVICE", "shell_complete": complete_services}
# Flags of `service update` that say how to go about it, not what the service is to be.
_MANNERS = frozenset({"detach", "quiet", "timeout", "with_registry_auth", "no_resolve_image", "force"})
# What is done to an update by the flag that asks for it; each stands alone.
_ROLLOUT = {"pause": "pause", "go_on": "continue", "abort": "abort"}


_SECTIONS = Sections(SECTIONS, section_of)


@click.command(
    cls=SwarmCommand,
    sections=_SECTIONS,
    context_settings={"allow_interspersed_args": False},
    examples="""
    swarm-manager service create --name web --replicas 3 --publish 8080:80 nginx:1.27
    swarm-manager service create --name job --mode replicated-job --replicas 5 busybox:1 echo done
    swarm-manager service create --name db --mount source=data,target=/var/lib/data --secret db-password postgres:17
    """,
)
@click.argument("image", shell_complete=complete_images)
@click.argument("args", nargs=-1, metavar="[COMMAND] [ARG...]", type=click.UNPROCESSED)
@create_flags
@with_client
async def create(client: Client, /, image: str, args: tuple[str, ...], **given: Any) -> None:
    """Create a service and wait until its tasks run."""
    try:
        spec = spec_create.build(image, args, given, os.environ)
    except (ValueError, OSError) as error:
        raise InvalidArgument(str(error)) from error
    spec = await _resolve_references(client, spec)
    service_id = await send_new(client, spec, resolve=not given["no_resolve_image"], auth=given["with_registry_auth"])
    echo(service_id)
    await _wait(client, {service_id: spec.name or service_id}, given, made=True)


async def _resolve_references(client: Client, spec: ServiceSpec) -> ServiceSpec:
    """Look up what the specification names."""
    networks = await network_ids(client, spec.task_template.networks)
    template = msgspec.structs.replace(spec.task_template, networks=networks)
    return await with_ids(client, msgspec.structs.replace(spec, task_template=template))


async def _wait(
    client: Client,
    services: dict[str, str],
    given: spec_create.Given,
    *,
    rollback: bool = False,
    made: bool = False,
) -> None:
    if not given["detach"]:
        options = WaitOptions(
            timeout=seconds(given["timeout"]),
            rollback=rollback,
            executes=given.get("force", False),
            made=frozenset(services) if made else frozenset(),
        )
        await converge(client, services, options, quiet=given.get("quiet", False))


@click.command(
    cls=SwarmCommand,
    sections=_SECTIONS,
    examples="""
    swarm-manager service update --image nginx:1.28 web
    swarm-manager service update --env-add MODE=fast --limit-memory 200M --update-parallelism 2 web
    swarm-manager service update --force web
    swarm-manager service update --continue web
    """,
)
@click.argument("reference", **_SERVICE)
@update_flags
@with_client
async def update(client: Client, /, reference: str, **given: Any) -> None:
    """Change a service and wait until its tasks are replaced."""
    service = await _fetch(client, reference)
    rolls_back = given["rollback"] or given["abort"]
    if asked := next((name for name in ("rollback", *_ROLLOUT) if given[name]), ""):
        _refuse_others(given, asked)
    if given["rollback"]:
        await send_rollback(client, service)
    elif asked:
        query = {"version": str(service.version.index), "action": _ROLLOUT[asked]}
        await client.post(f"/services/{service.id}/rollout", params=query)
    else:
        spec = await _change_spec(client, service, given)
        resolve = given.get("image") is not None and not given["no_resolve_image"]
        scale = given.get("replicas") is not None
        await send_change(client, service, spec, resolve=resolve, auth=given["with_registry_auth"], scale=scale)
    echo(reference)
    if not given["pause"]:
        await _wait(client, {service.id: service.name}, given, rollback=rolls_back)


async def _fetch(client: Client, reference: str) -> Service:
    return codec.service(await client.get(f"/services/{reference}"))


async def _change_spec(client: Client, service: Service, given: dict[str, Any]) -> ServiceSpec:
    added = await network_ids(client, given["network_add"])
    removed = [(await client.get(f"/networks/{name}"))["Id"] for name in given["network_rm"]]
    try:
        spec = spec_update.apply(service.spec, {**given, "network_add": added, "network_rm": removed})
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    return await with_ids(client, spec) if given["secret_add"] or given["config_add"] else spec


def _refuse_others(given: dict[str, Any], asked: str) -> None:
    """Other changes make no sense with --rollback, --pause, --continue or --abort."""
    others = (value for name, value in given.items() if name != asked and name not in _MANNERS)
    if any(value not in (None, (), False) for value in others):
        raise InvalidArgument(f"other flags may not be combined with --{_ROLLOUT.get(asked, asked)}")


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager service rollback web
    swarm-manager service rollback --to 3 web
    """,
)
@click.argument("reference", **_SERVICE)
@DETACH
@flag("--to", type=click.IntRange(min=1), help="Return to this revision of `service history`.")
@flag("-q", "--quiet", is_flag=True, default=False, help="Suppress progress output.")
@TIMEOUT
@with_client
async def rollback(client: Client, /, reference: str, **given: Any) -> None:
    """Return a service to its previous specification, or to an earlier one."""
    service = await _fetch(client, reference)
    await send_rollback(client, service, given["to"] or 0)
    echo(reference)
    await _wait(client, {service.id: service.name}, given, rollback=True)


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager service scale web=5
    swarm-manager service scale web=5 worker=20
    """,
)
@click.argument("scales", nargs=-1, required=True, metavar="SERVICE=REPLICAS...", shell_complete=complete_services)
@DETACH
@TIMEOUT
@with_client
async def scale(client: Client, /, scales: tuple[str, ...], **given: Any) -> None:
    """Set the number of tasks of one or more replicated services."""
    wanted = [parse_scale(text) for text in scales]
    scaled: dict[str, str] = {}
    problems = []
    for reference, replicas in wanted:
        try:
            service = await _scale_one(client, reference, replicas)
        except (ApiError, InvalidArgument) as error:
            problems.append(f"{reference}: {error.message}")
            continue
        scaled[service.id] = service.name
        echo(f"{reference} scaled to {replicas}")
    if scaled:
        await _wait(client, scaled, given)
    finish(problems)


def parse_scale(text: str) -> tuple[str, int]:
    """Read `service=replicas`.

    Raises:
        InvalidArgument: it has another form.

    """
    reference, equals, number = text.partition("=")
    if not equals or not reference:
        raise InvalidArgument(f"Invalid scale specifier '{text}'.\nSee 'swarm-manager service scale --help'.")
    if not number.isdecimal():
        raise InvalidArgument(f"{reference}: invalid replicas value {number}: a whole number, 0 or more, is expected")
    return reference, int(number)


async def _scale_one(client: Client, reference: str, replicas: int) -> Service:
    service = await _fetch(client, reference)
    mode = service.spec.mode
    if mode.replicated is None and mode.replicated_job is None:
        raise InvalidArgument("scale can only be used with replicated or replicated-job mode")
    if mode.replicated is not None:
        changed = msgspec.structs.replace(mode, replicated=msgspec.structs.replace(mode.replicated, replicas=replicas))
    else:
        assert mode.replicated_job is not None
        job = msgspec.structs.replace(mode.replicated_job, total_completions=replicas)
        changed = msgspec.structs.replace(mode, replicated_job=job)
    spec = msgspec.structs.replace(service.spec, mode=changed)
    await send_change(client, service, spec, scale=True)
    return service


async def with_ids(client: Client, spec: ServiceSpec) -> ServiceSpec:
    """Fill in the ids of the secrets and configs that a specification names.

    Raises:
        InvalidArgument: one of them does not exist.

    """
    template = spec.task_template
    container = template.container_spec
    if container is None or not (container.secrets or container.configs):
        return spec
    secrets = await ids(client, "secrets", [each.secret_name for each in container.secrets])
    configs = await ids(client, "configs", [each.config_name for each in container.configs])
    try:
        filled = msgspec.structs.replace(
            container,
            secrets=with_secret_ids(container.secrets, secrets),
            configs=with_config_ids(container.configs, configs),
        )
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    return _with_container(spec, filled)


def _with_container(spec: ServiceSpec, container: ContainerSpec) -> ServiceSpec:
    return msgspec.structs.replace(
        spec, task_template=msgspec.structs.replace(spec.task_template, container_spec=container)
    )


async def ids(client: Client, kind: str, names: list[str]) -> dict[str, str]:
    """Return the ids of secrets or configs by name, without names that do not exist."""
    if not names:
        return {}
    found = await client.get(f"/{kind}", filter_query({"name": names}))
    return {each["Spec"]["Name"]: each["ID"] for each in found}


async def network_ids(
    client: Client, attachments: tuple[NetworkAttachmentConfig, ...]
) -> tuple[NetworkAttachmentConfig, ...]:
    """Return network attachments with ids in place of names, sorted by id.

    Raises:
        ApiError: one of them does not exist.

    """
    made = []
    for each in attachments:
        found = await client.get(f"/networks/{each.target}")
        made.append(msgspec.structs.replace(each, target=found["Id"]))
    return tuple(sorted(made, key=lambda each: each.target))


async def send_new(client: Client, spec: ServiceSpec, *, resolve: bool, auth: bool) -> str:
    """Create a service and return its id."""
    spec, header, unpinned = await _prepare(client, spec, resolve=resolve, auth=auth)
    answer = await client.post("/services/create", to_json(spec), headers=header)
    _warn(answer, unpinned)
    return str(answer["ID"])


async def send_change(
    client: Client,
    service: Service,
    spec: ServiceSpec,
    *,
    resolve: bool = False,
    auth: bool = False,
    scale: bool = False,
) -> None:
    """Give a service, as it was fetched, another specification.

    `scale`: the number of tasks is what is asked for, even if it is the one that an autoscaled service began with.
    """
    spec, header, unpinned = await _prepare(client, spec, resolve=resolve, auth=auth)
    query = {"version": str(service.version.index)}
    if not auth:
        query["registryAuthFrom"] = "spec"
    if scale:
        query["scale"] = "1"
    _warn(await client.post(f"/services/{service.id}/update", to_json(spec), query, headers=header), unpinned)


async def send_rollback(client: Client, service: Service, revision: int = 0) -> None:
    """Roll a service, as it was fetched, back to a revision, or to its previous specification if that is 0."""
    query = {"version": str(service.version.index), "rollback": "previous"}
    if revision:
        query["revision"] = str(revision)
    _warn(await client.post(f"/services/{service.id}/update", to_json(service.spec), query), [])


async def _prepare(
    client: Client, spec: ServiceSpec, *, resolve: bool, auth: bool
) -> tuple[ServiceSpec, dict[str, str] | None, list[str]]:
    """Return the specification to send, the header to send it with, and what to warn of when it has been accepted."""
    container = spec.task_template.container_spec
    warnings: list[str] = []
    if container is None or not (resolve or auth):
        return spec, None, warnings
    header = docker_config.auth_header(container.image, config_path())
    if resolve:
        spec = (await pins.pin(client, container.image, header)).applied(spec, warnings.append)
    return spec, {docker_config.AUTH_HEADER: header} if auth else None, warnings


def _warn(answer: Any, unpinned: list[str]) -> None:
    for warning in [*((answer or {}).get("Warnings") or []), *unpinned]:
        echo(warning, err=True)

"""Sending specifications of services: names become ids, images get their digests, warnings are printed."""

from __future__ import annotations

from typing import Any

import msgspec

from common.errors import InvalidArgument
from common.model.container import ContainerSpec
from common.model.service import NetworkAttachmentConfig, ServiceSpec
from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.codec import to_json
from manager.cli.docker_config import config_path
from manager.cli.flags.references import with_config_ids, with_secret_ids
from manager.cli.image import pins, registry


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
    """Map the names of secrets or configs to ids; a name that is not there is left out."""
    if not names:
        return {}
    found = await client.get(f"/{kind}", filter_query({"name": names}))
    return {each["Spec"]["Name"]: each["ID"] for each in found}


async def network_ids(
    client: Client, attachments: tuple[NetworkAttachmentConfig, ...]
) -> tuple[NetworkAttachmentConfig, ...]:
    """Name networks by their ids, in whose order they are kept.

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
    spec, header = await _prepare(client, spec, resolve=resolve, auth=auth)
    answer = await client.post("/services/create", to_json(spec), headers=header)
    _warn(answer)
    return str(answer["ID"])


async def send_change(
    client: Client,
    service_id: str,
    version: int,
    spec: ServiceSpec,
    *,
    resolve: bool = False,
    auth: bool = False,
    rollback: bool = False,
    revision: int = 0,
    scale: bool = False,
) -> None:
    """Update a service that is at `version`, or roll it back: to a revision, else to what it was before.

    `scale`: the number of tasks is what is asked for, even if it is the one that an autoscaled service began with.
    """
    spec, header = await _prepare(client, spec, resolve=resolve, auth=auth)
    query = {"version": str(version)}
    if rollback:
        query |= {"rollback": "previous"} | ({"revision": str(revision)} if revision else {})
    elif not auth:
        query["registryAuthFrom"] = "spec"
    if scale:
        query["scale"] = "1"
    _warn(await client.post(f"/services/{service_id}/update", to_json(spec), query, headers=header))


async def _prepare(
    client: Client, spec: ServiceSpec, *, resolve: bool, auth: bool
) -> tuple[ServiceSpec, dict[str, str] | None]:
    container = spec.task_template.container_spec
    if container is None or not (resolve or auth):
        return spec, None
    header = registry.auth_header(container.image, config_path())
    if resolve:
        spec = (await pins.pin(client, container.image, header)).applied(spec)
    return spec, {registry.AUTH_HEADER: header} if auth else None


def _warn(answer: Any) -> None:
    for warning in (answer or {}).get("Warnings") or []:
        echo(warning, err=True)

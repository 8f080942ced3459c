"""/services: create, list, inspect, update, delete.

A service that names an image of the cluster's own is pinned to its id, as others are to a registry's digest.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

import msgspec

from common.errors import OutOfSequence, SwarmError
from common.ids import new_id
from common.model import RegistryLogin, Service
from common.model.client import Role
from common.model.service import ServiceSpec
from common.model.update import ACTIVE, HALTED
from common.spec.constraints import parse_all
from common.text.image_names import pin, pinned_digest
from manager.api.call import Answer, Call, Reply, warning
from manager.api.context import Context
from manager.api.errors import EngineError, Unimplemented, invalid
from manager.api.http.json_list import json_list
from manager.api.images.find import LOOK_SECONDS, describe, holders
from manager.api.images.on_node import image_on
from manager.api.images.own import parse_own
from manager.api.lookup import any_prefix, find_service, labels_match, passes, random_name
from manager.api.networks.view import resolve_networks
from manager.api.router import Place, Route
from manager.api.services.validation import check_service
from manager.api.services.view import autoscaling_view, service_view, status_view
from manager.api.volumes.scopes import unmounted, unscoped
from manager.api.volumes.stay import staying
from manager.domain import hostnames
from manager.domain.defaults import fill_defaults
from manager.domain.image_use import of_the_cluster
from manager.domain.service_change import change_spec, new_service, roll_back
from manager.domain.update_status import state_of
from manager.store.transaction import Transaction
from manager.store.view import View

_FILTERS = frozenset({"id", "label", "mode", "name", "runtime"})
_REVISION = re.compile(r"[0-9]{1,9}")
# Counting so many tasks for the status of a service or its update takes as long as rendering one.
_TASKS_COUNTED_AT_ONCE = 20


async def list_services(context: Context, call: Call) -> Reply:
    filters = call.filters(_FILTERS)
    status = call.flag("status")
    view, now = context.store.view, context.clock.now()
    down = frozenset(node.id for node in view.nodes if node.status.state == "down") if status else frozenset()

    def keep(service: Service) -> bool:
        tests = {
            "id": lambda values: any_prefix(service.id, values),
            "name": lambda values: any_prefix(service.name, values),
            "label": lambda values: labels_match(service.spec.labels, values),
            "mode": lambda values: service.spec.mode.name in values,
            "runtime": lambda values: (service.spec.task_template.runtime or "container") in values,
        }
        return not service.pending_delete and passes(filters, tests)

    def render(service: Service) -> dict[str, object]:
        result = service_view(service, view, context.cache, now, defaults=call.flag("insertDefaults"))
        if not status:
            return result
        return {**result, **autoscaling_view(context, service), "ServiceStatus": status_view(view, service, down)}

    def cost(service: Service) -> int:
        counted = status or state_of(service) in (*ACTIVE, *HALTED)
        return 1 + (len(view.tasks.of_service(service.id)) // _TASKS_COUNTED_AT_ONCE if counted else 0)

    return json_list(list(view.services), keep, render, cost)


async def create_service(context: Context, call: Call) -> Reply:
    spec = call.decode(ServiceSpec)
    if not spec.name:
        spec = msgspec.structs.replace(spec, name=random_name(context.rng))
    check_service(spec)
    spec = pin_image(context.store.view, spec)
    unheld = await warnings_of(context, spec)
    auth = registry_auth(call.headers.get("x-registry-auth", ""))
    service_id = new_id(context.rng)
    now = context.clock.now()

    def create(tx: Transaction) -> None:
        tx.put(new_service(tx, service_id, resolve_networks(spec, tx), now))
        keep_login(tx, service_id, auth)

    await context.store.update(create)
    warnings = (*ambiguous_hosts(context.store.view, spec), *unscoped(spec), *unheld)
    return Answer(201, {"ID": service_id, "Warnings": warnings or None})


async def inspect_service(context: Context, call: Call) -> Reply:
    view = context.store.view
    service = find_service(view, call.params["id"])
    result = service_view(service, view, context.cache, context.clock.now(), defaults=call.flag("insertDefaults"))
    return Answer(value={**result, **autoscaling_view(context, service)})


async def update_service(context: Context, call: Call) -> Reply:
    index = call.index("service")
    rollback = call.query.get("rollback", "")
    if rollback not in {"", "none", "previous"}:
        raise invalid(f"unrecognized rollback option {rollback}")
    revision = _revision(call)
    _check_auth_source(call)
    spec = call.decode(ServiceSpec)
    reference = call.params["id"]
    unheld: tuple[str, ...] = ()
    if rollback != "previous":
        before = find_service(context.store.view, reference).spec
        check_service(_with_name(spec, context, reference))
        spec = pin_image(context.store.view, spec)
        unheld = (*unscoped(spec, before), *await warnings_of(context, spec, before))
    auth = registry_auth(call.headers.get("x-registry-auth", ""))
    scale = call.flag("scale")
    now = context.clock.now()

    def update(tx: Transaction) -> tuple[str, ...]:
        service = find_service(tx, reference)
        if not service.is_current(index):
            raise OutOfSequence
        if rollback == "previous":
            tx.put(roll_back(tx, service, revision, now, call.caller.name))
            keep_login(tx, service.id, auth)
            return ()
        changed, warnings = change_service(tx, service, spec, now, scale=scale)
        tx.put(changed)
        keep_login(tx, service.id, auth)
        return (*warnings, *ambiguous_hosts(tx, spec))

    warnings = await context.store.update(update)
    return Answer(value={"Warnings": (*warnings, *unheld) or None})


def ambiguous_hosts(view: View, spec: ServiceSpec) -> tuple[str, ...]:
    """Warn of constraints by a host name that several nodes have."""
    placement = spec.task_template.placement
    return tuple(hostnames.ambiguous(view, parse_all(placement.constraints))) if placement is not None else ()


def _with_name(spec: ServiceSpec, context: Context, reference: str) -> ServiceSpec:
    """Give a nameless spec the present name for the checks; that a name may not change is told later."""
    return spec if spec.name else msgspec.structs.replace(spec, name=find_service(context.store.view, reference).name)


def _revision(call: Call) -> int:
    """Return the revision that a rollback is to (`revision=N`, which is ours), 0 for the previous specification."""
    text = call.query.get("revision", "")
    if text and (_REVISION.fullmatch(text) is None or call.query.get("rollback") != "previous"):
        raise invalid(f"revision={text[:40]}: expected a number of `service history`, beside rollback=previous")
    return int(text or 0)


def change_service(
    tx: Transaction, service: Service, given: ServiceSpec, now: float, *, scale: bool = False
) -> tuple[Service, tuple[str, ...]]:
    """Return a service with the specification that a client sends, and warnings.

    Raises:
        EngineError, Unimplemented, InvalidArgument, FailedPrecondition: what is wrong with it, or cannot be changed.

    """
    if given.name != service.name:
        raise Unimplemented("renaming services is not supported")
    if fill_defaults(given).mode.name != service.spec.mode.name:
        raise Unimplemented("service mode change is not allowed")
    return change_spec(tx, service, resolve_networks(given, tx), now, scale=scale)


async def delete_service(context: Context, call: Call) -> Reply:
    """Begin the end of a service. For clients it is gone now; its record goes when its tasks are."""

    def delete(tx: Transaction) -> str:
        service = find_service(tx, call.params["id"])
        stay = staying(service, tx)
        tx.put(msgspec.structs.replace(service, pending_delete=True))
        return stay

    return Answer(headers=warning(await context.store.update(delete)))


def _check_auth_source(call: Call) -> None:
    source = call.query.get("registryAuthFrom", "")
    if source not in {"", "spec", "previous-spec"}:
        raise EngineError(400, f"unsupported registryAuthFrom {source!r}: expected spec or previous-spec")


def keep_login(tx: Transaction, service_id: str, auth: str) -> None:
    """Store the credentials for a service's pulls; without new ones the earlier ones stay."""
    if auth:
        tx.put(RegistryLogin(id=service_id, auth=auth))


def registry_auth(header: str) -> str:
    """Decode an `X-Registry-Auth` header (base64url of JSON); empty when there is none.

    Raises:
        EngineError: 400, it is not that.

    """
    if not header:
        return ""
    try:
        text = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)).decode()
        credentials = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        raise invalid("invalid X-Registry-Auth header: expected base64url-encoded JSON") from None
    return text if isinstance(credentials, dict) and any(credentials.values()) else ""


# --- images of the cluster's own ---


def pin_image(view: View, spec: ServiceSpec) -> ServiceSpec:
    """Name the very image that a service's name means now, where that is the cluster's own: all its tasks run that one.

    Clients that ask /distribution first send it pinned already. One that names no digest means what the name means now:
    so `service update --image NAME` takes the newest, and an update that repeats the stored spec changes nothing. A
    name that no client has given, and a registry's, stay as they are: each node takes them by itself.

    Raises:
        EngineError: 400, it is a name that a single node's engine has.

    """
    image = _image(spec)
    if parse_own(image) is not None:
        raise EngineError(
            400,
            f"{image[:200]} is an image of that node alone: make it the cluster's with "
            "'swarm-manager image adopt NODE NAME', or with 'docker tag', and name it so",
        )
    name = of_the_cluster(view, image) if image and "@" not in image else None
    container = spec.task_template.container_spec
    if name is None or container is None:
        return spec
    container = msgspec.structs.replace(container, image=pin(image, name.image_id))
    return msgspec.structs.replace(
        spec, task_template=msgspec.structs.replace(spec.task_template, container_spec=container)
    )


async def warnings_of(context: Context, spec: ServiceSpec, before: ServiceSpec | None = None) -> tuple[str, ...]:
    """Warn of what is wrong with an image, as far as nodes have it; with one that was named `before` nothing is news.

    That is one of the cluster's own that no connected node holds, and one with volumes that the service does not mount.
    """
    view, image = context.store.view, _image(spec)
    image_id = pinned_digest(image)
    name = of_the_cluster(view, image_id) if image_id else None
    if not image or (before is not None and _image(before) == image):
        return ()
    if name is None:
        return await _unmounted(context, spec, context.identity.node_id, image)
    if nodes := await holders(context, image_id):
        return await _unmounted(context, spec, nodes[0], image_id)
    if any(node.status.state == "ready" and node.id not in context.engines.connected() for node in view.nodes):
        return ()  # one that is on its way to this manager, which has just begun to lead, may have it
    return (f"{name.id} is {describe(name)}, which no connected node has: no task can run until a node has it",)


async def _unmounted(context: Context, spec: ServiceSpec, node_id: str, reference: str) -> tuple[str, ...]:
    """Warn of the volumes that an image declares and the service does not mount, if a node has the image."""
    try:
        found = await image_on(context, node_id, reference, seconds=LOOK_SECONDS)
    except SwarmError:  # a missing warning is not a reason to refuse
        return ()
    config = found.get("Config") if found is not None else None
    return unmounted(spec, (config or {}).get("Volumes") or {})


def _image(spec: ServiceSpec) -> str:
    container = spec.task_template.container_spec
    return container.image if container is not None else ""


ROUTES = (
    Route("GET", "/services", list_services, needs=Role.VIEWER, place=Place.STORE),
    Route("POST", "/services/create", create_service, needs=Role.OPERATOR),
    Route("GET", "/services/{id}", inspect_service, needs=Role.VIEWER, place=Place.STORE),
    Route("DELETE", "/services/{id}", delete_service, needs=Role.OPERATOR),
    Route("POST", "/services/{id}/update", update_service, needs=Role.OPERATOR),
)

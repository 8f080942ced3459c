"""POST /stacks/{name}/deploy: a whole stack in one transaction: all of it is deployed, or nothing changes.

The engine has no such path; docker's command line deploys a stack object by object.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Generic

import msgspec

from common.errors import NotFound, SwarmError
from common.ids import new_id
from common.model import Network, Service
from common.model.client import Role
from common.model.naming import Model
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import STACK_LABEL, ServiceSpec
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import EngineError, describe, invalid
from manager.api.files import CONFIGS, SECRETS, FileT, Resource, SpecT
from manager.api.networks.requests import NetworkCreate
from manager.api.networks.routes import new_network, put_network
from manager.api.networks.view import resolve_networks
from manager.api.router import Route
from manager.api.services.routes import (
    ambiguous_hosts,
    change_service,
    keep_login,
    pin_image,
    registry_auth,
    warnings_of,
)
from manager.api.services.validation import check_service
from manager.api.volumes.scopes import unscoped
from manager.domain.port_conflicts import AskedPorts
from manager.domain.references import with_ids
from manager.domain.service_change import new_service
from manager.store.transaction import Transaction

# The status of an order that was made from what somebody else has changed since; and the words.
_OVERTAKEN = 412
_MEANWHILE, _AGAIN = "somebody else has meanwhile", "deploy the stack again"


class StackService(Model):
    """A service as it should be; `version` is that of the one that the client saw, 0 if it saw none.

    `registry_auth` is what `X-Registry-Auth` holds in other requests.
    """

    spec: ServiceSpec = ServiceSpec()
    version: int = 0
    registry_auth: str = ""


class StackOrder(Model):
    """The body. Services come in the order in which they start; with `prune` the stack's other services go."""

    networks: tuple[NetworkCreate, ...] = ()
    secrets: tuple[SecretSpec, ...] = ()
    configs: tuple[ConfigSpec, ...] = ()
    services: tuple[StackService, ...] = ()
    prune: bool = False


class Done(Model):
    """What became of an object: `action` is create, update, renew (other content) or remove."""

    action: str = ""
    kind: str = ""
    name: str = ""
    id: str = msgspec.field(default="", name="ID")


def _done(action: str, kind: str, name: str, object_id: str) -> Done:
    return Done(action=action, kind=kind, name=name, id=object_id)


async def deploy_stack(context: Context, call: Call) -> Reply:
    """Bring a stack to what the body says; with `dryRun`, only check whether that is possible."""
    name, order = call.params["name"], call.decode(StackOrder)
    _check_labels(name, order)
    deployment = _Deployment(context, name, order)
    if call.flag("dryRun"):
        done = context.store.try_out(deployment.apply)
    else:
        done = await context.store.update(deployment.apply)
    found = await asyncio.gather(*(warnings_of(context, each.spec) for each in deployment.services))
    return Answer(value={"Done": done, "Warnings": (*deployment.warnings, *chain.from_iterable(found)) or None})


def _check_labels(stack: str, order: StackOrder) -> None:
    """Refuse objects without the stack's label: a removal or prune of the stack would not find them."""
    labels = {
        **{f"network {each.name}": each.labels for each in order.networks},
        **{f"secret {each.name}": each.labels for each in order.secrets},
        **{f"config {each.name}": each.labels for each in order.configs},
        **{f"service {each.spec.name}": each.spec.labels for each in order.services},
    }
    for what, given in labels.items():
        if given.get(STACK_LABEL) != stack:
            raise invalid(f"{what}: expected the label {STACK_LABEL}={stack}")


class _Deployment:
    """A checked order, and its transaction. `warnings` are complete after that."""

    def __init__(self, context: Context, stack: str, order: StackOrder) -> None:
        self.warnings: list[str] = []
        self._context = context
        self._stack = stack
        self._prune = order.prune
        self._networks: list[Network] = []
        for asked in order.networks:
            with _told("create", "network", asked.name):
                network, warning = new_network(asked, new_id(context.rng))
            self._networks.append(network)
            self.warnings += [warning] if warning else []
        self._secrets = _Files(SECRETS, order.secrets, context.rng)
        self._configs = _Files(CONFIGS, order.configs, context.rng)
        self.services = [self._checked(each) for each in order.services]

    def _checked(self, order: StackService) -> StackService:
        with _told("update" if order.version else "create", "service", order.spec.name):
            check_service(order.spec)
            registry_auth(order.registry_auth)
            return msgspec.structs.replace(order, spec=pin_image(self._context.store.view, order.spec))

    def apply(self, tx: Transaction) -> list[Done]:
        """Apply the whole order; may be called again if the earlier transaction was not kept."""
        done = list(self._put_networks(tx))
        services = {service.name: service for service in tx.services if self._is_ours(service)}
        if self._prune:
            done = [*self._remove_others(tx, services), *done]
        done += [*self._secrets.put(tx, self._stack), *self._configs.put(tx, self._stack)]
        return [*done, *self._put_services(tx, services)]

    def _is_ours(self, service: Service) -> bool:
        return service.spec.labels.get(STACK_LABEL) == self._stack and not service.pending_delete

    def _remove_others(self, tx: Transaction, services: dict[str, Service]) -> Iterator[Done]:
        wanted = {each.spec.name for each in self.services}
        for name in [name for name in services if name not in wanted]:
            tx.put(msgspec.structs.replace(services[name], pending_delete=True))
            yield _done("remove", "service", name, services[name].id)

    def _put_networks(self, tx: Transaction) -> Iterator[Done]:
        """Create the missing networks; existing ones are not changed."""
        for network in self._networks:
            present = tx.networks.named(network.name)
            if any(each.spec.labels.get(STACK_LABEL) == self._stack for each in present):
                continue
            with _told("create", "network", network.name):
                warning = put_network(tx, network)
            self.warnings += [warning] if warning else []
            yield _done("create", "network", network.name, network.id)

    def _put_services(self, tx: Transaction, present: dict[str, Service]) -> Iterator[Done]:
        secrets = {secret.name: secret.id for secret in tx.secrets}
        configs = {config.name: config.id for config in tx.configs}
        seen = {each.spec.name: self._seen(each, present.get(each.spec.name)) for each in self.services}
        for name, left in self._without_passed_on(seen).items():
            tx.put(left)
            # Its earlier specification stays for the change below; the ports that it gives up are free for others now.
            seen[name] = msgspec.structs.replace(left, spec=present[name].spec)
        for each in self.services:
            service = seen[each.spec.name]
            with _told("create" if service is None else "update", "service", each.spec.name):
                spec = with_ids(each.spec, secrets, configs)
                done = self._put_service(tx, service, spec)
                keep_login(tx, done.id, registry_auth(each.registry_auth))
                yield done

    def _seen(self, order: StackService, present: Service | None) -> Service | None:
        """Return the service that the client saw.

        Raises:
            EngineError: 412, somebody has made or changed it meanwhile: look and ask again; 400, it is gone.

        """
        name = order.spec.name
        if order.version and present is None:
            raise invalid(f"failed to update service {name}: it no longer exists: deploy the stack again")
        if not order.version and present is not None:
            raise EngineError(_OVERTAKEN, f"failed to create service {name}: {_MEANWHILE} made it: {_AGAIN}")
        if present is not None and not present.is_current(order.version):
            raise EngineError(_OVERTAKEN, f"failed to update service {name}: {_MEANWHILE} changed it: {_AGAIN}")
        return present

    def _without_passed_on(self, seen: dict[str, Service | None]) -> dict[str, Service]:
        """Return the services that give ports up to others of the stack, without these."""
        asked = AskedPorts({each.spec.name: each.spec for each in self.services})
        found = {name: asked.without_passed_on(service) for name, service in seen.items() if service is not None}
        return {name: service for name, service in found.items() if service != seen[name]}

    def _put_service(self, tx: Transaction, service: Service | None, spec: ServiceSpec) -> Done:
        now = self._context.clock.now()
        before = service.spec if service is not None else None
        self.warnings += (*ambiguous_hosts(tx, spec), *unscoped(spec, before))
        if service is None:
            fresh = new_service(tx, new_id(self._context.rng), resolve_networks(spec, tx), now)
            tx.put(fresh)
            return _done("create", "service", spec.name, fresh.id)
        changed, warnings = change_service(tx, service, spec, now)
        tx.put(changed)
        self.warnings += warnings
        return _done("update", "service", spec.name, service.id)


class _Files(Generic[FileT, SpecT]):
    """The secrets or the configs of an order."""

    def __init__(self, resource: Resource[FileT, SpecT], specs: tuple[SpecT, ...], rng: random.Random) -> None:
        self._resource: Resource[FileT, SpecT] = resource
        self._asked: list[tuple[FileT, SpecT]] = []
        for spec in specs:
            with _told("create", resource.noun, spec.name):
                self._asked.append((resource.fresh(spec, new_id(rng)), spec))

    def put(self, tx: Transaction, stack: str) -> Iterator[Done]:
        """Create the missing ones, and update labels and content of the others.

        The stack's own services are not changed here: the deploy changes them together with everything else.
        """
        resource = self._resource
        for fresh, spec in self._asked:
            old = next(iter(resource.table(tx).named(fresh.name)), None)
            with _told("create" if old is None else "update", resource.noun, fresh.name):
                if old is None:
                    resource.put_new(tx, fresh)
                    yield _done("create", resource.noun, fresh.name, fresh.id)
                elif resource.put_changed(tx, old, spec, fresh.id, unless_stack=stack):
                    yield _done("renew", resource.noun, fresh.name, fresh.id)


@contextmanager
def _told(action: str, kind: str, name: str) -> Iterator[None]:
    """Name the object in errors of the block."""
    try:
        yield
    except SwarmError as error:
        status = 400 if isinstance(error, NotFound) else describe(error)[0]
        raise EngineError(status, f"failed to {action} {kind} {name}: {error.message}") from error


ROUTES = (Route("POST", "/stacks/{name}/deploy", deploy_stack, needs=Role.OPERATOR, large=True),)

"""/secrets and /configs: create, list, inspect, change labels or content, remove.

A secret's data is in no answer, ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from common.errors import AlreadyExists, InvalidArgument, OutOfSequence
from common.ids import new_id
from common.model import Config, Secret, Service
from common.model.client import Role
from common.model.secret import MAX_CONFIG_BYTES, MAX_SECRET_BYTES, ConfigSpec, SecretSpec
from common.spec.extensions import check_file
from manager.api.call import Answer, Call, Filters, Reply
from manager.api.context import Context
from manager.api.errors import EngineError, Unimplemented, invalid
from manager.api.http.json_list import json_list
from manager.api.lookup import any_prefix, check_file_name, find, labels_match, passes
from manager.api.render import head, render
from manager.api.router import Place, Route
from manager.domain.references import MANAGED, VERSION_OF, container_references
from manager.orchestrate.update import canary
from manager.orchestrate.update.rotation import rotate
from manager.store.transaction import Transaction
from manager.store.view import NamedTableView, View

FileT = TypeVar("FileT", Secret, Config)
SpecT = TypeVar("SpecT", SecretSpec, ConfigSpec)

FILTERS = frozenset({"id", "label", "name", "names"})


def file_passes(value: Secret | Config, filters: Filters) -> bool:
    """Whether a secret or config is in a filtered list; `names` match whole, `name` by prefix."""
    return passes(
        filters,
        {
            "id": lambda values: any_prefix(value.id, values),
            "name": lambda values: any_prefix(value.name, values),
            "names": lambda values: value.name in values,
            "label": lambda values: labels_match(value.spec.labels, values),
        },
    )


def update_index(call: Call, noun: str) -> int:
    """Return the `version` query in the engine's words for these two resources."""
    try:
        return call.index(noun)
    except EngineError:
        raise invalid(f"invalid {noun} version") from None


def without_managed(spec: SpecT) -> SpecT:
    """Drop the labels that are the manager's own: a client that sends back what it read changes nothing by that."""
    labels = {key: value for key, value in spec.labels.items() if key not in MANAGED}
    return msgspec.structs.replace(spec, labels=labels)


def with_labels(value: FileT, labels: Mapping[str, str]) -> FileT:
    """Give a secret or config other labels; the manager's own stay."""
    own = {key: text for key, text in value.spec.labels.items() if key in MANAGED}
    others = {key: text for key, text in labels.items() if key not in MANAGED}
    return msgspec.structs.replace(value, spec=msgspec.structs.replace(value.spec, labels={**others, **own}))


def check_current(noun: str, value: Secret | Config) -> None:
    """Refuse new content for an old version.

    Raises:
        InvalidArgument: names the object to update.

    """
    if name := value.spec.labels.get(VERSION_OF):
        raise InvalidArgument(f"{noun} {value.name} is an old version of {name}: update {noun} {name}")


def check_unused(noun: str, value: Secret | Config, view: View) -> None:
    """Refuse the removal of what a service uses.

    Raises:
        InvalidArgument: names the services.

    """
    users = sorted(service.name for service in view.services if _uses(service, value, view))
    if users:
        plural = "s" if len(users) > 1 else ""
        text = f"{noun} '{value.name}' is in use by the following service{plural}: {', '.join(users)}"
        raise InvalidArgument(text)


def _uses(service: Service, value: Secret | Config, view: View) -> bool:
    """Whether a service names it, or tasks do that a canary leaves as they are and may have to replace."""
    if service.pending_delete:
        return False
    kept = (task.spec for task in canary.original_tasks(service, view.tasks.of_service(service.id)))
    return any(value.id in container_references(spec.container_spec) for spec in (service.spec.task_template, *kept))


# --- as the engine's API shows them ---


def secret_view(secret: Secret) -> dict[str, Any]:
    result = head(secret)
    spec: dict[str, Any] = {"Name": secret.spec.name, "Labels": secret.spec.labels}
    if secret.spec.driver is not None:
        spec["Driver"] = render(secret.spec.driver)
    if secret.spec.templating is not None:
        spec["Templating"] = render(secret.spec.templating)
    result["Spec"] = spec
    return result


def config_view(config: Config) -> dict[str, Any]:
    result = head(config)
    spec = render(config.spec)
    spec.setdefault("Labels", {})
    result["Spec"] = spec
    return result


@dataclass(frozen=True, slots=True)
class Resource(Generic[FileT, SpecT]):
    """Secrets or configs. `limit`: bytes of content, which it must stay below."""

    noun: str
    limit: int
    spec: type[SpecT]
    make: Callable[[str, SpecT], FileT]
    table: Callable[[View], NamedTableView[FileT]]
    view: Callable[[FileT], dict[str, Any]]

    def routes(self) -> Iterator[Route]:
        path = f"/{self.noun}s"
        yield Route("GET", path, self.list, needs=Role.VIEWER, place=Place.STORE)
        yield Route("POST", f"{path}/create", self.create, needs=Role.OPERATOR)
        yield Route("GET", f"{path}/{{id}}", self.inspect, needs=Role.VIEWER, place=Place.STORE)
        yield Route("DELETE", f"{path}/{{id}}", self.remove, needs=Role.OPERATOR)
        yield Route("POST", f"{path}/{{id}}/update", self.update, needs=Role.OPERATOR)

    async def list(self, context: Context, call: Call) -> Reply:
        filters = call.filters(FILTERS)
        return json_list(list(self.table(context.store.view)), lambda each: file_passes(each, filters), self.view)

    async def create(self, context: Context, call: Call) -> Reply:
        fresh = self.fresh(call.decode(self.spec), new_id(context.rng))
        await context.store.update(lambda tx: self.put_new(tx, fresh))
        return Answer(201, {"ID": fresh.id})

    def fresh(self, spec: SpecT, new_id: str) -> FileT:
        """Return the object that a request asks for.

        Raises:
            EngineError, InvalidArgument, Unimplemented: none can be like this.

        """
        check_file_name(spec.name)
        if isinstance(spec, SecretSpec) and spec.driver is not None:
            raise Unimplemented("secret drivers are not supported: give the secret's Data")
        check_file(spec.labels)
        self._check_data(spec)
        return self.make(new_id, without_managed(spec))

    def put_new(self, tx: Transaction, fresh: FileT) -> None:
        """Store a new object. Raises `AlreadyExists`."""
        if self.table(tx).named(fresh.name):
            raise AlreadyExists(f"{self.noun} {fresh.name} already exists")
        tx.put(fresh)

    async def inspect(self, context: Context, call: Call) -> Reply:
        return Answer(value=self.view(self._find(context.store.view, call)))

    async def update(self, context: Context, call: Call) -> Reply:
        """Change labels, or give the name new content, which services that use it get by their update configuration.

        Without `Data` the content stays as it is.
        """
        index = update_index(call, self.noun)
        spec = call.decode(self.spec)
        check_file(spec.labels)
        fresh_id = new_id(context.rng)

        def update(tx: Transaction) -> None:
            old = self._find(tx, call)
            _check_same(spec, old.spec)  # before the version is, as the engine does
            if not old.is_current(index):
                raise OutOfSequence
            self.put_changed(tx, old, spec, fresh_id)

        await context.store.update(update)
        return Answer()

    def put_changed(self, tx: Transaction, old: FileT, spec: SpecT, fresh_id: str, *, unless_stack: str = "") -> bool:
        """Store other labels, or new content, of which an object with the id `fresh_id` is made; tell which it was.

        Services of `unless_stack` do not follow (see `rotate`).

        Raises:
            InvalidArgument: something else is to change, or this cannot be content.

        """
        _check_same(spec, old.spec)
        if not spec.data or (spec.data, spec.templating) == (old.spec.data, old.spec.templating):
            tx.put(with_labels(old, spec.labels))
            return False
        self._check_data(spec)
        check_current(self.noun, old)
        rotate(tx, old, fresh_id, without_managed(spec), unless_stack=unless_stack)
        return True

    async def remove(self, context: Context, call: Call) -> Reply:
        def remove(tx: Transaction) -> None:
            found = self._find(tx, call)
            check_unused(self.noun, found, tx)
            tx.remove(found)

        await context.store.update(remove)
        return Answer(204)

    def _find(self, view: View, call: Call) -> FileT:
        return find(self.table(view), self.noun, call.params["id"])

    def _check_data(self, spec: SpecT) -> None:
        if not 0 < len(spec.data) < self.limit:
            raise InvalidArgument(f"{self.noun} data must be larger than 0 and less than {self.limit} bytes")


def _check_same(spec: SecretSpec | ConfigSpec, old: SecretSpec | ConfigSpec) -> None:
    """Refuse changes of what cannot change."""
    if spec.name != old.name or getattr(spec, "driver", None) != getattr(old, "driver", None):
        raise InvalidArgument("only updates to Labels are allowed")
    if not spec.data and spec.templating != old.templating:
        raise InvalidArgument("only updates to Labels, or to Data and Templating together, are allowed")


SECRETS = Resource(
    "secret",
    MAX_SECRET_BYTES,
    SecretSpec,
    lambda new, spec: Secret(id=new, spec=spec),
    lambda view: view.secrets,
    secret_view,
)
CONFIGS = Resource(
    "config",
    MAX_CONFIG_BYTES,
    ConfigSpec,
    lambda new, spec: Config(id=new, spec=spec),
    lambda view: view.configs,
    config_view,
)

ROUTES = (*SECRETS.routes(), *CONFIGS.routes())

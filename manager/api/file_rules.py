"""What the API's secrets and configs have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from common.errors import InvalidArgument
from common.model import Config, Secret, Service
from common.model.secret import ConfigSpec, SecretSpec
from manager.api.call import Call, Filters
from manager.api.errors import EngineError, invalid
from manager.api.lookup import any_prefix, labels_match, passes
from manager.domain.file_references import MANAGED, VERSION_OF, container_references
from manager.orchestrate import canary
from manager.state.view import View

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


def relabelled(value: FileT, labels: Mapping[str, str]) -> FileT:
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
    kept = (task.spec for task in canary.originals(service, view.tasks.of_service(service.id)))
    return any(value.id in container_references(spec.container_spec) for spec in (service.spec.task_template, *kept))

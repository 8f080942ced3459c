"""What the API's secrets and configs have in common."""

from __future__ import annotations

from common.errors import InvalidArgument
from common.model import Config, Secret, Service
from manager.api.call import Call, Filters
from manager.api.errors import EngineError, invalid
from manager.api.lookup import any_prefix, labels_match, passes
from manager.state.view import View

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


def check_unused(noun: str, value: Secret | Config, view: View) -> None:
    """Refuse the removal of what a service names.

    Raises:
        InvalidArgument: names the services.

    """
    users = sorted(service.name for service in view.services if _uses(service, value))
    if users:
        plural = "s" if len(users) > 1 else ""
        text = f"{noun} '{value.name}' is in use by the following service{plural}: {', '.join(users)}"
        raise InvalidArgument(text)


def _uses(service: Service, value: Secret | Config) -> bool:
    container = service.spec.task_template.container_spec
    if container is None or service.pending_delete:
        return False
    if isinstance(value, Secret):
        return any(reference.secret_id == value.id for reference in container.secrets)
    return any(reference.config_id == value.id for reference in container.configs)

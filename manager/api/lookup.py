"""Finding objects the way the engine does: by id, else by name, else by a prefix of the id.

Which names objects may have, and a new name for a service that was given none, is here, too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from common.errors import InvalidArgument, NotFound
from common.ids import ID_LENGTH
from common.model import Network, Node, Service, StoredObject, Task
from manager.api.call import Filters
from manager.api.errors import EngineError
from manager.store.view import NamedTableView, TableView, View

T = TypeVar("T", bound=StoredObject)


def find(table: NamedTableView[T], noun: str, reference: str) -> T:
    """Return the one object that a client means.

    Raises:
        NotFound: no object fits.
        EngineError: 400, a name or prefix fits several.

    """
    exact = table.get(reference)
    if exact is not None:
        return exact
    return _only(noun, reference, _present(table.named(reference)) or _by_prefix(table, reference))


def _only(noun: str, reference: str, matches: list[T]) -> T:
    if not matches:
        raise NotFound(f"{noun} {reference} not found")
    if len(matches) > 1:
        raise _ambiguous(noun, reference, f"{len(matches)} matches found")
    return matches[0]


def _ambiguous(noun: str, reference: str, why: str) -> EngineError:
    return EngineError(400, f"{noun} {reference} is ambiguous ({why})")


def find_service(view: View, reference: str) -> Service:
    """Return a service; for clients one that is being deleted no longer exists."""
    service = find(view.services, "service", reference)
    if service.pending_delete:
        raise NotFound(f"service {reference} not found")
    return service


def find_node(view: View, reference: str) -> Node:
    return find(view.nodes, "node", reference)


def find_task(view: View, reference: str) -> Task:
    """Return a task. Clients make up a task's name from its service's, so that only ids are looked up."""
    exact = view.tasks.get(reference)
    return exact if exact is not None else _only("task", reference, _by_prefix(view.tasks, reference))


def find_network(view: View, reference: str) -> Network | None:
    """Return a network of the cluster, or None: the name may be that of a network which each engine has of its own.

    Raises:
        EngineError: 400, a prefix fits several.

    """
    found = view.networks.get(reference) or next(iter(view.networks.named(reference)), None)
    matches = [found] if found is not None else _by_prefix(view.networks, reference)
    if len(matches) > 1:
        raise _ambiguous("network", reference, f"{len(matches)} matches found based on ID prefix")
    return matches[0] if matches else None


def _by_prefix(table: TableView[T], reference: str) -> list[T]:
    if len(reference) > ID_LENGTH or not reference.isalnum():
        return []
    return _present(value for value in table if value.id.startswith(reference))


def _present(values: Iterable[T]) -> list[T]:
    return [v for v in values if not (isinstance(v, Service) and v.pending_delete)]


def labels_match(labels: Mapping[str, str], wanted: Collection[str]) -> bool:
    """Whether every `key` or `key=value` of a label filter holds."""
    for expression in wanted:
        key, separator, value = expression.partition("=")
        if key not in labels or (separator and labels[key] != value):
            return False
    return True


def any_prefix(text: str, prefixes: Collection[str]) -> bool:
    """Whether a text begins with one of the prefixes: how the engine filters by id and by name."""
    return any(text.startswith(prefix) for prefix in prefixes)


def passes(filters: Filters, tests: Mapping[str, Callable[[Collection[str]], bool]]) -> bool:
    """Whether an object passes all filters; `tests` says for each filter whether the object has one of its values."""
    return all(tests[name](values) for name, values in filters.items() if name in tests and values)


_DNS_LABEL = re.compile(r"[a-zA-Z0-9](?:[-_a-zA-Z0-9]*[a-zA-Z0-9])?")
_FILE_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-_.]*[a-zA-Z0-9])?")
_MAX_DNS_LABEL = 63
_MAX_FILE_NAME = 64
_MOODS = ("brisk", "calm", "clever", "eager", "fair", "gentle", "keen", "lively", "merry", "nimble", "proud", "steady")
_BIRDS = (
    "avocet",
    "crane",
    "dunlin",
    "finch",
    "heron",
    "kestrel",
    "lapwing",
    "merlin",
    "plover",
    "swift",
    "tern",
    "wren",
)


def check_dns_name(name: str) -> None:
    """Refuse a service or network name that could not be looked up by DNS (swarmkit `controlapi/common.go`).

    Raises:
        InvalidArgument: in the engine's words.

    """
    if not name:
        raise InvalidArgument("name must be provided")
    if _DNS_LABEL.fullmatch(name) is None:
        raise InvalidArgument("name must be valid as a DNS name component")
    if len(name) > _MAX_DNS_LABEL:
        raise InvalidArgument("name must be 63 characters or fewer")


def check_file_name(name: str) -> None:
    """Refuse a name that a secret or config cannot have.

    Raises:
        InvalidArgument: in the engine's words.

    """
    if not name:
        raise InvalidArgument("name must be provided")
    if len(name) > _MAX_FILE_NAME or _FILE_NAME.fullmatch(name) is None:
        allowed = "only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
        raise InvalidArgument(f"invalid name, {allowed}")


def random_name(rng: random.Random) -> str:
    """Make a name that a person can say."""
    return f"{rng.choice(_MOODS)}_{rng.choice(_BIRDS)}_{rng.randrange(1000)}"

"""Credentials for pulls on their way to the nodes that run a service's tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.model import RegistryLogin
from common.wire.messages import RegistryAuth
from manager.store.view import View


def unsent_logins(view: View, services: Iterable[str], sent: dict[str, RegistryLogin]) -> Iterator[RegistryAuth]:
    """Yield the credentials of these services that are not in `sent`, and note them there; what is gone goes there."""
    for service_id in [each for each in sent if each not in view.registry_logins]:
        del sent[service_id]
    for service_id in dict.fromkeys(services):
        login = view.registry_logins.get(service_id)
        if login is not None and sent.get(service_id) is not login:
            sent[service_id] = login
            yield RegistryAuth(service_id=service_id, auth=login.auth)

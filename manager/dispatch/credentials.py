"""Registry credentials on their way to workers: in memory only, never in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.wire.messages import RegistryAuth


class RegistryCredentials:
    """The credentials for the pulls of each service, as the API's client gave them. Lost with the process."""

    def __init__(self) -> None:
        self._by_service: dict[str, RegistryAuth] = {}

    def set(self, service_id: str, auth: str) -> None:
        """Keep a service's credentials; an empty `auth` forgets them."""
        if auth:
            self._by_service[service_id] = RegistryAuth(service_id=service_id, auth=auth)
        else:
            self._by_service.pop(service_id, None)

    def forget(self, service_id: str) -> None:
        self._by_service.pop(service_id, None)

    def unsent(self, services: Iterable[str], sent: dict[str, RegistryAuth]) -> Iterator[RegistryAuth]:
        """Give those of these services that are not in `sent`, and note them there; what is forgotten here goes."""
        for gone in sent.keys() - self._by_service.keys():
            del sent[gone]
        for service_id in dict.fromkeys(services):
            auth = self._by_service.get(service_id)
            if auth is not None and sent.get(service_id) is not auth:
                sent[service_id] = auth
                yield auth

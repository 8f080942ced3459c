"""Secrets of the cluster itself: its certificate authority's root key, and credentials for registries."""

from __future__ import annotations

import enum

from common.model.naming import Object


class RotationPhase(enum.StrEnum):
    """How far the root's replacement is. In all phases members trust both roots, or are being told to."""

    NONE = ""
    TRUST = "trust"  # certificates are still the present root's
    ISSUE = "issue"  # certificates of workers and clients are the next root's
    RETIRE = "retire"  # several managers: the next root is the present one, and theirs are being made anew


class RootKey(Object):
    """The root of the cluster's certificate authority: its certificate and its private key, both PEM.

    There is one. It leaves the store for no client, log or backup in the clear. While it is replaced, the `next_` ones
    are those to come, and `previous_certificate` is that of the one before, which managers may still show. `step` rises
    with each phase: a member's certificate is of the step in which it was signed.
    """

    id: str = "root"
    certificate: bytes = b""
    key: bytes = b""
    next_certificate: bytes = b""
    next_key: bytes = b""
    previous_certificate: bytes = b""
    phase: RotationPhase = RotationPhase.NONE
    step: int = 0

    @property
    def trusted(self) -> bytes:
        """The roots that members are to trust, PEM."""
        return self.certificate + self.next_certificate + self.previous_certificate

    @property
    def newest(self) -> bytes:
        """The certificate that is, or is to be, the only root."""
        return self.next_certificate or self.certificate

    @property
    def trusting_step(self) -> int:
        """The step from which on members trust the newest root."""
        return max(0, self.step - {RotationPhase.TRUST: 0, RotationPhase.ISSUE: 1}.get(self.phase, 2))

    @property
    def issuing_step(self) -> int:
        """The step from which on members' certificates are the newest root's."""
        return self.step + 1 if self.phase is RotationPhase.TRUST else max(0, self.trusting_step + (self.step > 0))

    @property
    def name(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"RootKey(certificate=<{len(self.certificate)} bytes>, key=<hidden>)"


class RegistryLogin(Object):
    """The credentials for a service's pulls: the client's `X-Registry-Auth`, decoded JSON. Its id is the service's."""

    auth: str = ""

    @property
    def name(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"RegistryLogin(id={self.id!r}, auth=<hidden>)"

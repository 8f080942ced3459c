"""Secrets and configs: small files that tasks get. A secret's data never leaves the store but to nodes that need it."""

from __future__ import annotations

from common.model.container import DriverConfig
from common.model.naming import Model, Specified

MAX_SECRET_BYTES = 500 * 1024
MAX_CONFIG_BYTES = 1000 * 1024


class SecretSpec(Model):
    """`data` is the raw content; in JSON it is base64, as the Docker API has it."""

    name: str = ""
    labels: dict[str, str] = {}
    data: bytes = b""
    driver: DriverConfig | None = None
    templating: DriverConfig | None = None

    def __repr__(self) -> str:
        return f"SecretSpec(name={self.name!r}, data=<{len(self.data)} bytes>)"


class Secret(Specified):
    spec: SecretSpec = SecretSpec()

    @property
    def name(self) -> str:
        return self.spec.name


class ConfigSpec(Model):
    name: str = ""
    labels: dict[str, str] = {}
    data: bytes = b""
    templating: DriverConfig | None = None


class Config(Specified):
    spec: ConfigSpec = ConfigSpec()

    @property
    def name(self) -> str:
        return self.spec.name

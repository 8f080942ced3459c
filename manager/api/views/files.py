"""Secrets and configs as the engine's API shows them. The data of a secret is in no answer, ever."""

from __future__ import annotations

from typing import Any

from common.model import Config, Secret
from manager.api.views.render import head, render


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

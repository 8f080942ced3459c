"""`--secret` and `--config`: `name` or `source=name,target=path,uid=0,gid=0,mode=0440`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.model.container import ConfigReference, FileTarget, SecretReference
from manager.cli.flags.keyvalue import fields


def parse_secret(text: str) -> SecretReference:
    """Read a secret to be mounted below /run/secrets; its id is filled in later.

    Raises:
        ValueError: an unknown field, or no source.

    """
    source, target = _reference(text)
    return SecretReference(secret_name=source, file=target)


def parse_config(text: str) -> ConfigReference:
    """Read a config to be mounted, by default at /NAME.

    Raises:
        ValueError: an unknown field, or no source.

    """
    source, target = _reference(text)
    return ConfigReference(config_name=source, file=target)


def _reference(text: str) -> tuple[str, FileTarget]:
    if "=" not in text and "," not in text:
        return text, FileTarget(name=text)
    source, given = "", dict[str, Any]()
    for key, value in fields(text):
        match key:
            case "source" | "src":
                source = value
            case "target":
                given["name"] = value
            case "uid" | "gid":
                given[key] = value
            case "mode":
                given["mode"] = _mode(value)
            case _:
                raise ValueError(f"invalid field in secret or config request: {key}")
    if not source:
        raise ValueError("source is required")
    return source, FileTarget(**{"name": source, **given})


def _mode(value: str) -> int:
    try:
        return int(value.removeprefix("0o"), 8)
    except ValueError:
        raise ValueError(f"invalid mode specified: {value} is not an octal number such as 0440") from None


def with_secret_ids(references: tuple[SecretReference, ...], ids: Mapping[str, str]) -> tuple[SecretReference, ...]:
    """Fill in ids by name.

    Raises:
        ValueError: a secret does not exist, or two go to one target.

    """
    _refuse_twice([each.file.name for each in references if each.file], "secret")
    return tuple(
        SecretReference(
            file=each.file, secret_name=each.secret_name, secret_id=_find_id("secret", each.secret_name, ids)
        )
        for each in references
    )


def with_config_ids(references: tuple[ConfigReference, ...], ids: Mapping[str, str]) -> tuple[ConfigReference, ...]:
    """Fill in ids by name; the config of a credential spec is one too.

    Raises:
        ValueError: a config does not exist, or two go to one target.

    """
    _refuse_twice([each.file.name for each in references if each.file], "config")
    return tuple(
        ConfigReference(
            file=each.file,
            runtime=each.runtime,
            config_name=each.config_name,
            config_id=_find_id("config", each.config_name, ids),
        )
        for each in references
    )


def _find_id(kind: str, name: str, ids: Mapping[str, str]) -> str:
    if name not in ids:
        raise ValueError(f"{kind} not found: {name}")
    return ids[name]


def _refuse_twice(targets: list[str], kind: str) -> None:
    for target in targets:
        if targets.count(target) > 1:
            raise ValueError(f"duplicate {kind} target for {target} not allowed")

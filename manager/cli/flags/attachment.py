"""`--network name=net,alias=web,driver-opt=k=v`, `--placement-pref spread=node.labels.zone`, `--credential-spec`."""

from __future__ import annotations

from common.model.container import CredentialSpec
from common.model.service import NetworkAttachmentConfig, PlacementPreference, SpreadOver
from manager.cli.flags.csvfields import fields


def parse_network(text: str) -> NetworkAttachmentConfig:
    """Read an attachment; its target is the name or id as given.

    Raises:
        ValueError: an unknown field, or no name.

    """
    if "=" not in text:
        return NetworkAttachmentConfig(target=text)
    name, aliases, options = "", [], {}
    for key, value in fields(text):
        match key:
            case "name":
                name = value
            case "alias":
                aliases.append(value)
            case "driver-opt":
                option, equals, content = value.partition("=")
                if not equals:
                    raise ValueError(f"invalid key value pair format in driver options: {value}")
                options[option] = content
            case _:
                raise ValueError(f"invalid field key {key}")
    if not name:
        raise ValueError("network name/id is not specified")
    return NetworkAttachmentConfig(target=name, aliases=tuple(aliases), driver_opts=options)


def parse_preference(text: str) -> PlacementPreference:
    """Read a placement preference.

    Raises:
        ValueError: it is no `spread=…`.

    """
    strategy, equals, descriptor = text.partition("=")
    if not equals:
        raise ValueError('placement preference must be of the format "<strategy>=<arg>"')
    if strategy != "spread":
        raise ValueError(f"unsupported placement preference {strategy} (only spread is supported)")
    return PlacementPreference(spread=SpreadOver(spread_descriptor=descriptor))


def parse_credential_spec(text: str) -> CredentialSpec:
    """Read `config://name`, `file://path` or `registry://key`.

    Raises:
        ValueError: it is none of these.

    """
    scheme, _, value = text.partition("://")
    if scheme not in ("config", "file", "registry") or not value:
        raise ValueError("invalid credential spec: it must be prefixed with config://, file:// or registry://")
    return CredentialSpec(**{scheme: value})

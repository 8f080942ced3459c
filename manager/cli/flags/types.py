"""Click's parameter types for the syntaxes of this package."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from typing import Any

import click

from common.model.container import BindOptions, CredentialSpec, DriverConfig, Mount, TmpfsOptions, VolumeOptions
from common.model.service import NetworkAttachmentConfig, PlacementPreference, SpreadOver
from common.text.quantities import parse_cpus, parse_duration, parse_rate, parse_size
from manager.cli.command import flag, invalid
from manager.cli.commandline import split_command
from manager.cli.flags.keyvalue import boolean, fields, parse_host, parse_label, parse_pair, parse_variable
from manager.cli.flags.limits import capability, parse_generic, parse_ulimit
from manager.cli.flags.references import parse_config, parse_secret

# --- --mount type=volume,source=data,target=/data,readonly,… ---


TYPES = ("bind", "volume", "tmpfs", "npipe", "cluster")
_BARE = frozenset({"readonly", "ro", "volume-nocopy", "bind-nonrecursive"})
_SOURCE = ("source", "src")
_TARGET = ("target", "dst", "destination")
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_RECURSIVE: dict[str, dict[str, bool]] = {
    "enabled": {},
    "disabled": {"non_recursive": True},
    "writable": {"read_only_non_recursive": True},
    "readonly": {"read_only_force_recursive": True},
}


def parse_mount(text: str) -> Mount:
    """Read a mount.

    Raises:
        ValueError: an unknown key, a wrong value, no target, or options of another type of mount.

    """
    plain: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {"bind": {}, "volume": {}, "tmpfs": {}}
    for key, value in fields(text, bare=_BARE):
        if not _plain_field(plain, key, value):
            _option(options, key, value)
    mount_type = plain.get("type", "volume")
    for kind, given in options.items():
        if given and kind != mount_type:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount_type}'")
    if not plain.get("target"):
        raise ValueError("target is required")
    if mount_type == "bind" and not plain.get("source"):
        raise ValueError("source is required for a bind mount")
    return Mount(
        **plain,
        bind_options=_bind(options["bind"], read_only=plain.get("read_only", False)),
        volume_options=_volume(options["volume"]),
        tmpfs_options=TmpfsOptions(**options["tmpfs"]) if options["tmpfs"] else None,
    )


def _plain_field(plain: dict[str, Any], key: str, value: str) -> bool:
    if key == "type":
        if value.lower() not in TYPES:
            raise ValueError(f"invalid mount type '{value}': it is one of {', '.join(TYPES)}")
        plain["type"] = value.lower()
    elif key in _SOURCE:
        plain["source"] = value
    elif key in _TARGET:
        plain["target"] = value
    elif key in ("readonly", "ro"):
        plain["read_only"] = boolean(key, value)
    elif key == "consistency":
        plain["consistency"] = value.lower()
    else:
        return False
    return True


def _option(options: dict[str, dict[str, Any]], key: str, value: str) -> None:
    kind, _, name = key.partition("-")
    readers = {"bind": _bind_option, "volume": _volume_option, "tmpfs": _tmpfs_option}
    if kind not in readers or not readers[kind](options[kind], name, value):
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _bind_option(bind: dict[str, Any], name: str, value: str) -> bool:
    if name == "propagation":
        if value.lower() not in _PROPAGATIONS:
            raise ValueError(f"invalid propagation '{value}': it is one of {', '.join(_PROPAGATIONS)}")
        bind["propagation"] = value.lower()
    elif name == "nonrecursive":
        bind["non_recursive"] = boolean("bind-nonrecursive", value)
    elif name == "recursive":
        if value not in _RECURSIVE:
            raise ValueError(f"invalid value for bind-recursive: {value} (it is one of {', '.join(_RECURSIVE)})")
        bind.update(_RECURSIVE[value])
    else:
        return False
    return True


def _volume_option(volume: dict[str, Any], name: str, value: str) -> bool:
    if name == "nocopy":
        volume["no_copy"] = boolean("volume-nocopy", value)
    elif name in ("subpath", "driver"):
        volume[name] = value
    elif name in ("label", "opt"):
        key, _, content = value.partition("=")
        volume.setdefault("labels" if name == "label" else "opts", {})[key] = content
    else:
        return False
    return True


def _tmpfs_option(tmpfs: dict[str, Any], name: str, value: str) -> bool:
    if name == "size":
        tmpfs["size_bytes"] = _tmpfs_size("tmpfs-size", value)
    elif name == "mode":
        tmpfs["mode"] = _octal("tmpfs-mode", value)
    else:
        return False
    return True


def _tmpfs_size(key: str, value: str) -> int:
    try:
        return parse_size(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _octal(key: str, value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _bind(given: dict[str, Any], *, read_only: bool) -> BindOptions | None:
    if given.get("read_only_force_recursive"):
        if not read_only:
            raise ValueError("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
        if given.get("propagation") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            )
    return BindOptions(**given) if given else None


def _volume(given: dict[str, Any]) -> VolumeOptions | None:
    if not given:
        return None
    driver, opts = given.pop("driver", ""), given.pop("opts", {})
    config = DriverConfig(name=driver, options=opts) if driver or opts else None
    return VolumeOptions(**given, driver_config=config)


# --- --network name=net,alias=web, --placement-pref spread=node.labels.zone, --credential-spec ---


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
        ValueError: it has another form.

    """
    scheme, _, value = text.partition("://")
    if scheme not in ("config", "file", "registry") or not value:
        raise ValueError("invalid credential spec: it must be prefixed with config://, file:// or registry://")
    return CredentialSpec(**{scheme: value})


_DOMAIN = re.compile(
    r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?"
)


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in new click only
    """Text that a function reads; what the function refuses is worded as Docker words a bad flag."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(invalid(value, param, str(error)), param, ctx)


class SplitList(click.ParamType):  # type: ignore[type-arg]  # as above
    """A list in one value: `a,b`."""

    name = "strings"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        del param, ctx
        return value.split(",") if isinstance(value, str) else list(value)


def _parse_unsigned(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number, 0 or more, is expected")
    return int(text)


def _parse_signed(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError("a whole number is expected") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError("value out of range")
    return number


def _positive_duration(text: str) -> int:
    duration = parse_duration(text)
    if duration < 0:
        raise ValueError("duration cannot be negative")
    return duration


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None


def _ratio(text: str) -> float:
    ratio = float(text)
    if not 0 <= ratio <= 1:
        raise ValueError("a ratio from 0 to 1 is expected")
    return ratio


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text.strip()))


def parse_domain(text: str) -> str:
    """Read a search domain; `.` stands for none.

    Raises:
        ValueError: it is not a domain's name.

    """
    domain = text.strip()
    if domain != "." and not _DOMAIN.fullmatch(domain):
        raise ValueError(f"{text} is not a valid domain")
    return domain


DURATION = Parsed("duration", _positive_duration)
BYTES = Parsed("bytes", _size)
RATE = Parsed("rate", parse_rate)
CPUS = Parsed("decimal", parse_cpus)
UINT = Parsed("uint", _parse_unsigned)
INT = Parsed("int", _parse_signed)
RATIO = Parsed("float", _ratio)
COMMAND = Parsed("command", lambda text: tuple(split_command(text)))
LABEL = Parsed("list", parse_label)
KEY_VALUE = Parsed("map", parse_pair)
VARIABLE = Parsed("list", lambda text: parse_variable(text, os.environ))
DOMAIN = Parsed("list", parse_domain)
HOST_LINE = Parsed("list", parse_host)
ADDRESS = Parsed("list", _address)
MOUNT = Parsed("mount", parse_mount)


def _published(text: str) -> Any:
    from manager.cli.flags.publish import parse_publish  # noqa: PLC0415 - it knows compose files, others do not need to

    return parse_publish(text)


PORT = Parsed("port", _published)
SECRET = Parsed("secret", parse_secret)
CONFIG = Parsed("config", parse_config)
NETWORK = Parsed("network", parse_network)
PREFERENCE = Parsed("pref", parse_preference)
ULIMIT = Parsed("ulimit", parse_ulimit)
GENERIC = Parsed("list", parse_generic)
CAPABILITY = Parsed("list", capability)
CREDENTIAL_SPEC = Parsed("credential-spec", parse_credential_spec)


# Of every command that waits until services have converged.
DETACH = flag("-d", "--detach", switch=True, help="Exit immediately instead of waiting for the services to converge.")
TIMEOUT = flag(
    "--timeout", type=DURATION, default="10m", show_default=True, help="Stop waiting after this time without progress."
)

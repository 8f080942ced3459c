"""`--mount type=volume,source=data,target=/data,readonly,…`."""

from __future__ import annotations

from typing import Any

from common.model.container import BindOptions, DriverConfig, Mount, TmpfsOptions, VolumeOptions
from common.quantities import parse_size
from manager.cli.flags.csvfields import boolean, fields

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
        tmpfs["size_bytes"] = _size("tmpfs-size", value)
    elif name == "mode":
        tmpfs["mode"] = _octal("tmpfs-mode", value)
    else:
        return False
    return True


def _size(key: str, value: str) -> int:
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

"""`--publish 8080:80/tcp` and `--publish published=8080,target=80,protocol=tcp,mode=host`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.model.service import PortConfig
from manager.cli.compose.short_syntax import MODES, PROTOCOLS, parse_port
from manager.cli.flags.keyvalue import fields

_LAST_PORT = 65535


def parse_publish(text: str) -> tuple[PortConfig, ...]:
    """Read one flag; a range is several ports.

    Raises:
        ValueError: it is not a port.

    """
    if "=" in text:
        return (_long(text),)
    return tuple(
        PortConfig(
            protocol=entry.get("protocol", "tcp"),
            target_port=entry["target"],
            published_port=entry.get("published", 0),
            publish_mode="ingress",
            host_ip=entry.get("host_ip", ""),
        )
        for entry in parse_port(text)
    )


def _long(text: str) -> PortConfig:
    given: dict[str, Any] = {}
    for key, value in fields(text):
        match key:
            case "protocol" if value.lower() in PROTOCOLS:
                given["protocol"] = value.lower()
            case "protocol":
                raise ValueError(f"invalid protocol value '{value}' for protocol: it is one of {', '.join(PROTOCOLS)}")
            case "mode" if value.lower() in MODES:
                given["publish_mode"] = value.lower()
            case "mode":
                raise ValueError(f"invalid publish mode value ({value}): must be either {' or '.join(MODES)}")
            case "target" | "published":
                given[f"{key}_port"] = _number(key, value)
            case "host_ip" | "host-ip":
                given["host_ip"] = value
            case _:
                raise ValueError(f"invalid field key {key}")
    if not given.get("target_port"):
        raise ValueError("missing mandatory field 'target'")
    return PortConfig(**given)


def _number(key: str, value: str) -> int:
    if not value.isdecimal() or int(value) > _LAST_PORT:
        raise ValueError(f"invalid {key} port ({value}): a number up to {_LAST_PORT} is expected")
    return int(value)


def matching_ports(ports: Sequence[PortConfig], removed: PortConfig) -> Sequence[PortConfig]:
    """Return those of the ports that `--publish-rm` means: all of its target, protocol and mode.

    Among several of these a published port that it names chooses; docker's means them all the same.
    """

    def kind(port: PortConfig) -> tuple[int, str, str]:
        return port.target_port, port.protocol, port.publish_mode

    alike = [port for port in ports if kind(port) == kind(removed)]
    named = [port for port in alike if removed.published_port and port.published_port == removed.published_port]
    return named or alike

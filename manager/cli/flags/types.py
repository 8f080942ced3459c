"""Click's parameter types for the syntaxes of this package."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from typing import Any

import click

from common.quantities import parse_cpus, parse_duration, parse_size
from manager.cli.command import invalid
from manager.cli.flags.attachment import parse_credential_spec, parse_network, parse_preference
from manager.cli.flags.keyvalue import parse_host, parse_label, parse_pair, parse_variable
from manager.cli.flags.limits import capability, parse_generic, parse_ulimit
from manager.cli.flags.mount import parse_mount
from manager.cli.flags.publish import parse_publish
from manager.cli.flags.references import parse_config, parse_secret
from manager.compose.commandline import split_command

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


def _unsigned(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number, 0 or more, is expected")
    return int(text)


def _signed(text: str) -> int:
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
    """Read a search domain; `.` is none at all.

    Raises:
        ValueError: it is no domain's name.

    """
    domain = text.strip()
    if domain != "." and not _DOMAIN.fullmatch(domain):
        raise ValueError(f"{text} is not a valid domain")
    return domain


DURATION = Parsed("duration", _positive_duration)
BYTES = Parsed("bytes", _size)
CPUS = Parsed("decimal", parse_cpus)
UINT = Parsed("uint", _unsigned)
INT = Parsed("int", _signed)
RATIO = Parsed("float", _ratio)
COMMAND = Parsed("command", lambda text: tuple(split_command(text)))
LABEL = Parsed("list", parse_label)
KEY_VALUE = Parsed("map", parse_pair)
VARIABLE = Parsed("list", lambda text: parse_variable(text, os.environ))
DOMAIN = Parsed("list", parse_domain)
HOST_LINE = Parsed("list", parse_host)
ADDRESS = Parsed("list", _address)
MOUNT = Parsed("mount", parse_mount)
PORT = Parsed("port", parse_publish)
SECRET = Parsed("secret", parse_secret)
CONFIG = Parsed("config", parse_config)
NETWORK = Parsed("network", parse_network)
PREFERENCE = Parsed("pref", parse_preference)
ULIMIT = Parsed("ulimit", parse_ulimit)
GENERIC = Parsed("list", parse_generic)
CAPABILITY = Parsed("list", capability)
CREDENTIAL_SPEC = Parsed("credential-spec", parse_credential_spec)

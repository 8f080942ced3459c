"""Labels, environment, hosts, sysctls, log options: lists of `key=value`.

And `key=value,key=value`, the syntax that --mount, --publish, --secret, --config and --network share.
"""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

_HOST_GATEWAY = "host-gateway"

_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


def parse_pair(text: str) -> tuple[str, str]:
    """Read `key=value`; a key alone has an empty value.

    Raises:
        ValueError: there is no key.

    """
    key, _, value = text.partition("=")
    if not key:
        raise ValueError(f"invalid format: {text!r} has no key (key=value is expected)")
    return key, value


def parse_label(text: str) -> tuple[str, str]:
    """Read a label, `key=value` or a key alone.

    Raises:
        ValueError: there is no key, or it has spaces in it.

    """
    key, value = parse_pair(text)
    if any(character.isspace() for character in key):
        raise ValueError(f"label {key!r} contains whitespaces")
    return key, value


def parse_variable(text: str, environ: Mapping[str, str]) -> str:
    """Read a variable of the environment; a name alone takes its value from here, or stays alone (it is unset).

    Raises:
        ValueError: there is no name.

    """
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    return text if equals or name not in environ else f"{name}={environ[name]}"


def read_env_file(path: str, environ: Mapping[str, str]) -> list[str]:
    """Read the variables of a file: one a line, `#` begins a comment line.

    Raises:
        ValueError: a name holds spaces, or the file cannot be read.

    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read the environment file {path}: it is not text in UTF-8") from error
    except OSError as error:
        raise ValueError(f"cannot read the environment file {path}: {error.strerror}") from error
    variables = []
    for line in lines:
        text = line.lstrip()
        if not text or text.startswith("#"):
            continue
        name, equals, _ = text.partition("=")
        if not name or any(character.isspace() for character in name):
            raise ValueError(f"poorly formatted environment: variable {name!r} contains whitespaces in {path}")
        if equals or name in environ:
            variables.append(parse_variable(text, environ))
    return variables


def merge_variables(variables: Iterable[str], removed: Iterable[str] = ()) -> tuple[str, ...]:
    """Keep one value a name, the last one, at the place of the first; without the removed names."""
    values: dict[str, str] = {}
    for variable in variables:
        values[variable.partition("=")[0]] = variable
    for name in removed:
        values.pop(name, None)
    return tuple(values.values())


def without(given: Mapping[str, str], removed: Sequence[str], problem: str = "") -> dict[str, str]:
    """Drop keys; `problem` words (with %s) that a key is not there, when that is an error.

    Raises:
        ValueError: a key is not there.

    """
    for key in removed:
        if problem and key not in given:
            raise ValueError(problem % key)
    return {key: value for key, value in given.items() if key not in removed}


def parse_host(text: str) -> str:
    """Turn `name:address` into a line of /etc/hosts, `address name`. The engine knows what `host-gateway` is.

    Raises:
        ValueError: it has another form, or the address is invalid.

    """
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name:
        raise ValueError(f"bad format for add-host: {text!r} (name:address is expected)")
    bare = address.strip("[]")
    if bare == _HOST_GATEWAY:
        return f"{bare} {name}"
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError(f"invalid IP address in add-host: {address!r}") from None
    return f"{bare} {name}"


def remove_hosts(lines: Iterable[str], removed: Iterable[str]) -> tuple[str, ...]:
    """Drop the entries that `name` or `name:address` mean; a line of several names loses only the one."""
    kept = list(lines)
    for text in removed:
        name, _, address = text.partition(":")
        kept = [left for line in kept if (left := _without_name(line, name, address))]
    return tuple(kept)


def _without_name(line: str, name: str, address: str) -> str:
    first, *names = line.split()
    if address and address.strip("[]") != first:
        return line
    rest = [each for each in names if each != name]
    return " ".join([first, *rest]) if rest else ""


# --- fields ---


def fields(text: str, *, bare: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """Yield the pairs; keys in lower case. Keys in `bare` may stand alone and are then `true`.

    Raises:
        ValueError: a field has no `=`, or quotes are wrong.

    """
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    for part in rows[0] if rows else []:
        key, equals, value = part.partition("=")
        if not equals and key.lower() not in bare:
            raise ValueError(f"invalid field '{part}' must be a key=value pair")
        yield key.strip().lower(), value if equals else "true"


def boolean(key: str, value: str) -> bool:
    """Read a boolean as Go does.

    Raises:
        ValueError: it is not valid.

    """
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(f"invalid value for {key}: {value} (true or false is expected)")

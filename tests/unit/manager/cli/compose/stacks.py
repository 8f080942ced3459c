"""A stack made of a compose file's text, and of files that exist only here."""

from collections.abc import Callable

import pytest

from common.model.service import (
    ServiceSpec,
)
from manager.cli.compose import ComposeError, ComposeFile, Stack, convert, load

FILES = {
    "/project/secret": b"hush",
    "/project/conf": b"listen 80;",
    "/project/empty": b"",
    "/project/big": b"x" * 512_000,
}


def read(path: str) -> bytes:
    if path in FILES:
        return FILES[path]
    raise FileNotFoundError(2, "No such file or directory", path)


def stack(text: str) -> Stack:
    return convert(load([ComposeFile("f", text)], {}, read, "/project"), "shop", read)


def service(lines: str = "", top: str = "") -> ServiceSpec:
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    return stack(f"services:\n  web:\n    image: web:1\n{body}{top}").services["web"]


def container(lines: str, top: str = ""):
    spec = service(lines, top).task_template.container_spec
    assert spec is not None
    return spec


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(ComposeError) as caught:
        act()
    return str(caught.value)

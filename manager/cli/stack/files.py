"""The compose files of a stack, as `-c` names them, read and loaded."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli.compose import ComposeFile, Config, load

STDIN = "-"


def read_files(names: Sequence[str]) -> tuple[tuple[ComposeFile, ...], str]:
    """Read the files (`a,b` is two, `-` is standard input) and name the project's directory.

    Raises:
        InvalidArgument: none is given, one cannot be read, or standard input is given twice.

    """
    paths = [path for name in names for path in name.split(",") if path]
    if not paths:
        raise InvalidArgument("Please specify a Compose file (with --compose-file)")
    if paths.count(STDIN) > 1:
        raise InvalidArgument("standard input can be given only once as a Compose file")
    return tuple(ComposeFile(path, _text(path)) for path in paths), project_directory(paths)


def _text(path: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path}: this is not UTF-8 text (byte {error.start})") from error


def read_bytes(path: str) -> bytes:
    """Give a compose file the content of a file that it names.

    Raises:
        OSError: it cannot be read.

    """
    try:
        return Path(path).read_bytes()
    except ValueError as error:  # a NUL is in it
        raise OSError(errno.EINVAL, str(error)) from error


def project_directory(names: Sequence[str]) -> str:
    """Name the directory that a stack's relative paths start from: the first file's."""
    first = next(path for name in names for path in name.split(",") if path)
    return os.path.realpath(os.curdir if first == STDIN else Path(first).parent)


def load_files(names: Sequence[str], profiles: Sequence[str] = (), *, filled_in: bool = True) -> Config:
    """Load the files, fill in their variables (unless not `filled_in`) and merge them; warnings go to standard error.

    Without `profiles` the environment or the project's `.env` chooses them.

    Raises:
        ComposeError: something in them is wrong; the message says where.

    """
    files, directory = read_files(names)
    config = load(files, os.environ, read_bytes, directory, filled_in=filled_in, profiles=profiles)
    for warning in config.warnings:
        echo(warning, err=True)
    return config

"""Reads the join token from where other users of the host do not see it, as they see the arguments of a process."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from common.errors import InvalidArgument

VARIABLE = "SWARM_JOIN_TOKEN"
STANDARD_INPUT = "-"
# A token has some 90 characters: a longer file is another one.
_MOST_BYTES = 4096


def read_token(
    given: str, file: Path | None, environment: MutableMapping[str, str] = os.environ, *, role: str = "worker"
) -> str:
    """Return the token: the one given (`-`: from standard input), the file's, or else the environment's.

    It is removed from the environment, which the daemon that is started afterwards inherits. `role` is what the host
    joins as, for the messages.

    Raises:
        InvalidArgument: there is no token, both `given` and `file` are, or the file cannot be read.

    """
    inherited = environment.pop(VARIABLE, "")
    if given and file is not None:
        raise InvalidArgument("give either --token or --token-file")
    if given == STANDARD_INPUT:
        token = _from_standard_input()
    elif file is not None:
        token = _from_file(file, role)
    else:
        token = given or inherited
    if not token.strip():
        raise InvalidArgument(
            f"no token: give it with --token-file FILE, --token - (standard input), --token TOKEN or {VARIABLE}; "
            f"'swarm-manager join-token {role}' prints it"
        )
    return token.strip()


def _from_standard_input() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Join token: ")
    return sys.stdin.readline(_MOST_BYTES)


def _from_file(file: Path, role: str) -> str:
    try:
        with file.open(encoding="ascii") as opened:
            return opened.read(_MOST_BYTES)
    except OSError as error:
        raise InvalidArgument(f"cannot read the token from {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InvalidArgument(f"{file} has no token in it: 'swarm-manager join-token -q {role}' prints one") from None

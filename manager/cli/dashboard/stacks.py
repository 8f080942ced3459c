"""Stacks from a page: compose files that a browser sends, read as the client reads those of its own disk.

What they name (files of variables, the content of secrets and configs) is sent along or refused; what needs a folder of
this host, a relative bind mount or a build, is refused with what to do instead. Neither the disk nor the environment of
the gate is read.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import msgspec

from common.errors import AlreadyExists, InvalidArgument
from manager.cli.client import Client
from manager.cli.compose import ComposeError, ComposeFile, Config, Problem, Reader, Stack, builds, convert, load
from manager.cli.compose.config import locate
from manager.cli.compose.errors import KeyPath, format_path
from manager.cli.stack.compare import Step
from manager.cli.stack.deploy import DeployOptions, deploy, line_of
from manager.cli.stack.plan import plan, summary

MAX_SENT_BYTES = 1024 * 1024
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")
_RELATIVE = "a page has no folder that this could be in: give an absolute path of the nodes"
_BUILT = "a page has no folder to build from: name an image, or run 'swarm-manager stack deploy'"


class SentStack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page sends: texts by their paths. Those in `compose` are compose files, each over the ones before.

    Paths are relative to wherever the files are at home. `resolve` is when registries are asked for digests, `seen` the
    mark of the plan that was shown before a deploy.
    """

    compose: tuple[str, ...]
    files: dict[str, str]
    prune: bool = False
    resolve: Literal["always", "changed", "never"] = "always"
    seen: str = ""


def decode_sent(body: bytes) -> SentStack:
    """Read what a page has sent.

    Raises:
        InvalidArgument: it is not what pages send.

    """
    try:
        sent = msgspec.json.decode(body, type=SentStack)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f'expected {{"compose": [PATH, …], "files": {{PATH: TEXT, …}}, …}}: {error}') from error
    missing = [path for path in sent.compose if path not in sent.files]
    if missing or not sent.compose:
        raise InvalidArgument(f"the compose file {missing[0]} was not sent" if missing else "no compose file was sent")
    return sent


def read_stack(sent: SentStack, name: str) -> Stack:
    """Make the stack that the files describe. Pure; takes some seconds for the largest files.

    Raises:
        ComposeError: something in them is wrong, or they name something that was not sent along.

    """
    read = _reader(sent.files)
    # A relative one, so that what is relative to it stays so, and is told from what is absolute.
    folder = posixpath.dirname(sent.compose[0])
    config = load([ComposeFile(path, sent.files[path]) for path in sent.compose], {}, read, folder)
    warnings = _check_folders(config, name, folder)
    stack = convert(config, name, read)
    return replace(stack, warnings=(*stack.warnings, *warnings))


def _reader(files: Mapping[str, str]) -> Reader:
    """Give a compose file the content of what was sent along with it."""
    placed = {posixpath.normpath(path): text for path, text in files.items()}

    def read(path: str) -> bytes:
        text = placed.get(posixpath.normpath(path))
        if text is None:
            raise FileNotFoundError(errno.ENOENT, "it was not sent along", path)
        return text.encode()

    return read


def _check_folders(config: Config, name: str, folder: str) -> list[str]:
    """Refuse what needs a folder of the host where a command would run; return warnings of what goes without."""
    relative: list[KeyPath] = [
        ("services", service, "volumes", index, "source")
        for service, spec in config.services.items()
        for index, volume in enumerate(spec.get("volumes", []))
        if volume.get("type") == "bind" and not _ABSOLUTE.match(volume["source"])
    ]
    wanted = builds(config, name, folder, {})
    required = [each.at for each in wanted if each.required]
    problems = [(path, _RELATIVE) for path in relative] + [(path, _BUILT) for path in required]
    if problems:
        raise ComposeError([Problem(why, path, locate(config.positions, path)) for path, why in problems])
    return [f"service {each.service} is not built, {each.image} is used as it is" for each in wanted]


async def plan_sent(client: Client, name: str, sent: SentStack) -> dict[str, Any]:
    """Work out what a deploy would change, for a page.

    Raises:
        SwarmError: the files are wrong, or the deploy would be refused.

    """
    _, steps, warnings = await _planned(client, name, sent)
    return _plan_view(sent, steps, warnings)


async def deploy_sent(client: Client, name: str, sent: SentStack) -> dict[str, Any]:
    """Deploy what a plan has shown.

    Raises:
        AlreadyExists: a deploy would now change something else than the plan that was seen.
        SwarmError: it is refused; nothing has changed.

    """
    stack, steps, warnings = await _planned(client, name, sent)
    if sent.seen != _mark(sent, steps):
        raise AlreadyExists(
            "a deploy would no longer do what this plan says, as something has changed since: look at the plan again"
        )
    done = await deploy(client, stack, _options(sent, warnings))
    return {"done": [line_of(each) for each in done], "warnings": list(dict.fromkeys(warnings))}


async def _planned(client: Client, name: str, sent: SentStack) -> tuple[Stack, list[Step], list[str]]:
    stack = await asyncio.to_thread(read_stack, sent, name)
    warnings = list(stack.warnings)
    return stack, await plan(client, stack, _options(sent, warnings)), warnings


def _options(sent: SentStack, warnings: list[str]) -> DeployOptions:
    return DeployOptions(sent.resolve, prune=sent.prune, looks=1, tell=warnings.append)


def _plan_view(sent: SentStack, steps: list[Step], warnings: list[str]) -> dict[str, Any]:
    return {
        "steps": [
            {
                "sign": step.sign,
                "kind": step.kind,
                "name": step.name,
                "remark": step.remark,
                "fields": [
                    {"path": each.path, "old": each.old, "new": each.new, "restarts": each.restarts}
                    for each in step.fields
                ],
            }
            for step in steps
        ],
        "summary": summary(steps),
        "warnings": list(dict.fromkeys(warnings)),
        "seen": _mark(sent, steps),
    }


def _mark(sent: SentStack, steps: list[Step]) -> str:
    """Return what is the same for the same files and the same changes."""
    said = [sent.compose, sorted(sent.files.items()), sent.prune, sent.resolve, [str(step) for step in steps]]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def problem_views(error: ComposeError) -> list[dict[str, Any]]:
    """Write each problem with its place, so that a page can lead there."""
    return [
        {
            "file": each.position.file if each.position else "",
            "line": each.position.line if each.position else 0,
            "column": each.position.column if each.position else 0,
            "path": format_path(each.path),
            "message": each.message,
        }
        for each in error.problems
    ]

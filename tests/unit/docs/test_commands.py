"""Commands that pages show are such as our programs take: each option and argument is parsed, and nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

from manager.main import cli as manager
from tests.unit.docs.test_links import FENCE, PAGES, ROOT
from worker.main import main as worker

PROGRAMS: dict[str, click.Command] = {"swarm-manager": manager, "swarm-worker": worker}
# A prompt, and what stands before a command in one line of a shell.
_PROMPT = re.compile(r"^(?:[\w.-]*[$#] +)?(?:(?:sudo|exec|ssh \S+) +|[A-Z_]+=\S+ +)*")
_END = re.compile(r"\s{3,}.*$|\s+(?:#|\||&&|;|>|<|2>).*$| …$")
# Of what is written in the abstract.
_USAGE = re.compile(r"[\[\]…]|\.\.\.|\w\|\w|\$\(|COMMAND")


def examples(page: Path) -> Iterator[str]:
    """Yield the commands that a page shows as they are typed."""
    blocks = FENCE.findall(page.read_text())
    return _commands(line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines())


def mentions(page: Path) -> Iterator[str]:
    """Yield what a page's sentences name of our commands: their values may be left out, or be words for values."""
    spans = re.findall(r"`[^`]+`", FENCE.sub("", page.read_text()))
    return _commands(" ".join(span.strip("`").split()) for span in spans)


def _commands(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        command = _END.sub("", _PROMPT.sub("", line.strip()))
        if command.split(" ")[0] in PROGRAMS and not _USAGE.search(command):
            yield command


def parse(command: str) -> None:
    """Parse a command as its program would.

    Raises:
        click.ClickException, ValueError: the program, or the shell, does not take it.

    """
    name, *arguments = shlex.split(command)
    found: click.Command | None = PROGRAMS[name]
    context: click.Context | None = None
    try:
        while isinstance(found, click.Group) and arguments:
            context = found.make_context(name, arguments, parent=context)
            _, found, arguments = found.resolve_command(context, [*context._protected_args, *context.args])
        if found is not None and not isinstance(found, click.Group):
            found.make_context(name, arguments, parent=context)
    except click.exceptions.Exit:
        return  # --help, --version


def wrong(commands: Iterable[str], *, whole: bool) -> Iterator[str]:
    for command in commands:
        try:
            parse(command)
        except (click.ClickException, ValueError) as error:
            unknown = isinstance(error, click.NoSuchOption) or "No such command" in str(error)
            if whole or unknown:
                yield f"{command}: {error}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_pages_commands_are_taken(page: Path) -> None:
    assert not list(wrong(examples(page), whole=True))
    assert not list(wrong(mentions(page), whole=False))


def test_commands_are_found_and_read() -> None:
    assert sum(len([*examples(page), *mentions(page)]) for page in PAGES) > 200
    assert [*wrong(["swarm-manager node update --no-such x", "swarm-manager nodes ls"], whole=False)] != []
    assert [*wrong(["swarm-manager node update"], whole=True)] != []

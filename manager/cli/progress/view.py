"""Showing progress: live bars on a terminal, lines that only say what is new elsewhere, nothing when quiet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

from common.text.terminal import echo, one_line
from manager.cli.progress.judgement import Progress, Verdict
from manager.cli.progress.slots import Line

MOST_LINES = 20


class View(Protocol):
    """Shows the progress of one or more services, until it is closed."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, name: str, progress: Progress) -> None: ...


class NoView:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, name: str, progress: Progress) -> None:
        del name, progress


class PlainView(NoView):
    """Prints each line once, and again only when it changes. `prefixed` names the service in every line."""

    def __init__(self, *, prefixed: bool) -> None:
        self._prefixed = prefixed
        self._printed: dict[tuple[str, str], str] = {}

    def show(self, name: str, progress: Progress) -> None:
        for key, text in plain_lines(name, progress):
            if self._printed.get((name, key)) != text:
                self._printed[name, key] = text
                echo(f"{name}: {key}: {text}" if self._prefixed else f"{key}: {text}")


def plain_lines(name: str, progress: Progress) -> Iterator[tuple[str, str]]:
    """Make the lines of one look: the whole, each slot, and the verification."""
    yield "overall progress", overall(progress)
    if progress.wanted <= MOST_LINES:
        for line in progress.lines:
            if text := line_text(line):
                yield label(line, progress), text
    if progress.verdict is Verdict.VERIFYING:
        yield "verify", "Waiting to verify that tasks are stable..."
    if progress.verdict is Verdict.CONVERGED:
        yield "verify", converged_text(name, progress)


def converged_text(name: str, progress: Progress) -> str:
    """Say that all is well; of an update that holds at its canary, how it goes on."""
    if not progress.holds:
        return f"Service {name} converged"
    return f"{progress.note}: go on with `service update --continue {name}`, or back with --abort"


def overall(progress: Progress) -> str:
    counts = f"{progress.done} out of {progress.wanted} tasks"
    if progress.verdict is Verdict.WAITING and progress.note:
        return f"{counts}, {progress.note}"
    return f"rolling back update: {counts}" if progress.rolling_back else counts


def label(line: Line, progress: Progress) -> str:
    """Name a slot among the wanted ones: `2/5`; a node by its id."""
    return f"{line.label}/{progress.wanted}" if line.label.isdigit() else line.label


def line_text(line: Line) -> str:
    """Say a slot's trouble on one line, or its state."""
    if line.trouble:
        return one_line(line.trouble.replace("\n", " "))
    return line.state.name.lower() if line.state is not None else ""

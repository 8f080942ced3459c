"""Showing progress: live bars on a terminal, lines that only say what is new elsewhere, nothing when quiet.

On a terminal a block of lines is redrawn in place. With NO_COLOR set it has no styles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from common.model import TaskState
from common.text.terminal import echo, one_line
from manager.cli.format.tables import shorten
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


_TROUBLE_WIDTH = 75
# Why a task waits says at its end what it lacks; such a line may wrap.
_WAITING_WIDTH = 160
_WAITING = (TaskState.PENDING, TaskState.PREPARING)
_BAR_WIDTH = 24
_REFRESH = 8
# Rows that the block leaves: for what is hidden, and for the cursor.
_SPARE_ROWS = 2


class LiveView:
    """Redraws a block of lines in place."""

    def __init__(self, console: Console | None = None) -> None:
        self._seen: dict[str, Progress] = {}
        self._console = console or Console(color_system=None if os.environ.get("NO_COLOR") else "auto")
        self._live = Live(console=self._console, refresh_per_second=_REFRESH, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, name: str, progress: Progress) -> None:
        self._seen[name] = progress

    def _draw(self) -> RenderableType:
        return draw(self._seen, self._console.height)


def draw(seen: Mapping[str, Progress], height: int) -> Group:
    """Draw all services on so many rows. Where not all slots fit, those that do not run yet come first."""
    shown = {name: progress.lines for name, progress in seen.items() if not progress.verdict.final}
    slots = [(name, line) for name, lines in shown.items() for line in lines]
    room = min(MOST_LINES, max(height - len(seen) - _SPARE_ROWS, 0))
    if len(slots) > room:
        slots = sorted(slots, key=lambda slot: (_is_up(slot[1]), not slot[1].trouble))[:room]
    lines: list[Text] = []
    for name, progress in seen.items():
        lines.append(_headline(name, progress))
        lines += [_bar(line, progress) for of, line in slots if of == name]
    hidden = sum(map(len, shown.values())) - len(slots)
    return Group(*lines, *([Text(f"  … and {hidden} more", style="dim")] if hidden else ()))


def _is_up(line: Line) -> bool:
    return line.state is not None and line.state >= TaskState.RUNNING


def _headline(name: str, progress: Progress) -> Text:
    mark, style = {
        Verdict.CONVERGED: ("✓", "green"),
        Verdict.FAILED: ("✗", "red"),
        Verdict.VERIFYING: ("…", "cyan"),
        Verdict.WAITING: ("…", ""),
    }[progress.verdict]
    text = Text(one_line(f"{mark} {name}: {overall(progress)}"), style=style)
    if progress.note:
        text.append(one_line(f"  {progress.note}"), style="dim")
    return text


def _bar(line: Line, progress: Progress) -> Text:
    state = line.state or TaskState.NEW
    filled = int(_BAR_WIDTH * min(state, TaskState.RUNNING) / TaskState.RUNNING)
    text = Text(one_line(f"  {label(line, progress):>12} "))
    text.append("━" * filled, style="green" if state >= TaskState.RUNNING else "cyan")
    text.append("━" * (_BAR_WIDTH - filled), style="dim")
    text.append(f" {state.name.lower():<10}")
    if line.trouble:
        width = _WAITING_WIDTH if line.state in _WAITING else _TROUBLE_WIDTH
        text.append(f" {shorten(line_text(line), width)}", style="red")
    return text

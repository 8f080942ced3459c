"""Showing progress: live bars on a terminal, lines that only say what is new elsewhere, nothing when quiet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from common.model import TaskState
from manager.cli.progress import Line, Progress, Verdict
from manager.cli.wording import shortened

_MOST_LINES = 20
_TROUBLE_WIDTH = 75
_BAR_WIDTH = 24
_REFRESH = 8


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
                click.echo(f"{name}: {key}: {text}" if self._prefixed else f"{key}: {text}")


def plain_lines(name: str, progress: Progress) -> Iterator[tuple[str, str]]:
    """Make the lines of one look: the whole, each slot, and the verification."""
    yield "overall progress", overall(progress)
    if progress.wanted <= _MOST_LINES:
        for line in progress.lines:
            if text := _told(line):
                yield label(line, progress), text
    if progress.verdict is Verdict.VERIFYING:
        yield "verify", "Waiting to verify that tasks are stable..."
    if progress.verdict is Verdict.CONVERGED:
        yield "verify", f"Service {name} converged"


def overall(progress: Progress) -> str:
    counts = f"{progress.done} out of {progress.wanted} tasks"
    return f"rolling back update: {counts}" if progress.rolling_back else counts


def label(line: Line, progress: Progress) -> str:
    """Name a slot among the wanted ones: `2/5`; a node by its id."""
    return f"{line.label}/{progress.wanted}" if line.label.isdigit() else line.label


def _told(line: Line) -> str:
    if line.trouble:
        return shortened(line.trouble.replace("\n", " "), _TROUBLE_WIDTH)
    return line.state.name.lower() if line.state is not None else ""


class LiveView:
    """Redraws a block of lines in place."""

    def __init__(self, console: Console) -> None:
        self._seen: dict[str, Progress] = {}
        self._live = Live(console=console, refresh_per_second=_REFRESH, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, name: str, progress: Progress) -> None:
        self._seen[name] = progress

    def _draw(self) -> RenderableType:
        return draw(self._seen)


def draw(seen: Mapping[str, Progress]) -> Group:
    """Draw all services; the slots of many services or of a large one are left out."""
    detailed = sum(progress.wanted for progress in seen.values()) <= _MOST_LINES
    lines: list[Text] = []
    for name, progress in seen.items():
        lines.append(_headline(name, progress))
        if detailed and not progress.verdict.final:
            lines += [_bar(line, progress) for line in progress.lines]
    return Group(*lines)


def _headline(name: str, progress: Progress) -> Text:
    mark, style = {
        Verdict.CONVERGED: ("✓", "green"),
        Verdict.FAILED: ("✗", "red"),
        Verdict.VERIFYING: ("…", "cyan"),
        Verdict.WAITING: ("…", ""),
    }[progress.verdict]
    text = Text(f"{mark} {name}: {overall(progress)}", style=style)
    if progress.note:
        text.append(f"  {progress.note}", style="dim")
    return text


def _bar(line: Line, progress: Progress) -> Text:
    state = line.state or TaskState.NEW
    filled = int(_BAR_WIDTH * min(state, TaskState.RUNNING) / TaskState.RUNNING)
    text = Text(f"  {label(line, progress):>12} ")
    text.append("━" * filled, style="green" if state >= TaskState.RUNNING else "cyan")
    text.append("━" * (_BAR_WIDTH - filled), style="dim")
    text.append(f" {state.name.lower():<10}")
    if line.trouble:
        text.append(f" {shortened(line.trouble, _TROUBLE_WIDTH)}", style="red")
    return text


def make_view(*, quiet: bool, several: bool, console: Console | None = None) -> View:
    """Choose how to show progress here."""
    if quiet:
        return NoView()
    console = console or Console()
    return LiveView(console) if console.is_terminal else PlainView(prefixed=several)

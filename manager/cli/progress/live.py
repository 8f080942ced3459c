"""Progress on a terminal: a block of lines that is redrawn in place. With NO_COLOR set it has no styles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from common.model import TaskState
from common.text.terminal import one_line
from manager.cli.format.wording import shortened
from manager.cli.progress.judgement import Progress, Verdict
from manager.cli.progress.slots import Line
from manager.cli.progress.view import MOST_LINES, label, overall, told

_TROUBLE_WIDTH = 75
_BAR_WIDTH = 24
_REFRESH = 8


class LiveView:
    """Redraws a block of lines in place."""

    def __init__(self, console: Console | None = None) -> None:
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
    detailed = sum(progress.wanted for progress in seen.values()) <= MOST_LINES
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
        text.append(f" {shortened(told(line), _TROUBLE_WIDTH)}", style="red")
    return text

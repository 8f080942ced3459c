"""The flags that every list has, and the reading of filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from manager.cli.command import flag, invalid

FORMAT_HELP = "A Go template, 'table TEMPLATE', or json."


class FilterType(click.ParamType):  # type: ignore[type-arg]  # generic in new click only
    name = "filter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, content = str(value).partition("=")
        if not equals:
            self.fail(invalid(value, param, "bad format of filter (expected name=value)"), param, ctx)
        return key.strip().lower(), content.strip()


def group_filters(filters: tuple[tuple[str, str], ...], **more: list[str]) -> dict[str, list[str]]:
    """Collect the values of each key, as the API takes filters; `more` are filters of the command's own."""
    groups: dict[str, list[str]] = {key: list(values) for key, values in more.items()}
    for key, value in filters:
        groups.setdefault(key, []).append(value)
    return groups


def filter_flag() -> Callable[[Any], Any]:
    return flag(
        "-f",
        "--filter",
        "filters",
        type=FilterType(),
        multiple=True,
        help="Only show objects with this property (name=value).",
    )


def format_flag(help: str = FORMAT_HELP) -> Callable[[Any], Any]:  # noqa: A002  # click's word
    """Add --format of a list."""
    return flag("--format", "layout", default="", metavar="TEMPLATE", help=help)


def inspect_format_flag() -> Callable[[Any], Any]:
    """Add --format of an `inspect`, which has no tables."""
    return flag("-f", "--format", "layout", default="", metavar="TEMPLATE", help="A Go template, or json.")


def quiet_flag(help: str = "Only display IDs.") -> Callable[[Any], Any]:  # noqa: A002  # click's word
    return flag("-q", "--quiet", is_flag=True, default=False, help=help)


def listing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --filter, --format and --quiet."""
    filtered: Callable[..., Any] = filter_flag()(format_flag()(quiet_flag()(function)))
    return filtered


def inspecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --format and --pretty."""
    pretty = flag("--pretty", is_flag=True, default=False, help="Print the information in a human friendly format.")
    formatted: Callable[..., Any] = inspect_format_flag()(pretty(function))
    return formatted


def task_listing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of the lists of tasks."""
    resolve = flag("--no-resolve", is_flag=True, default=False, help="Do not map IDs to names.")
    truncate = flag("--no-trunc", is_flag=True, default=False, help="Do not truncate output.")
    return listing(resolve(truncate(function)))

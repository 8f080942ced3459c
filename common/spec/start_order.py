"""The order in which things that depend on each other start. Pure; a graph maps a name to the names it depends on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

Graph: TypeAlias = Mapping[str, Collection[str]]


def cycle(graph: Graph, start: str) -> tuple[str, ...]:
    """Return a cycle that can be reached from `start`, its first name repeated at the end; empty when there is none."""
    path: dict[str, Iterator[str]] = {start: iter(sorted(graph.get(start, ())))}
    done: set[str] = set()
    while path:
        name, following = next(reversed(path.items()))
        after = next((each for each in following if each not in done), None)
        if after is None:
            del path[name]
            done.add(name)
        elif after in path:
            names = list(path)
            return (*names[names.index(after) :], after)
        else:
            path[after] = iter(sorted(graph.get(after, ())))
    return ()


def any_cycle(graph: Graph) -> tuple[str, ...]:
    """Return one cycle of a graph, empty when there is none."""
    return next((found for name in sorted(graph) if (found := cycle(graph, name))), ())


def in_order(graph: Graph) -> list[str]:
    """Return the graph's names, each after those it depends on, else by name. The graph must have no cycle."""
    ordered: dict[str, None] = {}
    waiting = sorted(graph)
    while waiting:
        ready = [name for name in waiting if all(each in ordered or each not in graph for each in graph[name])]
        if not ready:
            raise ValueError(f"a cycle among {', '.join(waiting)}")
        ordered.update(dict.fromkeys(ready))
        waiting = [name for name in waiting if name not in ordered]
    return list(ordered)


def format_cycle(names: Collection[str]) -> str:
    """Write a cycle as people do."""
    return " → ".join(names)

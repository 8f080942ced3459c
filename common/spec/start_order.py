"""The order in which things that depend on each other start. Pure; a graph maps a name to the names it depends on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

Graph: TypeAlias = Mapping[str, Collection[str]]
# Tells what a name depends on.
Dependencies: TypeAlias = Callable[[str], Collection[str]]


def cycle(after: Dependencies, start: str) -> tuple[str, ...]:
    """Return a cycle that can be reached from `start`, its first name repeated at the end; empty when there is none."""
    return _cycle(after, start, set())


def any_cycle(graph: Graph) -> tuple[str, ...]:
    """Return one cycle of a graph, empty when there is none."""
    done: set[str] = set()
    return next((found for name in sorted(graph) if (found := _cycle(_of(graph), name, done))), ())


def in_order(graph: Graph) -> list[str]:
    """Return the graph's names, each after those it depends on, else by name. The graph must have no cycle."""
    lacking = {name: {each for each in after if each in graph} for name, after in graph.items()}
    followers: dict[str, list[str]] = {}
    for name, after in lacking.items():
        for each in after:
            followers.setdefault(each, []).append(name)
    ordered: list[str] = []
    ready = sorted(name for name, after in lacking.items() if not after)
    while ready:
        ordered += ready
        following = []
        for name in ready:
            for each in followers.get(name, ()):
                lacking[each].remove(name)
                if not lacking[each]:
                    following.append(each)
        ready = sorted(following)
    if len(ordered) < len(graph):
        raise ValueError(f"a cycle among {', '.join(sorted(graph.keys() - ordered))}")
    return ordered


def _of(graph: Graph) -> Dependencies:
    return lambda name: graph.get(name, ())


def _cycle(after: Dependencies, start: str, done: set[str]) -> tuple[str, ...]:
    """Find a cycle through names that are not `done`; those from which there is none are, then."""
    if start in done:
        return ()
    path = {start: None}
    ways = [(start, iter(sorted(after(start))))]
    while ways:
        name, following = ways[-1]
        found = next((each for each in following if each not in done), None)
        if found is None:
            ways.pop()
            del path[name]
            done.add(name)
        elif found in path:
            names = list(path)
            return (*names[names.index(found) :], found)
        else:
            path[found] = None
            ways.append((found, iter(sorted(after(found)))))
    return ()


def format_cycle(names: Collection[str]) -> str:
    """Write a cycle as people do."""
    return " → ".join(names)

"""What a container said last before it failed, for its task's status: a few printable lines. Pure.

It goes to the manager's store and to whoever may list tasks, so a service whose programs write secrets to their output
turns it off by its label `swarm.x.last-words: "0"`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

from common.clock import Clock
from common.errors import SwarmError
from common.model.container import ContainerSpec
from common.model.node import NodeDescription
from common.model.service import EXTENSION_PREFIX
from common.model.task import Task, TaskState
from common.spec import task_templates
from worker.engine.call_limiter import EngineCallLimiter
from worker.images.have import Images
from worker.interfaces import Container, Engine, EngineDown, Networks, Phase, TaskFile, TaskFiles
from worker.tasks.plan import container_spec
from worker.tasks.plan.files import Materials, task_files
from worker.tasks.plan.machine import Situation, Step

LABEL = EXTENSION_PREFIX + "last-words"
LINES = 3
LONGEST = 512
_HEADER = 8


def log_tail_lines(task: Task) -> int:
    """Return how many lines a task's status is to have; 0 for none. The manager has checked the label's value."""
    text = task.labels.get(LABEL, "")
    return int(text) if text.isdecimal() else LINES


def with_log_tail(err: str, logs: bytes, lines: int) -> str:
    """Return an error with the container's last words behind it, `LONGEST` bytes of these at most: their end."""
    words = " | ".join([line for raw in output(logs).splitlines() if (line := _printable(raw))][-lines:])
    cut = words.encode()[-LONGEST:].decode(errors="ignore")
    return f"{err}: {cut}" if cut else err


def output(logs: bytes) -> str:
    """Read an engine's answer for logs: frames of standard output and error, or, of a terminal, as it is."""
    framed = len(logs) >= _HEADER and logs[0] in (1, 2) and logs[1:4] == bytes(3)
    return (b"".join(_frames(logs)) if framed else logs).decode(errors="replace")


def _frames(logs: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEADER <= len(logs):
        size = int.from_bytes(logs[at + 4 : at + _HEADER], "big")
        yield logs[at + _HEADER : at + _HEADER + size]
        at += _HEADER + size


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line).strip()


# What all runners of a worker share.


LAST_WORDS_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RunnerContext:
    """What runners work with, shared by all of one worker."""

    node_id: str
    engine: Engine
    images: Images
    networks: Networks
    files: TaskFiles
    clock: Clock
    gate: EngineCallLimiter
    node: NodeDescription
    materials: Materials

    def expanded(self, task: Task) -> ContainerSpec:
        """Return the task's container specification with its templates expanded.

        Raises:
            EngineDown: nobody knows yet what host this is, and templates may ask.
            TemplateError: a template is wrong.

        """
        if not self.node.hostname:
            raise EngineDown("the engine has not described this host yet, which templates may need")
        return container_spec.expand_templates(task, self.node_id, self.node)

    def files_of(self, task: Task, expanded: ContainerSpec) -> tuple[TaskFile, ...]:
        """Return the secrets and configs that the task's container gets, as `taskfiles.task_files` does."""
        return task_files(expanded, self.materials, task_templates.context(task, self.node_id, self.node))

    async def with_last_words(self, task: Task, now: Situation, step: Step) -> Step:
        """Add to the error of a failed container what it, or its health check, said last, if its engine can tell."""
        container, lines = now.container, log_tail_lines(task)
        failed = step.state is TaskState.FAILED and step.state > now.state
        if not (failed and lines and container and container.phase is Phase.EXITED):
            return step
        if container.health == "unhealthy":
            return replace(step, err=with_log_tail(step.err, container.health_said.encode(), lines))
        if not container.exit_code:
            return step
        return replace(step, err=with_log_tail(step.err, await self._last_logs(task, container, lines), lines))

    async def _last_logs(self, task: Task, container: Container, lines: int) -> bytes:
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                return await self.engine.last_logs(container.id, lines)
        except TimeoutError:
            _log.info("task %s: the end of its log did not come within %.0f s", task.name, LAST_WORDS_SECONDS)
        except SwarmError as error:
            _log.info("task %s: the end of its log cannot be read: %s", task.name, error)
        return b""

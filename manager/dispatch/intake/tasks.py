"""What a worker may say of its tasks: how they are, and what they use."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import msgspec

from common.clock import is_instant, rfc3339
from common.ids import SHORT_ID
from common.model import NetworkAttachment, Task
from common.model.service import PortConfig
from common.model.task import ContainerStatus, TaskState, TaskStatus
from common.net.addressing import is_address
from common.spec import task_templates
from common.spec.gotemplate import TemplateError
from common.text.terminal import printable, quote
from common.wire.allowances import LONGEST_ERROR, LONGEST_MESSAGE
from common.wire.handshake import MAX_CLOCK_SKEW
from common.wire.messages import StatusReport, TaskReport
from common.wire.usage_messages import HostUsage, TaskUsage, Usage
from manager.dispatch.intake.form import Dropped, Form, Implausible, MessageContext, Rule, entries, part
from manager.dispatch.intake.scalars import MAX_INTEGER, NOTHING, amount, choice, text, whole
from manager.dispatch.intake.task_addresses import TASK_ADDRESSES
from manager.store.view import View

# More cores and bytes than a task has.
MOST_CORES = 1e6
MOST_BYTES = 2.0**60
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
_PID = 2**31 - 1
_EXIT_CODES = (-(2**31), 2**32 - 1)
_LAST_PORT = 65535
_MOST_PORTS = 4096
_PROTOCOL = 16


def check_container_id(value: str, own: Task | NetworkAttachment, view: View) -> None:
    """Refuse what is not a container's id, and one that was first said to be another's.

    Ids are random, and shown by their first twelve digits: two that have these in common are not both honest.
    """
    if _CONTAINER_ID.fullmatch(value) is None:
        raise Implausible(f"{quote(value)} is not a container's id")
    if value == own.container:
        return
    others: tuple[Task | NetworkAttachment, ...] = (
        *view.tasks.of_container(value),
        *view.attachments.of_container(value),
    )
    for other in others:
        if other.id != own.id:
            raise Implausible(f"container {value[:SHORT_ID]} is that of {other.name}")


def _container_id(value: str, context: MessageContext) -> str:
    if value:
        check_container_id(value, context.task, context.view)
    return value


def _timestamp(value: float, context: MessageContext) -> float:
    """Return an instant between the task's creation and now: a clock that is a little off moves nothing out of that."""
    earliest, now = min(context.task.created_at, context.now), context.now
    if earliest <= value <= now and value:
        return value
    if value and not earliest - MAX_CLOCK_SKEW <= value <= now + MAX_CLOCK_SKEW:
        said = rfc3339(value) if is_instant(value) else f"{value:g}"
        context.refuse(f"its clock says {said}, the manager's {rfc3339(now)}: set the wrong one, for example with NTP")
        return now
    return max(value, earliest) if 0 < value < now else now


def _clock(value: float, _context: MessageContext) -> float:
    if not is_instant(value):
        raise Implausible(f"its clock says {value:g}, which is not a time: set it, for example with NTP")
    return value


def _state(value: TaskState, _context: MessageContext) -> TaskState:
    """Let a worker say what is its to say; that a task is to be removed, or is lost, are the manager's words."""
    if not TaskState.ASSIGNED < value <= TaskState.REJECTED:
        raise Implausible(f"a worker does not say that a task is {value.name.lower()}")
    return value


def _version(value: int, context: MessageContext) -> int:
    if not 0 <= value <= context.task.spec_version:
        raise Implausible(
            f"task {context.task.name} has version {context.task.spec_version} of its specification, not {value}"
        )
    return value


def _hostname(value: str, context: MessageContext) -> str:
    """Let a container be called what its specification says, else what engines call it: others can look that up."""
    task = context.task
    if not value or value == task.status.hostname or value in _names(task, context):
        return value
    raise Implausible(f"task {task.name} is not called {quote(value)} by its specification")


def _names(task: Task, context: MessageContext) -> Iterator[str]:
    """Yield the names that a task's container may have for itself; its node's, where it is in the host's network."""
    assert context.node is not None, "it has tasks"
    description = context.node.description
    hosts = {context.node.name, description.hostname}
    spec = task.spec.container_spec
    if spec is None or not spec.hostname:
        yield _short_id(context)
        yield from hosts
        return
    for host in hosts:
        dot = task_templates.context(task, context.node.id, msgspec.structs.replace(description, hostname=host))
        try:
            yield task_templates.expand_hostname(spec, dot)
        except TemplateError:
            continue  # its worker rejects it for that


def _short_id(context: MessageContext) -> str:
    """Return the beginning of a container's id as it is said, empty where that is not its own."""
    container = context.said.container_status
    if container is None:
        return ""
    try:
        check_container_id(container.container_id, context.task, context.view)
    except Implausible:
        return ""
    return str(container.container_id[:SHORT_ID])


def _target_port(value: int, context: MessageContext) -> int:
    if not _requested_ports(context):
        raise Implausible(
            f"task {context.task.name} has no port {value}/{printable(context.said.protocol, _PROTOCOL)} of its host"
        )
    return value


def _check_published_port(value: int, context: MessageContext) -> int:
    """Let a port be at the number that was asked for; at any, where the engine was to choose."""
    numbers = [port.published_port for port in _requested_ports(context)]
    if 0 < value <= _LAST_PORT and (value in numbers or 0 in numbers):
        return value
    raise Implausible(f"port {context.said.target_port} of task {context.task.name} is not to be at {value}")


def _requested_ports(context: MessageContext) -> list[PortConfig]:
    key = (context.said.protocol, context.said.target_port)
    ports = (port for port in context.task.ports if port.publish_mode == "host")
    return [port for port in ports if (port.protocol, port.target_port) == key]


def _host_ip(value: str, _context: MessageContext) -> str:
    if value and (not is_address(value) or "%" in value):
        raise Implausible(f"{quote(value)} is not an IP address")
    return value


PORT = Form(
    PortConfig,
    needed=("name", "protocol", "target_port", "published_port", "publish_mode", "host_ip"),
    name=NOTHING,
    protocol=choice("tcp", "udp", "sctp"),
    target_port=Rule("one of the task's in host mode", _target_port),
    published_port=Rule("the number asked for, if any", _check_published_port),
    publish_mode=choice("host"),
    host_ip=Rule("an address", _host_ip),
)
CONTAINER_STATUS = Form(
    ContainerStatus,
    container_id=Rule("64 hexadecimal digits, of no other task", _container_id),
    pid=whole(0, _PID, "0 to 2³¹ - 1"),
    exit_code=whole(*_EXIT_CODES, "a number of 32 bits"),
)
TASK_STATUS = Form(
    TaskStatus,
    needed=("state",),
    optional=("message", "err", "container_status", "ports", "addresses", "hostname", "renewed", "refused"),
    timestamp=Rule("since the task was made, till now", _timestamp),
    state=Rule("ACCEPTED to REJECTED", _state),
    message=text(LONGEST_MESSAGE),
    err=text(LONGEST_ERROR),
    container_status=part(CONTAINER_STATUS),
    ports=entries(PORT, _MOST_PORTS),
    addresses=TASK_ADDRESSES,
    hostname=Rule("the specification's, or the short id", _hostname),
    renewed=Rule("a version that the task had", _version),
    refused=Rule("a version that the task had", _version),
)


def _own_task(value: str, context: MessageContext) -> str:
    """Take a task of this node; nothing is said of one whose record went while this was on its way."""
    task = context.view.tasks.get(value)
    if task is None:
        raise Dropped
    if task.node_id != context.node_id:
        raise Implausible(f"task {task.name} is on another node")
    context.task = task
    return value


OWN_TASK = Rule("a task of this node", _own_task)


TASK_REPORT = Form(TaskReport, task_id=OWN_TASK, status=part(TASK_STATUS))
STATUS_REPORT = Form(StatusReport, tasks=entries(TASK_REPORT))
TASK_USAGE = Form(
    TaskUsage,
    task_id=OWN_TASK,
    cpu=amount(MOST_CORES, "0 to a million cores"),
    memory=amount(MOST_BYTES, "0 to 1 EiB"),
    metric=amount(sys.float_info.max, "finite", -sys.float_info.max),
    error=text(LONGEST_MESSAGE),
)
USAGE = Form(Usage, tasks=entries(TASK_USAGE))
_SHARE = amount(1.0, "0 to 1")
_HOST_BYTES = whole(0, int(MOST_BYTES), "0 to 1 EiB")
_COUNTED_BYTES = whole(0, MAX_INTEGER)
HOST_USAGE = Form(
    HostUsage,
    cpu=_SHARE,
    memory_total=_HOST_BYTES,
    memory_available=_HOST_BYTES,
    disk_total=_HOST_BYTES,
    disk_available=_HOST_BYTES,
    received=_COUNTED_BYTES,
    sent=_COUNTED_BYTES,
    pressure_cpu=_SHARE,
    pressure_memory=_SHARE,
    pressure_io=_SHARE,
    clock=Rule("a time", _clock),
)

"""What goes beyond the Docker API: labels under one prefix, in one table a kind of object. Pure.

A service says more than the Docker API knows by labels `swarm.x.NAME`, or in a compose file by `x-swarm-NAME` keys, so
that the same file stays valid for Docker. A label or a value that is not understood is an error that names it: nothing
under the prefix is ever passed over. docs/extensions.md describes each.

A new one is a field of `Extensions` and a line in `SERVICE`: its parser turns the label's text into the field's value,
or raises ValueError with what it expected.

What a container reserves that was made through the cluster's API, its labels say. The engine itself knows no
reservation of CPU; `docker run --cpus` on the cluster is one (and a limit).
"""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import InvalidArgument
from common.model import Service, engine_options
from common.model.service import EXTENSION_PREFIX
from common.model.update import Condition
from common.spec import autoscale, cron
from common.spec.autoscale import Policy
from common.text.quantities import parse_label_duration, parse_rate


@dataclass(frozen=True, slots=True)
class Share:
    """So many, or with `percent` so many of each hundred."""

    number: int
    percent: bool = False

    def of(self, whole: int) -> int:
        """Return how many of `whole` that are: rounded down, and at least one."""
        return max(1, whole * self.number // 100) if self.percent else self.number


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a service's labels say. A field is named as its label, `-` written `_`; its default means "not said"."""

    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    on_rotate: str = "restart"
    strategy: str = ""
    affinity: Mapping[str, int] = field(default_factory=dict)
    anti_affinity: Mapping[str, int] = field(default_factory=dict)
    schedule: str = ""
    schedule_timezone: str = "UTC"
    schedule_concurrency: str = "forbid"
    schedule_deadline: float = 0.0
    schedule_history: int = 0
    canary: int = 0
    canary_period: float = 0.0
    max_unavailable: Share | None = None
    progress_deadline: float = 600.0
    last_words: int = 3
    autoscale: Policy | None = None
    volume_policy: str = "stay"
    volume_writers: str = "one"


@dataclass(frozen=True, slots=True)
class ClusterExtensions:
    """What the labels of the cluster's own specification say."""

    rebalance: str = "off"
    strategy: str = "spread"
    transfer_limit: int = 0
    dashboard_terminal: str = "on"
    usage: str = "asked"


@dataclass(frozen=True, slots=True)
class Extension:
    """One label: `swarm.x.NAME`. `instead` names the compose key that says it, where `x-swarm-NAME` is not for that.

    `names`: its value begins with services' names, in a compose file those of the file.
    """

    name: str
    parse: Callable[[str], Any]
    meaning: str
    instead: str = ""
    names: bool = False

    @property
    def label(self) -> str:
        return EXTENSION_PREFIX + self.name


def _depends_on(text: str) -> Mapping[str, Condition]:
    found: dict[str, Condition] = {}
    for item in text.split(","):
        name, _, condition = item.strip().partition("=")
        if not name or name in found:
            raise ValueError("SERVICE=started|healthy|completed, joined by commas, each service once")
        try:
            found[name] = Condition(condition or Condition.STARTED.value)
        except ValueError:
            raise ValueError(f"{name}=started, healthy or completed") from None
    return found


def _on_rotate(text: str) -> str:
    how, colon, name = text.partition(":")
    if text in ("restart", "file"):
        return text
    name = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if how == "signal" and colon and name in signal.Signals.__members__ and name not in ("SIGKILL", "SIGSTOP"):
        return f"signal:{name}"
    raise ValueError("restart, file, or signal:NAME (such as signal:SIGHUP; not SIGKILL, SIGSTOP)")


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{', '.join(words[:-1])} or {words[-1]}")
        return text

    return parse


def _lines(text: str) -> int:
    if not re.fullmatch(r"[0-9]|1[0-9]|20", text):
        raise ValueError("a number of lines, 0 (none) to 20")
    return int(text)


def _weights(text: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for item in text.split(","):
        name, equals, weight = item.strip().partition("=")
        if not name or name in found or (equals and not re.fullmatch(r"[1-9]\d{0,2}", weight, re.ASCII)):
            raise ValueError("SERVICE[=WEIGHT], joined by commas, each service once, weights from 1 to 999")
        found[name] = int(weight) if equals else 1
    return found


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}:[0-9a-f]{64}", text):
        raise ValueError("SALT:SCRYPT in hexadecimal")
    return text


def _engine(text: str) -> engine_options.EngineOptions:
    try:
        return engine_options.parse(text)
    except ValueError as error:
        raise ValueError(f"the engine's options as JSON ({error})") from None


def _share(text: str) -> Share:
    match = re.fullmatch(r"([1-9]\d{0,5})(%?)", text, re.ASCII)
    if match is None or (match[2] and int(match[1]) > 100):
        raise ValueError("a whole number of 1 or more, or 1% to 100%")
    return Share(int(match[1]), percent=bool(match[2]))


def _rate(text: str) -> int:
    try:
        return parse_rate(text)
    except ValueError:
        raise ValueError("a rate like 50MB/s, or none") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("a whole number of 1 or more")
    return int(text)


SERVICE: tuple[Extension, ...] = (
    Extension("depends-on", _depends_on, "services that must be up first", instead="depends_on"),
    Extension("on-rotate", _on_rotate, "how new content of a secret or config reaches the tasks"),
    Extension("schedule", cron.check, "when a job is executed, as a cron expression"),
    Extension("schedule-timezone", cron.zone, "the time zone of the schedule"),
    Extension(
        "schedule-concurrency",
        _one_of("allow", "forbid", "replace"),
        "what a due execution does while the previous one still runs",
    ),
    Extension("schedule-deadline", parse_label_duration, "how late an execution may begin"),
    Extension("schedule-history", _count, "how many past executions' tasks are kept"),
    Extension("canary", _count, "how many tasks an update changes before it holds"),
    Extension(
        "canary-period", parse_label_duration, "how long a canary must run well before the update continues by itself"
    ),
    Extension(
        "max-unavailable", _share, "how many replicas may be unavailable at once during updates, drains and moves"
    ),
    Extension("strategy", _one_of("spread", "binpack"), "how its tasks are placed"),
    Extension("affinity", _weights, "services whose nodes its tasks prefer", names=True),
    Extension("anti-affinity", _weights, "services whose nodes its tasks avoid", names=True),
    Extension("last-words", _lines, "how many lines of its output a failed task's status has"),
    Extension("autoscale", autoscale.parse, "between how many tasks, and by what their number is chosen"),
    Extension(
        "progress-deadline", parse_label_duration, "how long an update may go without progress before it has failed"
    ),
    Extension("volume-policy", _one_of("stay", "move", "fresh"), "what becomes of a task whose data's node is away"),
    Extension("volume-writers", _one_of("one", "many"), "whether a slot's old task must have ended before the next"),
)
# Labels of a service's named volumes, in a compose file keys of its top-level `volumes`.
VOLUME: tuple[Extension, ...] = (
    Extension("scope", _one_of("slot", "one", "node", "shared"), "which of a service's tasks share a copy"),
)
# Of one mount of a named volume, in a compose file keys of the service's entry.
MOUNT: tuple[Extension, ...] = (
    Extension("snapshot", _one_of("pause", "stop", "live"), "how what writes is held while a task's snapshot is made"),
)
# Labels of secrets and configs. `version` and `version-of` are the manager's own.
FILE: tuple[Extension, ...] = (
    Extension("digest", _digest, "a salted digest of the content, to see whether it changes"),
    Extension("version", _count, "the version of its content"),
    Extension("version-of", str, "the name that had this content before"),
)

# Labels of the cluster's own specification.
CLUSTER: tuple[Extension, ...] = (
    Extension("rebalance", _one_of("off", "auto"), "whether tasks move automatically when a node joins or returns"),
    Extension("strategy", _one_of("spread", "binpack"), "how tasks are placed unless their service says otherwise"),
    Extension("transfer-limit", _rate, "how many bytes a second each copying of a volume sends at most"),
    Extension("dashboard-terminal", _one_of("on", "off"), "whether the dashboard opens terminals in containers"),
    Extension("usage", _one_of("asked", "services"), "of which services it is measured what their tasks use"),
)
# Labels of containers: being part of the template, they are what tasks are made from.
CONTAINER: tuple[Extension, ...] = (
    Extension("engine", _engine, "what the engine can do for a container and the Docker API has no field for"),
)


def read(labels: Mapping[str, str]) -> Extensions:
    """Parse a service's extensions.

    Raises:
        InvalidArgument: a label under the prefix is unknown, or its value is not understood.

    """
    return Extensions(**_values(labels, SERVICE))


def of(service: Service) -> Extensions:
    """Return a stored service's extensions; they were checked when it was stored."""
    return read(service.spec.labels)


def names_depended_on(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the services that labels, which were checked, say to start after."""
    value = labels.get(f"{EXTENSION_PREFIX}depends-on")
    return () if value is None else tuple(item.partition("=")[0].strip() for item in value.split(","))


def read_cluster(labels: Mapping[str, str]) -> ClusterExtensions:
    """Parse the cluster's extensions.

    Raises:
        InvalidArgument: as `read`.

    """
    return ClusterExtensions(**_values(labels, CLUSTER))


def check_file(labels: Mapping[str, str]) -> None:
    """Refuse labels of a secret or config that are under the prefix and not understood."""
    _values(labels, FILE)


def check_container(labels: Mapping[str, str]) -> None:
    """Refuse labels of a container that are under the prefix and not understood."""
    _values(labels, CONTAINER)


def check_volume(labels: Mapping[str, str]) -> None:
    """Refuse labels of a mount's named volume that are under the prefix and not understood."""
    _values(labels, (*VOLUME, *MOUNT))


def find_extension(name: str, table: tuple[Extension, ...] = SERVICE) -> Extension:
    """Return an extension by the name after the prefix.

    Raises:
        ValueError: there is none; says what may have been meant.

    """
    found = next((each for each in table if each.name == name), None)
    if found is not None:
        return found
    names = [each.name for each in table]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    raise ValueError(f'did you mean "{near[0]}"?' if near else f"known are {', '.join(sorted(names))}")


def _values(labels: Mapping[str, str], table: tuple[Extension, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for label, text in labels.items():
        if not label.startswith(EXTENSION_PREFIX):
            continue
        name = label.removeprefix(EXTENSION_PREFIX)
        try:
            extension = find_extension(name, table)
        except ValueError as error:
            raise InvalidArgument(f"label {label} is unknown: {error}") from None
        try:
            values[name.replace("-", "_")] = extension.parse(text)
        except ValueError as error:
            raise InvalidArgument(f"label {label}: expected {error}; got {text!r}") from None
    return values


CPUS_LABEL = EXTENSION_PREFIX + "cpus"
MEMORY_LABEL = EXTENSION_PREFIX + "memory"
_LONGEST = 20


def amount_of_label(labels: Mapping[str, str], name: str) -> int:
    """Return billionths of a core or bytes; 0 without the label, or when it is not such a number."""
    text = labels.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST else 0

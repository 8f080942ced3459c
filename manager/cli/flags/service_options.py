"""The flags of `service create` and `service update`: which there are, what each takes, and its section of the help."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from manager.cli.command import flag
from manager.cli.completion import (
    complete_configs,
    complete_images,
    complete_networks,
    complete_secrets,
    complete_volume_names,
    in_field,
)
from manager.cli.flags.engine import ENGINE_FLAGS, ENGINE_LISTS
from manager.cli.flags.types import (
    ADDRESS,
    BYTES,
    CAPABILITY,
    COMMAND,
    CONFIG,
    CPUS,
    CREDENTIAL_SPEC,
    DETACH,
    DOMAIN,
    DURATION,
    GENERIC,
    HOST_LINE,
    INT,
    KEY_VALUE,
    LABEL,
    MOUNT,
    NETWORK,
    PORT,
    PREFERENCE,
    RATIO,
    SECRET,
    TIMEOUT,
    UINT,
    ULIMIT,
    VARIABLE,
)

Decorator = Callable[[Any], Any]

# Flags that both commands have, with one value each. None: not given.
_SHARED: tuple[Decorator, ...] = (
    flag("--credential-spec", type=CREDENTIAL_SPEC, help="Credential spec for managed service account (Windows only)."),
    DETACH,
    flag("--entrypoint", type=COMMAND, help="Overwrite the default ENTRYPOINT of the image."),
    flag("--health-cmd", metavar="STRING", help="Command to run to check health."),
    flag("--health-interval", type=DURATION, help="Time between running the check (ms|s|m|h)."),
    flag("--health-retries", type=UINT, help="Consecutive failures needed to report unhealthy."),
    flag("--health-start-interval", type=DURATION, help="Time between the checks during the start period."),
    flag("--health-start-period", type=DURATION, help="Start period in which failures do not count yet."),
    flag("--health-timeout", type=DURATION, help="Maximum time to allow one check to run."),
    flag("--hostname", metavar="STRING", help="Container hostname."),
    flag("--init", switch=True, help="Use an init inside each container to forward signals and reap processes."),
    flag("--isolation", words=("default", "process", "hyperv"), help="Service container isolation mode."),
    flag("--limit-cpu", type=CPUS, help="Limit CPUs."),
    flag("--limit-memory", type=BYTES, help="Limit memory."),
    flag("--limit-pids", type=INT, help="Limit the number of processes (0 or less: unlimited)."),
    flag("--log-driver", metavar="STRING", help="Logging driver for the service."),
    flag("--log-opt", type=KEY_VALUE, multiple=True, help="Logging driver options."),
    flag("--max-concurrent", type=UINT, help="Number of job tasks to run concurrently (default: --replicas)."),
    flag("--no-healthcheck", switch=True, help="Disable any HEALTHCHECK of the image."),
    flag("--no-resolve-image", is_flag=True, default=False, help="Do not ask the registry for the image's digest."),
    flag("-q", "--quiet", is_flag=True, default=False, help="Suppress progress output."),
    flag("--read-only", switch=True, help="Mount the container's root filesystem as read only."),
    flag("--replicas", type=UINT, help="Number of tasks."),
    flag("--replicas-max-per-node", type=UINT, help="Maximum number of tasks per node (0: unlimited)."),
    flag("--reserve-cpu", type=CPUS, help="Reserve CPUs."),
    flag("--reserve-memory", type=BYTES, help="Reserve memory."),
    flag(
        "--restart-condition",
        words=("none", "on-failure", "any"),
        help='Restart when condition is met ("none", "on-failure", "any").',
    ),
    flag("--restart-delay", type=DURATION, help="Delay between restart attempts (ns|us|ms|s|m|h)."),
    flag("--restart-max-attempts", type=UINT, help="Maximum number of restarts before giving up."),
    flag("--restart-window", type=DURATION, help="Window used to evaluate the restart policy."),
    flag("--stop-grace-period", type=DURATION, help="Time to wait before force killing a container (default 10s)."),
    flag("--stop-signal", metavar="STRING", help="Signal to stop the container."),
    TIMEOUT,
    flag("-t", "--tty", switch=True, help="Allocate a pseudo-TTY."),
    flag("-u", "--user", metavar="STRING", help="Username or UID (format: <name|uid>[:<group|gid>])."),
    flag("--with-registry-auth", is_flag=True, default=False, help="Send registry credentials to the workers."),
    flag("-w", "--workdir", metavar="STRING", help="Working directory inside the container."),
    flag("--endpoint-mode", words=("vip", "dnsrr"), help="Endpoint mode (vip or dnsrr)."),
)


def _rollout(kind: str, actions: tuple[str, ...]) -> tuple[Decorator, ...]:
    return (
        flag(f"--{kind}-parallelism", type=UINT, help=f"Tasks in one step of the {kind} (0: all at once; default 1)."),
        flag(f"--{kind}-delay", type=DURATION, help=f"Delay between the steps of the {kind} (default 0s)."),
        flag(
            f"--{kind}-failure-action",
            words=actions,
            help=f"Action on failure ({', '.join(actions)}; default pause).",
        ),
        flag(
            f"--{kind}-max-failure-ratio", type=RATIO, help=f"Failure rate to tolerate during the {kind} (default 0)."
        ),
        flag(f"--{kind}-monitor", type=DURATION, help="Time to watch each new task for failure (default 5s)."),
        flag(
            f"--{kind}-order",
            words=("start-first", "stop-first"),
            help='Order ("start-first", "stop-first"; default stop-first).',
        ),
    )


_ROLLOUTS = (*_rollout("update", ("pause", "continue", "rollback")), *_rollout("rollback", ("pause", "continue")))

# Lists: create has --env, update has --env-add and --env-rm. Name, type, short flag, help.
_LISTS: tuple[tuple[str, Any, str | None, str], ...] = (
    ("config", CONFIG, None, "configurations to expose to the service"),
    ("constraint", None, None, "placement constraints"),
    ("container-label", LABEL, None, "container labels"),
    ("dns", ADDRESS, None, "DNS servers"),
    ("dns-option", None, None, "DNS options"),
    ("dns-search", DOMAIN, None, "DNS search domains"),
    ("env", VARIABLE, "-e", "environment variables"),
    ("generic-resource", GENERIC, None, "user defined resources"),
    ("group", None, None, "supplementary user groups of the container"),
    ("host", HOST_LINE, None, "host-to-IP mappings (host:ip)"),
    ("label", LABEL, "-l", "service labels"),
    ("mount", MOUNT, None, "filesystem mounts"),
    ("network", NETWORK, None, "network attachments"),
    ("placement-pref", PREFERENCE, None, "placement preferences (spread=node.labels.x)"),
    ("publish", PORT, "-p", "ports published on the nodes"),
    ("secret", SECRET, None, "secrets to expose to the service"),
    ("sysctl", KEY_VALUE, None, "sysctl options"),
    ("ulimit", ULIMIT, None, "ulimit options"),
    *ENGINE_LISTS,
)
# What a shell completes: after `--NAME` and `--NAME-add`, and the plain names after `--NAME-rm`.
_SOURCE = ("source", "src")
_COMPLETED = {
    "config": in_field(complete_configs, "", *_SOURCE),
    "mount": in_field(complete_volume_names, *_SOURCE),
    "network": in_field(complete_networks, "", "name"),
    "secret": in_field(complete_secrets, "", *_SOURCE),
}
_COMPLETED_REMOVED = {"config": complete_configs, "network": complete_networks, "secret": complete_secrets}
# What `--NAME-rm` names things by, where it is not a name, or not just a word.
_REMOVED_BY = {"mount": "TARGET", "label": "KEY", "container-label": "KEY"}
_REMOVED_TYPES = {"publish": PORT, "placement-pref": PREFERENCE}
_CAPABILITIES = (
    flag("--cap-add", type=CAPABILITY, multiple=True, help="Add Linux capabilities."),
    flag("--cap-drop", type=CAPABILITY, multiple=True, help="Drop Linux capabilities."),
)
_CREATE_ONLY: tuple[Decorator, ...] = (
    flag("--env-file", multiple=True, metavar="PATH", help="Read in a file of environment variables."),
    flag(
        "--mode",
        default="replicated",
        show_default=True,
        words=("replicated", "global", "replicated-job", "global-job"),
        help="replicated, global, replicated-job or global-job.",
    ),
    flag("--name", metavar="STRING", help="Service name."),
)
_UPDATE_ONLY: tuple[Decorator, ...] = (
    flag("--args", type=COMMAND, help="Service command args."),
    flag("--force", is_flag=True, default=False, help="Replace the tasks even if nothing changed."),
    flag("--image", metavar="STRING", shell_complete=complete_images, help="Service image tag."),
    flag("--rollback", is_flag=True, default=False, help="Roll back to the previous specification."),
    flag("--pause", is_flag=True, default=False, help="Pause the update that is under way."),
    flag(
        "--continue",
        "go_on",
        is_flag=True,
        default=False,
        help="Resume an update that is paused, or waits at its canary.",
    ),
    flag("--abort", is_flag=True, default=False, help="End the update and roll back what it has changed."),
)


def _create_option(name: str, kind: Any, short: str | None, what: str) -> Decorator:
    names = [word for word in (short, f"--{name}") if word]
    completed = _COMPLETED.get(name)
    return flag(*names, _field(name), type=kind, multiple=True, shell_complete=completed, help=f"Set {what}.")


def _update_options(name: str, kind: Any, what: str) -> tuple[Decorator, Decorator]:
    return (
        flag(
            f"--{name}-add",
            f"{_field(name)}_add",
            type=kind,
            multiple=True,
            shell_complete=_COMPLETED.get(name),
            help=f"Add or update {what}.",
        ),
        flag(
            f"--{name}-rm",
            f"{_field(name)}_rm",
            type=_REMOVED_TYPES.get(name),
            multiple=True,
            metavar=None if name in _REMOVED_TYPES else _REMOVED_BY.get(name, "NAME"),
            shell_complete=_COMPLETED_REMOVED.get(name),
            help=f"Remove {what}.",
        ),
    )


def _field(name: str) -> str:
    return name.replace("-", "_")


def _apply(function: Any, decorators: tuple[Decorator, ...]) -> Any:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def create_flags(function: Any) -> Any:
    """Add the flags of `service create`."""
    lists = tuple(_create_option(*each) for each in _LISTS)
    return _apply(function, (*lists, *_CAPABILITIES, *_CREATE_ONLY, *_SHARED, *ENGINE_FLAGS, *_ROLLOUTS))


def update_flags(function: Any) -> Any:
    """Add the flags of `service update`."""
    lists = tuple(decorator for name, kind, _, what in _LISTS for decorator in _update_options(name, kind, what))
    return _apply(function, (*lists, *_CAPABILITIES, *_UPDATE_ONLY, *_SHARED, *ENGINE_FLAGS, *_ROLLOUTS))


_OTHER = "Options"
# Names of flags, without `--` and without update's `-add` and `-rm`, by section; sections come in this order.
_WORDS: Mapping[str, str] = {
    "Service": "name mode replicas max-concurrent label image args force",
    "Container": (
        "entrypoint env env-file workdir user group hostname container-label init tty read-only stop-signal "
        "stop-grace-period isolation"
    ),
    "Files": "mount secret config credential-spec",
    "Networks": "network publish endpoint-mode host dns dns-option dns-search domainname mac-address",
    "Health": "health-.* no-healthcheck",
    "Placement": "constraint placement-pref replicas-max-per-node",
    "Resources": (
        "limit-.* reserve-.* generic-resource ulimit shm-size memory-.* cpu.* blkio-weight oom-.* storage-opt gpus"
    ),
    "Restarts": "restart-.*",
    "Updates": "update-.* pause continue abort",
    "Rollbacks": "rollback rollback-.*",
    "Rights": (
        "cap-add cap-drop privileged device device-cgroup-rule security-opt sysctl pid ipc uts userns cgroupns "
        "cgroup-parent runtime"
    ),
    "Logs": "log-.*",
}
_PATTERNS = {section: re.compile("|".join(words.split())) for section, words in _WORDS.items()}
SECTIONS = (*_WORDS, _OTHER)


def section_of(flag: str) -> str:
    """Return the section of a flag such as `--env-add`."""
    name = flag.removeprefix("--")
    plain = name.removesuffix("-add").removesuffix("-rm")
    names = (name,) if name.startswith("cap-") else (name, plain)
    return next((section for section, known in _PATTERNS.items() if any(map(known.fullmatch, names))), _OTHER)

"""Which files of secrets and configs a task's container gets. Pure: their content is only passed on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from common.errors import InvalidArgument
from common.model.container import ConfigReference, ContainerSpec, DriverConfig, FileTarget, SecretReference
from common.model.secret import Config, Secret
from common.model.task import Task
from common.spec import task_templates
from common.spec.gotemplate import Function, TemplateError
from worker.intake.identifiers import path_in_container, quote_foreign
from worker.interfaces.files import TaskFile
from worker.tasks.plan.container_spec import container_spec

SECRETS_FOLDER = "/run/secrets/"
# The kernel has 32 bits for one, and the last number means none.
_LAST_OWNER = (1 << 32) - 2
# Expands what has a templating driver; all else is returned as it is.
Content: TypeAlias = Callable[[bytes, DriverConfig | None], bytes]
_OWNER = re.compile(r"[0-9]{0,10}")


@dataclass(frozen=True, slots=True)
class Materials:
    """The secrets and configs that this node was given, by id."""

    secrets: Mapping[str, Secret] = field(default_factory=dict)
    configs: Mapping[str, Config] = field(default_factory=dict)

    def missing(self, task: Task) -> tuple[str, ...]:
        """Name what the task refers to and is not here."""
        spec = container_spec(task)
        secrets = (f"secret {ref.secret_name}" for ref in spec.secrets if ref.secret_id not in self.secrets)
        configs = (f"config {ref.config_name}" for ref in spec.configs if ref.config_id not in self.configs)
        return (*secrets, *configs)


def task_files(spec: ContainerSpec, materials: Materials, dot: Mapping[str, Any]) -> tuple[TaskFile, ...]:
    """List the files, their templates expanded with `dot` (`common.spec.task_templates.context`).

    Raises:
        InvalidArgument: a path or an owner is none, or a template is wrong.

    """
    functions = _functions(spec, materials)
    budget = task_templates.file_budget()

    def content(data: bytes, templating: DriverConfig | None) -> bytes:
        if templating is None or templating.name != "golang":
            return data
        return task_templates.expand_file(data, dot, functions, budget)

    return (*_secret_files(spec, materials, content), *_config_files(spec, materials, content))


def _secret_files(spec: ContainerSpec, materials: Materials, content: Content) -> Iterator[TaskFile]:
    for reference in spec.secrets:
        secret = materials.secrets[reference.secret_id].spec
        target = reference.file or FileTarget(name=reference.secret_name)
        path = target.name if target.name.startswith("/") else SECRETS_FOLDER + target.name
        try:
            data = content(secret.data, secret.templating)
        except TemplateError:
            # Not even as the cause: what it says may quote the secret.
            raise TemplateError(f"the secret {secret.name} cannot be expanded as a template") from None
        yield _file(path, target, data)


def _config_files(spec: ContainerSpec, materials: Materials, content: Content) -> Iterator[TaskFile]:
    for reference in spec.configs:
        if reference.runtime is not None:
            continue  # for the runtime (a credential spec), not for the program
        config = materials.configs[reference.config_id].spec
        target = reference.file or FileTarget(name=reference.config_name)
        path = target.name if target.name.startswith("/") else f"/{target.name}"
        try:
            data = content(config.data, config.templating)
        except TemplateError as error:
            raise TemplateError(f"cannot expand the config {config.name}: {error.message}") from error
        yield _file(path, target, data)


def _file(path: str, target: FileTarget, data: bytes) -> TaskFile:
    where = path_in_container(path)
    if not (_OWNER.fullmatch(target.uid) and _OWNER.fullmatch(target.gid)):
        raise InvalidArgument(
            f"the owner of {path} must be numbers, not {quote_foreign(target.uid)}:{quote_foreign(target.gid)}: "
            "the host does not know the container's users"
        )
    uid, gid = int(target.uid or "0"), int(target.gid or "0")
    if max(uid, gid) > _LAST_OWNER:
        raise InvalidArgument(f"the owner of {path} is at most {_LAST_OWNER}, not {uid}:{gid}")
    return TaskFile(target=where, data=data, uid=uid, gid=gid, mode=target.mode)


def _functions(spec: ContainerSpec, materials: Materials) -> Mapping[str, Function]:
    """Make the functions of templated files: `env NAME`, and `secret` and `config` by target or name."""
    environment = dict(entry.partition("=")[::2] for entry in spec.env)
    secrets = {name: materials.secrets[ref.secret_id].spec.data for ref in spec.secrets for name in _names(ref)}
    configs = {name: materials.configs[ref.config_id].spec.data for ref in spec.configs for name in _names(ref)}
    return {
        "env": lambda name: environment.get(name, ""),
        "secret": _lookup("secret", secrets),
        "config": _lookup("config", configs),
    }


def _names(reference: SecretReference | ConfigReference) -> set[str]:
    name = reference.secret_name if isinstance(reference, SecretReference) else reference.config_name
    return {name, reference.file.name if reference.file else name}


def _lookup(kind: str, contents: Mapping[str, bytes]) -> Function:
    def function(name: str) -> str:
        if name not in contents:
            raise ValueError(f"the task has no {kind} {name!r}")
        return contents[name].decode()

    return function

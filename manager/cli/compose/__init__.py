"""Compose files: text and an environment in, a `Stack` of Docker API specifications out.

Everything here is a pure function. Files are reached only through a `Reader` that the caller passes in; nothing is
printed. The steps, one module each::

    text ──yaml_loader──▶ Document ──interpolate──▶ Document ──schema──▶ tree
    tree ──extends──▶ tree ──resolve──▶ tree ──loader: include, merge, profiles──▶ Config
    Config ──convert──▶ Stack
    Config ──render──▶ YAML text

The public interface::

    ComposeFile(path: str, text: str)                 one `-c` file; the path is used in messages only
    Reader = Callable[[str], bytes]                   absolute path → content; raises OSError when it cannot
    load(files: Sequence[ComposeFile], env: Mapping[str, str], read: Reader, directory: str, *, profiles) -> Config
    convert(config: Config, stack: str, read: Reader) -> Stack
    builds(config, stack, directory, env) -> tuple[Build, ...]        the images that `build` asks for, to make first
    render(config: Config) -> str                     what `swarm-manager stack config` prints

`directory` is the absolute project directory: that of the first file (the working directory when that is `-`). Its
`.env` is read through `read`; `env`, the process environment, wins over it. `Config.warnings` and `Stack.warnings` are
complete sentences for standard error. All failures are `ComposeError`, an `InvalidArgument` whose message has one
line a problem: `FILE:LINE:COLUMN: key.path: what is wrong`.

`Stack` (frozen) holds what `docker stack deploy` would create, by full name::

    name: str
    services: dict[str, ServiceSpec]      keyed by the name in the file; `.name` is STACK_name
    networks: dict[str, NetworkSpec]      networks to create, keyed by full name (only those that a service uses)
    external_networks: tuple[str, ...]    names that must exist already, with swarm scope
    secrets: dict[str, SecretSpec]        to create or update, keyed by full name, content included
    configs: dict[str, ConfigSpec]
    warnings: tuple[str, ...]

References to secrets and configs in the specs carry names only (`secret_id` and `config_id` are empty), as does a
credential spec that names a config: the manager fills in the ids when the stack is deployed.
"""

from __future__ import annotations

from manager.cli.compose.builds import Build, builds
from manager.cli.compose.config import ComposeFile, Config, Reader
from manager.cli.compose.convert import Stack, convert
from manager.cli.compose.errors import ComposeError, Position, Problem
from manager.cli.compose.loader import load
from manager.cli.compose.render import render

__all__ = [
    "Build",
    "ComposeError",
    "ComposeFile",
    "Config",
    "Position",
    "Problem",
    "Reader",
    "Stack",
    "builds",
    "convert",
    "load",
    "render",
]

"""Commands and groups that behave at the edges like Docker's: flags, errors, help, exit codes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from common.process.deferred import DeferredGroup
from common.process.launch import MANAGER_HOST
from common.process.usage import TooManyArguments, as_epilog
from manager.cli import docker_config

_BOOLEAN = re.compile(r"(?P<flag>--?[a-z][a-z-]*)=(?P<value>true|false|t|f|1|0)", re.IGNORECASE)
_TRUE = ("true", "t", "1")
HOST_PARAM = "manager_host"
HOST = "manager.cli.host"
DEBUG = "manager.cli.debug"
# What docker has and we leave to it: it speaks to the same API.
_DOCKERS = frozenset(
    {
        "builder",
        "context",
        "create",
        "history",
        "import",
        "info",
        "login",
        "logout",
        "run",
        "search",
        "system",
        "update",
        "version",
    }
)


def address(ctx: click.Context) -> str:
    """Return where the manager of this invocation is: the flag's word, else SWARM_MANAGER_HOST, else its socket."""
    return str(ctx.meta.get(HOST) or os.environ.get("SWARM_MANAGER_HOST") or MANAGER_HOST)


class Flag(click.Option):
    """An option. A boolean one also takes `--flag=false`, and its help shows the flag alone."""

    def __init__(self, param_decls: Sequence[str] | None = None, **attrs: Any) -> None:
        self.boolean = bool(attrs.get("is_flag"))
        declarations = list(param_decls or ())
        if self.boolean:
            declarations = [
                name + "/" + _negative_option(name) if name.startswith("--") else name for name in declarations
            ]
        super().__init__(declarations, **attrs)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        if not self.boolean:
            return super().get_help_record(ctx)
        return None if self.hidden else (", ".join(sorted(self.opts, key=len)), self.help or "")


def _negative_option(name: str) -> str:
    return "--no-value-" + name.removeprefix("--")


def flag(*names: str, help: str, **attrs: Any) -> Callable[[Any], Any]:  # noqa: A002  # click's own name for it
    """Declare an option; `switch=True` makes it boolean (None when it is not given, unless `default` says else).

    `words` are what a shell completes; whether a value is one of them is for the manager to say, in docker's words.
    """
    if words := attrs.pop("words", ()):
        attrs = {"metavar": "STRING", "shell_complete": completing(words), **attrs}
    if attrs.pop("switch", False):
        attrs = {"is_flag": True, "default": None, **attrs}
    return click.option(*names, cls=Flag, help=help, **attrs)


def completing(words: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Complete with those of a few words that begin as what is typed."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        del ctx, param
        return [word for word in words if word.startswith(incomplete)]

    return complete


@dataclass(frozen=True, slots=True)
class Sections:
    """How the options of a command with many are laid out in its help: `of` gives an option's section, by its name."""

    titles: Sequence[str]
    of: Callable[[str], str]


class SwarmCommand(click.Command):
    """A command that takes `-H` and `--debug` itself too, not only the program; `examples` end its help.

    With `sections` its options are in sections there, each sorted.
    """

    def __init__(
        self,
        *args: Any,
        examples: str = "",
        aliases: tuple[str, ...] = (),
        sections: Sections | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **{"epilog": as_epilog(examples), **kwargs})
        self.aliases = aliases
        self._sections = sections
        self.params += connection_flags(taken={name for param in self.params for name in param.opts})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self._sections is None:
            super().format_options(ctx, formatter)
            return
        laid_out: dict[str, dict[str, tuple[str, str]]] = {title: {} for title in self._sections.titles}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                name = max(param.opts, key=len)
                laid_out[self._sections.of(name)][name] = record
        for title, records in laid_out.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl([records[name] for name in sorted(records)])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        lenient, ctx.allow_extra_args = ctx.allow_extra_args, True
        rest = super().parse_args(ctx, [self._spelled_out(ctx, arg) for arg in args])
        if not ctx.resilient_parsing:
            if rest and not lenient:
                raise TooManyArguments(f"unexpected: {' '.join(rest)}", ctx)
            self._refuse_empty_names(ctx)
            if ctx.params.get("layout") == "" and not (ctx.params.get("quiet") or ctx.params.get("pretty")):
                ctx.params["layout"] = docker_config.layout_of(_words(ctx))
        return rest

    def _refuse_empty_names(self, ctx: click.Context) -> None:
        """Refuse an argument that names nothing: in a path of the API it would ask for something else, or for all."""
        for param in self.get_params(ctx):
            names = isinstance(param, click.Argument) and isinstance(param.type, type(click.STRING))
            if not (names and (param.required or param.nargs == -1)):
                continue
            value = ctx.params.get(param.name or "")
            values = value if isinstance(value, tuple) else (value,)
            if any(isinstance(each, str) and not each.strip() for each in values):
                what = (param.metavar or param.human_readable_name).strip("[]").removesuffix("...")
                raise click.UsageError(f"{what} is empty (is a variable of your shell's not set?)", ctx)

    def _spelled_out(self, ctx: click.Context, arg: str) -> str:
        """Turn `--detach=false` into the option that it means."""
        found = _BOOLEAN.fullmatch(arg)
        if found is None:
            return arg
        flags = [param for param in self.get_params(ctx) if isinstance(param, Flag) and param.boolean]
        for param in flags:
            if found["flag"] in param.opts:
                return found["flag"] if found["value"].lower() in _TRUE else param.secondary_opts[0]
        return arg


def _words(ctx: click.Context) -> tuple[str, ...]:
    """Return which command this is: its noun, if one was said, and its own name or the short one that was."""
    words = tuple(ctx.command_path.split()[1:])
    return (*words[:-1], ctx.command.name or "") if len(words) > 1 else words


def _without_that_noun(rest: Sequence[str]) -> str:
    """Say what stands here for `docker swarm …`, to who has typed that."""
    verb = rest[0] if rest else ""
    here = {"update": "swarm-manager cluster update", "join": "swarm-worker join"}.get(verb, f"swarm-manager {verb}")
    if verb in ("ca", "init", "join", "join-token", "leave", "unlock", "unlock-key", "update"):
        return f"'docker swarm {verb}' is '{here}' here"
    return "docker swarm's commands are init, join-token, leave, ca, unlock, unlock-key and cluster update here"


class SwarmGroup(DeferredGroup):
    """A group whose commands are found by their aliases too (`list` for `ls`, `remove` for `rm`)."""

    command_class = SwarmCommand

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and name in _DOCKERS:
            noun = " ".join([*ctx.command_path.split()[1:], name])
            ctx.fail(f"docker does this, at the same address: docker -H {address(ctx)} {noun} …")
        if self.get_command(ctx, name) is None and name == "swarm":
            ctx.fail(_without_that_noun(args[1:]))
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None and (name := self.commands.named(cmd_name)) is not None:
            return self.commands[name]
        return found


def connection_flags(taken: set[str]) -> list[click.Parameter]:
    """Make the flags that every command has; a name that the command uses itself (`--host` of create) is left to it."""
    host = [name for name in ("-H", "--host") if name not in taken]
    flags: list[click.Parameter] = []
    if host:
        flags.append(
            click.Option(
                [*host, HOST_PARAM],
                metavar="ADDRESS",
                envvar="SWARM_MANAGER_HOST",
                expose_value=False,
                is_eager=True,
                callback=_remember(HOST),
                help="The manager's API: unix://PATH, ssh://HOST or tcp://HOST:PORT; several with commas between them.",
            )
        )
    if "--debug" not in taken:
        flags.append(
            click.Option(
                ["--debug", "manager_debug"],
                is_flag=True,
                default=None,
                expose_value=False,
                hidden=True,
                callback=_remember(DEBUG),
                help="Show where an error comes from.",
            )
        )
    return flags


def _remember(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Keep a value for the whole invocation; a flag given nearer to the command wins over the environment's."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        given = (
            param.name is not None and ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE
        )
        if value is not None and (given or key not in ctx.meta):
            ctx.meta[key] = value
        return value

    return callback


def invalid(value: str, param: click.Parameter | None, why: str) -> str:
    """Word a bad value as Docker does: `invalid argument "x" for "--mount" flag: …`."""
    names = ", ".join(sorted(param.opts, key=len)) if param is not None else ""
    return f'invalid argument {json.dumps(value)} for "{names}" flag: {why}'

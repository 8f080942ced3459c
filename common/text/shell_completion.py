"""Shell completion: click's, with words that have a `:`, a `=` or a comma in them."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

SHELLS = ("bash", "zsh", "fish")

# bash takes `:` and `=` for ends of words, click does not. So the line goes to the program as it is, and of its words
# that part is cut off which bash has behind it already.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT} response completion type value
    local word=${line##*[[:space:]]}
    local typed=${word%%"${word##*[:=]}"}
    response=$(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    for completion in $response; do
        IFS=, read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$typed"}") ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _WithOption(ShellComplete):
    """Completes `--option=` with the whole word, which is what the shell replaces."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if not equals or not option.startswith("--"):
            return found
        return [
            CompletionItem(f"{option}={each.value}", help=each.help) if each.type == "plain" else each for each in found
        ]


@add_completion_class
class _Bash(_WithOption, BashComplete):
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], incomplete


@add_completion_class
class _Zsh(_WithOption, ZshComplete):
    pass


@add_completion_class
class _Fish(_WithOption, FishComplete):
    # A description may have commas of its own.
    source_template = FishComplete.source_template.replace('string split "," $', 'string split --max 1 "," $')


def script(command: click.Command, program: str, shell: str) -> str:
    """Write what a shell of `SHELLS` is to source, to complete the words of a program."""
    maker = get_completion_class(shell)
    assert maker is not None, "click completes these shells"
    return maker(command, {}, program, f"_{program.upper().replace('-', '_')}_COMPLETE").source()

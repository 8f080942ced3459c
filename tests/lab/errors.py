"""What can go wrong in the lab itself, as opposed to in what is tested with it."""

from collections.abc import Sequence


class LabError(Exception):
    """The lab could not do what was asked; the message says what and shows the program's own words."""


class CommandError(LabError):
    """A command on a host ended with another exit code than zero (or did not end in time)."""

    def __init__(self, argv: Sequence[str], where: str, why: str, output: str) -> None:
        super().__init__(f"{' '.join(argv)} on {where}: {why}\n{output}".rstrip())
        self.argv = tuple(argv)
        self.output = output

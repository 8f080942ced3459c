"""What a build is made of: a folder and its Dockerfile as a tar archive, written while it is sent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import InvalidArgument
from manager.cli.archive import END, member
from manager.cli.dockerignore import FILE as IGNORE_FILE
from manager.cli.dockerignore import Ignored

# Where a Dockerfile from outside of the context is put in the archive.
_FROM_OUTSIDE = ".dockerfile.from-outside"


@dataclass(frozen=True, slots=True)
class BuildContext:
    """A folder to build from; `dockerfile` is its path in the archive, `outside` its file when that is elsewhere."""

    folder: Path
    dockerfile: str
    ignored: Ignored
    outside: Path | None = None

    async def archive(self) -> AsyncIterator[bytes]:
        """Write the archive, piece by piece, as it is read.

        Raises:
            InvalidArgument: a file cannot be read, or changes while it is read.

        """
        for path, name in self._members():
            async for piece in member(path, name):  # without owners, as in Docker's contexts
                yield piece
        yield END

    def _members(self) -> Iterator[tuple[Path, str]]:
        if self.outside is not None:
            yield self.outside, _FROM_OUTSIDE
        for top, folders, files in os.walk(self.folder):
            inside = Path(top).relative_to(self.folder)
            names = {each: (inside / each).as_posix() for each in sorted([*folders, *files])}
            folders[:] = sorted(each for each in folders if self.ignored.may_need(names[each]))
            yield from ((Path(top, each), name) for each, name in names.items() if not self.ignored.ignores(name))


def open_context(folder: str, dockerfile: str = "", *, relative_to_context: bool = False) -> BuildContext:
    """Look at a folder to build from. `dockerfile` is a path of this process, or one in the context.

    Raises:
        InvalidArgument: there is no such folder, no Dockerfile in it, or its `.dockerignore` is malformed.

    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidArgument(f"there is no folder {folder}")
    root = root.resolve()
    file = root / (dockerfile or "Dockerfile") if relative_to_context or not dockerfile else Path(dockerfile)
    if not file.is_file():
        raise InvalidArgument(f"there is no Dockerfile {file}")
    file = file.resolve()
    outside = None if file.is_relative_to(root) else file
    name = _FROM_OUTSIDE if outside else file.relative_to(root).as_posix()
    return BuildContext(root, name, _ignored(root, name), outside)


def _ignored(root: Path, dockerfile: str) -> Ignored:
    try:
        text = (root / IGNORE_FILE).read_text()
    except FileNotFoundError:
        return Ignored()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"cannot read {root / IGNORE_FILE}: {error}") from error
    return Ignored.parse(text, always=(dockerfile, IGNORE_FILE))

"""`python -m worker.volumes.copy`: one half of a copy, or an archive. The package says how it is talked to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from worker.volumes.copy.session import Options, read_archive, receive, send, write_archive

_PARTS = {"send": send, "receive": receive, "export": write_archive, "import": read_archive}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.volumes.copy", description="A volume's copy or archive.")
    parser.add_argument("part", choices=_PARTS)
    parser.add_argument("folder")
    parser.add_argument("--work", type=Path, default=None, help="folder of a half's own index")
    parser.add_argument("--peer", type=_pair, default=(0, 1), help="descriptors R,W of the other half, or one socket")
    parser.add_argument("--control", type=_pair, default=(3, 4), help="descriptors R,W of commands and reports")
    parser.add_argument("--owner-base", type=int, default=0, help="what the engine adds to owners")
    parser.add_argument("--limit", type=float, default=0, help="bytes a second")
    parser.add_argument("--max-downtime", type=float, default=None, help="seconds that the last pass may take")
    parser.add_argument("--like", default="", help="folder on this host whose files a receiver's may share blocks with")
    parser.add_argument("--keep-priority", action="store_true", help="do not be idle until the last pass")
    given = parser.parse_args(argv)
    options = Options(
        folder=given.folder,
        work=given.work,
        peer=given.peer,
        control=given.control,
        base=given.owner_base,
        limit=given.limit,
        max_downtime=given.max_downtime,
        is_idle=not given.keep_priority,
        like=given.like,
    )
    return _PARTS[given.part](options)


def _pair(text: str) -> tuple[int, int]:
    first, comma, second = text.partition(",")
    return int(first), int(second if comma else first)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Trees that change between any two steps of a copy end as the same tree, with all metadata; breaks cost nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.worker.volumes.copy.sessions import session
from tests.unit.worker.volumes.copy.trees import look, scratch

KIB = 1024
NAMES = st.sampled_from([b"a", b"b", b"a.b", b"a-", b"\xff\x01", b"z"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
SIZES = st.sampled_from([0, 1, 4 * KIB, 128 * KIB, 128 * KIB + 1, 700 * KIB, 1100 * KIB])
SEEDS = st.integers(0, 255)

CHANGES = st.one_of(
    st.tuples(st.just("write"), PATHS, SIZES, SEEDS),
    st.tuples(st.just("patch"), PATHS, SIZES, SEEDS),
    st.tuples(st.just("append"), PATHS, SIZES, SEEDS),
    st.tuples(st.just("truncate"), PATHS, SIZES, SEEDS),
    st.tuples(st.just("extend"), PATHS, SIZES, SEEDS),
    st.tuples(st.just("mkdir"), PATHS),
    st.tuples(st.just("remove"), PATHS),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("link"), PATHS, PATHS),
    st.tuples(st.just("symlink"), PATHS, PATHS),
    st.tuples(st.just("pipe"), PATHS),
    st.tuples(st.just("chmod"), PATHS, st.sampled_from([0o600, 0o755, 0o4711, 0o2755, 0o1777])),
    st.tuples(st.just("chown"), PATHS, st.integers(0, 70_000 if os.geteuid() == 0 else 0)),
    st.tuples(st.just("utime"), PATHS, st.integers(-(10**9), 2**34)),
    st.tuples(st.just("attribute"), PATHS, SEEDS),
)
STEPS = st.lists(st.lists(CHANGES, max_size=8), min_size=2, max_size=5)


def change(root: Path, step: tuple) -> None:
    """Make a change; one that the tree does not allow is none."""
    what, path, *rest = step
    at = below(root, path)
    with contextlib.suppress(OSError, shutil.Error):
        at.parent.mkdir(parents=True, exist_ok=True)
        # Opening a pipe would wait for somebody to open its other end.
        if what not in CONTENT or not os.path.lexists(at) or stat.S_ISREG(at.lstat().st_mode):
            CHANGE[what](at, root, *rest)


def below(root: Path, path: bytes) -> Path:
    return root / os.fsdecode(path)


def write(at: Path, _root: Path, size: int, seed: int) -> None:
    at.write_bytes(bytes([seed]) * size)


def patch(at: Path, _root: Path, offset: int, seed: int) -> None:
    with at.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([seed]) * 10)


def append(at: Path, _root: Path, size: int, seed: int) -> None:
    with at.open("ab") as file:
        file.write(bytes([seed]) * size)


def extend(at: Path, _root: Path, size: int, _seed: int) -> None:
    os.truncate(at, size + 300 * KIB)


def remove(at: Path, _root: Path) -> None:
    if at.is_dir() and not at.is_symlink():
        shutil.rmtree(at)
    else:
        at.unlink()


def chmod(at: Path, _root: Path, mode: int) -> None:
    if not at.is_symlink():
        at.chmod(mode)


def attribute(at: Path, _root: Path, seed: int) -> None:
    if seed % 3:
        os.setxattr(at, f"user.{seed % 2}", bytes([seed]), follow_symlinks=False)
    else:
        os.removexattr(at, f"user.{seed % 2}", follow_symlinks=False)


def link(at: Path, root: Path, to: bytes) -> None:
    """Link a regular file: of others a copy makes several."""
    if stat.S_ISREG(at.lstat().st_mode):
        os.link(at, below(root, to))


CONTENT = ("write", "patch", "append", "extend", "truncate")
CHANGE = {
    "write": write,
    "patch": patch,
    "append": append,
    "extend": extend,
    "remove": remove,
    "chmod": chmod,
    "attribute": attribute,
    "truncate": lambda at, _root, size, _seed: os.truncate(at, size),
    "mkdir": lambda at, _root: at.mkdir(),
    "rename": lambda at, root, to: at.rename(below(root, to)),
    "link": link,
    "symlink": lambda at, _root, to: at.symlink_to(os.fsdecode(to)),
    "pipe": lambda at, _root: os.mkfifo(at),
    "chown": lambda at, _root, owner: os.chown(at, owner, owner, follow_symlinks=False),
    "utime": lambda at, _root, second: os.utime(at, ns=(0, second * 10**9 + 7), follow_symlinks=False),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.sets(st.integers(1, 4)))
def test_a_changing_tree_is_copied(steps: list[list[tuple]], breaks: set[int]) -> None:
    with scratch() as place:
        source, target, work = (place / name for name in ("source", "target", "work"))
        for each in (source, target, work):
            each.mkdir()
        left = list(steps)
        while left:
            with session(source, target, work) as copying:
                while left:
                    changes = iter(left.pop(0))

                    def meanwhile(_: object, changes: Iterator[tuple] = changes) -> None:
                        """Make the next change between two files of the pass."""
                        for each in itertools.islice(changes, 1):
                            change(source, each)

                    copying.copy(tick=meanwhile)
                    for after in changes:
                        change(source, after)
                    if len(left) in breaks:
                        break
                if not left:
                    copying.copy(last=True)
                    copying.sender.verify()
            assert copying.receiver.error is None
        assert look(target) == look(source)

"""One number per lab: its subnet, its folder and its cgroups are named by it, so that labs never meet."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab.errors import LabError

FOLDER = Path("/var/tmp")  # on disk on every Debian; /tmp may be memory, and images want room
CGROUPS = Path("/sys/fs/cgroup")
LABS = 200


class Claim:
    """A lab's number, held for as long as its lock file is locked: a process that dies lets go of it."""

    def __init__(self, index: int, lock: int) -> None:
        self.index = index
        self.name = f"swarmlab-{index}"
        self.folder = FOLDER / self.name
        self._lock = lock

    @classmethod
    def take(cls) -> "Claim":
        """Claim the lowest free number, removing what a dead lab left there."""
        for index in range(LABS):
            claim = cls._try(index)
            if claim is not None:
                claim._remove_leftovers()
                claim.folder.mkdir(mode=0o755)
                return claim
        raise LabError(f"all {LABS} labs are in use on this machine")

    @classmethod
    def dead(cls) -> Iterator["Claim"]:
        """Claim, one by one, the numbers whose labs died and left something; release() removes it."""
        for path in sorted(FOLDER.glob("swarmlab-*.lock")):
            number = path.stem.rpartition("-")[2]
            claim = cls._try(int(number)) if number.isdecimal() else None
            if claim is not None:
                yield claim

    @classmethod
    def _try(cls, index: int) -> "Claim | None":
        path = FOLDER / f"swarmlab-{index}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file may have been removed by its last holder between our open and our lock.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(lock)):
                return cls(index, lock)
        except BlockingIOError:
            pass
        os.close(lock)
        return None

    def release(self) -> None:
        """Remove all that bears this number, then let go of it."""
        try:
            self._remove_leftovers()
            (FOLDER / f"{self.name}.lock").unlink(missing_ok=True)
        finally:
            os.close(self._lock)

    def _remove_leftovers(self) -> None:
        if self.folder.exists():
            _refuse_mounts_below(self.folder)
            shutil.rmtree(self.folder)
        remove_cgroups(f"{self.name}-")


def _refuse_mounts_below(folder: Path) -> None:
    """Never delete through a mount: the lab mounts only inside its hosts' own mount namespaces."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4]
        if target == str(folder) or target.startswith(f"{folder}/"):
            raise LabError(f"{target} is mounted: unmount it, then run: python -m tests.lab clean")


def remove_cgroups(prefix: str, patience: float = 5) -> None:
    """Remove the cgroups that a lab's engines made (their --cgroup-parent starts with the lab's name).

    A cgroup whose last process was just killed is busy until the kernel has reaped it: tried until patience ends.
    """
    until = time.monotonic() + patience
    while left := [top for top in (*CGROUPS.glob(f"{prefix}*"), *CGROUPS.glob(f"*/{prefix}*")) if top.is_dir()]:
        for top in left:
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    if time.monotonic() > until:
                        raise LabError(f"cgroup {folder} is still in use: see its cgroup.procs") from None
        time.sleep(0.005)

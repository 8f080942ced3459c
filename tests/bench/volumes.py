"""Volumes: copying folders beside `tar | tar`, `tar | ssh tar` and rsync, the last pass over what has hardly changed.

All go between two folders of one disk: ours and rsync as two processes over a local stream, tar through a pipe, and
through ssh to a server of our own on loopback where this machine has one (openssh-server). Sources are read once
before, so all read from memory. Each round begins with another one. The median counts, and each case's row comes when
it is measured. With `--scale 0.1` everything is a tenth.

Before each copy the disk is up to date, and the kernel has memory to hand. A virtual machine's free memory may be its
host's: Firecracker's balloon gives free blocks of 2 MiB back, and the first write to each page then waits for the
host. Writing 1 GiB took 0.2 s into memory that the machine had, 7 s into memory that it did not have. Writes of 128
KiB or more take such blocks; writes of 32 KiB take the fragments that are left, so a copy's pace would depend on its
write size.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.table import print_table

KIB, MIB, GIB = 1024, 1024**2, 1024**3
ROUNDS = 4  # as many as ways to copy
# More than any of the copies writes, and less than what makes the kernel write to the disk at once (a tenth of memory).
FETCHED = 2 * GIB
ROOT = Path(__file__).parents[2]


class Half:
    """One of our processes, driven line by line."""

    def __init__(self, part: str, folder: Path, work: Path, peer: socket.socket) -> None:
        ours, its = socket.socketpair()
        descriptors = ["--peer", str(peer.fileno()), "--control", str(its.fileno())]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "worker.volumes.copy",
                part,
                folder,
                "--work",
                work,
                "--keep-priority",
                *descriptors,
            ],
            pass_fds=(peer.fileno(), its.fileno()),
            cwd=ROOT,
        )
        its.close()
        peer.close()
        self._control = ours
        self._reports = ours.makefile("rb")

    def tell(self, do: str) -> None:
        self._control.sendall(json.dumps({"do": do}).encode() + b"\n")

    def wait_for(self, event: str) -> dict[str, Any]:
        for line in self._reports:
            report = json.loads(line)
            if report["event"] == event:
                return report
            if report["event"] == "failed":
                raise RuntimeError(report["message"])
        raise RuntimeError(f"no {event} came")

    def peak(self) -> int:
        """Return the most bytes of memory that the process has had."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
        raise RuntimeError("no VmHWM")

    def end(self) -> None:
        # The receiver has ended with its sender.
        with contextlib.suppress(BrokenPipeError):
            self.tell("stop")
        self.process.wait()
        self._reports.close()
        self._control.close()


class Ours:
    """A copy between two folders; the first pass has been made when it is there."""

    def __init__(self, source: Path, target: Path, work: Path) -> None:
        near, far = socket.socketpair()
        began = time.perf_counter()
        self.receiver = Half("receive", target, work / "in", far)
        self.sender = Half("send", source, work / "out", near)
        self.sender.wait_for("ready")
        self.sender.tell("pass")
        self.sender.wait_for("passed")
        self.seconds = time.perf_counter() - began

    def last(self) -> float:
        began = time.perf_counter()
        self.sender.tell("last")
        self.sender.wait_for("passed")
        return time.perf_counter() - began

    def peak(self) -> int:
        return max(self.sender.peak(), self.receiver.peak())

    def end(self) -> None:
        self.sender.end()
        self.receiver.end()


def tar(source: Path, target: Path, through: Sequence[str] = ()) -> float:
    """Copy by tar; `through` is the command that runs the taking one elsewhere."""
    began = time.perf_counter()
    making = subprocess.Popen(
        ["tar", "--numeric-owner", "--xattrs", "--sparse", "-cf", "-", "-C", source, "."], stdout=subprocess.PIPE
    )
    taking = [*through, "tar", "--numeric-owner", "--xattrs", "-xpf", "-", "-C", str(target)]
    subprocess.run(taking, stdin=making.stdout, check=True)
    if making.stdout is not None:
        making.stdout.close()
    if making.wait():
        raise RuntimeError("tar has failed")
    return time.perf_counter() - began


def rsync(source: Path, target: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["rsync", "-aHAXS", "--numeric-ids", f"{source}/", f"{target}/"], check=True)
    return time.perf_counter() - began


@contextlib.contextmanager
def ssh_server() -> Iterator[tuple[str, ...]]:
    """Run an ssh server for this user on loopback; yield the command that runs others by it, nothing without one."""
    server = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if server is None:
        yield ()
        return
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        folder = Path(name)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        (folder / "user.pub").rename(folder / "allowed")
        Path("/run/sshd").mkdir(exist_ok=True)  # which it wants, and its package makes at a boot
        settings = {
            "ListenAddress": f"127.0.0.1:{port}",
            "HostKey": folder / "host",
            "AuthorizedKeysFile": folder / "allowed",
            "StrictModes": "no",
            "PidFile": "none",
            "PermitRootLogin": "yes",
        }
        options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        serving = subprocess.Popen([server, "-D", "-e", "-f", os.devnull, *options], stderr=subprocess.DEVNULL)
        try:
            client = ("ssh", "-F", os.devnull, "-p", str(port), "-i", str(folder / "user"))
            quiet = ("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}", "-o", "LogLevel=ERROR")
            command = (*client, *quiet, "127.0.0.1")
            for _ in range(50):
                if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
                    break
                time.sleep(0.1)
            yield command
        finally:
            serving.terminate()
            serving.wait()


def one_file(folder: Path, scale: float) -> None:
    rng = random.Random(1)
    with (folder / "file").open("wb") as file:
        for _ in range(int(GIB * scale) // MIB):
            file.write(rng.randbytes(MIB))


def many_files(folder: Path, scale: float) -> None:
    rng = random.Random(2)
    for number in range(int(100_000 * scale)):
        at = folder / str(number // 1000)
        if number % 1000 == 0:
            at.mkdir()
        (at / f"file-{number}").write_bytes(rng.randbytes(4 * KIB))


def sparse_file(folder: Path, scale: float) -> None:
    rng = random.Random(3)
    with (folder / "sparse").open("wb") as file:
        file.truncate(int(4 * GIB * scale))
        for number in range(int(100 * scale)):
            file.seek(number * 40 * MIB)
            file.write(rng.randbytes(MIB))


def change_a_hundredth(folder: Path, scale: float) -> None:
    """Change 1 % of the one file, in places all over it."""
    rng = random.Random(4)
    blocks = int(GIB * scale) // (128 * KIB)
    with (folder / "file").open("r+b") as file:
        for number in rng.sample(range(blocks), max(1, blocks // 100)):
            file.seek(number * 128 * KIB)
            file.write(rng.randbytes(128 * KIB))


HEADINGS = (
    *("", "ours", "tar | tar", "tar | ssh tar", "rsync"),
    *("tar/ours", "ssh/ours", "rsync/ours", "last pass", "peak memory"),
)
CASES: dict[str, tuple[Callable[[Path, float], None], Callable[[Path, float], None] | None]] = {
    "one file of 1 GiB": (one_file, change_a_hundredth),
    "100,000 files of 4 KiB": (many_files, None),
    "4 GiB sparse, 100 MiB data": (sparse_file, None),
}


def measure(
    place: Path, source: Path, change: Callable[[Path], None] | None, rounds: int, ssh: Sequence[str]
) -> list[str]:
    """Copy a folder by all, so many times; return the medians for the table. ssh: the command, empty without one."""
    found: dict[str, list[float]] = {name: [] for name in ("tar", "rsync", "ssh", "ours", "last", "peak")}

    def copy_by_ours() -> float:
        ours = Ours(source, new_folder(place), Path(tempfile.mkdtemp(dir=place)))
        if change is not None:
            change(source)
        found["last"].append(ours.last())
        found["peak"].append(ours.peak())
        ours.end()
        return ours.seconds

    copying: dict[str, Callable[[], float]] = {
        "tar": lambda: tar(source, new_folder(place)),
        "rsync": lambda: rsync(source, new_folder(place)),
        **({"ssh": lambda: tar(source, new_folder(place), ssh)} if ssh else {}),
        "ours": copy_by_ours,
    }
    read_once(source)
    for number in range(rounds):
        names = deque(copying)
        names.rotate(-number)
        for name in names:
            found[name].append(copying[name]())
    median = {name: statistics.median(values) for name, values in found.items() if values}
    seconds = [f"{median[name]:.2f} s" if name in median else "-" for name in ("ours", "tar", "ssh", "rsync")]
    return [
        *seconds,
        f"{median['tar'] / median['ours']:.2f}",
        f"{median['ssh'] / median['ours']:.2f}" if "ssh" in median else "-",
        f"{median['rsync'] / median['ours']:.2f}",
        f"{median['last']:.2f} s",
        f"{median['peak'] / MIB:.0f} MiB",
    ]


def new_folder(place: Path) -> Path:
    """Make a folder. None is removed before the end: ext4 is slow to make files where some were removed just before."""
    target = Path(tempfile.mkdtemp(dir=place))
    os.sync()
    fetch_memory(place / "memory")
    return target


def fetch_memory(scratch: Path) -> None:
    """Write a file and remove it, so that what is written next finds free pages that are this machine's already."""
    data = bytes(MIB)
    with scratch.open("wb", buffering=0) as file:
        for _ in range(FETCHED // MIB):
            file.write(data)
    scratch.unlink()


def read_once(folder: Path) -> None:
    with Path(os.devnull).open("wb") as nowhere:
        subprocess.run(["tar", "-cf", "-", "-C", folder, "."], stdout=nowhere, check=True)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run volumes --")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--folder", help="on the disk that is to be measured")
    given = parser.parse_args(argv)
    if shutil.which("rsync") is None:
        parser.error("rsync is not installed: 'apt install rsync', and openssh-server for tar over ssh, then try again")
    rows = []
    with ssh_server() as ssh:
        for name in given.only or CASES:
            make, change = CASES[name]
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                place = Path(folder)
                source = place / "source"
                source.mkdir()
                make(source, given.scale)
                later = (lambda at, change=change: change(at, given.scale)) if change is not None else None
                rows.append([name, *measure(place, source, later, given.rounds, ssh)])
                print("  ".join(rows[-1]), f"  load {os.getloadavg()[0]:.1f}", flush=True)
    title = f"copying volumes, scale {given.scale}, median of {given.rounds} rounds"
    print_table(title, HEADINGS, rows)
    return 0

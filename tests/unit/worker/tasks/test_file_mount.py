"""Files of running containers, changed: on mount namespaces of processes that stand for containers."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import FailedPrecondition
from worker.interfaces.engine import EngineDown
from worker.interfaces.files import TaskFile
from worker.tasks import file_mount
from worker.tasks.tmpfs import TmpfsFiles, in_memory

SHM = Path("/dev/shm")
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not in_memory(SHM), reason="needs root, and a tmpfs at /dev/shm")


@pytest.fixture(params=["private", "shared"])
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Yield a folder in memory whose mount is shared with its copies, as all are where systemd has booted, or not."""
    folder = Path(tempfile.mkdtemp(dir=SHM))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", folder], check=True)
    subprocess.run(["mount", f"--make-{request.param}", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


@contextlib.contextmanager
def container(source: str, target: Path, *options: str) -> Iterator[int]:
    """Run a process with a mount namespace of its own, where `source` is at `target`, read-only; yield its pid."""
    script = f"mount --bind {source} {target}; mount -o remount,bind,ro {target}; "
    with process("unshare", *options, "--mount", "--propagation", "private", script=script) as pid:
        yield pid


@contextlib.contextmanager
def process(*command: str, script: str = "") -> Iterator[int]:
    child = subprocess.Popen([*command, "sh", "-ec", f"{script}echo up; exec sleep infinity"], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == b"up\n"
            yield child.pid
        finally:
            child.kill()


def inside(pid: int, *command: str) -> subprocess.CompletedProcess[str]:
    enter = ("nsenter", "-t", str(pid), "-m")
    return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=10)


def mounts(pid: int, target: Path) -> int:
    return sum(line.split()[4] == str(target) for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines())


class Case:
    """A task with two files, of which the second is in a container at `target`."""

    def __init__(self, root: Path) -> None:
        self.target = root / "target"
        self.target.touch()
        self.files = TmpfsFiles(root / "files")
        self.told: list[str] = []

    def of(self, data: bytes, **more: int) -> list[TaskFile]:
        return [
            TaskFile(target="/unused", data=b"same"),
            TaskFile(target=str(self.target), data=data, **more),
        ]

    def write(self, data: bytes) -> str:
        return self.files.write("t1", self.of(data))[str(self.target)]

    async def replace(self, pid: int, data: bytes, **more: int) -> None:
        async def tell() -> None:
            self.told.append(inside(pid, "cat", str(self.target)).stdout)

        await self.files.replace("t1", self.of(data, **more), pid, tell)


@pytest.mark.parametrize("options", [(), ("--user", "--map-root-user")])
async def test_only_the_running_container_gets_another_read_only_file(root, options):
    case = Case(root)
    source = case.write(b"old")
    with container(source, case.target, *options) as pid:
        for number in range(3):
            data = f"new {number}" + "!" * 10_000 * number
            await case.replace(pid, data.encode(), uid=7, gid=8, mode=0o440)
            assert case.told[-1] == data
        assert inside(pid, "stat", "-c", "%u:%g %a", str(case.target)).stdout == "7:8 440\n"
        assert "Read-only" in inside(pid, "sh", "-c", f"echo x > {case.target}").stderr
        assert mounts(pid, case.target) == 1
        assert Path(source).read_bytes() == data.encode()  # what the engine mounts if it starts the container again
        assert case.target.read_bytes() == b""  # nowhere but in the container


async def test_a_mount_of_a_namespace_above_is_covered(root):
    case = Case(root)
    source = case.write(b"old")
    below = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")
    with container(source, case.target) as pid, process("nsenter", "-t", str(pid), "-m", *below) as child:
        for data in ("new", "newer", "newest"):
            await case.replace(child, data.encode())
            assert case.told[-1] == data
            assert inside(child, "cat", str(case.target)).stdout == data
            assert Path(source).read_text() == data
        assert mounts(child, case.target) > 1
    assert inside(os.getpid(), "cat", str(case.target)).stdout == ""


async def test_a_kernel_before_6_5_covers_the_old_file(root, monkeypatch):
    old_kernel = root / "old_kernel.py"
    source = Path(file_mount.__file__).read_text()
    assert "_MOVE_BENEATH = 0x4, 0x40, 0x200" in source
    old_kernel.write_text(source.replace("_MOVE_BENEATH = 0x4, 0x40, 0x200", "_MOVE_BENEATH = 0x4, 0x40, 0x4000"))
    monkeypatch.setattr(file_mount, "__file__", str(old_kernel))
    case = Case(root)
    first = case.write(b"old")
    with container(first, case.target) as pid:
        for number, data in enumerate(("new", "newer", "newest"), 1):
            await case.replace(pid, data.encode())
            assert case.told[-1] == data
            assert inside(pid, "cat", str(case.target)).stdout == data
            assert Path(first).read_text() == data
            assert mounts(pid, case.target) == number + 1


async def test_a_reader_finds_the_old_file_or_the_new_one(root):
    case = Case(root)
    with container(case.write(b"0" * 5000), case.target) as pid:
        loop = f"while [ -e {root}/go ]; do cat {case.target}; echo; done"
        (root / "go").touch()
        reader = subprocess.Popen(["nsenter", "-t", str(pid), "-m", "sh", "-ec", loop], stdout=subprocess.PIPE)
        for number in range(1, 6):
            await case.replace(pid, str(number).encode() * 5000)
        (root / "go").unlink()
        lines = reader.communicate(timeout=10)[0].decode().splitlines()
    assert reader.returncode == 0
    assert {line[0] * 5000 for line in lines} == set(lines)
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)


async def test_what_is_there_already_is_left_alone(root):
    case = Case(root)
    case.write(b"old")
    await case.replace(0, b"old")
    assert case.told == []


async def test_a_change_that_was_not_told_is_made_again(root):
    case = Case(root)
    source = case.write(b"old")

    async def lost() -> None:
        raise EngineDown("no Docker engine answers")

    with container(source, case.target) as pid:
        with pytest.raises(EngineDown):
            await case.files.replace("t1", case.of(b"new"), pid, lost)
        assert Path(source).read_bytes() == b"old"
        assert inside(pid, "cat", str(case.target)).stdout == "new"
        await case.replace(pid, b"newest")
        assert case.told == ["newest"]


async def test_nothing_is_done_where_something_else_is(root):
    case = Case(root)
    case.write(b"old")
    strange = root.parent / "etc"
    with container("/etc/hostname", case.target) as pid:
        with pytest.raises(
            FailedPrecondition, match=r"running container: .*target: another file is in the place of the task's file"
        ):
            await case.replace(pid, b"new")
        assert mounts(pid, case.target) == 1
        assert not strange.exists()


async def test_a_container_that_is_gone_is_told(root):
    case = Case(root)
    case.write(b"old")
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(FailedPrecondition, match=r"cannot change a file of the running container: .*No such file"):
        await case.files.replace("t1", case.of(b"new"), gone.pid, case_tell)


async def case_tell() -> None:
    raise AssertionError("nobody is there to be told")

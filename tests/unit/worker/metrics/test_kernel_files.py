"""What a container has used, read from files as kernels write them."""

from pathlib import Path

import pytest

from worker.interfaces.engine import ContainerUsage
from worker.metrics.kernel_files import (
    ContainerNumbers,
    controllers,
    parse_io,
    parse_quota,
    read_numbers,
    read_usage,
)

ID = "c0ffee" * 10
FILES = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\nnr_periods 9\nnr_throttled 3\nthrottled_usec 500000\n",
    "memory.current": "1000\n",
    "memory.stat": "anon 600\nfile 300\ninactive_file 200\n",
    "cpu.max": "50000 100000\n",
    "pids.current": "4\n",
    "memory.max": "max\n",
    "memory.events": "low 0\noom 1\noom_kill 2\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
}
NET = "a\nb\n lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\neth0: 100 0 0 0 0 0 0 0 50 0 0 0 0 0 0 0\n"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2_is_read(tmp_path: Path) -> None:
    write(tmp_path / "proc/7", cgroup=f"0::/system.slice/docker-{ID}.scope\n")
    write(
        tmp_path / f"sys/system.slice/docker-{ID}.scope",
        cpu__stat="usage_usec 2500000\nuser_usec 1\n",
        memory__current="1000\n",
        memory__stat="anon 600\ninactive_file 300\n",
    )
    assert read_usage(7, ID, tmp_path / "proc", tmp_path / "sys") == ContainerUsage(2.5, 700)


def test_version_1_is_read_also_where_both_are(tmp_path: Path) -> None:
    text = f"9:memory:/docker/{ID}\n4:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n"
    write(tmp_path / "proc/7", cgroup=text)
    write(tmp_path / f"sys/cpu,cpuacct/docker/{ID}", cpuacct__usage="1500000000\n")
    write(
        tmp_path / f"sys/memory/docker/{ID}",
        memory__usage_in_bytes="1000\n",
        memory__stat="cache 1\ntotal_inactive_file 1200\n",
    )
    assert read_usage(7, ID, tmp_path / "proc", tmp_path / "sys") == ContainerUsage(1.5, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0::/system.slice/ssh.service\n", "its name"),
        (f"3:pids:/docker/{ID}\n", "neither processor nor memory"),
        (f"0::/../../x/{ID}\n", "below this process's own"),
    ],
)
def test_another_process_of_the_number_is_not_measured(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        controllers(text, ID)


# --- all numbers of a container ---


@pytest.fixture
def host(tmp_path: Path) -> Path:
    group = tmp_path / "cgroup" / f"docker-{ID}.scope"
    group.mkdir(parents=True)
    for name, text in FILES.items():
        (group / name).write_text(text)
    process = tmp_path / "proc" / "7"
    (process / "net").mkdir(parents=True)
    (process / "cgroup").write_text(f"0::/docker-{ID}.scope\n")
    (process / "net" / "dev").write_text(NET)
    (process / "stat").write_text("7 (a (b) c) S " + " ".join(["0"] * 18) + " 1500 0\n")
    (tmp_path / "proc" / "stat").write_text("cpu 1\nbtime 1000\n")
    return tmp_path


def test_a_containers_numbers_are_the_kernels(host: Path):
    assert read_numbers(7, ID, host / "proc", host / "cgroup") == ContainerNumbers(
        cpu=2.5,
        working_set=800,
        usage=1000,
        cache=300,
        throttled=0.5,
        periods=9,
        throttled_periods=3,
        quota=0.05,
        period=0.1,
        processes=4,
        rss=600,
        limit=None,
        oom_kills=2,
        started_at=1015.0,
        received=100,
        sent=50,
        read=11,
        written=22,
    )


def test_of_old_cgroups_what_its_process_tells_is_known(host: Path):
    process, root = host / "proc" / "7", host / "cgroup"
    (process / "cgroup").write_text(f"2:cpuacct:/docker/{ID}\n1:memory:/docker/{ID}\n")
    for name, text in (
        ("cpuacct/docker/{}/cpuacct.usage", "2500000000\n"),
        ("memory/docker/{}/memory.usage_in_bytes", "1000\n"),
        ("memory/docker/{}/memory.stat", "total_inactive_file 200\n"),
    ):
        file = root / name.format(ID)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert read_numbers(7, ID, host / "proc", root) == ContainerNumbers(
        cpu=2.5, working_set=800, started_at=1015.0, received=100, sent=50
    )


@pytest.mark.parametrize("text", ["", "max 100000\n", "nonsense"])
def test_without_a_limit_of_processor_time_there_is_no_quota(text: str):
    assert parse_quota(text) == (None, None)


def test_another_process_with_the_number_is_not_taken(host: Path):
    with pytest.raises(ValueError, match="no cgroup of its name"):
        read_numbers(7, "decade" * 10, host / "proc", host / "cgroup")


def test_devices_that_discard_only_count_nothing():
    assert parse_io("7:0 \n8:0 dbytes=5\n") == (0, 0)

from pathlib import Path

import pytest

from worker.interfaces.engine import ContainerUsage
from worker.metrics.cgroups import controllers, read_usage

ID = "c0ffee" * 10


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

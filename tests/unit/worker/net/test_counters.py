"""The counters of our table are read from a real kernel, in a network of the test's own."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")

READ = "import json; from worker.net.counters import counts; print(json.dumps(counts()))"
MANY = {f"c{number}": number << 33 for number in range(2000)}


def read(counters: dict[str, int]) -> dict[str, int]:
    """Give a new network these counters, and others that are not ours, and read them there."""
    ours = "".join(f"add counter ip orc {name} {{ packets {packets} bytes 1 }}\n" for name, packets in counters.items())
    others = "".join(
        f"add table {table}\nadd counter {table} other {{ packets 9 bytes 9 }}\n" for table in ("ip x", "ip6 orc")
    )
    rules = ("add table ip orc\nadd quota ip orc q { over 1 mbytes }\n" if counters else "") + ours + others
    script = f"nft -f - && exec {sys.executable} -c '{READ}'"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], input=rules, capture_output=True, text=True, check=True, timeout=30
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("counters", [{}, {"tunnel_came": 12, "names_let": 0}, MANY], ids=["none", "two", "many"])
def test_they_are_read_with_their_packets(counters: dict[str, int]) -> None:
    assert read(counters) == counters

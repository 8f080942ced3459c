"""The counters of our table are read from a real kernel, in a network of the test's own."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")

READ = "import json; from worker.net.watch.firewall import counts; print(json.dumps(counts()))"
FEW = {"tunnel_came": 12, "inward6_let": 3, "names_let": 0}
MANY = {f"c{number}": number << 33 for number in range(2000)}


def read(counters: dict[str, int]) -> dict[str, int]:
    """Give a new network these counters, and others that are not ours, and read them there."""
    families = {name: "ip6" if "6" in name else "ip" for name in counters}
    ours = "".join(
        f"add counter {families[name]} orc {name} {{ packets {n} bytes 1 }}\n" for name, n in counters.items()
    )
    others = "".join(
        f"add table {table}\nadd counter {table} other {{ packets 9 bytes 9 }}\n" for table in ("ip x", "inet orc")
    )
    rules = (
        ("add table ip6 orc\nadd table ip orc\nadd quota ip orc q { over 1 mbytes }\n" if counters else "")
        + ours
        + others
    )
    script = f"nft -f - && exec {sys.executable} -c '{READ}'"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], input=rules, capture_output=True, text=True, check=True, timeout=30
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("counters", [{}, FEW, MANY], ids=["none", "few", "many"])
def test_they_are_read_with_their_packets(counters: dict[str, int]) -> None:
    assert read(counters) == counters

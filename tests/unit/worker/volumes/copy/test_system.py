"""What a copying process does to itself."""

import subprocess
import sys

_TAKES_TOO_MUCH = """
from worker.volumes.copy.system import bound_memory
bound_memory(256 << 20)
small = bytearray(16 << 20)
try:
    bytearray(512 << 20)
except MemoryError:
    print("refused", len(small))
"""


def test_a_process_has_no_more_memory_than_it_is_given() -> None:
    done = subprocess.run([sys.executable, "-c", _TAKES_TOO_MUCH], capture_output=True, text=True, check=True)
    assert done.stdout == f"refused {16 << 20}\n"

"""This machine's docker command line, as something to compare with: texts and flags in the tests are Debian 13's."""

import re
import shutil
import subprocess
from functools import cache

COMPARED_WITH = 26


@cache
def unfit() -> str:
    """Say why there is nothing to compare with here; empty when there is."""
    wanted = f"compares with docker's command line, version {COMPARED_WITH} or later (Debian 13: docker-cli)"
    if shutil.which("docker") is None:
        return f"{wanted}: there is none"
    version = subprocess.run(["docker", "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"version (\d+)[^\s,]*", version)
    assert found, version
    return "" if int(found[1]) >= COMPARED_WITH else f"{wanted}: here is {found[0]}"

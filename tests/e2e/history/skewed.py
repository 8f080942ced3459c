"""Runs swarm-manager with a clock that is off: `python -m tests.e2e.history.skewed SECONDS ARGUMENT…`."""

import sys
import time


def main() -> None:
    off = float(sys.argv.pop(1))
    real = time.time
    time.time = lambda: real() + off
    # Only now: what is imported may keep the function.
    from manager.program import main as swarm_manager

    swarm_manager()


if __name__ == "__main__":
    main()

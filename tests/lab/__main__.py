"""`python -m tests.lab up [N]`: a lab to walk around in. `python -m tests.lab clean`: remove what dead labs left."""

import argparse
import asyncio
import shlex
import signal
import sys

from tests.lab.claim import Claim
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.lab import Lab


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make a lab and keep it until Ctrl-C")
    up.add_argument("hosts", nargs="?", type=int, default=3)
    commands.add_parser("clean", help="remove what labs left whose process is dead")
    arguments = parser.parse_args()
    try:
        return clean() if arguments.command == "clean" else asyncio.run(stay(arguments.hosts))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def clean() -> int:
    for claim in Claim.dead():
        claim.release()
        print(f"removed {claim.name}")
    return 0


async def stay(hosts: int) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sig, stop.set)
    async with Lab("interactive", hosts=hosts) as lab:
        for host in (*lab.hosts, lab.client):
            print(f"{host.name:8} {host.ip:15} {_entrance(host)}")
        print(f"\nfiles: {lab.workdir}   images: busybox:lab web:lab   end: Ctrl-C", flush=True)
        await stop.wait()
        print("removing …", flush=True)
    return 0


def _entrance(host: Host) -> str:
    engine = f"env DOCKER_HOST={host.docker_host} " if host.engine.running else ""
    return f"{shlex.join(host.enter)} {engine}bash"


if __name__ == "__main__":
    sys.exit(main())

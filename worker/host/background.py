"""The worker as this host's background program: starting it, and waiting until a manager has accepted it."""

from __future__ import annotations

import msgspec

from common.errors import FailedPrecondition, Unavailable
from common.process.daemon import Daemon
from worker.config import DEFAULT_DATA_DIR, UNIT, DataDir, WorkerConfig, format_address, parse_address
from worker.host import locks, status_file
from worker.host.status_file import WorkerStatus

START_SECONDS = 30.0


def daemon(data: DataDir) -> Daemon:
    """Return the background program of a data directory."""
    return Daemon(module="worker.main", unit=UNIT, home=DEFAULT_DATA_DIR, data_dir=data.path)


def start(data: DataDir) -> WorkerStatus:
    """Start the daemon; return its status when a manager has welcomed it.

    Raises:
        Unavailable: it did not start, or no manager welcomed it in time.

    """
    program = daemon(data)
    program.start(START_SECONDS)
    return _wait_until_welcomed(data, program)


def start_again(data: DataDir, manager: str = "") -> None:
    """Start the daemon of a host that has joined; return when it is ready. One that runs is left alone.

    It is ready when a manager has welcomed it, or a while later without one, as it looks after its tasks then already.
    With `manager` (HOST[:PORT]) managers are there from now on; a daemon that talks to another address is restarted.

    Raises:
        FailedPrecondition: this host has not joined; or its worker runs in the foreground, and `manager` is given.
        InvalidArgument: `manager` is not an address.
        Unavailable: it does not start; the message has the last line of its log.

    """
    config = data.load()
    if manager:
        _send_to(data, config, format_address(*parse_address(manager)))
    if status_file.read(data.status) is None:
        daemon(data).start(START_SECONDS)


def _send_to(data: DataDir, config: WorkerConfig, address: str) -> None:
    status = status_file.read(data.status)
    if status is not None and status.manager == address:
        return
    daemon(data).stop()  # it would write down the managers that it knows
    check_not_running(data)
    data.save(msgspec.structs.replace(config, managers=(address,)))


def _wait_until_welcomed(data: DataDir, program: Daemon) -> WorkerStatus:
    status = status_file.read(data.status)
    if status is not None and status.manager:
        return status
    why = status.refused if status is not None else ""
    if not why and program.log_file.exists():  # it goes with the rest
        why = program.log_file.read_text(errors="replace").strip().rpartition("\n")[2]
    raise Unavailable(f"the worker runs, but no manager has accepted it: {why or f'see {program.log_hint()}'}")


def stop_for_good(data: DataDir) -> bool:
    """Stop the daemon of a host that leaves, which tells its manager so; return whether it had one.

    Raises:
        FailedPrecondition: a worker runs in the foreground.
        Unavailable: the daemon did not end in time.

    """
    status = status_file.read(data.status)
    with locks.hold(locks.leave_of(data.path)):
        daemon(data).stop()
    check_not_running(data)
    return status is not None and bool(status.manager)


def check_not_running(data: DataDir) -> None:
    """Refuse to go on while a worker runs on this data directory, in the foreground perhaps.

    Raises:
        FailedPrecondition: one runs.

    """
    status = status_file.read(data.status)
    if status is not None:
        command = f"'systemctl stop {UNIT}', or 'kill {status.pid}' where no systemd runs it"
        raise FailedPrecondition(
            f"the worker of {data.path} runs, as process {status.pid}: stop it first, with {command}"
        )

"""Several hosts on one machine: namespaces, a virtual switch, and a Docker engine on each host.

See docs/lab.md for how to use it.
"""

from tests.lab.errors import CommandError, LabError
from tests.lab.host import Host
from tests.lab.lab import Lab, plain_engine
from tests.lab.load import Load, Report
from tests.lab.machine import BareMachine, SystemdHost
from tests.lab.process import Process, Result

__all__ = [
    "BareMachine",
    "CommandError",
    "Host",
    "Lab",
    "LabError",
    "Load",
    "Process",
    "Report",
    "Result",
    "SystemdHost",
    "plain_engine",
]

"""What a copy says of how far it is."""

from __future__ import annotations

import time

import pytest

from worker.volumes.copy import session
from worker.volumes.copy.control import Progress
from worker.volumes.copy.passes import Pass, Work
from worker.volumes.copy.send import Tally

MB = 10**6


class Heard:
    def __init__(self) -> None:
        self.reports: list[Progress] = []

    def report(self, report: Progress) -> None:
        self.reports.append(report)


@pytest.mark.parametrize(
    ("read", "made", "seconds"),
    [
        (0, [], 20),  # nothing is known yet: 50 MB/s
        (0, [Pass(Work(0, 100 * MB), 1.0, Work(0, 1000 * MB))], 10),  # as fast as the pass before
        (800 * MB, [Pass(Work(0, 100 * MB), 1.0, Work(0, 1000 * MB))], 1),  # as fast as so far, in the first file, too
    ],
)
def test_the_time_left_goes_by_what_was_read(
    monkeypatch: pytest.MonkeyPatch, read: int, made: list[Pass], seconds: float
) -> None:
    heard, now = Heard(), 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tick = session._Ticker(heard, 2, Work(0, 1000 * MB), made, began=0.0)  # type: ignore[arg-type]
    tick(Tally(read=read))
    assert not heard.reports, "not more often than twice a second"
    now = 4.0
    tick(Tally(read=read))
    (report,) = heard.reports
    assert (report.done, report.left) == (read, 1000 * MB - read)
    assert report.seconds == pytest.approx(seconds)

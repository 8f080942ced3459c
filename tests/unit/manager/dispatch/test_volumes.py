"""Lists of volumes as workers send them, in parts."""

from __future__ import annotations

from common.wire.allowances import size_of
from common.wire.volume_copy import MOST_BYTES, MOST_VOLUMES, VolumeReport
from manager.dispatch.volumes import VolumeReports
from tests.unit.manager.domain.test_volume_inventory import seen


def test_a_list_has_so_many_bytes_at_most() -> None:
    reports = VolumeReports("a")
    large = tuple(seen(f"v{n}", labels={f"l{m}": "x" * 1000 for m in range(30)}) for n in range(100))
    for _ in range(3):
        assert reports.take(VolumeReport(volumes=large, more=True)) is None
    found = reports.take(VolumeReport(volumes=(seen("last"),)))
    assert found is not None
    assert MOST_BYTES - 100_000 < sum(map(size_of, found.volumes)) <= MOST_BYTES
    assert found.cut
    again = reports.take(VolumeReport(volumes=(seen("last"),)))
    assert again is not None
    assert (len(again.volumes), again.cut) == (1, False)


def test_a_list_ends_with_its_last_part_and_is_bounded() -> None:
    reports = VolumeReports("a")
    assert reports.take(VolumeReport(volumes=(seen("one"),), more=True)) is None
    found = reports.take(VolumeReport(volumes=(seen("two"),)))
    assert found is not None
    assert ([each.name for each in found.volumes], found.cut) == (["one", "two"], False)
    for _ in range(3):
        reports.take(VolumeReport(volumes=tuple(seen(f"v{n}") for n in range(MOST_VOLUMES)), more=True))
    found = reports.take(VolumeReport())
    assert found is not None
    assert (len(found.volumes), found.cut) == (MOST_VOLUMES, True)

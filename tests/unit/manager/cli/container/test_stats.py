"""What a container uses, as the table shows it."""

import pytest

from manager.cli.container.stats import STATS, cpu_percent, row, unknown


def test_stats() -> None:
    stats = {
        "id": "b" * 64,
        "name": "/db",
        "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
        "memory_stats": {"usage": 3 << 20, "limit": 1 << 30, "stats": {"inactive_file": 1 << 20}},
        "networks": {"eth0": {"rx_bytes": 1500, "tx_bytes": 0}},
        "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 10}, {"op": "write", "value": 7}]},
        "pids_stats": {"current": 4},
    }
    assert cpu_percent(stats) == pytest.approx(40.0)
    shown = row(stats, "db")
    assert (shown["Container"], shown["ID"], row(stats, "db", no_trunc=True)["ID"]) == ("db", "b" * 12, "b" * 64)
    assert (shown["MemUsage"], shown["MemPerc"]) == ("2MiB / 1GiB", "0.20%")
    assert (shown["NetIO"], shown["BlockIO"], shown["PIDs"]) == ("1.5kB / 0B", "10B / 7B", "4")
    assert "db" in STATS.render([shown])
    assert STATS.render([unknown("web")]).split()[-10:] == ["web", "--", "--", "--", "/", "--", "--", "--", "--", "--"]
    # A container that does not run has no sample.
    assert cpu_percent({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "precpu_stats": {}}) == 0.0

"""`service stats`: sums of what each task uses, and dashes where nothing is known yet."""

from manager.cli.service.stats import STATS, complete, rows

OVERVIEW = [{"ID": "s1", "Name": "web", "Running": 2, "Desired": 3, "Failures": 4}, {"ID": "s2", "Name": "api"}]
MEASURED = {
    "ID": "s1",
    "Name": "web",
    "MemoryLimit": 64 << 20,
    "Tasks": [{"ID": "a", "CPU": 0.25, "Memory": float(10 << 20)}, {"ID": "b", "CPU": 1.5, "Memory": float(6 << 20)}],
}


def test_a_services_tasks_are_summed():
    text = STATS.render(rows(OVERVIEW, [MEASURED, {"ID": "s2", "Name": "api"}]))
    assert [line.split() for line in text.splitlines()] == [
        ["NAME", "TASKS", "CPU", "MEM", "LIMIT", "FAILURES/1H"],
        ["api", "0/0", "--", "--", "--", "0"],
        ["web", "2/3", "1.75", "16MiB", "128MiB", "4"],
    ]


def test_it_is_complete_when_each_task_has_a_rate():
    assert complete(OVERVIEW, [MEASURED])
    assert not complete(OVERVIEW, [{**MEASURED, "Tasks": [{"ID": "a", "Memory": 1.0}, {"ID": "b", "CPU": 1.0}]}])
    assert complete(OVERVIEW, [{"ID": "s2", "Name": "api"}])


def test_a_services_row_has_the_beginning_of_its_id():
    overview = [{"ID": "s" * 12, "Name": "web", "Running": 2, "Desired": 3}]
    usage = {**MEASURED, "ID": "s" * 25}
    assert rows(overview, [usage])[0]["Tasks"] == "2/3"
    assert complete(overview, [usage]) == complete(OVERVIEW, [MEASURED])
    assert not complete(overview, [{**usage, "Tasks": []}])

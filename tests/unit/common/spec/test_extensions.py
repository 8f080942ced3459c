"""Reservations in labels: numbers, or nothing."""

from pathlib import Path

import pytest

from common.errors import InvalidArgument
from common.model.update import Condition
from common.spec import extensions
from common.spec.extensions import CPUS_LABEL, MEMORY_LABEL, Extensions, amount_of_label

DOCS = Path(__file__).parents[4] / "docs" / "extensions.md"


def test_labels_that_are_somebody_elses_mean_nothing() -> None:
    assert extensions.read({"com.example.depends-on": "x", "swarm": "x"}) == Extensions()


def test_dependencies_have_a_condition_each() -> None:
    labels = {"swarm.x.depends-on": "db=healthy, migrate=completed,cache"}
    assert extensions.read(labels).depends_on == {
        "db": Condition.HEALTHY,
        "migrate": Condition.COMPLETED,
        "cache": Condition.STARTED,
    }
    assert extensions.names_depended_on(labels) == ("db", "migrate", "cache")
    assert extensions.names_depended_on({}) == ()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"swarm.x.depend-on": "db"}, 'label swarm.x.depend-on is unknown: did you mean "depends-on"?'),
        ({"swarm.x.qqqq": ""}, "label swarm.x.qqqq is unknown: known are "),
        ({"swarm.x.depends-on": "db=up"}, "label swarm.x.depends-on: expected db=started, healthy or completed"),
        ({"swarm.x.depends-on": ""}, "label swarm.x.depends-on: expected SERVICE="),
        ({"swarm.x.depends-on": "db,db=healthy"}, "each service once"),
        ({"swarm.x.on-rotate": "reboot"}, "label swarm.x.on-rotate: expected restart, file, or signal:NAME"),
        ({"swarm.x.on-rotate": "signal:SIGHUPP"}, "such as signal:SIGHUP"),
        ({"swarm.x.on-rotate": "signal:SIGKILL"}, "not SIGKILL"),
        ({"swarm.x.on-rotate": "signal:"}, "such as signal:SIGHUP"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_it(labels: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        extensions.read(labels)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "meant"),
    [("restart", "restart"), ("file", "file"), ("signal:SIGHUP", "signal:SIGHUP"), ("signal:usr1", "signal:SIGUSR1")],
)
def test_files_are_changed_with_or_without_a_signal(text: str, meant: str) -> None:
    assert extensions.read({"swarm.x.on-rotate": text}).on_rotate == meant


def test_every_extension_is_a_field_and_is_documented() -> None:
    text = DOCS.read_text()
    for extension in extensions.SERVICE:
        assert hasattr(Extensions(), extension.name.replace("-", "_"))
    for extension in (*extensions.SERVICE, *extensions.CONTAINER, *extensions.CLUSTER, *extensions.FILE):
        assert f"`{extension.label}`" in text, f"docs/extensions.md does not say what {extension.label} is"


def test_each_label_has_its_amount() -> None:
    labels = {CPUS_LABEL: "1500000000", MEMORY_LABEL: "0"}
    assert amount_of_label(labels, CPUS_LABEL) == 1_500_000_000
    assert amount_of_label(labels, MEMORY_LABEL) == 0
    assert amount_of_label({}, CPUS_LABEL) == 0


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e9", " 1", "٣", "9" * 20])
def test_what_is_not_an_amount_reserves_nothing(text: str) -> None:
    assert amount_of_label({CPUS_LABEL: text}, CPUS_LABEL) == 0

"""What is said of a move or a copy while it is followed."""

from __future__ import annotations

from typing import Any

import pytest

from manager.cli.failures import CommandFailed
from manager.cli.network.volume_copies import follow, what


class Followed:
    """A client to whom a transfer looks like one of these after the other."""

    def __init__(self, *looks: dict[str, Any]) -> None:
        self._looks = list(looks)

    async def get(self, _: str) -> list[dict[str, Any]]:
        if not self._looks:
            return []
        usual = {"ID": "t", "Kind": "copy", "Volumes": ["data"], "From": "h1", "To": "h2", "Name": "again", "Note": ""}
        return [{**usual, "Hold": "pause", "Phase": "copying", "Downtime": 0.0, **self._looks.pop(0)}]


async def test_progress_and_the_end_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    far = {"Done": 1024**3, "Left": 1024**3, "Seconds": 40.2}
    await follow(Followed(far, far, {"Phase": "done", "Downtime": 0.42}), "t")  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "copying: 50 % of 2GiB, 40 seconds left",
        "copied; its tasks were paused for 0.4 s",
    ]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"Kind": "move", "Hold": ""}, "moved; its tasks were stopped for 2.0 s"),
        ({"Kind": "move", "Hold": "", "Downtime": 0.0}, "moved; no task used it"),
        ({"Hold": "stop", "Downtime": 0.0}, "copied; no task used it"),
        ({"Hold": "stop"}, "copied; its tasks were stopped for 2.0 s"),
        (
            {"Hold": "live"},
            "copied; its tasks ran on: of what changed meanwhile it may have some from before and some after",
        ),
    ],
)
async def test_what_it_cost_is_told(how: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    await follow(Followed({"Phase": "done", "Downtime": 2.0, **how}), "t")  # type: ignore[arg-type]
    assert capsys.readouterr().out == f"{words}\n"


async def test_what_to_write_for_two_of_one_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    await follow(Followed({"Phase": "done", "Name": "data"}), "t")  # type: ignore[arg-type]
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == ["from now on write h1/data for the original, h2/data for the copy"]


async def test_what_is_to_be_noted_is_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    await follow(Followed({"Phase": "done", "Note": "the old copy stays on h1"}), "t")  # type: ignore[arg-type]
    assert capsys.readouterr().err == "the old copy stays on h1\n"


async def test_a_record_that_is_gone_is_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that have ended the newest are kept: `node drain --move-volumes` follows one after the other."""
    await follow(Followed(), "t")  # type: ignore[arg-type]
    assert "it has ended" in capsys.readouterr().out


async def test_a_failure_is_one_of_the_command() -> None:
    with pytest.raises(CommandFailed, match="not copied: it is full; its tasks go on running on h1"):
        await follow(Followed({"Phase": "failed", "Error": "it is full"}), "t")  # type: ignore[arg-type]


def test_a_copys_name_is_part_of_its_way() -> None:
    way = {"Volumes": ["a", "b"], "From": "h1", "To": "h2", "Name": "a"}
    assert what({"Kind": "move", **way}) == "a, b from h1 to h2"
    assert what({"Kind": "copy", **way}) == "a, b from h1 to h2/a"

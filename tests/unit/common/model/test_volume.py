"""Copies of volumes, claims to them, and moves."""

import pytest

from common.model.volume import Transfer, Volume, VolumeClaim, claim_id, volume_id


@pytest.mark.parametrize(
    ("volume", "eligible"),
    [
        (Volume(), True),
        (Volume(data_id="a", generation=1), True),
        (Volume(data_id="a"), False),  # a move to there has not come to its end
        (Volume(role="left"), False),
        (Volume(role="retired", data_id="a", generation=2), False),
        (Volume(missing_since=1.0), False),
    ],
)
def test_a_slot_takes_no_copy_that_is_old_partial_or_away(volume: Volume, *, eligible: bool) -> None:
    assert volume.eligible is eligible


def test_ids_say_where_and_whose() -> None:
    assert volume_id("n1", "data") == "n1/data"
    assert claim_id("shop_db", 2, "data") == "shop_db/2/data"


def test_a_claim_names_its_slot() -> None:
    claim = VolumeClaim(service="db", slot=2, volume="data")
    assert (claim.name, claim.holder) == ("data", "db.2")


@pytest.mark.parametrize(("phase", "active"), [("copying", True), ("last", True), ("done", False), ("failed", False)])
def test_a_move_goes_on_until_it_is_done_or_failed(phase: str, *, active: bool) -> None:
    assert Transfer(phase=phase).active is active


def test_a_move_is_called_by_its_first_volume() -> None:
    assert Transfer(id="x", volumes=("a", "b")).name == "a"
    assert Transfer(id="x").name == "x"

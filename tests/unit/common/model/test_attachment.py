"""A plain container in the cluster's networks: what it answers to, and how far it is."""

from common.model.attachment import AttachedEnd, AttachmentStatus, NetworkAttachment

CONTAINER = "0123456789abcdef" * 4


def test_it_answers_to_its_short_id_and_its_own_name() -> None:
    attachment = NetworkAttachment(name="web", hostname="inside", container_id=CONTAINER)
    assert attachment.names() == ("0123456789ab", "inside")


def test_no_name_is_there_twice_or_empty() -> None:
    assert NetworkAttachment(name="web", hostname="web").names() == ()
    assert NetworkAttachment(name="web", hostname=CONTAINER[:12], container_id=CONTAINER).names() == (CONTAINER[:12],)


def test_the_worker_tells_a_container_that_is_not_known_yet() -> None:
    assert NetworkAttachment(status=AttachmentStatus(container_id="seen")).container == "seen"
    assert NetworkAttachment(container_id="made", status=AttachmentStatus(container_id="seen")).container == "made"


def test_it_lives_until_its_last_network_is_taken() -> None:
    assert NetworkAttachment().live
    assert not NetworkAttachment(ended_at=1.0).live


def test_an_end_is_found_by_its_network() -> None:
    end = AttachedEnd(network_id="n1")
    attachment = NetworkAttachment(status=AttachmentStatus(ends=(end,)))
    assert attachment.end_in("n1") == end
    assert attachment.end_in("n2") is None

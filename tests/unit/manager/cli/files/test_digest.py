"""A label that tells whether a secret changes, and not what it is."""

from manager.cli.files.digest import LABEL, decode_content, make, matches, with_digest


def test_a_digest_is_its_contents_and_no_others() -> None:
    digest = make(b"hunter2")
    assert matches(digest, b"hunter2")
    assert not matches(digest, b"hunter3")
    assert not matches(digest, b"hunter2\0"), "zeros at the end count"


def test_two_digests_of_one_content_differ() -> None:
    assert make(b"hunter2") != make(b"hunter2")


def test_a_known_digest_is_kept_if_it_is_right() -> None:
    known = make(b"a")
    assert with_digest({"x": "y"}, b"a", known) == {"x": "y", LABEL: known}
    changed = with_digest({}, b"b", known)[LABEL]
    assert changed != known
    assert matches(changed, b"b")


def test_content_comes_as_base64() -> None:
    assert decode_content("aHVudGVyMg==") == b"hunter2"

"""Image references in parts."""

import pytest

from common.text.image_names import (
    Image,
    begins_with,
    familiar,
    full_name,
    is_id_prefix,
    pin,
    pinned_digest,
    repository,
    short_name,
)

ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")


@pytest.mark.parametrize(
    ("reference", "pinned", "name"),
    [
        ("web", f"web:latest@{ONE}", "web"),
        ("web:1", f"web:1@{ONE}", "web"),
        ("reg.example:5000/team/web", f"reg.example:5000/team/web:latest@{ONE}", "reg.example:5000/team/web"),
        ("docker.io/library/web:1", f"docker.io/library/web:1@{ONE}", "web"),
        (TWO, ONE, "sha256"),
    ],
)
def test_a_name_is_pinned_as_with_a_digest(reference: str, pinned: str, name: str) -> None:
    assert pin(reference, ONE) == pinned
    assert pinned_digest(pinned) == ONE
    assert repository(reference) == name


@pytest.mark.parametrize("reference", ["web", "web:1", "web@sha256:12", "web:1@sha512:" + "a" * 128])
def test_what_names_no_id_is_not_pinned(reference: str) -> None:
    assert pinned_digest(reference) == ""


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("web", "web:latest"),
        ("docker.io/library/web:1", "web:1"),
        ("docker.io/team/web", "team/web:latest"),
        ("library/web", "web:latest"),
        ("reg.example:5000/web", "reg.example:5000/web:latest"),
        (f"docker.io/library/web:1@{ONE}", f"web@{ONE}"),
    ],
)
def test_a_name_is_kept_in_one_form(reference: str, full: str) -> None:
    assert full_name(reference) == full
    assert full_name(full) == full


@pytest.mark.parametrize(
    ("reference", "short"),
    [
        ("web", "web:latest"),
        ("docker.io/web", "web:latest"),
        ("docker.io/library/web:1", "web:1"),
        ("index.docker.io/team/web:1", "team/web:1"),
        ("library/web", "web:latest"),
        ("library/team/web", "library/team/web:latest"),
        ("reg.example:5000/library/web", "reg.example:5000/library/web:latest"),
        (f"docker.io/library/web:1@{ONE}", f"web:1@{ONE}"),
        (f"docker.io/web@{ONE}", f"web@{ONE}"),
        (ONE, ONE),
    ],
)
def test_a_name_is_shortened_as_docker_does(reference: str, short: str) -> None:
    assert familiar(reference) == short
    assert familiar(short) == short


def test_an_id_begins_with_its_digits_and_a_name_is_none() -> None:
    assert begins_with(ONE, ONE)
    assert begins_with(ONE, "1111")
    assert begins_with(ONE, "sha256:1111")
    assert not begins_with(ONE, "12")
    assert not begins_with("web:1", "we")
    assert is_id_prefix("cafe")
    assert not is_id_prefix("web")


DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("nginx", Image("docker.io", "library/nginx")),
        ("team/app:1.2", Image("docker.io", "team/app", "1.2")),
        ("localhost/app", Image("localhost", "app")),
        ("registry.example:5000/a/b:1", Image("registry.example:5000", "a/b", "1")),
        ("index.docker.io/library/nginx", Image("docker.io", "library/nginx")),
        (f"nginx@{DIGEST}", Image("docker.io", "library/nginx", "", DIGEST)),
        (f"nginx:1@{DIGEST}", Image("docker.io", "library/nginx", "1", DIGEST)),
    ],
)
def test_references(text: str, image: Image):
    assert Image.parse(text) == image


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "nginx:", "nginx:a b", "nginx@sha256:12", "/x", "http://x/y"])
def test_what_is_no_reference(text: str):
    with pytest.raises(ValueError, match="invalid reference format"):
        Image.parse(text)


def test_in_a_table_the_digest_is_left_out_if_there_is_a_tag():
    assert short_name(f"docker.io/library/nginx:1@{DIGEST}") == "nginx:1"
    assert short_name(f"nginx@{DIGEST}") == f"nginx@{DIGEST}"
    assert short_name("not an image") == "not an image"


def test_pinning_names_the_content_and_keeps_the_tag():
    assert str(Image.parse("nginx").pinned(DIGEST)) == f"nginx:latest@{DIGEST}"
    assert str(Image.parse("r.example/a:2").pinned(DIGEST)) == f"r.example/a:2@{DIGEST}"

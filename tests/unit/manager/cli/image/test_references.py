import pytest

from manager.cli.image.references import Image, short_name

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

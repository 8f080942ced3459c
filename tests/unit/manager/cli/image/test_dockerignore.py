import pytest

from common.errors import InvalidArgument
from manager.cli.image.dockerignore import Ignored


@pytest.mark.parametrize(
    ("patterns", "ignored", "sent"),
    [
        ("*.log", ["a.log"], ["a.txt", "sub/a.log"]),
        ("**/*.log", ["a.log", "sub/a.log", "a/b/c.log"], ["a.txt"]),
        ("/build", ["build", "build/x"], ["src/build"]),
        ("node_modules\n!node_modules/keep", ["node_modules", "node_modules/x"], ["node_modules/keep"]),
        ("*\n!src\n!src/**", ["other", "a/b"], ["src", "src/a/b"]),
        ("# a comment\n\n  spaced  \n", ["spaced"], ["# a comment"]),
        ("file?.[ch]", ["file1.c", "file2.h"], ["file.c", "file1.o"]),
        ("a[^b]c\na[!d]e", ["axc", "ade"], ["abc", "axe"]),
        ("docs/**", ["docs/a/b"], ["docs.md"]),
        (r"we\*rd", ["we*rd"], ["weird"]),
        (".", [], ["anything"]),
        ("a\n!a\na", ["a"], []),
    ],
)
def test_patterns_are_dockers(patterns: str, ignored: list[str], sent: list[str]) -> None:
    rules = Ignored.parse(patterns)
    assert [path for path in [*ignored, *sent] if rules.ignores(path)] == ignored


def test_a_pattern_that_is_none_is_named_with_its_line() -> None:
    with pytest.raises(InvalidArgument, match=r"\.dockerignore:2: 'a\[z-a\]'"):
        Ignored.parse("ok\na[z-a]\n")

from hypothesis import given
from hypothesis import strategies as st

from manager.cli.tabwriter import align


def test_a_column_is_as_wide_as_its_widest_cell_and_at_least_ten():
    assert align("ID\tNAME\nabc\tx\n") == "ID        NAME\nabc       x\n"
    assert align("ID\tNAME\n0123456789\tx\n") == f"ID{' ' * 11}NAME\n0123456789   x\n"


def test_a_line_without_a_cell_ends_the_column():
    assert align("a\tb\nplain\nlonger than ten\tb") == "a         b\nplain\nlonger than ten   b"


@given(st.lists(st.lists(st.text("ab ", max_size=15), min_size=1, max_size=4), min_size=1, max_size=6))
def test_every_cell_keeps_its_text_and_no_tab_is_left(lines: list[list[str]]):
    out = align("\n".join("\t".join(cells) for cells in lines)).split("\n")
    assert len(out) == len(lines)
    for cells, line in zip(lines, out, strict=True):
        assert "\t" not in line
        assert line.replace(" ", "") == "".join(cells).replace(" ", "")

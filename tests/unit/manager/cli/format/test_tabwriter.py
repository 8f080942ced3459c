from manager.cli.format.tables import align


def test_a_column_is_as_wide_as_its_widest_cell_and_at_least_ten():
    assert align("ID\tNAME\nabc\tx\n") == "ID        NAME\nabc       x\n"
    assert align("ID\tNAME\n0123456789\tx\n") == f"ID{' ' * 11}NAME\n0123456789   x\n"


def test_a_line_without_a_cell_ends_the_column():
    assert align("a\tb\nplain\nlonger than ten\tb") == "a         b\nplain\nlonger than ten   b"

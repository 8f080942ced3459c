import pytest

from manager.cli.compose import Config, render


def rendered(value: object) -> str:
    sections = {"services": {"web": {"image": value}}, "networks": {}, "volumes": {}, "secrets": {}, "configs": {}}
    return render(Config("3.13", sections)).split("image:")[1].strip(" ").removesuffix("\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("yes", '"yes"'),
        ("null", '"null"'),
        ("12", '"12"'),
        ("0x1f", '"0x1f"'),
        ("190:20:30", '"190:20:30"'),
        ("2024-01-31", '"2024-01-31"'),
        ("10.0.0.1", "10.0.0.1"),
        ("10s", "10s"),
        ("a: b", "'a: b'"),
        ("$x", "$$x"),
        ("ü✓", "ü✓"),
        ("two\nlines\n", "|\n      two\n      lines"),
        (0.5, "0.5"),
        (12, "12"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_values_are_written_so_that_any_yaml_reads_them_back(value: object, text: str) -> None:
    assert rendered(value) == text


def test_empty_sections_are_left_out_and_services_are_not() -> None:
    sections = {"services": {}, "networks": {}, "volumes": {}, "secrets": {}, "configs": {}}
    assert render(Config("3.8", sections, {"x-a": [1]})) == 'version: "3.8"\nservices: {}\nx-a:\n- 1\n'

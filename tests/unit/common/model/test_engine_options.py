import pytest

from common.model.container import ContainerSpec
from common.model.engine_options import LABEL, NOTHING, Device, EngineOptions, options_of, parse, with_options

SOME = EngineOptions(privileged=True, devices=(Device(path_on_host="/dev/a", path_in_container="/dev/b"),))


def test_options_are_one_label_in_the_engines_words() -> None:
    spec = with_options(ContainerSpec(labels={"a": "b"}), SOME)
    assert spec.labels == {
        "a": "b",
        LABEL: '{"Privileged":true,"Devices":[{"PathOnHost":"/dev/a","PathInContainer":"/dev/b"}]}',
    }
    assert options_of(spec) == SOME


def test_no_options_are_no_label() -> None:
    assert options_of(ContainerSpec()) == NOTHING
    assert with_options(with_options(ContainerSpec(), SOME), NOTHING) == ContainerSpec()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Input data was truncated"),
        ('{"Privilege":true}', "unknown field `Privilege`"),
        ('{"Privileged":"yes"}', r"Expected `bool`, got `str` - at `\$.Privileged`"),
        ('{"Devices":[{"Path":"/dev/a"}]}', "unknown field `Path`"),
        ('{"OomScoreAdj":3}', "unknown field"),
    ],
)
def test_what_is_not_understood_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)

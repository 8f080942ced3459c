"""Our normalised configuration against `docker stack config`, key by key, over the corpus."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from manager.cli.compose import ComposeError, ComposeFile, load
from manager.cli.compose.render import as_tree, render
from tests.bench.compose import Who, compare, compose_files
from tests.compose_corpus import DIFFERENCES, ENVIRONMENT, ROOT, Case, cases, docker_config, load_case, read
from tests.compose_corpus.compare import comparable, differences
from tests.docker_cli.program import unfit

needs_docker = pytest.mark.skipif(bool(unfit()), reason=unfit())
PAGE = Path(__file__).parents[2] / "docs" / "compose.md"


def by_name(case: Case) -> str:
    return case.name


@needs_docker
@pytest.mark.parametrize("case", cases("same", "merged", "differs"), ids=by_name)
def test_the_result_is_dockers_but_for_the_listed_differences(case: Case) -> None:
    theirs, error = docker_config(case)
    assert theirs is not None, error
    theirs, ours, listed = comparable(theirs), comparable(as_tree(load_case(case))), DIFFERENCES.get(case.name, {})
    assert {path for path, _, _ in differences(ours, theirs)} == set(listed)
    if case.name.startswith("same/"):  # then the text has Docker's keys in Docker's order, too
        assert [key for key in _keys_in_order(ours) if key not in listed] == _keys_in_order(theirs)


def _keys_in_order(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        inner = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
        return [name for key, item in inner for name in (key, *_keys_in_order(item, key))]
    if isinstance(value, list):
        return [name for index, item in enumerate(value) for name in _keys_in_order(item, f"{path}[{index}]")]
    return []


@needs_docker
def test_unset_variables_are_left_as_docker_leaves_them() -> None:
    (case,) = (each for each in cases("same") if each.name == "same/dollars_in_defaults")
    theirs, error = docker_config(case, "--skip-interpolation")
    assert theirs is not None, error
    ours = load_case(case, filled_in=False)
    assert as_tree(ours) == theirs
    assert yaml.safe_load(render(ours, filled_in=False)) == theirs


@needs_docker
@pytest.mark.parametrize("case", cases("refused"), ids=by_name)
def test_both_refuse(case: Case) -> None:
    theirs, _ = docker_config(case)
    assert theirs is None
    with pytest.raises(ComposeError):
        load_case(case)


@needs_docker
@pytest.mark.parametrize("case", cases("only_here"), ids=by_name)
def test_docker_refuses_what_is_listed_as_accepted_only_here(case: Case) -> None:
    theirs, _ = docker_config(case)
    assert theirs is None
    assert load_case(case).services


@needs_docker
@pytest.mark.parametrize("case", cases("only_docker"), ids=by_name)
def test_docker_accepts_what_is_listed_as_refused_only_here(case: Case) -> None:
    theirs, error = docker_config(case)
    assert theirs is not None, error
    with pytest.raises(ComposeError):
        load_case(case)


@pytest.mark.parametrize("case", cases("refused"), ids=by_name)
def test_a_refusal_says_where_and_what(case: Case) -> None:
    expected = case.files[-1].read_text().splitlines()[0].removeprefix("# expect: ")
    with pytest.raises(ComposeError) as caught:
        load_case(case)
    first = str(caught.value).splitlines()[0].replace(str(case.directory), "DIRECTORY")
    assert first == f"{case.files[-1].name}:{expected}"


@pytest.mark.parametrize("case", cases("same", "merged", "differs", "only_here"), ids=by_name)
def test_the_rendered_text_loads_back_to_the_same(case: Case) -> None:
    config = load_case(case)
    again = load([ComposeFile("rendered", render(config))], ENVIRONMENT, _no_dotenv, str(case.directory))
    assert as_tree(again) == as_tree(config)


def _no_dotenv(path: str) -> bytes:
    if path.endswith("/.env"):
        raise FileNotFoundError(path)
    return read(path)


def test_the_corpus_is_large_and_its_differences_are_documented() -> None:
    every = cases("same", "merged", "differs", "refused", "only_here", "only_docker")
    assert len(every) >= 100
    assert DIFFERENCES.keys() <= {case.name for case in every}
    table = PAGE.read_text(encoding="utf-8")
    reasons = {reason for paths in DIFFERENCES.values() for reason in paths.values()}
    one_sided = {case.name for case in cases("only_here", "only_docker")}
    assert [name for name in sorted(reasons | one_sided) if f"`{name}`" not in table] == []


@needs_docker
def test_a_folder_of_files_is_sorted_by_who_takes_them() -> None:
    paths = [path for folder in ("same", "differs", "refused") for path in compose_files(ROOT / folder)]
    found = {path.stem: compare(path).who for path in paths if path.stem in ("minimal", "port_address", "bad_port")}
    assert found["minimal"] is Who.EQUAL
    assert found["port_address"] is Who.DIFFER
    assert found["bad_port"] is Who.NEITHER
    assert compare(ROOT / "only_here" / "tabs.yaml").who is Who.OURS
    assert compare(ROOT / "only_docker" / "two_documents.yaml").who is Who.DOCKERS

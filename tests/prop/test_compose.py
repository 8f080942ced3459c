"""Properties of compose loading: it fails only in its own way, its syntaxes agree, and merging is what it says."""

import string
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.text.quantities import format_duration, parse_duration
from manager.cli.compose import ComposeError, ComposeFile, Config, convert, load, render
from manager.cli.compose.interpolate import InterpolationError, Variables, escape, substitute
from manager.cli.compose.render import as_tree
from manager.cli.compose.yaml_loader import load_yaml

NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
ENVIRONMENTS = st.dictionaries(NAMES, st.text(max_size=12), max_size=4)
# Text in which YAML's and our own punctuation is likely.
NOISE = st.text(st.sampled_from("ab1:-?#&*!|>%@`'\"{}[],.$\t\n \\\x00\x85\u2028é~=<") | st.characters(), max_size=80)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["80:80", "1s", "5M", "${A}", "$", "x-a"])
)
KEYS = st.sampled_from(
    [
        "services",
        "networks",
        "volumes",
        "secrets",
        "configs",
        "version",
        "web",
        "deploy",
        "image",
        "ports",
        "environment",
        "labels",
        "healthcheck",
        "test",
        "command",
        "ulimits",
        "nofile",
        "resources",
        "limits",
        "cpus",
        "memory",
        "external",
        "name",
        "file",
        "replicas",
        "update_config",
        "x-a",
        "source",
        "target",
        "type",
        "env_file",
        "extends",
        "include",
        "profiles",
        "path",
        "service",
    ]
) | st.text(max_size=4)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25
)


def nothing(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


def load_texts(*texts: str, env: dict[str, str] | None = None) -> Config:
    files = [ComposeFile(str(number), text) for number, text in enumerate(texts)]
    return load(files, env if env is not None else {"HOME": "/home/me"}, nothing, "/project")


def written(tree: dict[str, Any]) -> str:
    """Write a tree as YAML's JSON subset."""
    return msgspec.json.encode(tree).decode()


# Never anything but ComposeError.


def refusal(act: Callable[[], object]) -> ComposeError | None:
    """Do something that may be refused, and in no other way fail."""
    try:
        act()
    except ComposeError as error:
        return error
    return None


def well_put(act: Callable[[], object]) -> bool:
    """Whether something is done, or refused with words for each problem."""
    error = refusal(act)
    return error is None or all(problem.message for problem in error.problems)


@given(NOISE)
@example("a: &a [*a]")
@example("? [a]\n: b")
@example("a: !!float x")
@example("<<: {a: 1}")
@example("!!binary : a")
def test_arbitrary_text_is_a_document_or_a_compose_error(text: str) -> None:
    error = refusal(lambda: load_yaml("f", text))
    assert error is None or error.problems


@given(NOISE, NOISE)
def test_arbitrary_service_text_loads_or_is_a_compose_error(key: str, value: str) -> None:
    assert well_put(
        lambda: convert(load_texts(f"services:\n  web:\n    image: a\n    {key}: {value}\n"), "st", nothing)
    )


@settings(max_examples=300)
@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_arbitrary_trees_load_and_convert_or_are_a_compose_error(tree: dict[str, Any]) -> None:
    assert well_put(lambda: convert(load_texts(written(tree)), "st", nothing))


SERVICE_KEYS = st.sampled_from(
    [
        "build",
        "cap_add",
        "command",
        "configs",
        "credential_spec",
        "depends_on",
        "deploy",
        "dns",
        "entrypoint",
        "env_file",
        "environment",
        "expose",
        "extends",
        "extra_hosts",
        "healthcheck",
        "init",
        "isolation",
        "labels",
        "logging",
        "networks",
        "ports",
        "profiles",
        "read_only",
        "restart",
        "secrets",
        "stop_grace_period",
        "sysctls",
        "tmpfs",
        "tty",
        "ulimits",
        "volumes",
    ]
)


@settings(max_examples=300)
@given(st.dictionaries(SERVICE_KEYS, TREES, max_size=3))
def test_arbitrary_service_values_convert_or_are_a_compose_error(service: dict[str, Any]) -> None:
    def act() -> None:
        config = load_texts(written({"services": {"web": {"image": "a", **service}}}))
        render(config)
        convert(config, "st", nothing)

    assert well_put(act)


# Interpolation.


@given(st.text(), ENVIRONMENTS)
def test_an_escaped_text_is_itself(text: str, env: dict[str, str]) -> None:
    assert substitute(escape(text), Variables(env)) == text


@given(st.lists(st.tuples(st.text(max_size=5), NAMES), max_size=5), ENVIRONMENTS)
def test_variables_are_replaced_and_the_rest_is_left(parts: list[tuple[str, str]], env: dict[str, str]) -> None:
    template = "".join(f"{escape(text)}${{{name}}}" for text, name in parts)
    assert substitute(template, Variables(env)) == "".join(text + env.get(name, "") for text, name in parts)


@given(NAMES, st.text(st.characters(exclude_characters="${}"), max_size=10), ENVIRONMENTS)
def test_the_operators_agree_with_each_other(name: str, word: str, env: dict[str, str]) -> None:
    value = env.get(name)
    assert substitute(f"${{{name}-{word}}}", Variables(env)) == (word if value is None else value)
    assert substitute(f"${{{name}:-{word}}}", Variables(env)) == (value or word)
    assert substitute(f"${{{name}+{word}}}", Variables(env)) == ("" if value is None else word)
    assert substitute(f"${{{name}:+{word}}}", Variables(env)) == (word if value else "")


@given(NOISE, ENVIRONMENTS)
def test_arbitrary_templates_are_filled_in_or_refused(text: str, env: dict[str, str]) -> None:
    try:
        substitute(text, Variables(env))
        refused = ""
    except InterpolationError as error:
        refused = str(error)
    assert not refused or "$" in text


# Short and long syntax say the same.

PORTS = st.integers(1, 65535)
PROTOCOLS = st.sampled_from(["tcp", "udp", "sctp"])


@given(PORTS, st.none() | PORTS, PROTOCOLS)
def test_ports(target: int, published: int | None, protocol: str) -> None:
    short = (f"{published}:" if published else "") + f"{target}/{protocol}"
    long: dict[str, Any] = {"target": target, "protocol": protocol, "mode": "ingress"}
    if published:
        long["published"] = published
    assert same({"ports": [short]}, {"ports": [long]})


@given(NAMES, st.booleans(), st.booleans())
def test_volumes(name: str, read_only: bool, nocopy: bool) -> None:
    options = [option for option, wanted in (("ro", read_only), ("nocopy", nocopy)) if wanted]
    short = f"{name}:/data" + (":" + ",".join(options) if options else "")
    long: dict[str, Any] = {"type": "volume", "source": name, "target": "/data", "read_only": read_only}
    if nocopy:
        long["volume"] = {"nocopy": True}
    assert same({"volumes": [short]}, {"volumes": [long]})


@given(
    st.dictionaries(NAMES, st.text(st.characters(exclude_characters="$", exclude_categories=["C"]), max_size=8)), NAMES
)
def test_mappings_and_lists(pairs: dict[str, str], network: str) -> None:
    as_list = [f"{name}={value}" for name, value in pairs.items()]
    for key in ("environment", "labels", "sysctls"):
        assert same({key: pairs}, {key: as_list})
    assert same({"networks": [network]}, {"networks": {network: None}})
    for key in ("secrets", "configs"):
        assert same({key: [network]}, {key: [{"source": network}]})


def same(short: dict[str, Any], long: dict[str, Any]) -> bool:
    """Whether two ways to write a service are one."""
    trees = [as_tree(load_texts(written({"services": {"web": {"image": "a", **keys}}}))) for keys in (short, long)]
    return trees[0] == trees[1]


# Merging and writing.

SMALL = st.sampled_from(["a", "b", "c"])
# Values that are not zero: an override cannot take a value back to nothing, so merging them is associative.
SERVICES = st.fixed_dictionaries(
    {},
    optional={
        "image": SMALL,
        "command": st.lists(SMALL, min_size=1, max_size=2),
        "environment": st.dictionaries(SMALL, st.text("xyz", min_size=1, max_size=3), min_size=1),
        "labels": st.dictionaries(SMALL, SMALL, min_size=1),
        "cap_add": st.lists(SMALL, min_size=1, unique=True),
        "dns": st.lists(SMALL, min_size=1, unique=True),
        "secrets": st.lists(SMALL, min_size=1, unique=True).map(sorted),
        "networks": st.lists(SMALL, min_size=1, unique=True),
        "deploy": st.fixed_dictionaries(
            {},
            optional={
                "replicas": st.integers(0, 5),
                "labels": st.dictionaries(SMALL, SMALL, min_size=1),
                "resources": st.fixed_dictionaries(
                    {}, optional={"limits": st.just({"cpus": "1"}), "reservations": st.just({"memory": "1m"})}
                ),
            },
        ),
    },
)
FILES = st.fixed_dictionaries(
    {"services": st.dictionaries(SMALL, SERVICES, max_size=2)},
    optional={"networks": st.dictionaries(SMALL, st.sampled_from([{"driver": "x"}, {"internal": True}]), min_size=1)},
)


@settings(deadline=None)
@given(FILES, FILES, FILES)
def test_merging_is_associative_unless_something_is_reset(one: Any, two: Any, three: Any) -> None:
    flat = load_texts(written(one), written(two), written(three))
    first_two = render(load_texts(written(one), written(two)))
    last_two = render(load_texts(written(two), written(three)))
    assert as_tree(load_texts(first_two, written(three))) == as_tree(flat)
    assert as_tree(load_texts(written(one), last_two)) == as_tree(flat)


@given(FILES)
def test_merging_a_file_with_itself_or_nothing_changes_nothing(tree: Any) -> None:
    alone = as_tree(load_texts(written(tree)))
    assert as_tree(load_texts(written(tree), written(tree))) == alone
    assert as_tree(load_texts(written(tree), "services: {}")) == alone
    assert as_tree(load_texts("services: {}", written(tree))) == alone


# A service that begins as another one, and a file in a file.


def load_files(main: dict[str, Any], **files: dict[str, Any]) -> Config:
    """Load a file beside others that it names."""

    def read(path: str) -> bytes:
        name = path.removeprefix("/project/")
        return written(files[name]).encode() if name in files else nothing(path)

    return load([ComposeFile("main", written(main))], {}, read, "/project")


@given(SERVICES, SERVICES)
def test_a_service_that_extends_is_one_file_over_the_other(base: Any, own: Any) -> None:
    merged = load_texts(written({"services": {"web": base}}), written({"services": {"web": own}}))
    here = load_files({"services": {"base": base, "web": {"extends": "base", **own}}})
    extends = {"service": "base", "file": "f"}
    there = load_files({"services": {"web": {"extends": extends, **own}}}, f={"services": {"base": base}})
    assert here.services["web"] == there.services["web"] == merged.services["web"]


@given(SERVICES, SERVICES, SERVICES)
def test_extending_is_associative(one: Any, two: Any, three: Any) -> None:
    chain = load_files({"services": {"a": one, "b": {"extends": "a", **two}, "c": {"extends": "b", **three}}})
    as_files = load_texts(*(written({"services": {"c": each}}) for each in (one, two, three)))
    assert chain.services["c"] == as_files.services["c"]


@given(FILES, FILES)
def test_an_included_file_is_there_as_it_is_alone(inner: Any, outer: Any) -> None:
    alone, beside = load_files(inner), load_files(outer)
    clash = any(
        each != beside.sections[section].get(name, each)
        for section, entries in alone.sections.items()
        for name, each in entries.items()
    )
    error = refusal(lambda: load_files({"include": ["f"], **outer}, f=inner))
    assert (error is not None) == clash
    if not clash:
        both = load_files({"include": ["f"], **outer}, f=inner)
        assert both.sections == {name: {**alone.sections[name], **beside.sections[name]} for name in both.sections}


@given(st.lists(SMALL, max_size=3, unique=True), st.lists(SMALL, max_size=2))
def test_a_service_is_deployed_with_each_of_its_profiles(own: list[str], chosen: list[str]) -> None:
    text = written({"services": {"web": {"image": "a", "profiles": own}}})
    config = load_texts(text, env={"COMPOSE_PROFILES": ",".join(chosen)})
    assert ("web" in config.services) == (not own or bool(set(own) & set(chosen)))
    assert ("web" in config.skipped) == ("web" not in config.services)


VALUES = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=12) | NOISE.filter(str.isprintable)


@given(VALUES, VALUES, st.dictionaries(NAMES, VALUES, max_size=3))
def test_what_is_rendered_loads_back(image: str, argument: str, environment: dict[str, str]) -> None:
    service = {
        "image": escape(image),
        "command": [escape(argument)],
        "environment": {k: escape(v) for k, v in environment.items()},
    }
    config = load_texts(written({"services": {"web": service}}), env={})
    assert as_tree(load_texts(render(config), env={})) == as_tree(config)


@given(st.integers(0, 2**62))
def test_durations_survive_being_written(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds

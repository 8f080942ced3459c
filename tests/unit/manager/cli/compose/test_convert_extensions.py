"""What files say beyond the Docker API: labels of services."""

import pytest

from manager.cli.compose import ComposeError
from tests.unit.manager.cli.compose.stacks import refusal, service, stack

PAIR = "services:\n  web:\n    image: web\n    {web}\n  db:\n    image: db\n    {db}\n"


def depends_on(web: str, db: str = "") -> str | None:
    made = stack(PAIR.format(web=web, db=db))
    return made.services["web"].labels.get("swarm.x.depends-on")


def test_depends_on_becomes_a_label_with_full_names() -> None:
    assert depends_on("depends_on: [db]") == "shop_db=started"
    assert depends_on("depends_on: {db: {condition: service_healthy}}") == "shop_db=healthy"
    once = "deploy: {restart_policy: {condition: on-failure}}"
    long = "depends_on: {db: {condition: service_completed_successfully}}"
    assert depends_on(long, once) == "shop_db=completed"
    assert depends_on(long, "restart: on-failure:3") == "shop_db=completed"
    assert depends_on(long, "deploy: {mode: replicated-job}") == "shop_db=completed"
    assert depends_on("depends_on: {cache: {required: false}}") is None


@pytest.mark.parametrize(
    ("web", "db", "words"),
    [
        ("depends_on: [db]", "depends_on: [web]", "depend on each other in a cycle: db → web → db"),
        ("depends_on: [web]", "", "in a cycle: web → web"),
        (
            "depends_on: {db: {condition: service_completed_successfully}}",
            "",
            'the service db never completes: it is restarted whenever it ends: give db "deploy.restart_policy',
        ),
        (
            "depends_on: {db: {condition: service_healthy}}",
            "deploy: {mode: global-job}",
            "the service db is a job, which is never healthy: use service_completed_successfully",
        ),
        (
            "x-swarm-on-rotat: restart",
            "",
            'services.web.x-swarm-on-rotat: unknown extension; did you mean "on-rotate"?',
        ),
        ("x-swarm-on-rotate: never", "", "services.web.x-swarm-on-rotate: expected restart"),
        ("x-swarm-depends-on: db", "", "write depends_on instead"),
    ],
)
def test_an_invalid_extension_is_an_error(web: str, db: str, words: str) -> None:
    with pytest.raises(ComposeError) as caught:
        depends_on(web, db)
    assert words in str(caught.value)


def test_extensions_belong_to_services() -> None:
    for text in ("x-swarm-a: 1\nservices: {}\n", "services: {}\nvolumes: {v: {x-swarm-a: 1}}\n"):
        with pytest.raises(ComposeError, match="x-swarm-a: unknown extension: there is none here"):
            stack(text)


def test_an_extension_of_a_service_becomes_a_label() -> None:
    assert service("x-swarm-on-rotate: restart").labels["swarm.x.on-rotate"] == "restart"
    assert service("x-note: anything").labels.keys() == {"com.docker.stack.namespace", "com.docker.stack.image"}


def test_what_has_no_effect_is_warned_of() -> None:
    made = stack(PAIR.format(web="depends_on: {db: {restart: true}}", db=""))
    assert "services.web.depends_on.db.restart has no effect" in " ".join(made.warnings)


@pytest.mark.parametrize(("given", "place"), [("[cache, db]", "f:4:5"), ("{cache: {}, db: {}}", "f:4:18")])
def test_a_dependency_that_is_not_there_is_warned_of(given: str, place: str) -> None:
    made = stack(PAIR.format(web=f"depends_on: {given}", db=""))
    assert made.warnings == (f"{place}: services.web.depends_on.cache: has no effect: the files have no service cache",)
    assert made.services["web"].labels["swarm.x.depends-on"] == "shop_db=started"
    assert not stack(PAIR.format(web="depends_on: {cache: {required: false}}", db="")).warnings


def test_what_the_manager_would_refuse_is_told_with_its_place() -> None:
    text = """services:
  a: {image: a, deploy: {placement: {constraints: [node.role == worker, "node.rolle == worker"]}}}
  b: {image: b, hostname: "{{.Node.Hostname}}"}
  c: {image: c, environment: ["X={{.Task.Slto}}"]}
"""
    first, second = refusal(lambda: stack(text)).splitlines()
    assert first.startswith(
        "f:2:73: services.a.deploy.placement.constraints[1]: invalid constraint 'node.rolle == worker': unknown key"
    )
    assert second.startswith("f:4:3: services.c: cannot expand the environment 'X={{.Task.Slto}}': ")


def test_affinities_name_the_services_of_the_file() -> None:
    text = (
        "services:\n"
        "  web:\n    image: web\n    x-swarm-affinity: {db: 2, other_stack_cache: 1}\n"
        "    x-swarm-anti-affinity: [batch]\n    x-swarm-strategy: binpack\n"
        "  db: {image: db}\n  batch: {image: batch}\n"
    )
    labels = stack(text).services["web"].labels
    assert labels["swarm.x.affinity"] == "shop_db=2,other_stack_cache=1"
    assert labels["swarm.x.anti-affinity"] == "shop_batch"
    assert labels["swarm.x.strategy"] == "binpack"
    with pytest.raises(ComposeError, match=r"x-swarm-affinity: expected SERVICE\[=WEIGHT\]"):
        stack(text.replace("{db: 2,", "{db: 0,"))


def test_a_dependency_whose_profile_is_not_chosen_is_warned_of() -> None:
    made = stack(PAIR.format(web="depends_on: [db]", db="profiles: [p]"))
    why = "services.web.depends_on.db: has no effect: the service db is not deployed, as its profile is not chosen"
    assert why in " ".join(made.warnings)

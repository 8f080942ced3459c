"""Whoever changes `X.py` finds its tests: where they stand follows from where the module stands.

Looked for in this order, as CONTRIBUTING.md says:

1. `test_X.py` in the same folder below `tests/unit`;
2. of a folder that is used through its front alone, `test_FOLDER.py` beside it;
3. `test_X.py` in another stage (`tests/prop`, `tests/sim`, …) that imports the module;
4. of a folder of the API, `test_routes.py` in its place: handlers and their parts are tested by requests;
5. where behaviour needs several modules at once, the file that `ELSEWHERE` names.

A module whose functions do nothing (structs, protocols) has nothing to test: it is tested where it is used.
"""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
UNIT = TESTS / "unit"

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "api/test_access.py": ("manager/cli/cluster/client_cert.py",),
    "api/test_cli.py": (
        "manager/cli/cluster/lock.py",
        "manager/cli/files/config.py",
        "manager/cli/files/secret.py",
        "manager/cli/inspect_any.py",
        "manager/cli/node/commands.py",
        "manager/cli/service/logs.py",
        "manager/cli/service/task.py",
        "manager/cli/streaming.py",
    ),
    "api/test_images_cli.py": (
        "manager/cli/image/commands.py",
        "manager/cli/image/transfer.py",
    ),
    "api/test_stack_life.py": (
        "manager/cli/stack/group.py",
        "manager/cli/stack/plan.py",
        "manager/cli/stack/remove.py",
    ),
    "prop/test_api_specs.py": ("common/model/cluster.py",),
    "prop/test_feed.py": (
        "manager/dispatch/assignments.py",
        "manager/dispatch/directory.py",
    ),
    "prop/test_image_names.py": ("common/model/image.py",),
    "prop/test_neighbours.py": ("worker/net/plan/neighbours.py",),
    "prop/test_overview.py": ("manager/overview/counters.py",),
    "prop/test_wire.py": ("common/wire/codec.py",),
    "unit/common/wire/test_stream.py": (
        "common/wire/server.py",
        "common/wire/transports.py",
    ),
    "unit/manager/api/access/test_audit.py": ("manager/api/access/acting_store.py",),
    "unit/manager/api/engine/test_evil_engines.py": ("manager/api/engine/proxy.py",),
    "unit/manager/api/http/test_server.py": (
        "manager/api/http/connection.py",
        "manager/api/http/exchange.py",
    ),
    "unit/manager/api/leader/test_forward.py": ("manager/api/leader/quorum.py",),
    "unit/manager/api/overview/test_routes.py": ("manager/overview/rows.py",),
    "unit/manager/cli/compose/test_loader.py": ("manager/cli/compose/config.py",),
    "unit/manager/cli/compose/test_schema.py": (
        "manager/cli/compose/objects.py",
        "manager/cli/compose/rules.py",
        "manager/cli/compose/schema_parts.py",
    ),
    "unit/manager/cli/container/test_commands.py": ("manager/cli/container/change.py",),
    "unit/manager/cli/format/test_inspection.py": ("manager/cli/format/go_types.py",),
    "unit/manager/cli/network/test_volume.py": ("manager/cli/network/volume_rows.py",),
    "unit/manager/cli/test_help.py": (
        "manager/cli/command.py",
        "manager/cli/root.py",
    ),
    "unit/manager/dispatch/intake/test_tasks.py": ("manager/dispatch/intake/task_addresses.py",),
    "unit/manager/dispatch/test_membership.py": ("manager/dispatch/reception.py",),
    "unit/manager/dispatch/test_session.py": (
        "manager/dispatch/dispatcher.py",
        "manager/dispatch/notices.py",
    ),
    "unit/manager/domain/test_volumes.py": (
        "manager/domain/volume_claims.py",
        "manager/orchestrate/volume_claims.py",
    ),
    "unit/manager/orchestrate/reconcile/test_modes.py": ("manager/orchestrate/reconcile/service_context.py",),
    "unit/manager/store/backends/etcd/test_backend.py": (
        "manager/store/backends/etcd/api.py",
        "manager/store/backends/etcd/layout.py",
        "manager/store/backends/etcd/messages.py",
    ),
    "unit/manager/store/backends/test_damage.py": (
        "manager/store/backends/confirmed.py",
        "manager/store/backends/contents.py",
    ),
    "unit/manager/store/test_leadership.py": ("manager/store/backend.py",),
    "unit/manager/test_app.py": ("manager/daemon/leader.py",),
    "unit/manager/test_convert.py": ("manager/whole_store.py",),
    "unit/manager/test_program.py": (
        "common/version.py",
        "manager/main.py",
    ),
    "unit/worker/host/test_join.py": (
        "worker/host/background.py",
        "worker/host/leave.py",
    ),
    "unit/worker/images/test_transfer.py": ("worker/images/serve.py",),
    "unit/worker/intake/test_attacks.py": (
        "worker/intake/__init__.py",
        "worker/intake/network.py",
        "worker/intake/parts.py",
        "worker/intake/services.py",
    ),
    "unit/worker/metrics/test_scrape.py": ("worker/host/netns.py",),
    "unit/worker/net/apply/test_nft.py": ("worker/net/plan/nf_messages.py",),
    "unit/worker/net/dns/test_server.py": ("worker/net/dns/forward.py",),
    "unit/worker/net/plan/test_host_plan.py": (
        "worker/net/plan/overlay.py",
        "worker/net/plan/topology.py",
    ),
    "unit/worker/net/plan/test_ipv6.py": ("worker/net/plan/rules6.py",),
    "unit/worker/net/plan/test_rules.py": ("worker/net/plan/service_rules.py",),
    "unit/worker/net/resolve/test_zones.py": ("worker/net/resolve/answers.py",),
    "unit/worker/net/test_dataplane.py": ("worker/net/apply/host.py",),
    "unit/worker/net/test_local_networks.py": (
        "worker/intake/world.py",
        "worker/net/plan/bridges.py",
    ),
    "unit/worker/test_agent.py": ("worker/tasks/runner_context.py",),
    "unit/worker/volumes/copy/test_copying.py": (
        "worker/volumes/copy/content.py",
        "worker/volumes/copy/receive.py",
        "worker/volumes/copy/scan.py",
        "worker/volumes/copy/send.py",
        "worker/volumes/copy/target.py",
        "worker/volumes/copy/walk.py",
    ),
    "unit/worker/volumes/copy/test_hostile.py": (
        "worker/volumes/copy/haves.py",
        "worker/volumes/copy/messages.py",
        "worker/volumes/copy/stream.py",
    ),
    "unit/worker/volumes/copy/test_process.py": (
        "worker/volumes/copy/__main__.py",
        "worker/volumes/copy/control.py",
    ),
    "unit/worker/volumes/test_holds.py": ("worker/volumes/pausing.py",),
    "unit/worker/volumes/test_transfers.py": (
        "common/wire/volume_copy.py",
        "worker/volumes/conversation.py",
    ),
}
"""Below `tests`, which modules are tested there."""

LISTED = [module for modules in ELSEWHERE.values() for module in modules]


@functools.cache
def modules() -> dict[str, Path]:
    """Find the modules that have functions, by their paths below the root."""
    found = (path for package in ("common", "manager", "worker") for path in (ROOT / package).rglob("*.py"))
    return {str(path.relative_to(ROOT)): path for path in found if has_functions(path.read_text())}


def has_functions(source: str) -> bool:
    """Whether there is a function in a module that does something."""
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(not all(map(_says_nothing, each.body)) for each in functions)


def _says_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def imports(test: Path, module: str) -> bool:
    """Whether a test imports a module, given as `common.ids`."""
    package, _, name = module.rpartition(".")
    nodes = [node for node in ast.walk(ast.parse(test.read_text())) if isinstance(node, ast.ImportFrom)]
    return any(
        node.module == module or (node.module == package and any(alias.name == name for alias in node.names))
        for node in nodes
    )


def has_tests(path: str) -> bool:
    """Whether tests of a module stand where they are looked for."""
    module = Path(path)
    own = module.parent if module.stem == "__init__" else module.with_suffix("")
    places = [UNIT / own.parent / f"test_{own.name}.py"]
    places += [UNIT / folder.parent / f"test_{folder.name}.py" for folder in [own.parent] if folder.parts[1:]]
    if own.parts[:2] == ("manager", "api"):
        places.append(UNIT / own.parent / "test_routes.py")
    if any(place.exists() for place in places):
        return True
    others = (each for each in TESTS.glob(f"*/test_{own.name}.py") if each.parent != UNIT)
    return any(imports(each, ".".join(own.parts)) for each in others)


def test_tests_of_every_module_are_found() -> None:
    found = modules()
    assert len(found) > 500, "modules are found"
    assert sorted(path for path in found if not has_tests(path) and path not in LISTED) == []


def test_nothing_is_listed_that_needs_it_no_more() -> None:
    found = modules()
    assert [path for path in LISTED if path not in found or has_tests(path)] == []
    assert [test for test in ELSEWHERE if not (TESTS / test).exists()] == []
    assert len(LISTED) == len(set(LISTED))


def test_a_module_of_data_needs_no_tests() -> None:
    assert not has_functions("class A:\n    x: int = 1\n")
    assert not has_functions('class A(Protocol):\n    def f(self) -> int:\n        """Return it."""\n')
    assert has_functions("class A:\n    def f(self):\n        return 1\n")

"""What becomes of tasks whose service was removed, whatever its mode."""

from __future__ import annotations

from common.model import RegistryLogin, TaskState
from tests.fakes.world import World, replace


def test_a_removed_service_goes_with_its_last_task() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(2)
    world.decide()
    world.run("n1")
    world.put(replace(world.service, pending_delete=True))
    world.decide()
    assert {task.desired_state for task in world.tasks} == {TaskState.REMOVE}
    assert not world.decide()
    world.remove(*world.tasks)
    world.put(RegistryLogin(id="s", auth="{}"))
    decision = world.decide()
    assert decision.reasons == ("web: removed",)
    assert world.tables.services.get("s") is None
    assert world.tables.registry_logins.get("s") is None


def test_a_removed_service_does_not_wait_for_a_lost_node() -> None:
    world = World()
    node = world.node("n1")
    world.replicated(1)
    world.decide()
    world.run("n1")
    world.put(replace(node, status=replace(node.status, state="down")))
    world.put(replace(world.service, pending_delete=True))
    world.decide()
    assert world.tables.services.get("s") is None
    assert [task.desired_state for task in world.tasks] == [TaskState.REMOVE]
    assert not world.decide()


def test_tasks_of_a_service_that_is_not_there_go() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(1)
    world.decide()
    world.remove(world.service)
    world.decide()
    assert [task.desired_state for task in world.tasks] == [TaskState.REMOVE]

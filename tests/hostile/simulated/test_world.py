"""Does the world in which evil is tried work, when nobody is evil?"""

from tests.fakes.virtual_loop import run_virtual
from tests.hostile.simulated.test_cases import attacked
from tests.hostile.world import hostile_world
from worker.intake.addresses import port


async def _a_usual_life() -> None:
    async with hostile_world() as world:
        await world.network("blue")
        await world.service("web", networks=("blue",), publish={8080: 80})
        mallory = await world.evil()
        await mallory.hello()
        task = await mallory.task_of("web")
        before = world.standing()
        assert before["alice"].ports == {port("tcp", 8080, "")}
        await world.quiet()
        await mallory.reports(task, addresses={})
        await world.quiet()
        assert not world.disturbed(before)
        await world.probe()
        world.honest_are_well()


def test_a_usual_life() -> None:
    run_virtual(_a_usual_life())


async def _nobody_attacks() -> None:
    async with attacked() as (_, mallory):
        await mallory.task_of("web")


def test_the_frame_of_the_attacks_holds_when_there_is_none() -> None:
    run_virtual(_nobody_attacks())

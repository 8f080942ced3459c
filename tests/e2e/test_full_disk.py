"""A disk full of other things below the worker: what runs goes on, what cannot start says why, and starts with room."""

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster

DATA = "/var/lib/swarm-worker"
# A disk of its own with room for what is there, and then with none. SQLite has begun with its files by then.
SMALL = f"cp -a {DATA} {DATA}.there && mount -t tmpfs -o size=600k tmpfs {DATA} && cp -a {DATA}.there/. {DATA}/"
FILL = f"dd if=/dev/zero of={DATA}/filling bs=1k; [ -s {DATA}/filling ]"


@long
async def test_a_full_disk_ends_nothing_and_hides_nothing() -> None:
    async with Cluster("full", hosts=1) as swarm:
        host = swarm.manager_host
        quiet = ("service", "create", "-q", "--detach", "--no-resolve-image")
        await swarm.swarm("network", "create", "-d", "overlay", "blue")
        await swarm.swarm(*quiet, "--name", "web", "-p", "8080:80", "web:lab")
        (before,) = await swarm.running("web", 1)
        await swarm.workers[host.name].stop()
        await host.run("sh", "-c", SMALL)
        await swarm.start_worker(host)
        await swarm.node_is(host, "ready")
        await host.run("sh", "-c", FILL)

        await swarm.swarm(*quiet, "--name", "db", "--network", "blue", "web:lab")

        async def rejected() -> bool:
            tasks = await swarm.tasks("db", desired="")
            said.update(task["Status"]["Err"] for task in tasks if task["Status"]["State"] == "rejected")
            return bool(said)

        said: set[str] = set()
        await swarm.until(rejected, 20)
        assert all(why.endswith("No space left on device: free some space on that disk") for why in said), said
        assert [task["ID"] for task in await swarm.running("web", 1)] == [before["ID"]]
        log = swarm.workers[host.name].output()
        assert f"{DATA}/state.db cannot be written (database or disk is full): free some space there" in log
        assert "Traceback" not in log
        status = (await host.run("swarm-worker", "status")).stdout
        assert f"as {DATA} cannot be written: No space left on device" in status

        await host.run("rm", f"{DATA}/filling")
        await swarm.running("db", 1)
        assert [task["ID"] for task in await swarm.running("web", 1)] == [before["ID"]]
        assert "As of:" not in (await host.run("swarm-worker", "status")).stdout

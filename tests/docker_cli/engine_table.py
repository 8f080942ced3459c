"""What the docker command line does where it needs engines: containers, images and builds of a cluster, any node's.

The scripts run one after the other on one cluster of three hosts (`tests/e2e/test_docker_cli_cluster.py`); each removes
what it made. `$folder` is a folder of the host where the command runs.
"""

from tests.docker_cli.row import Script, step

IMAGE = "busybox:lab"
DOCKERFILE = f"""\
FROM {IMAGE}
ARG STAMP=none
LABEL stamp=$STAMP
RUN echo built with $STAMP > /stamp
CMD ["cat", "/stamp"]
"""
QUICK = "--update-monitor 10ms --stop-signal KILL"

ENGINE_SCRIPTS: dict[str, Script] = {
    "run": (
        step(f"run --rm {IMAGE} sh -c 'echo out; echo err >&2; exit 7'", "^out$", "^err$", code=7),
        step(f"run --rm -i {IMAGE} wc -c", "^100000$", stdin="x" * 100_000),
        step(f"run --rm -w /tmp -u 7:8 -e A=b {IMAGE} sh -c 'pwd; id -u; env'", "^/tmp$", "^7$", "^A=b$"),
        step(
            f"run --rm --hostname inside --read-only {IMAGE} sh -c 'hostname; touch /x'",
            "^inside$",
            "Read-only",
            code=1,
        ),
        step(f"run --rm --memory 64m --entrypoint cat {IMAGE} /etc/hostname", r"^\w{12}$"),
        step(f"run --rm {IMAGE} /no/such", "no such file or directory", code=127),
        step("!create --pull never absent:1", "No such image"),
        step(f"run -d --name one {IMAGE} sleep 1000", r"^[0-9a-f]{64}$"),
        step(f"run -d --name one {IMAGE} true", r'The container name "/one" is already in use', code=125),
        step("rm -f one", "^one$"),
        step("ps -aq", r"!\w"),
    ),
    "create, start, attach": (
        step(f"create -i --name said {IMAGE} head -n 1", r"^[0-9a-f]{64}$"),
        step("ps -a --filter status=created --format '{{.Names}}'", "^said$"),
        step("start said", "^said$"),
        step("attach said", "^hello$", stdin="hello\n"),
        step("wait said", "^0$"),
        step("!attach said", "cannot attach to a stopped container"),
        step("rm said", "^said$"),
    ),
    "ps, inspect, port, top, stats, diff": (
        step("id=run -d --name web -p 8090:80 --label tier=front web:lab"),
        step("ps", r"^[0-9a-f]{12} +web:lab .* 0\.0\.0\.0:8090->80/tcp.* web$"),
        step("""ps --filter label=tier=front --format '{{.Names}} {{.Label "swarm.x.node"}}'""", r"^web h\d$"),
        step("node=inspect -f '{{.Node.Name}}' $id", r"^h\d$"),
        step("ps -q --no-trunc --filter label=swarm.x.node=$node", "^$id$"),
        step("port web", r"^80/tcp -> 0\.0\.0\.0:8090$"),
        step("top web", "/web"),
        step("stats --no-stream --format '{{.Name}} {{.PIDs}}' web", r"^web [1-9]"),
        step("exec web touch /made"),
        step("diff web", "^A /made$", "!/etc/hosts"),
        step("system df", r"^Images +[1-9]", r"^Containers +1 "),
        step("rm -f web"),
        step("!inspect web", "No such object: web"),
    ),
    "exec": (
        step(f"run -d --name box {IMAGE} sleep 1000"),
        step("exec box echo hello", "^hello$"),
        step("exec box sh -c 'exit 3'", code=3),
        step("exec -d box touch /tmp/made", r"!\w"),
        step("exec -w /tmp -e A=b -u 7 box sh -c 'pwd; env; id -u'", "^/tmp$", "^A=b$", "^7$"),
        step("exec -i box sh", "^42$", stdin="echo $((6*7))\n"),
        step("exec -i box wc -c", "^1000000$", stdin="y" * 1_000_000),
        step("exec box /no/such", "no such file or directory", code=(126, 127)),  # 127 from Docker 28 on
        step("!exec nope true", "No such container: nope"),
        step("rm -f box"),
    ),
    "cp, export": (
        step(f"run -d --name box {IMAGE} sleep 1000"),
        step("exec -i box sh -c 'cat > /tmp/there'", stdin="carried\n" * 1000),
        step("cp box:/tmp/there $folder/back"),
        step("cp $folder/back box:/tmp/again"),
        step("exec box cmp /tmp/there /tmp/again"),
        step("cp box:/tmp/there -", "^carried$"),
        step("!cp box:/nothing $folder/back", "Could not find the file /nothing"),
        step("export -o $folder/export.tar box"),
        step("rm -f box"),
    ),
    "rename, pause, update, kill, restart, stop": (
        step(f"run -d --name box {IMAGE} sleep 1000"),
        step("rename box crate"),
        step("!inspect box", "No such object: box"),
        step("pause crate", "^crate$"),
        step("ps --filter name=crate --format '{{.Status}}'", r"\(Paused\)"),
        step("unpause crate"),
        step("update --memory 64m --memory-swap 64m crate", "^crate$"),
        step("inspect -f '{{.HostConfig.Memory}}' crate", "^67108864$"),
        step("kill -s KILL crate", "^crate$"),
        step("wait crate", "^137$"),
        step("inspect -f '{{.State.Status}} {{.State.ExitCode}}' crate", "^exited 137$"),
        step("start crate"),
        step("restart -t 0 crate"),
        step("stop -t 0 crate", "^crate$"),
        step("!rm nope", "No such container: nope"),
        step("container prune -f", r"^[0-9a-f]{64}$", "Total reclaimed space"),
        step("ps -aq", r"!\w"),
    ),
    "logs": (
        step(f"run --name said {IMAGE} sh -c 'for i in 1 2 3; do echo line; done; echo last'"),
        step("logs said", "^line$", "^last$"),
        step("logs --tail 1 said", "^last$", "!line"),
        step("logs -t --since 1h said", r"^20\d\d-\d\d-\d\dT[\d:.]+Z last$"),
        step("logs --until 2020-01-01T00:00:00Z said", r"!\w"),
        step("logs -f said", "^last$"),
        step("start -a said", "^last$"),
        step("!logs nope", "No such container: nope"),
        step("rm said"),
    ),
    "build, images": (
        step("build -q -t built:1 --build-arg STAMP=first -", r"^sha256:[0-9a-f]{64}$", stdin=DOCKERFILE),
        step("images", r"^built +1 "),
        step("images --filter label=stamp=first --format '{{.Repository}}:{{.Tag}}'", "^built:1$", "!busybox"),
        step("image inspect -f '{{.Config.Labels.stamp}}' built:1", "^first$"),
        step("history --no-trunc built:1", "built with|/stamp"),
        step("run --rm built:1", "^built with first$"),
        step("tag built:1 built:2"),
        step("save -o $folder/built.tar built:2"),
        step("rmi built:2", "^Untagged: built:2$"),
        step("load -i $folder/built.tar", r"^Loaded image: built:2"),
        step("run --name box built:2"),
        step('commit -c \'CMD ["echo", "kept"]\' box kept:1', r"^sha256:[0-9a-f]{64}$"),
        step("run --rm kept:1", "^kept$"),
        step("!build -q -", "dockerfile parse error|unknown instruction", stdin="NOPE"),
        step("rm box"),
        step("rmi kept:1 built:1 built:2", "^Untagged: built:1$"),
        step("image prune -f", "Total reclaimed space"),
        step("!image inspect built:1", "No such image: built:1"),
    ),
    "volume": (
        step("volume create h3/data", "^data$"),
        step("volume ls -q", "^data$"),
        step("volume inspect -f '{{.Name}}' data", "^data$"),
        step(f"run --rm -v data:/data {IMAGE} sh -c 'echo kept > /data/file'"),
        step(f"run --rm -v data:/data {IMAGE} cat /data/file", "^kept$"),
        step("volume rm data", "^data$"),
        step("!volume rm data", "no such volume"),
        step("volume prune -f", "Total reclaimed space"),
        step("volume ls -q", r"!\w"),
    ),
    "service": (
        step("network create -d overlay wide", r"^\w{25}$"),
        step("secret create key -", stdin="hush"),
        step("config create page -", stdin="welcome"),
        step(
            f"service create {QUICK} --name shop --replicas 3 --network wide --secret key --config page {IMAGE} "
            "sh -c 'cat /run/secrets/key /page; exec sleep 1000'",
            "overall progress: 3 out of 3 tasks",
            "converged",
        ),
        step("service ls --format '{{.Name}} {{.Replicas}}'", "^shop 3/3$"),
        step(
            "service ps --filter desired-state=running --format '{{.Name}} {{.CurrentState}}' shop", r"^shop\.3 Running"
        ),
        step("task=ps -q --filter label=com.docker.swarm.service.name=shop --filter name=shop.1", r"^[0-9a-f]{12}$"),
        step("exec $task cat /run/secrets/key", "^hush$"),
        step(
            "service update --replicas 4 --update-parallelism 0 --env-add A=b shop",
            "overall progress: . out of 4 tasks",
        ),
        step("service logs --raw shop", "hushwelcome"),
        step("service rollback -d shop", "^shop$"),
        step("service inspect -f '{{.UpdateStatus.State}}' shop", "^rollback_"),
        step("!secret rm key", "in use by the following service: shop"),
        step("service rm shop", "^shop$"),
    ),
    "what a service used": (
        step("secret rm key", r"^\w{25}$|^key$"),
        step("config rm page"),
        step("network rm wide", "^wide$"),
    ),
    # `--until 0s` would be the beginning of this second.
    "events": (
        step("secret create told -", stdin="x"),
        step("secret rm told"),
        step(f"run --rm --name told {IMAGE} true"),
        step(
            "events --since 10m --until=-1s --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'",
            "^secret create told$",
            "^secret remove told$",
            "^container start told$",
            "^container destroy told$",
            "^image tag",
            "^volume create",
            "^service update shop$",
            "^network create wide$",
        ),
        step("events --since 10m --until 1s --filter type=config --format '{{.Action}}'", "^create$", "!start"),
    ),
}

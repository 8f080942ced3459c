"""What the docker command line does at the manager's API without an engine: a script a title, a row an invocation.

Every row runs, with the others of its script, against a cluster of its own (`tests/api/test_docker_cli.py`). The flags
of `service create` and `service update` have a table of their own, `flags_table`.
"""

from tests.docker_cli.flags_table import CREATE
from tests.docker_cli.row import Script, step
from tests.fakes.api_cluster import MANAGER, WORKER1

DEPLOY = "stack deploy --resolve-image never --detach=true"
# Files of a stack that grows, from standard input.
ONE = "services: {web: {image: busybox}}"
TWO = """
services:
  web: {image: "busybox:2", command: sleep 9, deploy: {replicas: 3, labels: {tier: front}}}
  db: {image: busybox, environment: {A: b}, networks: {back: {aliases: [data]}}}
networks: {back: {attachable: true, labels: {of: app}}}
"""
THREE = """
services:
  web:
    image: busybox:2
    ports: ["8080:80", {target: 81, published: 8081, mode: host}]
    healthcheck: {test: ["CMD", "true"], interval: 5s}
    networks: [back]
    secrets: [{source: key, target: /key, mode: 0400}]
    configs: [page]
    volumes: ["data:/data"]
    deploy:
      replicas: 4
      endpoint_mode: vip
      placement: {constraints: [node.role == worker], preferences: [{spread: node.labels.zone}]}
      resources: {limits: {cpus: "0.5", memory: 50M}, reservations: {memory: 20M}}
      restart_policy: {condition: on-failure, delay: 1s, max_attempts: 2}
      update_config: {parallelism: 2, order: start-first, failure_action: rollback}
  db: {image: busybox, networks: [back]}
networks: {back: {attachable: true}}
secrets: {key: {external: true, name: s1}}
configs: {page: {external: true, name: c1}}
volumes: {data: {}}
"""
RENAMED = THREE.replace("  db: {", "  store: {deploy: {mode: global}, ")
SCRIPTS: dict[str, Script] = {
    "version": (
        step("version", r"^Server: swarm-manager", r"API version: +1\.[45]\d \(minimum version 1\.24\)"),
        step("version --format '{{.Server.Version}}'", r"^0\.1\.0$"),
    ),
    "info": (
        step("info", r"Swarm: active", rf"NodeID: {MANAGER}", r"Is Manager: true", r"Managers: 1", r"Nodes: 3"),
        step("info --format '{{.Swarm.LocalNodeState}} {{.NCPU}}'", r"^active 4$"),
    ),
    "node ls": (
        step("node ls", rf"^{MANAGER} \* +m1 +Ready +Active +Leader", rf"^{WORKER1} +w1 +Ready +Active +26\.1\.5"),
        step("node ls -q", rf"^{MANAGER}$"),
        step("node ls --filter role=worker -q", rf"^{WORKER1}$", f"!{MANAGER}"),
        step("node ls --filter name=w1 -q", rf"^{WORKER1}$"),
        step("!node ls --filter nope=x", r"invalid filter 'nope'"),
    ),
    "node inspect": (
        step("node inspect w1 --format '{{.Status.State}} {{.Status.Addr}}'", r"^ready 10\.1\.0\.2$"),
        step("node inspect --pretty w1", r"Hostname:\s+w1", r"State:\s+Ready", r"Memory:\s+4GiB", r"TLS Info:"),
        step("node inspect self --format '{{.ID}}'", rf"^{MANAGER}$"),
        step("!node inspect nope", r"node nope not found"),
    ),
    "node update": (
        step("node update --availability drain w1", r"^w1$"),
        step("node ls --filter name=w1", r"w1 +Ready +Drain"),
        step("node update --availability active --label-add zone=east w1"),
        step("node inspect w1 --format '{{.Spec.Labels}}'", r"map\[zone:east\]"),
        step("node ls --filter node.label=zone=east -q", rf"^{WORKER1}$"),
        step("node update --label-rm zone w1"),
        step("node inspect w1 --format '{{.Spec.Labels}}'", r"map\[\]"),
        step("!node update --availability nope w1", r"[Ii]nvalid [Aa]vailability"),
        step("!node demote m1", r"attempting to demote the last manager of the swarm"),
        step(
            "!node promote w1",
            r"the store of this cluster is a file of its one manager; .*swarm-manager convert --to etcd",
        ),
    ),
    "node rm": (
        step("!node rm w1", r"is not down and can't be removed"),
        step("node rm --force w1", r"^w1$"),
        step("!node rm w1", r"node w1 not found"),
        step("!node rm --force m1", r"is a cluster manager"),
    ),
    "node ps": (
        step(f"{CREATE} --replicas 2 busybox"),
        step("node ps w1 w2", r"web\.1 +busybox", r"web\.2 +busybox"),
    ),
    "swarm": (
        step("swarm join-token -q worker", r"^SWMTKN-1-4k7ui8a2t9gezr0dxjid1qlzgoxelkagcru82w4ydy5ts2ihto-0ayofiaf"),
        step("swarm join-token worker", r"docker swarm join --token SWMTKN-1-\S+ 10\.1\.0\.1:2377"),
        step("swarm join-token --rotate -q worker", r"^SWMTKN-1-\w{50}-\w{25}$", "!0ayofiaf"),
        step("swarm join-token -q manager", r"cvexdc9uufq0fr7ongo6etit6$"),
        step("swarm update --task-history-limit 2", r"Swarm updated"),
        step("info --format '{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}'", r"^2$"),
        step("swarm update --cert-expiry 720h"),
        step("info --format '{{.Swarm.Cluster.Spec.CAConfig.NodeCertExpiry}}'", r"^720h0m0s$"),
        step("!swarm update --cert-expiry 1m", r"minimum certificate expiry time is: 1h0m0s"),
        step("!swarm unlock-key", r"no unlock key is set"),
        step("!swarm unlock-key --rotate", r"cannot rotate because autolock is not turned on"),
        step("swarm update --autolock", r"Swarm updated", r"^    SWMKEY-1-[A-Za-z0-9+/]{43}$"),
        step("info --format '{{.Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers}}'", r"^true$"),
        step("key=swarm unlock-key -q", r"^SWMKEY-1-"),
        step("swarm unlock-key", r"run the `docker swarm unlock`", r"^    SWMKEY-1-"),
        step("swarm unlock-key --rotate -q", r"^SWMKEY-1-[A-Za-z0-9+/]{43}$", "!{key}"),
        step("!swarm unlock", r"swarm is not locked"),
        step("swarm update --autolock=false", r"Swarm updated"),
        step("!swarm unlock-key", r"no unlock key is set"),
        step("!swarm init", r"This node is already part of a swarm", r"swarm-manager join-token worker"),
        step("!swarm join --token x 10.0.0.9:2377", r"swarm-worker join --token TOKEN HOST:PORT"),
        step("!swarm leave", r"participating as a manager", r"swarm-worker leave"),
        step("!swarm leave --force", r"run 'swarm-manager leave --force'"),
    ),
    "service create": (
        step(
            "id=service create --name web --replicas 3 -q --update-monitor 1ms -p 8080:80 busybox sleep 100",
            r"^\w{25}$",
        ),
        step("service ls", r"^\w{12} +web +replicated +3/3 +busybox:latest +\*:8080->80/tcp$"),
        step("service ps web", r"web\.1 +busybox:latest +w\d +Running +Running .* ago", r"web\.3"),
        step("service inspect --pretty $id", r"Name:\s+web", r"Replicas:\s+3", r"PublishedPort = 8080"),
        step(
            "service inspect web --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}'", r"^busybox:latest@sha256:abab"
        ),
        step(f"!{CREATE} busybox", r"name conflicts with an existing object: service web already exists"),
    ),
    "service create, progress": (
        step(
            "service create --name web --replicas 2 --update-monitor 1ms busybox",
            r"overall progress: 2 out of 2 tasks",
            r"converged",
        ),
    ),
    "service create, an unknown image is only warned of": (
        step("service create --detach --name web registry/unknown", r"could not be accessed on a registry"),
    ),
    "service create, bad flags": (
        step(f"!{CREATE} --network nope busybox", r"network nope not found"),
        step(f"!{CREATE} --secret nope busybox", r"secret not found: nope"),
        step(f"!{CREATE} --config nope busybox", r"config not found: nope"),
        step(f"!{CREATE} --constraint x busybox", r"constraint.*'?x'?"),
        step(f"!{CREATE} --reserve-memory 1m busybox", r"invalid memory value 1048576: Must be at least 4MiB"),
        step(f"!{CREATE} --limit-cpu 0.0001 busybox", r"Must be at least 0\.001"),
        step(f"!{CREATE} --endpoint-mode dnsrr -p 80:80 busybox", r"ingress mode can't be used with dnsrr"),
        step("!service create --name 'a b' busybox", r"name must be valid as a DNS name component"),
        step("service ls -q", r"!\w"),
    ),
    "service update": (
        step(f"{CREATE} --replicas 2 busybox"),
        step("service update -d --no-resolve-image --image busybox:2 --env-add A=b --label-add l=1 web", r"^web$"),
        step("service ls", r"2/2 +busybox:2"),
        step("service ps web", r"\\_ web\.1 +busybox:latest +w\d +Shutdown"),
        step("service inspect web --format '{{.Spec.Labels}}{{.UpdateStatus.State}}'", r"map\[l:1\]completed"),
        step("service inspect web --format '{{.PreviousSpec.TaskTemplate.ContainerSpec.Image}}'", r"^busybox:latest$"),
        step("service update -d --no-resolve-image --args 'sleep 5' --update-parallelism 0 --update-delay 1s web"),
        step("service inspect --pretty web", r"Args:\s+sleep 5", r"UpdateConfig:\n Parallelism:\t0", r"Delay:\t\t1s"),
        step("service update -d --no-resolve-image --force web"),
        step("service inspect web --format '{{.Spec.TaskTemplate.ForceUpdate}}'", r"^1$"),
        step("!service update -d --image x nope", r"service nope not found"),
    ),
    "service rollback": (
        step(f"{CREATE} busybox:1"),
        step("!service rollback -d web", r"does not have a previous spec"),
        step("service update -d --no-resolve-image --image busybox:2 web"),
        step("service rollback -d web", r"^web$"),
        step("service ls", r"busybox:1"),
        step("service inspect web --format '{{.UpdateStatus.State}}'", r"^rollback_completed$"),
        step("service update -d --rollback web"),
        step("service ls", r"busybox:2"),
    ),
    "service scale and rm": (
        step(f"{CREATE} busybox"),
        step("service create -d --no-resolve-image --name all --mode global busybox"),
        step("service scale -d web=4", r"web scaled to 4"),
        step("service ls", r"web +replicated +4/4", r"all +global +2/2"),
        step("!service scale -d all=4", r"scale can only be used with replicated"),
        step("service rm web all", r"^web$", r"^all$"),
        step("service ls -q", r"!\w"),
        step("!service rm web", r"service web not found"),
        step("!service ps web", r"no such service: web"),
    ),
    "service ls, ps: filters and formats": (
        step(f"{CREATE} --label tier=front --replicas 2 busybox"),
        step("service create -d --no-resolve-image --name db --mode global busybox"),
        step("service ls --filter name=web --format '{{.Name}}'", r"^web$", r"!db"),
        step("service ls --filter label=tier=front --format '{{.Name}}'", r"^web$", r"!db"),
        step("service ls --filter mode=global --format '{{.Name}} {{.Replicas}}'", r"^db 2/2$", r"!web"),
        step("service ps --filter node=w1 --format '{{.Name}} {{.Node}}' web", r"^web\.2 w1$", r"!w2"),
        step("service ps --filter desired-state=running -q web", r"^\w{25}$"),
        step("service ps --no-trunc --filter name=web.1 web", r"web\.1"),
    ),
    "service logs": (
        step(f"{CREATE} --replicas 3 busybox"),
        step("service logs web", r"^web\.1\.\w{12}@w\d +\| hello from \w{25}$", r"^web\.3\.\w+@w\d +\| careful$"),
        step(
            "service logs --tail 1 --timestamps --no-task-ids web",
            r"^2026-01-31T12:00:00.123456789Z web\.1@w2 +\| careful",
        ),
        step("service logs --raw web", r"^hello from"),
        step("service logs --details web", r"com\.docker|hello"),
        step("task=service ps -q --filter name=web.1 web"),
        step("service logs $task", r"^web\.1\.\w{12}@w\d +\| hello", r"!web\.2"),
        step("!service logs nope", r"task nope not found|no such task or service: nope"),
    ),
    "secret": (
        step("id=secret create --label a=b s1 -", r"^\w{25}$", stdin="hush-hush"),
        step("!secret create s1 -", r"rpc error: code = AlreadyExists desc = secret s1 already exists", stdin="x"),
        step("!secret create 'a b' -", r"invalid name, only 64", stdin="x"),
        step("secret ls", r"^\w{25} +s1"),
        step("secret ls --filter label=a=b -q", r"\w{25}"),
        step("secret inspect s1", r'"Name": "s1"', r"!hush", r"!Data", r"!aHVzaC1odXNo"),
        step("secret inspect --pretty s1", r"Name:\s+s1"),
        step(f"{CREATE} --secret source=s1,target=/run/x,mode=0400 busybox"),
        step("!secret rm s1", r"secret 's1' is in use by the following service: web"),
        step("service inspect web", r'"SecretName": "s1"', r'"Name": "/run/x"', r'"Mode": 256', r"!hush"),
        step("service rm web"),
        step("secret rm s1", r"^s1$"),
        step("!secret inspect s1", r"secret s1 not found"),
    ),
    "config": (
        step("id=config create c1 -", r"^\w{25}$", stdin="hello"),
        step("!config create c1 -", r"config c1 already exists", stdin="x"),
        step("config inspect --pretty c1", r"Data:\nhello"),
        step("config ls --filter name=c1 -q", r"\w{25}"),
        step(f"{CREATE} --config source=c1,target=/etc/c busybox"),
        step("!config rm c1", r"config 'c1' is in use by the following service: web"),
        step("service rm web"),
        step("config rm c1"),
    ),
    "network": (
        step("id=network create -d overlay --attachable --label a=b --subnet 10.99.0.0/24 on1", r"^\w{25}$"),
        step("!network create -d overlay on1", r"network with name on1 already exists"),
        step("!network create -d overlay host", r"network with name host already exists"),
        step("!network create -d overlay --subnet nope on2", r"invalid"),
        step("!network create -d overlay --subnet 10.99.0.0/25 on2", r"overlaps"),
        step("!network create -d macvlan on2", r"'macvlan' is not supported"),
        step("network create br", r"^\w{25}$"),
        step(
            "network ls", r"on1 +overlay +swarm", r"ingress +overlay +swarm", r"host +host +local", r"br +bridge +swarm"
        ),
        step("network ls --filter scope=swarm --filter name=on1 -q", r"^\w{12}$"),
        step("network ls --filter type=custom --format '{{.Name}}'", r"^on1$", r"!ingress", r"!host"),
        step(
            "network inspect on1 --format '{{(index .IPAM.Config 0).Subnet}} {{.Attachable}}'", r"^10\.99\.0\.0/24 true"
        ),
        step(f"{CREATE} --network on1 busybox"),
        step("!network rm on1", r"network \w{25} is in use by service \w{25}"),
        step("!network rm host", r"host is a pre-defined network and cannot be removed"),
        step("!network rm nope", r"network nope not found"),
        step("network prune -f", r"Deleted Networks:\nbr"),
        step("service rm web"),
        step("network rm on1", r"^on1$"),
    ),
    "volumes, disk usage, login": (
        step("volume ls -q", r"!\w"),
        step("system df", r"^Images +\d+ "),
        step("!login -u u -p wrong 127.0.0.1:5000", r"incorrect username or password"),
        step("login -u u -p right 127.0.0.1:5000", r"Login Succeeded"),
    ),
    "plugins": (
        step("plugin ls", r"^ID +NAME", "!.+\n.+"),
        step("!plugin install x", r"install the plugin on every host that needs it"),
        step("!plugin inspect x", r'plugin "x" not found'),
        step("!plugin enable x", r'plugin "x" not found'),
    ),
    "a stack that grows": (
        step(f"{DEPLOY} -c - app", r"Creating network app_default", r"Creating service app_web", stdin=ONE),
        step("stack ls --format '{{.Name}} {{.Services}}'", r"^app 1$"),
        step(f"{DEPLOY} -c - app", r"Creating network app_back", r"Creating service app_db", stdin=TWO),
        step(
            "service ls --filter label=tier=front --format '{{.Name}} {{.Replicas}} {{.Image}}'",
            r"^app_web 3/3 busybox:2$",
        ),
        step("stack services app --format '{{.Name}}'", r"^app_db$", r"^app_web$"),
        step("network inspect app_back --format '{{.Attachable}} {{.Labels.of}}'", r"^true app$"),
        step(f"!{DEPLOY} -c - app", r"config not found: c1|secret not found: s1|declared as external", stdin=THREE),
        step("secret create s1 -", stdin="hush"),
        step("config create c1 -", stdin="page"),
        step(f"{DEPLOY} -c - app", r"Updating service app_web", "!Creating", stdin=THREE),
        step("stack services app", r"app_web +replicated +4/4", r"\*:8080->80/tcp"),
        step("stack ps app --filter desired-state=running --format '{{.Name}} {{.Image}}'", r"^app_web\.4 busybox:2$"),
        step(
            "service inspect app_web --format '{{json .Spec.TaskTemplate.Resources.Limits}}'",
            r'^{"NanoCPUs":500000000,"MemoryBytes":52428800}$',
        ),
        step(
            "service inspect app_web --format '{{.Spec.UpdateConfig.Order}} {{.Spec.UpdateConfig.Parallelism}}'",
            r"^start-first 2$",
        ),
        step(f"{DEPLOY} --prune -c - app", r"Creating service app_store", r"Removing service app_db", stdin=RENAMED),
        step("stack config -c -", r"order: start-first", stdin=RENAMED),
        step("stack rm app", r"Removing service app_store", r"Removing network app_back"),
        step("!stack ps app", r"nothing found in stack: app"),
        step("secret ls -q", r"\w"),
    ),
}

"""Every flag of `docker service create` and `docker service update`: what it puts into the service, a row a flag.

`tests/api/test_docker_cli.py` compares the table with what `--help` lists: a docker command line with a new flag fails
until the flag has its row.
"""

import re

from tests.docker_cli.row import Script, Step, step

_TASK = ".Spec.TaskTemplate"
_BOX = ".Spec.TaskTemplate.ContainerSpec"
_CHECK = ".Spec.TaskTemplate.ContainerSpec.Healthcheck"
_LIMITS = ".Spec.TaskTemplate.Resources.Limits"
_RESERVED = ".Spec.TaskTemplate.Resources.Reservations"

CREATE = "service create --detach --no-resolve-image --name web"
# What the rows of updates begin with: a service that has something of all that a flag can take away.
BEFORE = (
    "service create -d --no-resolve-image --name web --cap-add NET_ADMIN --config c1 --constraint node.role==worker "
    "--container-label a=b --dns 1.1.1.1 --dns-option x --dns-search y -e A=b --generic-resource gpu=1 --group g "
    "--host h:1.2.3.4 -l a=b --mount type=volume,source=v,target=/v --network on1 --secret s1 --sysctl a=b "
    "--placement-pref spread=node.labels.zone -p 8080:80 --ulimit nofile=4:5 --replicas 2 busybox"
)
# Flags of later docker command lines than Debian 13's: their rows are for those that have them.
NEWER = frozenset({"--oom-score-adj"})
# What the flags name: it is there before each row.
FILES, NETWORKS = ("c1", "c2", "s1", "s2"), ("on1", "on2")


def count(field: str) -> str:
    """Make a template of how many there are of something."""
    return f"{{{{len {field}}}}}"


def each(field: str, shown: str) -> str:
    """Make a template that shows the same of each, with a comma after it."""
    return f"{{{{range {field}}}}}{shown},{{{{end}}}}"


def created(flags: str, field: str, value: str, stdin: str = "") -> tuple[str, Script]:
    """`service create FLAGS`; then `field` (or what a whole template makes) of the service is `value`, as JSON."""
    return flags, (step(f"{CREATE} {flags} busybox", stdin=stdin), _shows(field, value))


def updated(flags: str, field: str, *values: str, before: str = BEFORE) -> tuple[str, Script]:
    """`service update FLAGS` of the service that `before` makes; then its `field` is one of `values`."""
    change = step(f"service update -d --no-resolve-image {flags} web", "^web$")
    return flags, (step(before), change, _shows(field, *values))


def _shows(field: str, *values: str) -> Step:
    template = field if "{{" in field else f"{{{{json {field}}}}}"
    return step(f"service inspect web --format '{template}'", f"^({'|'.join(map(re.escape, values))})$")


CREATE_FLAGS: dict[str, Script] = dict(
    (
        created("--cap-add NET_ADMIN", f"{_BOX}.CapabilityAdd", '["CAP_NET_ADMIN"]'),
        created("--cap-drop CHOWN", f"{_BOX}.CapabilityDrop", '["CAP_CHOWN"]'),
        created("--config source=c1,target=/c", each(f"{_BOX}.Configs", "{{.ConfigName}} {{.File.Name}}"), "c1 /c,"),
        created("--constraint node.role==worker", f"{_TASK}.Placement.Constraints", '["node.role==worker"]'),
        created("--container-label a=b", f"{_BOX}.Labels", '{"a":"b"}'),
        created("--credential-spec file://spec.json", f"{_BOX}.Privileges.CredentialSpec.File", '"spec.json"'),
        created("--detach=false --quiet --update-monitor 1ms", ".Spec.Name", '"web"'),
        created("--dns 1.1.1.1", f"{_BOX}.DNSConfig.Nameservers", '["1.1.1.1"]'),
        created("--dns-option x", f"{_BOX}.DNSConfig.Options", '["x"]'),
        created("--dns-search y", f"{_BOX}.DNSConfig.Search", '["y"]'),
        created("--endpoint-mode dnsrr", ".Spec.EndpointSpec.Mode", '"dnsrr"'),
        created("--entrypoint 'sh -c'", f"{_BOX}.Command", '["sh","-c"]'),
        created("-e A=b", f"{_BOX}.Env", '["A=b"]'),
        created("--env-file /dev/stdin", f"{_BOX}.Env", '["A=b","C=d"]', stdin="A=b\nC=d\n"),
        created(
            "--generic-resource gpu=2",
            f"{_RESERVED}.GenericResources",
            '[{"DiscreteResourceSpec":{"Kind":"gpu","Value":2}}]',
        ),
        created("--group g", f"{_BOX}.Groups", '["g"]'),
        created("--health-cmd true", f"{_CHECK}.Test", '["CMD-SHELL","true"]'),
        created("--health-cmd true --health-interval 5s", f"{_CHECK}.Interval", "5000000000"),
        created("--health-cmd true --health-retries 3", f"{_CHECK}.Retries", "3"),
        created("--health-cmd true --health-timeout 5s", f"{_CHECK}.Timeout", "5000000000"),
        created("--health-cmd true --health-start-period 1s", f"{_CHECK}.StartPeriod", "1000000000"),
        created("--health-cmd true --health-start-interval 1s", f"{_CHECK}.StartInterval", "1000000000"),
        created("--no-healthcheck", f"{_CHECK}.Test", '["NONE"]'),
        created("--host h:1.2.3.4", f"{_BOX}.Hosts", '["1.2.3.4 h"]'),
        created("--hostname {{.Task.Slot}}", f"{_BOX}.Hostname", '"{{.Task.Slot}}"'),
        created("--init", f"{_BOX}.Init", "true"),
        created("--isolation default", f"{_BOX}.Isolation", '"default"'),
        created("-l a=b", ".Spec.Labels", '{"a":"b"}'),
        created("--limit-cpu 0.5", f"{_LIMITS}.NanoCPUs", "500000000"),
        created("--limit-memory 50m", f"{_LIMITS}.MemoryBytes", "52428800"),
        created("--limit-pids 9", f"{_LIMITS}.Pids", "9"),
        created("--limit-pids -1", f"{_LIMITS}.Pids", "-1"),
        created("--log-driver none", f"{_TASK}.LogDriver.Name", '"none"'),
        created("--log-opt max-size=1m --log-driver json-file", f"{_TASK}.LogDriver.Options", '{"max-size":"1m"}'),
        created("--mode global", ".Spec.Mode", '{"Global":{}}'),
        created("--mode global-job", ".Spec.Mode", '{"GlobalJob":{}}'),
        created(
            "--mode replicated-job --replicas 4 --max-concurrent 2",
            ".Spec.Mode.ReplicatedJob",
            '{"MaxConcurrent":2,"TotalCompletions":4}',
        ),
        created(
            "--mount type=volume,source=v,target=/v,readonly",
            f"{_BOX}.Mounts",
            '[{"Type":"volume","Source":"v","Target":"/v","ReadOnly":true}]',
        ),
        created(
            "--mount type=bind,source=/b,target=/b,bind-propagation=rshared",
            f"{_BOX}.Mounts",
            '[{"Type":"bind","Source":"/b","Target":"/b","BindOptions":{"Propagation":"rshared"}}]',
        ),
        created(
            "--mount type=tmpfs,target=/t,tmpfs-size=1m",
            f"{_BOX}.Mounts",
            '[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576}}]',
        ),
        created("--network host", f"{_TASK}.Networks", '[{"Target":"host"}]'),
        created("--network name=on1,alias=x", each(f"{_TASK}.Networks", "{{.Aliases}}"), "[x],"),
        created("--oom-score-adj 5", f"{_BOX}.OomScoreAdj", "5"),
        created(
            "-p published=53,target=53,protocol=udp,mode=host",
            ".Spec.EndpointSpec.Ports",
            '[{"Protocol":"udp","TargetPort":53,"PublishedPort":53,"PublishMode":"host"}]',
        ),
        created(
            "--placement-pref spread=node.labels.zone",
            f"{_TASK}.Placement.Preferences",
            '[{"Spread":{"SpreadDescriptor":"node.labels.zone"}}]',
        ),
        created("--read-only", f"{_BOX}.ReadOnly", "true"),
        created("--replicas 0", ".Spec.Mode.Replicated.Replicas", "0"),
        created("--replicas-max-per-node 2", f"{_TASK}.Placement.MaxReplicas", "2"),
        created("--reserve-cpu 0.5", f"{_RESERVED}.NanoCPUs", "500000000"),
        created("--reserve-memory 50m", f"{_RESERVED}.MemoryBytes", "52428800"),
        created("--restart-condition on-failure", f"{_TASK}.RestartPolicy.Condition", '"on-failure"'),
        created("--restart-delay 0s", f"{_TASK}.RestartPolicy.Delay", "0"),
        created("--restart-max-attempts 3", f"{_TASK}.RestartPolicy.MaxAttempts", "3"),
        created("--restart-window 5s", f"{_TASK}.RestartPolicy.Window", "5000000000"),
        created("--rollback-delay 1s", ".Spec.RollbackConfig.Delay", "1000000000"),
        created("--rollback-failure-action continue", ".Spec.RollbackConfig.FailureAction", '"continue"'),
        created("--rollback-max-failure-ratio 0.5", ".Spec.RollbackConfig.MaxFailureRatio", "0.5"),
        created("--rollback-monitor 2s", ".Spec.RollbackConfig.Monitor", "2000000000"),
        created("--rollback-order start-first", ".Spec.RollbackConfig.Order", '"start-first"'),
        created("--rollback-parallelism 0", ".Spec.RollbackConfig.Parallelism", "0"),
        created("--secret source=s1,target=x", each(f"{_BOX}.Secrets", "{{.SecretName}} {{.File.Name}}"), "s1 x,"),
        created("--stop-grace-period 0s", f"{_BOX}.StopGracePeriod", "0"),
        created("--stop-signal SIGINT", f"{_BOX}.StopSignal", '"SIGINT"'),
        created("--sysctl a=b", f"{_BOX}.Sysctls", '{"a":"b"}'),
        created("-t", f"{_BOX}.TTY", "true"),
        created("--ulimit nofile=4:5", f"{_BOX}.Ulimits", '[{"Name":"nofile","Hard":5,"Soft":4}]'),
        created("--update-delay 1s", ".Spec.UpdateConfig.Delay", "1000000000"),
        created("--update-failure-action rollback", ".Spec.UpdateConfig.FailureAction", '"rollback"'),
        created("--update-max-failure-ratio 0.5", ".Spec.UpdateConfig.MaxFailureRatio", "0.5"),
        created("--update-monitor 2s", ".Spec.UpdateConfig.Monitor", "2000000000"),
        created("--update-order start-first", ".Spec.UpdateConfig.Order", '"start-first"'),
        created("--update-parallelism 3", ".Spec.UpdateConfig.Parallelism", "3"),
        created("-u 1000:1000", f"{_BOX}.User", '"1000:1000"'),
        created("--with-registry-auth", f"{_BOX}.Image", '"busybox:latest"'),
        created("-w /w", f"{_BOX}.Dir", '"/w"'),
    )
)

JOB = "service create -d --no-resolve-image --name web --mode replicated-job --replicas 4 busybox"
ROLLBACK = (
    step(BEFORE),
    step("service update -d --no-resolve-image --limit-pids 9 web"),
    step("service update -d --rollback web", "^web$"),
    _shows(f"{_LIMITS}.Pids", "0"),
)
UPDATE_FLAGS: dict[str, Script] = dict(
    (
        updated("--args 'sleep 5'", f"{_BOX}.Args", '["sleep","5"]'),
        updated("--cap-add SYS_TIME", f"{_BOX}.CapabilityAdd", '["CAP_NET_ADMIN","CAP_SYS_TIME"]'),
        updated("--cap-drop CHOWN", f"{_BOX}.CapabilityDrop", '["CAP_CHOWN"]'),
        updated(
            "--config-add source=c2,target=/c",
            each(f"{_BOX}.Configs", "{{.ConfigName}} {{.File.Name}}"),
            "c1 c1,c2 /c,",
        ),
        updated("--config-rm c1", count(f"{_BOX}.Configs"), "0"),
        updated(
            "--constraint-add node.platform.os==linux",
            f"{_TASK}.Placement.Constraints",
            '["node.platform.os==linux","node.role==worker"]',
        ),
        updated("--constraint-rm node.role==worker", count(f"{_TASK}.Placement.Constraints"), "0"),
        updated("--container-label-add c=d", f"{_BOX}.Labels", '{"a":"b","c":"d"}'),
        updated("--container-label-rm a", count(f"{_BOX}.Labels"), "0"),
        updated("--credential-spec file://spec.json", f"{_BOX}.Privileges.CredentialSpec.File", '"spec.json"'),
        updated("--detach=false --quiet --update-monitor 1ms", ".Spec.UpdateConfig.Monitor", "1000000"),
        updated("--dns-add 8.8.8.8", f"{_BOX}.DNSConfig.Nameservers", '["1.1.1.1","8.8.8.8"]'),
        updated("--dns-rm 1.1.1.1", count(f"{_BOX}.DNSConfig.Nameservers"), "0"),
        updated("--dns-option-add z", f"{_BOX}.DNSConfig.Options", '["x","z"]'),
        updated("--dns-option-rm x", count(f"{_BOX}.DNSConfig.Options"), "0"),
        updated("--dns-search-add z", f"{_BOX}.DNSConfig.Search", '["y","z"]'),
        updated("--dns-search-rm y", count(f"{_BOX}.DNSConfig.Search"), "0"),
        updated("--endpoint-mode dnsrr --publish-rm 80", ".Spec.EndpointSpec.Mode", '"dnsrr"'),
        updated("--entrypoint 'sh -c'", f"{_BOX}.Command", '["sh","-c"]'),
        # Docker's command sends them in the order of a map, by chance.
        updated("--env-add C=d", f"{_BOX}.Env", '["A=b","C=d"]', '["C=d","A=b"]'),
        updated("--env-rm A", count(f"{_BOX}.Env"), "0"),
        updated("--force", f"{_TASK}.ForceUpdate", "1"),
        updated(
            "--generic-resource-add gpu=2",
            f"{_RESERVED}.GenericResources",
            '[{"DiscreteResourceSpec":{"Kind":"gpu","Value":2}}]',
        ),
        updated("--generic-resource-rm gpu", count(f"{_RESERVED}.GenericResources"), "0"),
        updated("--group-add h", f"{_BOX}.Groups", '["g","h"]'),
        updated("--group-rm g", count(f"{_BOX}.Groups"), "0"),
        updated("--health-cmd true", f"{_CHECK}.Test", '["CMD-SHELL","true"]'),
        updated("--health-interval 5s", f"{_CHECK}.Interval", "5000000000"),
        updated("--health-retries 3", f"{_CHECK}.Retries", "3"),
        # Docker's command takes the flag and sends nothing of it, as with --max-concurrent.
        updated("--health-cmd true --health-start-interval 1s", f"{_CHECK}.StartInterval", "0"),
        updated("--health-start-period 1s", f"{_CHECK}.StartPeriod", "1000000000"),
        updated("--health-timeout 5s", f"{_CHECK}.Timeout", "5000000000"),
        updated("--no-healthcheck", f"{_CHECK}.Test", '["NONE"]'),
        updated("--host-add i:1.2.3.5", f"{_BOX}.Hosts", '["1.2.3.4 h","1.2.3.5 i"]'),
        updated("--host-rm h", count(f"{_BOX}.Hosts"), "0"),
        updated("--hostname h", f"{_BOX}.Hostname", '"h"'),
        updated("--image busybox:2", f"{_BOX}.Image", '"busybox:2"'),
        updated("--init", f"{_BOX}.Init", "true"),
        updated("--isolation default", f"{_BOX}.Isolation", '"default"'),
        updated("--label-add c=d", ".Spec.Labels", '{"a":"b","c":"d"}'),
        updated("--label-rm a", count(".Spec.Labels"), "0"),
        updated("--limit-cpu 0.5", f"{_LIMITS}.NanoCPUs", "500000000"),
        updated("--limit-memory 50m", f"{_LIMITS}.MemoryBytes", "52428800"),
        updated("--limit-pids 9", f"{_LIMITS}.Pids", "9"),
        updated("--limit-pids -1", f"{_LIMITS}.Pids", "-1"),
        updated("--log-driver none", f"{_TASK}.LogDriver.Name", '"none"'),
        updated("--log-driver json-file --log-opt max-size=1m", f"{_TASK}.LogDriver.Options", '{"max-size":"1m"}'),
        # Docker's command takes the flag and sends nothing of it.
        updated("--max-concurrent 2", ".Spec.Mode.ReplicatedJob.MaxConcurrent", "4", before=JOB),
        updated(
            "--mount-add type=tmpfs,target=/t",
            f"{_BOX}.Mounts",
            '[{"Type":"tmpfs","Target":"/t"},{"Type":"volume","Source":"v","Target":"/v"}]',
        ),
        updated("--mount-rm /v", count(f"{_BOX}.Mounts"), "0"),
        updated("--network-add on2", count(f"{_TASK}.Networks"), "2"),
        updated("--network-rm on1", count(f"{_TASK}.Networks"), "0"),
        updated("--oom-score-adj 5", f"{_BOX}.OomScoreAdj", "5"),
        updated(
            "--placement-pref-add spread=node.labels.rack",
            each(f"{_TASK}.Placement.Preferences", "{{.Spread.SpreadDescriptor}}"),
            "node.labels.zone,node.labels.rack,",
        ),
        updated("--placement-pref-rm spread=node.labels.zone", count(f"{_TASK}.Placement.Preferences"), "0"),
        updated(
            "--publish-add 8081:81",
            each(".Spec.EndpointSpec.Ports", "{{.PublishedPort}}:{{.TargetPort}}"),
            "8080:80,8081:81,",
        ),
        updated("--publish-rm 80", count(".Spec.EndpointSpec.Ports"), "0"),
        updated("--read-only", f"{_BOX}.ReadOnly", "true"),
        updated("--replicas 3", ".Spec.Mode.Replicated.Replicas", "3"),
        updated("--replicas-max-per-node 2", f"{_TASK}.Placement.MaxReplicas", "2"),
        updated("--reserve-cpu 0.5", f"{_RESERVED}.NanoCPUs", "500000000"),
        updated("--reserve-memory 50m", f"{_RESERVED}.MemoryBytes", "52428800"),
        updated("--restart-condition none", f"{_TASK}.RestartPolicy.Condition", '"none"'),
        updated("--restart-delay 0s", f"{_TASK}.RestartPolicy.Delay", "0"),
        updated("--restart-max-attempts 3", f"{_TASK}.RestartPolicy.MaxAttempts", "3"),
        updated("--restart-window 5s", f"{_TASK}.RestartPolicy.Window", "5000000000"),
        ("--rollback", ROLLBACK),
        updated("--rollback-delay 1s", ".Spec.RollbackConfig.Delay", "1000000000"),
        updated("--rollback-failure-action continue", ".Spec.RollbackConfig.FailureAction", '"continue"'),
        updated("--rollback-max-failure-ratio 0.5", ".Spec.RollbackConfig.MaxFailureRatio", "0.5"),
        updated("--rollback-monitor 2s", ".Spec.RollbackConfig.Monitor", "2000000000"),
        updated("--rollback-order start-first", ".Spec.RollbackConfig.Order", '"start-first"'),
        updated("--rollback-parallelism 0", ".Spec.RollbackConfig.Parallelism", "0"),
        updated(
            "--secret-add source=s2,target=x", each(f"{_BOX}.Secrets", "{{.SecretName}} {{.File.Name}}"), "s1 s1,s2 x,"
        ),
        updated("--secret-rm s1", count(f"{_BOX}.Secrets"), "0"),
        updated("--stop-grace-period 0s", f"{_BOX}.StopGracePeriod", "0"),
        updated("--stop-signal SIGINT", f"{_BOX}.StopSignal", '"SIGINT"'),
        updated("--sysctl-add c=d", f"{_BOX}.Sysctls", '{"a":"b","c":"d"}'),
        updated("--sysctl-rm a", count(f"{_BOX}.Sysctls"), "0"),
        updated("--tty", f"{_BOX}.TTY", "true"),
        updated("--ulimit-add nproc=6:7", each(f"{_BOX}.Ulimits", "{{.}}"), "nofile=4:5,nproc=6:7,"),
        updated("--ulimit-rm nofile", count(f"{_BOX}.Ulimits"), "0"),
        updated("--update-delay 1s", ".Spec.UpdateConfig.Delay", "1000000000"),
        updated("--update-failure-action rollback", ".Spec.UpdateConfig.FailureAction", '"rollback"'),
        updated("--update-max-failure-ratio 0.5", ".Spec.UpdateConfig.MaxFailureRatio", "0.5"),
        updated("--update-monitor 2s", ".Spec.UpdateConfig.Monitor", "2000000000"),
        updated("--update-order start-first", ".Spec.UpdateConfig.Order", '"start-first"'),
        updated("--update-parallelism 3", ".Spec.UpdateConfig.Parallelism", "3"),
        updated("--user 1000:1000", f"{_BOX}.User", '"1000:1000"'),
        updated("--with-registry-auth", f"{_BOX}.Image", '"busybox:latest"'),
        updated("--workdir /w", f"{_BOX}.Dir", '"/w"'),
    )
)

# shellcheck shell=bash
# The Docker engine of deploy/quickstart: used as it is when one runs, else started, and put back as it was at the end.

readonly ENGINE_RUN=/run/swarm-quickstart
readonly ENGINE_PID=$ENGINE_RUN/dockerd.pid
readonly ENGINE_LOG=$STATE/dockerd.log
readonly CHAIN_TABLES=(filter nat mangle raw)
# What dockerd and its parts leave behind, whatever their --exec-root and --data-root.
readonly ENGINE_PATHS=(/run/docker /run/containerd /run/runc /opt/containerd /etc/docker/key.json)

ensure_engine() {
    if docker_answers; then
        return
    fi
    is_made engine || remember_machine
    made engine
    if systemd_runs; then
        say "Starting docker.service"
        systemctl start docker.service || die "docker.service does not start: journalctl -u docker.service"
    else
        start_dockerd
    fi
    docker info >/dev/null || die "the Docker engine runs but does not answer: see above"
}

# Without systemd: a dockerd of our own, in the background, with its images in our folder.
start_dockerd() {
    say "Starting dockerd in the background (log: $ENGINE_LOG)"
    [ ! -e /var/run/docker.sock ] || die "/var/run/docker.sock exists, but no engine answers there: what left it?"
    mkdir -p "$ENGINE_RUN"
    setsid dockerd --data-root "$STATE/docker" --exec-root "$ENGINE_RUN" --pidfile "$ENGINE_PID" \
        -H unix:///var/run/docker.sock </dev/null >"$ENGINE_LOG" 2>&1 &
    wait_for 60 docker_answers || die "dockerd did not start; the end of $ENGINE_LOG:
$(tail -n 5 "$ENGINE_LOG")"
}

docker_answers() {
    docker info >/dev/null 2>&1
}

stop_engine() {
    is_made engine || return 0
    if systemd_runs; then
        systemctl stop docker.service docker.socket
        grep -qx containerd "$STATE/units" || systemctl stop containerd.service
    else
        stop_dockerd
    fi
    restore_network
    remove_paths
    rmdir /sys/fs/cgroup/docker /sys/fs/cgroup/*/docker 2>/dev/null || true
}

stop_dockerd() {
    local pid
    pid=$(cat "$ENGINE_PID" 2>/dev/null || true)
    if [ -n "$pid" ] && grep -qz dockerd "/proc/$pid/cmdline" 2>/dev/null; then
        say "Stopping dockerd"
        kill "$pid"
        wait_for 60 process_ended "$pid" || die "dockerd (process $pid) does not end; see $ENGINE_LOG"
    fi
}

process_ended() {
    [ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

# dockerd turns forwarding on, its policy to DROP, and adds chains and a bridge; none of it goes away with dockerd.
remember_machine() {
    ls -d "${ENGINE_PATHS[@]}" >"$STATE/paths" 2>/dev/null || true
    cat /proc/sys/net/ipv4/ip_forward >"$STATE/ip_forward"
    ip -o link | awk -F': ' '{print $2}' >"$STATE/links"
    rules_of iptables | sed -n 's/^:FORWARD \([A-Z]*\).*/\1/p' | head -1 >"$STATE/forward_policy"
    nft list tables >"$STATE/tables" 2>/dev/null || true
    if systemd_runs && systemctl is-active -q containerd.service; then echo containerd; fi >"$STATE/units"
}

rules_of() {
    "$1-save" 2>/dev/null
}

remove_paths() {
    local path
    for path in "${ENGINE_PATHS[@]}"; do
        grep -qx "$path" "$STATE/paths" || rm -rf "$path"
    done
    rm -rf "$ENGINE_RUN" /var/run/docker.sock
}

restore_network() {
    local command policy
    cat "$STATE/ip_forward" >/proc/sys/net/ipv4/ip_forward
    # An engine that ran before has left the same.
    ! grep -qx docker0 "$STATE/links" || return 0
    ip link del docker0 2>/dev/null || true
    for command in iptables ip6tables; do
        rules_of "$command" | sed -e /DOCKER/d -e /docker0/d | "$command-restore" || warn "$command: rules of Docker are left"
        policy=$(cat "$STATE/forward_policy")
        "$command" -P FORWARD "${policy:-ACCEPT}"
    done
    remove_empty_tables
}

# The tables that iptables made for Docker, if they were not there before and nobody has rules in them now.
remove_empty_tables() {
    local family table
    for family in ip ip6; do
        for table in "${CHAIN_TABLES[@]}"; do
            grep -qx "table $family $table" "$STATE/tables" && continue
            rules_in "$family" "$table" || nft delete table "$family" "$table" 2>/dev/null || true
        done
    done
}

rules_in() {
    nft list table "$1" "$2" 2>/dev/null | grep -vE '^table|chain |type .* hook |policy|^\s*}?$' | grep -q .
}

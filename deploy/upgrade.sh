# shellcheck shell=bash
# deploy/install --upgrade: this release in place of the one that runs, one daemon after the other. Sourced by it.

readonly BACK_SECONDS=120

upgrade() {
    local before others
    [ -e "$PREFIX/current" ] || die "nothing is installed in $PREFIX: deploy/install does that"
    before=$(readlink "$PREFIX/current")
    if runs swarm-manager; then
        others=$(swarm-manager node ls --format '{{.Hostname}} {{.ManagerStatus}}') ||
            die "this host's manager does not answer (see above): put that right first; nothing was changed"
        others=$(awk '$2 == "Unreachable" || $2 == "Joining" {print $1}' <<<"$others")
        [ -z "$others" ] || die "the manager of ${others//$'\n'/, } does not answer: with this one stopped as well \
there may be no majority; start it again, or demote its node, first; nothing was changed"
    fi
    install_release
    install_commands
    install_units
    ! runs swarm-manager || replace_daemon swarm-manager "$before" managers_answer
    ! runs swarm-worker || replace_daemon swarm-worker "$before" worker_is_back
    tell_version
}

# Whether the daemon of a command runs on this host.
runs() {
    if by_systemd "$1"; then
        systemctl is-active -q "$1"
    else
        kill -0 "$(cat "/var/lib/$1/daemon.pid" 2>/dev/null)" 2>/dev/null
    fi
}

by_systemd() {
    systemd_runs && systemctl cat "$1.service" >/dev/null 2>&1
}

# Restart a daemon, and wait until it has its place in the cluster again.
replace_daemon() {
    local command=$1 before=$2 back=$3
    echo "restarting $command"
    # Until it is back, what the question prints is of no use.
    restart_daemon "$command" && { [ "$command" != swarm-manager ] || unlock_manager; } &&
        wait_for "$BACK_SECONDS" "$back" >/dev/null 2>&1 && return
    $back >&2 || true
    die "$command is not back after $BACK_SECONDS s: see its log ($(log_of "$command")). Its containers run on.
To go back, where the log says that the release is the reason: ln -sfn $before $PREFIX/current, and restart $command"
}

restart_daemon() {
    local command=$1 pid
    if by_systemd "$command"; then
        systemctl restart "$command" # Type=notify: returns when it is ready
        return
    fi
    pid=$(cat "/var/lib/$command/daemon.pid")
    kill "$pid" && tail --pid="$pid" --sleep-interval=0.1 -f /dev/null && "$command" start
}

# A locked manager that was restarted answers nobody before it has its key.
unlock_manager() {
    local said
    said=$(swarm-manager node ls 2>&1) && return
    [[ "$said" == *"Swarm is encrypted and needs to be unlocked"* ]] || return 0 # Docker's words
    swarm-manager unlock ||
        die "this host's manager waits for its unlock key: run this again with it, on the terminal or in SWARM_UNLOCK_KEY"
}

log_of() {
    if by_systemd "$1"; then echo "journalctl -u $1"; else echo "/var/lib/$1/daemon.log"; fi
}

# Whether every manager leads or answers, as this host's says.
managers_answer() {
    local said
    said=$(timeout 10 swarm-manager node ls --format '{{.ManagerStatus}}' 2>&1) || {
        echo "$said"
        return 1
    }
    [[ "$said" == *Leader* && "$said" != *Unreachable* && "$said" != *Joining* ]]
}

worker_is_back() {
    swarm-worker status | grep '^Session:  *with '
}

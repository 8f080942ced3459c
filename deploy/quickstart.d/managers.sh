# shellcheck shell=bash
# The further managers of deploy/quickstart --managers, beside this machine's: each has a network and a host name of its
# own, and is on a bridge with the others, as if it were another machine. What is theirs, namespaces too, is in $STATE.

readonly BRIDGE=quickstart0
readonly MANAGERS_MADE=$STATE/managers

# Set MANAGERS to the number that was given, or to that of the last run; 1: the manager of this machine alone.
choose_managers() {
    local given=$1 here
    here=$(cat "$MANAGERS_MADE" 2>/dev/null || echo 1)
    MANAGERS=${given:-$here}
    [ -n "$given" ] || return 0
    [ "$given" -ge "$here" ] || die "there are $here managers already: $SOURCE/quickstart --down removes them"
    [ "$here" -gt 1 ] || [ ! -e "$MANAGER_DATA/config.json" ] ||
        die "this machine has a manager already, and no further ones are made beside it; if the quickstart made it:
$SOURCE/quickstart --down"
}

check_managers() {
    case $1 in
    3 | 5 | 7) ;;
    "" | *[!0-9]*) die "--managers: '$1' is not a number: give 3, 5 or 7" ;;
    *) die "--managers $1: give 3, 5 or 7 (an even number can lose no more managers than the odd one below it)" ;;
    esac
}

check_etcd() {
    local version
    version=$(etcd --version | sed -n 's/^etcd Version: //p')
    printf '3.5\n%s\n' "$version" | sort -CV || die "etcd 3.5 or later is needed, as Debian 13 has it: this is $version"
    [ -e "$MANAGER_DATA/config.json" ] || [ -z "$(ss -Hltn "sport = :2380")" ] ||
        die "port 2380 is in use here, and etcd needs it: see ss -ltnp (Debian's own etcd: systemctl disable --now etcd)"
}

# Debian starts what it installs at the next boot: an etcd of its own would take our managers' port.
keep_etcd_for_managers() {
    ! systemd_runs || systemctl disable --quiet etcd.service || warn "etcd.service may take port 2380 at the next boot"
}

# Managers are numbered: the first is this machine's own.
name_of() {
    echo "quickstart-$1"
}

data_of() {
    [ "$1" = 1 ] && echo "$MANAGER_DATA" || echo "$STATE/$(name_of "$1")"
}

api_of() {
    [ "$1" = 1 ] && echo unix:///run/swarm-manager/docker.sock || echo "unix://$STATE/$(name_of "$1").sock"
}

# Addresses that are for tests between hosts (RFC 2544), and that no route of this machine has.
address_of() {
    local third
    if [ ! -e "$STATE/network" ]; then
        for third in {0..255}; do
            [ -n "$(ip -4 route show root "198.18.$third.0/24")" ] || break
        done
        echo "198.18.$third" >"$STATE/network"
    fi
    echo "$(cat "$STATE/network").$1"
}

ensure_bridge() {
    [ -e "/sys/class/net/$BRIDGE" ] || ip link add "$BRIDGE" type bridge
    ip addr replace "$(address_of 1)/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
    # Docker has the kernel ask iptables about what crosses a bridge, too, and forbids what it does not know.
    bridge_rule -C 2>/dev/null || bridge_rule -I
}

bridge_rule() {
    iptables -w "$1" FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT
}

# A network and a host name that last without a process, on the bridge.
ensure_host() {
    local number=$1 base port
    base=$STATE/$(name_of "$number") port=quickstart$number
    ! has_port_up "$number" || return 0
    remove_host "$number"
    touch "$base.net" "$base.uts"
    unshare --net="$base.net" --uts="$base.uts" hostname "$(name_of "$number")"
    ip link add "$port" master "$BRIDGE" type veth peer name eth0 netns "$base.net"
    on_host "$number" ip link set lo up
    on_host "$number" ip addr add "$(address_of "$number")/24" dev eth0
    on_host "$number" ip link set eth0 up
    # The last step: what was interrupted, or has not been since the machine was booted, is made anew.
    ip link set "$port" up
}

has_port_up() {
    ip link show up dev "quickstart$1" 2>/dev/null | grep -q .
}

remove_host() {
    local base
    base=$STATE/$(name_of "$1")
    ip link del "quickstart$1" 2>/dev/null || true
    umount "$base.net" "$base.uts" 2>/dev/null || true
}

on_host() {
    local base
    base=$STATE/$(name_of "$1")
    shift
    nsenter --net="$base.net" --uts="$base.uts" "$@"
}

# Show a command as one would type it on a further manager's host, and run it there.
show_on() {
    local number=$1
    shift
    printf '\n%s$ %s\n' "$(name_of "$number")" "$*"
    on_host "$number" "$@"
}

ensure_more_managers() {
    local number
    for ((number = 2; number <= MANAGERS; number++)); do
        ensure_host "$number"
        ! swarm-manager -H "$(api_of "$number")" status >/dev/null 2>&1 || continue
        if [ -e "$(data_of "$number")/config.json" ]; then
            start_manager "$number"
        else
            SWARM_JOIN_TOKEN=$(swarm-manager join-token manager -q) show_on "$number" swarm-manager join \
                --data-dir "$(data_of "$number")" -H "$(api_of "$number")" \
                --advertise-addr "$(address_of "$number")" "$(address_of 1):2377"
        fi
    done
    wait_for 60 all_managers_answer || die "not all managers are reached: swarm-manager node ls; their logs:
$(for ((number = 2; number <= MANAGERS; number++)); do echo "$(data_of "$number")/daemon.log"; done)"
}

start_manager() {
    if [ "$1" = 1 ]; then
        show swarm-manager start
    else
        show_on "$1" swarm-manager start --data-dir "$(data_of "$1")"
    fi
}

# Every manager says of every one that it leads or answers.
all_managers_answer() {
    local number
    for ((number = 1; number <= MANAGERS; number++)); do
        [ "$(statuses_by "$number" | grep -cxE 'Leader|Reachable')" = "$MANAGERS" ] || return 1
    done
}

statuses_by() {
    docker -H "$(api_of "$1")" node ls --format '{{.ManagerStatus}}' 2>/dev/null
}

leading_manager() {
    local number leads
    for ((number = 1; number <= MANAGERS; number++)); do
        leads=$(docker -H "$(api_of "$number")" node inspect self -f '{{.ManagerStatus.Leader}}' 2>/dev/null || true)
        if [ "$leads" = true ]; then
            echo "$number"
            return
        fi
    done
    return 1
}

# Print the process of a manager; fail where none runs.
pid_of_manager() {
    local pid
    if [ "$1" = 1 ] && systemd_runs; then
        pid=$(systemctl show -P MainPID swarm-manager.service)
    else
        pid=$(cat "$(data_of "$1")/daemon.pid" 2>/dev/null || true)
    fi
    grep -qz -e manager.main -e swarm-manager "/proc/${pid:-0}/cmdline" 2>/dev/null && echo "$pid"
}

manager_ended() {
    ! pid_of_manager "$1" >/dev/null
}

# As when its host loses its power: the manager and its etcd, at once and without a word.
kill_manager() {
    local pid children
    pid=$(pid_of_manager "$1") || return 0
    read -ra children <"/proc/$pid/task/$pid/children" || true
    kill -KILL "$pid" "${children[@]}"
    # It stays away, as the host would, until we start it again.
    [ "$1" != 1 ] || ! systemd_runs || systemctl stop swarm-manager.service
}

change_is_taken() {
    docker -H "$1" service update --detach --label-add "failover=$EPOCHREALTIME" "$SERVICE" >/dev/null 2>&1
}

show_failover() {
    local killed other api began ended
    killed=$(leading_manager) || die "no manager leads: swarm-manager node ls"
    other=$((killed % MANAGERS + 1))
    api=$(api_of "$other")
    say "$MANAGERS managers; any of them answers, and passes on what the leader has to do"
    show swarm-manager -H "$api" node ls
    say "Killing the leader, and changing a service through another manager until that is taken"
    began=${EPOCHREALTIME/[.,]/}
    kill_manager "$killed"
    wait_for 60 change_is_taken "$api" || die "no manager takes changes: swarm-manager -H $api status"
    ended=${EPOCHREALTIME/[.,]/}
    printf '%d ms after the kill, the next leader had taken the change.\n' $(((ended - began) / 1000))
    show swarm-manager -H "$api" node ls
    say "Starting the killed manager again"
    start_manager "$killed"
    wait_for 60 all_managers_answer || die "the killed manager does not come back: swarm-manager -H $api status"
    show swarm-manager -H "$api" node ls
}

remove_managers() {
    local number all
    all=$(cat "$MANAGERS_MADE" 2>/dev/null || echo 1)
    for ((number = all; number >= 2; number--)); do
        [ ! -e "$(data_of "$number")/config.json" ] || leave_cluster "$number" -H "$(api_of "$number")"
        remove_host "$number"
    done
    ! is_made manager || leave_cluster 1
    [ "$all" = 1 ] || remove_bridge
}

leave_cluster() {
    local number=$1
    shift
    # Where the others do not run any more, it cannot.
    if ! show swarm-manager "$@" leave --force || ! wait_for 20 manager_ended "$number"; then
        warn "manager $number of this machine has not left in order, and is killed if it runs"
        kill_manager "$number"
    fi
}

remove_bridge() {
    bridge_rule -D 2>/dev/null || true
    ip link del "$BRIDGE" 2>/dev/null || true
}

# shellcheck shell=bash
# What deploy/quickstart, deploy/install and tests/run need of a machine: Debian packages, a Python, and its systemd.
# Who sources this has a function `die`.

systemd_runs() {
    [ -d /run/systemd/system ]
}

# Call a function, with these arguments, until it succeeds, at most for so many seconds.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.1
    done
}

# After a plain `su` Debian's PATH lacks the administrator's programs.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Three tries of each file, as Debian 13 has them, take minutes where there is no network.
readonly APT_OPTIONS=(-o Acquire::Retries=1)

# Print the package of each command that is not here; standard input has lines of COMMAND PACKAGE.
packages_of_missing() {
    local command package
    while read -r command package; do
        command -v "$command" >/dev/null || echo "$package"
    done
}

# Print the package of the busybox that stands alone, of which images are made, if it is not here.
package_of_busybox() {
    if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then
        echo busybox-static
    fi
}

# Print the first of these Pythons that is 3.11 or later and can make a virtual environment.
find_python() {
    local python
    for python in "$@"; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# Print the package that makes one of these Pythons of use, if none is; fail where the system's is too old for that.
package_of_python() {
    ! find_python "$@" >/dev/null || return 0
    [ ! -x /usr/bin/python3 ] || /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or later is needed, as Debian 12 and 13 have it: this system has $(/usr/bin/python3 --version)"
    echo python3-venv
}

# Install these Debian packages, telling only what goes wrong. PACKAGES: the names that they have on this Debian.
install_packages() {
    local log
    command -v apt-get >/dev/null || die "this system is not Debian; install these packages (by their names in Debian), and try again: $*"
    [ "$(id -u)" = 0 ] || die "packages are missing; as root: apt-get install $(names_here "$@" | tr '\n' ' ')"
    log=$(mktemp)
    # Without a network the lists of before may do.
    apt-get update -q "${APT_OPTIONS[@]}" >"$log" 2>&1 || true
    mapfile -t PACKAGES < <(names_here "$@")
    echo "installing ${PACKAGES[*]}"
    if ! run_apt "${PACKAGES[@]}" >>"$log" 2>&1; then
        grep -E '^(E|W|Error|Warning|dpkg):|No space left' "$log" | sort | uniq -w 20 | tail -n 4 >&2
        die "apt-get cannot install ${PACKAGES[*]}: see above (all that it said: $log)"
    fi
    rm -f "$log"
}

names_here() {
    local name
    for name in "$@"; do
        # Up to Debian 12 the docker command is part of docker.io.
        [ "$name" != docker-cli ] || apt-cache show docker-cli >/dev/null 2>&1 || name=docker.io
        echo "$name"
    done | sort -u
}

# No package starts a service: who needs one starts it, and can stop it again.
run_apt() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${APT_OPTIONS[@]}" "$@"
)

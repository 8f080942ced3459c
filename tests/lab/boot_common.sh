# shellcheck shell=sh
# What the two kinds of lab hosts do alike while they boot.

# Give the file tree at $1 ('' for this one) the host's name $2, name server $3, known hosts $4, and ids of its own.
become() {
    hostname "$2"
    ip link set lo up
    rm -f "$1/etc/resolv.conf" "$1/etc/machine-id"
    echo "nameserver $3" >"$1/etc/resolv.conf"
    echo "$2" >"$1/etc/hostname"
    cp "$4" "$1/etc/hosts"
    echo "$2 $4" | md5sum | cut -d' ' -f1 >"$1/etc/machine-id"
    # Programs tell by it whether the machine has been booted since.
    cat /proc/sys/kernel/random/uuid >"$1/run/boot_id"
    mount --bind "$1/run/boot_id" "$1/proc/sys/kernel/random/boot_id"
}

# Be the first process: reap orphans until killed.
reap() {
    echo up
    exec >/dev/null
    # A signal would end the shell's wait: only SIGKILL, which no process can refuse, ends a host.
    trap '' HUP INT TERM
    while :; do
        sleep 2147483647 &
        wait
    done
}

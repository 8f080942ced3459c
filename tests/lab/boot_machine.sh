#!/bin/sh
# The first process of a lab host with a file tree of its own, with systemd or without an init system.
# Usage: boot_machine.sh NAME DIR NAMESERVER CGROUP INIT, inside fresh mount, uts, ipc, net and pid namespaces.
# DIR outlives the host; INIT is systemd or none. With systemd: DIR/notify receives READY=1 when it has booted.
set -e
name=$1 dir=$2 nameserver=$3 cgroup=$4 init=$5
# shellcheck source-path=SCRIPTDIR source=boot_common.sh
. "${0%/*}/boot_common.sh"

# systemd rules the version 2 hierarchy below its cgroup namespace's root: that has to be the host's own cgroup.
if [ "$init" = systemd ] && [ -z "$IN_CGROUP" ]; then
    unified=/sys/fs/cgroup/unified
    [ -d $unified ] || unified=/sys/fs/cgroup
    mkdir -p "$unified/$cgroup"
    echo 0 >"$unified/$cgroup/cgroup.procs"
    IN_CGROUP=1 exec unshare --cgroup sh "$0" "$@"
fi

# The machine's own files, where what this host changes is kept in DIR. overlay2 does not work on an overlay, so
# the engine's folders are on the disk itself.
root=$dir/root
mkdir -p "$dir/upper" "$dir/work" "$root" "$dir/cgroup" "$dir/docker" "$dir/containerd"
mount --rbind /sys/fs/cgroup "$dir/cgroup"
mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir -p "$root/run/lock" "$root/var/lib/docker" "$root/var/lib/containerd" "$root$dir"
mount --bind "${dir%/*}" "$root${dir%/*}"
mount --rbind "$dir/cgroup" "$root$dir/cgroup"
mount --bind "$dir/docker" "$root/var/lib/docker"
mount --bind "$dir/containerd" "$root/var/lib/containerd"
# The project stays in sight, where this clone of it is in a folder that the machine has empty (mktemp -d).
project=$(cd "${0%/*}/../.." && pwd)
if ! [ -e "$root$project" ]; then
    mkdir -p "$root$project" "$dir/project/upper" "$dir/project/work"
    mount -t overlay -o "lowerdir=$project,upperdir=$dir/project/upper,workdir=$dir/project/work" overlay "$root$project"
fi

mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "fuse 10 229"; do
    # shellcheck disable=SC2086  # three words
    set -- $device
    mknod -m 666 "$root/dev/$1" c "$2" "$3"
done
mkdir "$root/dev/net"
mknod -m 666 "$root/dev/net/tun" c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

if [ "$init" = systemd ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
fi
become "$root" "$name" "$nameserver" "$dir/../hosts"

# At the first boot: only Docker is enabled, and nothing that would touch the machine's devices, clock or sysctls.
units=$root/etc/systemd/system
if [ "$init" = systemd ] && [ ! -e "$dir/configured" ]; then
    rm -rf "$units"/*.wants "$units"/*.requires
    mkdir -p "$units/multi-user.target.wants" "$units/docker.service.d" "$units/containerd.service.d"
    : >"$root/etc/fstab"
    # The machine's controllers may be on cgroup version 1, which systemd does not take. The engine is to have them
    # all the same: its two units share a mount namespace in which the cgroups are the machine's.
    cat >"$units/engine-cgroups.service" <<EOF
[Unit]
DefaultDependencies=no
[Service]
Type=notify
NotifyAccess=all
ExecStart=unshare --mount --propagation slave \\
    sh -ec 'mount --rbind $dir/cgroup /sys/fs/cgroup; systemd-notify --ready; exec sleep infinity'
EOF
    for unit in containerd docker; do
        ln -s "/lib/systemd/system/$unit.service" "$units/multi-user.target.wants/"
        command=$(sed -n 's/^ExecStart=//p' "/lib/systemd/system/$unit.service")
        cat >"$units/$unit.service.d/lab.conf" <<EOF
[Unit]
Requires=engine-cgroups.service
After=engine-cgroups.service
[Service]
ExecStart=
ExecStart=sh -c 'exec nsenter "--mount=/proc/\$\$(systemctl show -P MainPID engine-cgroups)/ns/mnt" "\$\$@"' sh \\
    $command
EOF
    done
    for unit in getty.target systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
        systemd-udev-trigger.service systemd-sysctl.service systemd-modules-load.service systemd-timesyncd.service \
        systemd-tmpfiles-clean.timer systemd-pstore.service systemd-binfmt.service systemd-logind.service \
        modprobe@.service systemd-networkd.service systemd-resolved.service systemd-firstboot.service; do
        ln -sf /dev/null "$units/$unit"
    done
    echo "DOCKER_OPTS=\"-H unix://$dir/docker.sock --cgroup-parent=/$cgroup --exec-opt native.cgroupdriver=cgroupfs\"" \
        >"$root/etc/default/docker"
    : >"$dir/configured"
fi

mkdir -p "$root/run/machine"
cd "$root"
pivot_root . run/machine
umount -l /run/machine
cd /
[ "$init" = systemd ] || reap
# As systemd does on a machine, but not in a container: what is mounted later is seen by the engine and its containers.
mount --make-rshared /
echo up
exec env -i container=lab NOTIFY_SOCKET="$dir/notify" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=multi-user.target </dev/null >/dev/null 2>&1

#!/bin/sh
# The first process of a lab host: makes the new mount namespace look like a machine of its own, then reaps orphans.
# Usage: boot.sh NAME DIR NAMESERVER, inside fresh mount, uts, ipc, net and pid namespaces; DIR outlives the host.
set -e
name=$1 dir=$2 nameserver=$3
# shellcheck source-path=SCRIPTDIR source=boot_common.sh
. "${0%/*}/boot_common.sh"

# A sysfs of this network namespace (/sys/class/net), with the machine's cgroups put back into it.
mkdir -p "$dir/cgroup" "$dir/etc" "$dir/etc.work" "$dir/var-lib" "$dir/var-lib.work"
mount --rbind /sys/fs/cgroup "$dir/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$dir/cgroup" /sys/fs/cgroup
umount -l "$dir/cgroup"

# What a reboot clears, and what a host changes for itself without the machine seeing it.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
mount -t overlay -o "lowerdir=/etc,upperdir=$dir/etc,workdir=$dir/etc.work" overlay /etc
for own in swarm-manager swarm-worker; do # the machine's: a host that is new has none (a whiteout hides it)
    [ -e "$dir/var-lib/$own" ] || mknod "$dir/var-lib/$own" c 0 0
done
mount -t overlay -o "lowerdir=/var/lib,upperdir=$dir/var-lib,workdir=$dir/var-lib.work" overlay /var/lib
# What udev makes on a machine, for wireguard-go; /dev is everybody's here.
[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200; }
# As systemd has it on a machine: what is mounted later reaches containers that ask for that. Not the machine outside.
mount --make-rshared /
become "" "$name" "$nameserver" "$dir/../hosts"
reap

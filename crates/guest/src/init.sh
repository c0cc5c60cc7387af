#!/bin/busybox sh
# The first process of a guest that runs a script and powers off. Twice: on the kernel's first root, and
# then on a tmpfs, because pivot_root(2) does not work on the former.
export PATH=/bin HOME=/root TERM=linux
end() { sync; poweroff -f; }

if [ ! -e /moved ]; then
  mkdir /new
  mount -t tmpfs -o mode=755,size=90% root /new
  # switch_root takes a root away only where there is an /init.
  cp /init /new/init
  for name in /*; do
    [ "$name" = /new ] || [ "$name" = /init ] || mv "$name" /new/
  done
  PATH=/new/bin
  touch /new/moved
  exec switch_root /new /init
fi

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid,mode=755 dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 shm /dev/shm
mount -t mqueue -o nosuid,nodev,noexec mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
mount -t securityfs -o nosuid,nodev,noexec securityfs /sys/kernel/security
for link in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
  ln -s "${link#*:}" "/dev/${link%%:*}"
done
ip link set lo up
hostname guest
modprobe -a $(cat /etc/modules)
if [ -b /dev/vda ]; then
  mount -t ext4 /dev/vda /tmp
  chmod 1777 /tmp
else
  mount -t tmpfs -o nosuid,nodev,mode=1777 tmp /tmp
fi

# As systemd leaves it, and runtimes expect it.
mount --make-rshared /

port() { # NAME: its device
  for dir in /sys/class/virtio-ports/*; do
    [ "$(cat "$dir/name")" = "$1" ] && echo "/dev/${dir##*/}" && return
  done
}

# Whatever happens to those who watch from outside.
seconds=$(sed -n 's/.*guest\.seconds=\([0-9]*\).*/\1/p' /proc/cmdline)
(sleep "$seconds"; echo "guest: $seconds s are over"; end) &

out=$(port out) result=$(port result) files=$(port files)
mkdir -p /out
echo "out=$out result=$result files=$files" > /run/ports
# Where there is a systemd, it is the first process from here on, and /finish its only service.
[ ! -x /lib/systemd/systemd ] || exec /lib/systemd/systemd
. /finish

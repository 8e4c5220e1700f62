#!/bin/sh
# customize-base.sh ROOT: what mmdebstrap does last to the tree of Debian packages, on the build host.
# Takes away everything that differs from build to build or belongs to one machine.
set -eu
root=$1

: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_*
rm -f "$root/etc/nvme/hostid" "$root/etc/nvme/hostnqn" # nvme-cli's postinst draws them
rm -f "$root"/vmlinuz* "$root"/initrd.img* "$root"/etc/shadow- "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/gshadow-
chroot "$root" usermod --lock root

# Nothing is updated by apt on a node, and no mirror is named in an image.
rm -rf "$root"/etc/apt/sources.list* "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root"/var/lib/apt "$root"/var/cache/apt
# The package database stays as a list (scanners read it), without the file lists and scripts.
find "$root/var/lib/dpkg" -mindepth 1 ! -name status ! -name 'diversions' ! -name 'statoverride' -delete 2>/dev/null || :
rm -rf "$root"/var/cache/debconf "$root"/var/cache/ldconfig "$root"/var/lib/ucf "$root"/var/lib/initramfs-tools
find "$root/var/log" -type f -delete
find "$root/usr/lib" "$root/usr/share" -name __pycache__ -prune -exec rm -rf {} +

# Daemons that a role enables, or that have no work on a read-only root. Debian enables them when they are installed.
for unit in haproxy keepalived kexec kexec-load nvmf-autoconnect nvmefc-boot-connections e2scrub_reap smartmontools \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer; do
	systemctl --quiet --root="$root" disable "$unit" 2>/dev/null || :
done
for unit in systemd-networkd systemd-networkd-wait-online systemd-resolved chrony ssh; do
	systemctl --quiet --root="$root" enable "$unit"
done

# Writable places outside /var, /etc, /home and /root.
for place in opt srv; do
	rmdir "$root/$place"
	mkdir -p "$root/var/$place"
	ln -s "var/$place" "$root/$place"
done
# Where Kubernetes' own folder for volume plugins is; Calico makes one below it.
mkdir -p "$root/var/lib/kubelet-plugins"
ln -s ../../var/lib/kubelet-plugins "$root/usr/libexec/kubernetes"
ln -sfn ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

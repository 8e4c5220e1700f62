#!/bin/sh
# initrd.sh ROOT CONFIG OUT: makes OUT/initrd with the kernel of the tree ROOT and the initramfs-tools files in CONFIG,
# and copies the kernel to OUT/vmlinuz. Run it in a mount namespace of its own: `unshare --mount`.
set -eu
root=$1 config=$2 out=$3
work=$(mktemp -d)

mkdir "$work/upper" "$work/work" "$work/root"
mount -t tmpfs tmpfs "$work/upper"
mkdir "$work/upper/u" "$work/upper/w"
mount -t overlay -o "lowerdir=$root,upperdir=$work/upper/u,workdir=$work/upper/w" overlay "$work/root"
mount -t proc proc "$work/root/proc"
mount -o bind /dev "$work/root/dev"

cp -R "$config/." "$work/root/etc/initramfs-tools/"
chmod 755 "$work/root/etc/initramfs-tools/hooks/metalstrap"
kernel=$(basename "$(echo "$root"/lib/modules/*)")
[ -e "$root/boot/vmlinuz-$kernel" ] || { echo "initrd.sh: not exactly one kernel in $root" >&2; exit 1; }
chroot "$work/root" mkinitramfs -o /tmp/initrd "$kernel"
cp "$work/root/tmp/initrd" "$out/initrd"
cp "$root/boot/vmlinuz-$kernel" "$out/vmlinuz"
chmod 644 "$out/initrd" "$out/vmlinuz"
echo "$kernel" >"$out/kernel"

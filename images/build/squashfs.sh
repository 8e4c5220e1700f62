#!/bin/sh
# squashfs.sh BASE LAYER OUT SECONDS COMPRESSION…: the tree BASE with LAYER over it, as the file OUT.
# All times become SECONDS, so that the same inputs give the same bytes. Extended attributes are left out: in Debian 12 only
# ping has one (a file capability), and it works without, by net.ipv4.ping_group_range. Run it by `unshare --mount`.
set -eu
base=$1 layer=$2 out=$3 seconds=$4
shift 4
merged=$(mktemp -d)
mount -t overlay -o "ro,lowerdir=$layer:$base" overlay "$merged"
unset SOURCE_DATE_EPOCH # mksquashfs refuses it beside -all-time
# What only the initrd needs: microcode is loaded before there is a root.
mksquashfs "$merged" "$out" -noappend -no-progress -no-xattrs -quiet -no-exports \
	-all-time "$seconds" -mkfs-time "$seconds" "$@" \
	-wildcards -e 'boot/*' 'lib/firmware/intel-ucode' 'usr/lib/firmware/intel-ucode' \
	'lib/firmware/amd-ucode' 'usr/lib/firmware/amd-ucode'
chmod 644 "$out"
umount "$merged"
rmdir "$merged"

# shellcheck shell=sh
# Runs in the live system of a test image; the cases follow below this text. Prints `CASE NAME | …` and `CASE NAME exit N`.
export ARTIFACTS=/usr/share/metalstrap/artifacts LIVE=/run/metalstrap/medium/live
count=0 undo=''
udevadm settle --timeout=300
mkdir -p /run/cases
mount -t tmpfs -o size=200m tmpfs /run/cases
dd if=/dev/zero of=/dev/disk/by-label/SCRATCH bs=512 count=1 seek=2048 conv=notrunc,fsync 2>/dev/null

# writable DIR: what is changed in DIR is gone after the case.
writable() {
	mkdir -p "/run/cases/$count/upper" "/run/cases/$count/work"
	mount -t overlay -o "lowerdir=$1,upperdir=/run/cases/$count/upper,workdir=/run/cases/$count/work" case "$1" || return 1
	undo="$1 $undo"
}

# replace NEW OLD: reads of OLD give NEW until the case is over.
replace() {
	mount --bind "$1" "$2" || return 1
	undo="$2 $undo"
}

# unreadable FILE: FILE has its length, and fails when it is read.
unreadable() {
	mkdir -p "/run/cases/$count/broken"
	mount -t vfat -o ro /dev/disk/by-label/BROKEN "/run/cases/$count/broken" || return 1
	undo="/run/cases/$count/broken $undo"
	replace "/run/cases/$count/broken/${1##*/}" "$1"
}

# hold SERIAL: the file system of that disk is mounted, without a write to it.
hold() {
	mkdir -p "/run/cases/$count/held"
	mount -t ext4 -o ro,noload "/dev/disk/by-id/virtio-$1" "/run/cases/$count/held" || return 1
	undo="/run/cases/$count/held $undo"
}

# neighbour ADDRESS/PREFIX…: the card 52:54:00:4d:53:77, in a network namespace of its own, has these addresses.
neighbour() {
	[ -e /run/netns/neighbour ] || {
		ip netns add neighbour
		card=$(grep -l 52:54:00:4d:53:77 /sys/class/net/*/address) && card=${card%/address} || return 1
		ip link set "${card##*/}" down
		ip link set "${card##*/}" netns neighbour name wire || return 1
		ip -n neighbour link set wire up
	}
	ip -n neighbour address flush dev wire scope global
	for address in "$@"; do
		case $address in *:*) nodad=nodad ;; *) nodad='' ;; esac
		ip -n neighbour address add "$address" dev wire $nodad || return 1
	done
}

# begin NAME yes|no ARGUMENTS: a volume with the case's cluster file, and a kernel command line.
begin() {
	count=$((count + 1)) undo='' spoilt=yes
	loop=''
	if [ "$2" = yes ]; then
		truncate -s 4M "/run/cases/$count.img"
		mkfs.vfat -n "CASE$count" "/run/cases/$count.img" >/dev/null
		loop=$(losetup --find --show "/run/cases/$count.img")
		mkdir -p "/run/cases/$count/volume"
		mount "$loop" "/run/cases/$count/volume"
		cp "/run/testkit/$1.toml" "/run/cases/$count/volume/cluster.toml"
		umount "/run/cases/$count/volume"
		udevadm settle
		set -- "$1" "$2" "$3 metalstrap.config=label:CASE$count"
	fi
	mkdir -p "/run/cases/$count"
	sed "s|metalstrap.mode=wait|metalstrap.mode=install $3|" /run/cmdline.real >"/run/cases/$count/cmdline"
	replace "/run/cases/$count/cmdline" /proc/cmdline
}

# finish NAME: runs the installer, unless what should be spoilt could not be: it would install.
finish() {
	if [ "$spoilt" = yes ]; then
		timeout 120 metalstrap install --unattended >"/run/cases/$count/output" 2>&1
		status=$?
	else
		status='not run, nothing was spoilt'
	fi
	[ ! -e "/run/cases/$count/output" ] || sed "s/^/CASE $1 | /" "/run/cases/$count/output"
	echo "CASE $1 exit $status"
	for place in $undo; do umount "$place"; done
	[ -z "$loop" ] || losetup --detach "$loop"
}

cat /proc/cmdline >/run/cmdline.real
before=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
metalstrap inventory --output json >/run/cases/inventory.json
after=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
echo "INVENTORY ms $(((after - before) * 10))"
echo "INVENTORY cards $(grep -c '"mac": "52:54:' /run/cases/inventory.json)"
echo 'TESTKIT begin'

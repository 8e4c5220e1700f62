#!/bin/bash
# packets.sh NODE_ADDRESS DMZ_ADDRESS RULES PORTS < probes
# In fresh net and mount namespaces: a node with a cluster, a DMZ and a pod leg listens on PORTS and loads RULES (or "none").
# Answers each probe "zone source target port" with open, refused or dropped.
set -eu; node=$1 dmz=$2 rules=$3 ports=$4
trap 'kill $(jobs -p) 2>/dev/null || :' EXIT; mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/netns
in_ns() { local ns=$1; shift; nsenter --net=/run/netns/"$ns" "$@"; }
for ns in node lan dmz pod; do ip netns add $ns && ip -n $ns link set lo up; done
for leg in lan:cluster0 dmz:dmz0 pod:cni0; do
  ip link add "${leg#*:}" address 02:00:00:00:00:01 netns node type veth peer name up0 address 02:00:00:00:00:02 netns "${leg%:*}"
  ip -n node link set "${leg#*:}" up && ip -n "${leg%:*}" link set up0 up; done
ip -n node addr add "$node/22" dev cluster0; ip -n node -6 addr add fd00::11/64 dev cluster0 nodad
ip -n node addr add "$dmz/24" dev dmz0; ip -n node addr add 10.42.0.1/24 dev cni0
ip -n lan addr add 10.0.0.99/32 dev up0; ip -n lan -6 addr add fd00::99/64 dev up0 nodad
ip -n lan route add default via "$node" onlink dev up0
ip -n dmz addr add 192.168.1.50/24 dev up0; ip -n dmz route add default via "$dmz"
ip -n pod addr add 10.42.0.5/24 dev up0; ip -n pod route add default via 10.42.0.1
in_ns node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter'
# What kube-proxy does with a NodePort and a pod's hostPort.
in_ns node nft -f - <<'NFT'
table ip kube_proxy {
  chain prerouting { type nat hook prerouting priority dstnat; tcp dport { 30080, 31999, 8081 } dnat to 10.42.0.5:8080; }
}
NFT
listen() { # namespace, ports
  { printf 'defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\nfrontend f\n http-request return status 200\n'
    for port in ${2//,/ }; do echo " bind :::$port v4v6"; done; } >/run/"$1".cfg
  in_ns "$1" haproxy -db -q -f /run/"$1".cfg &
  until in_ns "$1" bash -c "</dev/tcp/127.0.0.1/${2%%,*}" 2>/dev/null; do sleep 0.05; done
}
listen node "$ports"; listen pod 8080; listen lan 8443
[ "$rules" = none ] || in_ns node nft -f "$rules"
probe() {
  local rc=0 said verdict; said=$(in_ns "$1" timeout 2 bash -c "</dev/tcp/$3/$4" 2>&1) || rc=$?
  case $rc:$said in 0:*) verdict=open ;; 124:*) verdict=dropped ;; *refused*) verdict=refused ;; *) verdict="error $said" ;; esac
  echo "$1 $2 $3 $4 $verdict"
}
last='' && while read -r zone source target port; do
  if [ "$zone $source $target" != "$last" ]; then
    for job in ${probes:-}; do wait "$job"; done; probes="" last="$zone $source $target"
    case $source in -) ;; *)
      ip -n "$zone" addr replace "$source/32" dev up0; gate=$node leg=cluster0; [ "$zone" = lan ] || gate=$dmz leg=dmz0
      ip -n "$zone" route replace "$target" via "$gate" dev up0 onlink src "$source"
      # No ARP, whose queue would drop some of the first packets on a busy machine.
      ip -n "$zone" neigh replace "$gate" lladdr 02:00:00:00:00:01 dev up0; ip -n node neigh replace "$source" lladdr 02:00:00:00:00:02 dev $leg ;; esac
  fi
  probe "$zone" "$source" "$target" "$port" & probes="${probes:-} $!"
done
for job in ${probes:-}; do wait "$job"; done
[ "$rules" = none ] || in_ns node nft list counters table inet metalstrap | awk '/counter/ {name=$2} /packets/ {print "counter", name, $2}'

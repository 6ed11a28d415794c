#!/bin/bash
# The node itself, run as the first process of new network, mount and PID namespaces: killing it
# takes everything in there away. Touches $RUN/started when every part has been started; ends,
# and the node with it, as soon as any part ends.
# In: RUN (run directory with the rendered configuration), BIN, UPLINK (the veth that the host
# moves in), NODE_IP, HOST_IP, API_IP, SERVICES (subnet), CGROUP, IMAGES (archives, one a line).
set -euo pipefail
pki=$RUN/pki
log=$RUN/log
here=$(cd "$(dirname "$0")" && pwd)

mount --make-rprivate /
# A kubelet cleans up pod logs it does not know: nodes must not see each other's.
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
# Wherever its root is, a kubelet has its device plugins' socket there, and ends where another one's has come first.
mkdir -p /var/lib/kubelet
mount -t tmpfs tmpfs /var/lib/kubelet

# The kubelet insists on these settings of the whole machine. It is shown files that already
# hold its values, so that the machine's own stay as they are.
mkdir -p /run/sysctl
while read -r name value; do
  echo "$value" > "/run/sysctl/${name//\//-}"
  mount --bind "/run/sysctl/${name//\//-}" "/proc/sys/$name"
done <<'EOF'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
EOF

# The kubelet puts all pods below a control group of this node's own.
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
  if [ -e "$hierarchy/cgroup.procs" ]; then
    mkdir -p "$hierarchy$CGROUP"
    if [ -e "$hierarchy/cgroup.controllers" ] && [ "$hierarchy" = /sys/fs/cgroup ]; then
      for controller in $(cat "$hierarchy/cgroup.controllers"); do
        echo "+$controller" > "$hierarchy/cgroup.subtree_control" || true
      done
      break
    fi
  fi
done

ip link set lo up
until ip link show "$UPLINK" >/dev/null 2>&1; do sleep 0.05; done
ip addr add "$NODE_IP/30" dev "$UPLINK"
ip link set "$UPLINK" up
ip route add default via "$HOST_IP"
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1
# The host may call in, and gets its answers; nothing else leaves the node.
nft -f - <<EOF
table inet serinus_isolation {
  chain forward { type filter hook forward priority -10; oifname "$UPLINK" ip daddr != $HOST_IP reject; }
  chain output { type filter hook output priority -10; oifname "$UPLINK" ip daddr != $HOST_IP reject; }
}
EOF

"$here/pki.sh"

start() { # NAME COMMAND ARGUMENT...
  local name=$1
  shift
  "$@" > "$log/$name.log" 2>&1 &
  names[$!]=$name
}
declare -A names

start containerd containerd --config "$RUN/containerd.toml"
start etcd "$BIN/etcd" --data-dir "$RUN/etcd" --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380
start kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
  --service-cluster-ip-range="$SERVICES" --secure-port=6443 --advertise-address="$NODE_IP" \
  --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
  --service-account-key-file="$pki/service-accounts.pub" \
  --service-account-signing-key-file="$pki/service-accounts.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --authorization-mode=Node,RBAC --allow-privileged=true \
  --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
  --kubelet-preferred-address-types=InternalIP \
  --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
  --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- --enable-aggregator-routing=true

until ctr -a "$RUN/containerd.sock" version >/dev/null 2>&1; do sleep 0.1; done
while read -r archive; do
  ctr -a "$RUN/containerd.sock" -n k8s.io images import "$archive" >/dev/null
done <<< "$IMAGES"
until "$BIN/kubectl" --kubeconfig "$RUN/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done

start kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$RUN/controller-manager.kubeconfig" \
  --authentication-kubeconfig="$RUN/controller-manager.kubeconfig" \
  --authorization-kubeconfig="$RUN/controller-manager.kubeconfig" --leader-elect=false \
  --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" \
  --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
  --use-service-account-credentials --horizontal-pod-autoscaler-sync-period=5s
start kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$RUN/scheduler.kubeconfig" --leader-elect=false
start kubelet "$BIN/kubelet" --config="$RUN/kubelet.yaml" --kubeconfig="$RUN/node.kubeconfig" \
  --hostname-override=node --node-ip="$NODE_IP" --root-dir="$RUN/kubelet" --v=1
start kube-proxy "$BIN/kube-proxy" --config="$RUN/kube-proxy.yaml"
touch "$RUN/started"

wait -n -p ended || true
echo "${names[$ended]:-process $ended} has ended; its log is $log/${names[$ended]:-}.log"
exit 1

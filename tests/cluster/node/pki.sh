#!/bin/bash
# Makes the node's certificates and kubeconfigs: a certificate authority that lives as long as
# the node, and one client or server certificate for each part.
# In: RUN (run directory), NODE_IP, API_IP (the API's ClusterIP).
set -euo pipefail
mkdir -p "$RUN/pki"
cd "$RUN/pki"
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

openssl req -x509 "${key[@]}" -keyout ca.key -out ca.crt -days 365 -subj /CN=serinus-test-cluster 2>/dev/null

certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
  openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" \
    -extfile <(printf 'subjectAltName=%s\n' "$3") 2>/dev/null
}
certificate apiserver /CN=kube-apiserver \
  "IP:127.0.0.1,IP:$API_IP,IP:$NODE_IP,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
certificate admin /O=system:masters/CN=admin DNS:admin
certificate front-proxy /CN=front-proxy DNS:front-proxy
certificate controller-manager /CN=system:kube-controller-manager DNS:controller-manager
certificate scheduler /CN=system:kube-scheduler DNS:scheduler
certificate node /O=system:nodes/CN=system:node:node "DNS:node,IP:$NODE_IP"
certificate proxy /CN=system:kube-proxy DNS:proxy
openssl genrsa -out service-accounts.key 2048 2>/dev/null
openssl rsa -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null

for user in admin controller-manager scheduler node proxy; do
  cat > "$RUN/$user.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters:
- name: serinus-test
  cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: $user
  user: {client-certificate-data: $(base64 -w0 $user.crt), client-key-data: $(base64 -w0 $user.key)}
contexts:
- name: serinus-test
  context: {cluster: serinus-test, user: $user}
current-context: serinus-test
EOF
  chmod 600 "$RUN/$user.kubeconfig"
done

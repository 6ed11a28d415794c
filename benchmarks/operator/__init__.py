"""How fast and how light the operator is, on etcd and kube-apiserver alone."""

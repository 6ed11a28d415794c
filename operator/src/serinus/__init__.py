"""The Serinus operator: inference deployments with canary rollouts, as one Kubernetes resource."""

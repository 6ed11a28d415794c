"""The outside world behind the ports: the Kubernetes API, Prometheus, events."""

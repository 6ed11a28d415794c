"""The operator's own metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECONCILES: Final = Counter(
    "serinus_operator_reconcile_total", "Visits to an InferenceService, by how they ended.", ["result"]
)
RECONCILE_SECONDS: Final = Histogram(
    "serinus_operator_reconcile_duration_seconds",
    "Duration of a visit.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
LEADING: Final = Gauge("serinus_operator_leading", "1 while this replica leads and works, 0 while it stands by.")
QUEUE_DEPTH: Final = Gauge("serinus_operator_queue_depth", "InferenceServices that wait for a visit.")
TRANSITIONS: Final = Counter(
    "serinus_operator_rollout_transitions_total",
    "What happened in rollouts: started, promoted, rolled back.",
    ["reason"],
)

for _result in ("success", "conflict", "not_leading", "error"):
    RECONCILES.labels(_result)

"""The decisions: pure functions of the spec, the status, the observed world and the time."""

"""The one error that the test cluster raises for its user."""


class ClusterError(RuntimeError):
    """Something the user can act on: the message says what is wrong and what to do."""

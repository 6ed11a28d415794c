"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes, or is made, says more of what else the machine does than of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

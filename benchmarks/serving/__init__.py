"""How fast the server is, beside what bounds it. `python -m benchmarks.serving --help`."""

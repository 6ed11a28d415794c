"""The kubectl plugin: `kubectl serinus status|promote|abort|retry|pause|resume|history NAME`."""

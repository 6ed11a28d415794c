"""What a canary policy would do: whole rollouts decided by the operator's own code, in a simulated world."""

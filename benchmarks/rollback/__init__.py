"""How long users see a bad version."""

"""The demo: four versions of a model, of which one is good, and what becomes of each."""

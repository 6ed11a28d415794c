"""Bringing a model from where it is kept into a folder: `serinus-server fetch`."""

"""Errors, artifacts, registries, progress: what every room may import."""

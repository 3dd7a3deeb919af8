"""Benchmarks: what is measured, against which baselines, and how the numbers are told."""

"""Loaders of published benchmarks, one file each: source, licence, splits and fields in the docstring."""

"""Tests of topa.features; a package, so that they can share the makers of files."""

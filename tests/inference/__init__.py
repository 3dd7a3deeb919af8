"""Tests of scoring and of the engine; a package, so that names can't clash."""

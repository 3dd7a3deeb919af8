"""Tests of pre-alignment; a package, so that names can't clash."""

"""Tests that keep the documents and the tools around the code true; a package, so that names can't clash."""

"""Textual videos: the data model."""

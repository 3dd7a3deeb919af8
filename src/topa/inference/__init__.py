"""Answering: option scoring, generation, the engine."""

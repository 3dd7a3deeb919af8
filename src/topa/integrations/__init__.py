"""Seats in other people's programs: evaluation harnesses that topa's models take part in."""

"""stub"""

from collections.abc import Sequence


def exact_match(said: str, references: Sequence[str]) -> float:
    """stub"""
    return float(said in references)

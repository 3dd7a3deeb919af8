"""How one of several options is chosen, by name.

    selection    the letter's likelihood behind the listed options
    logits       each option's text as a free answer, its mean likelihood
    similarity   a free answer is generated; the option nearest to it in the encoder's text space wins

Source: TOPA (arXiv 2405.13911), section 4.
"""

from __future__ import annotations

from typing import Literal, get_args

from .registry import unknown

Protocol = Literal["selection", "logits", "similarity"]
LikelihoodProtocol = Literal["selection", "logits"]
"""Those that compare likelihoods: what a model is aligned to."""


def check_protocol(name: str) -> Protocol:
    """Return the protocol of a name. Raises UsageError that names the nearest known one."""
    for protocol in get_args(Protocol):
        if name == protocol:
            return protocol  # type: ignore[no-any-return]
    raise unknown("protocol", name, get_args(Protocol))

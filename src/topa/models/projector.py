"""The learned layer from the encoder's space to the language model's.

Reads frame features, writes the token embeddings that `models.topa_model` puts into the frame slots.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.errors import UsageError


class FrameProjector(nn.Module):
    """Linear D -> k*H without bias, plus one learned temporal vector per frame for each of its k tokens.

    Source: TOPA (arXiv 2405.13911), section 3 and released code (`visual_proj`, `temporal_emb`), where k is 1.
    Deviation: k tokens per frame, for small language models that can't read one superposed token.
    """

    def __init__(
        self, feature_width: int, width: int, frames: int = 10, tokens_per_frame: int = 1, std: float = 1.0
    ) -> None:
        super().__init__()
        self.tokens_per_frame = tokens_per_frame
        self.linear = nn.Linear(feature_width, tokens_per_frame * width, bias=False)
        self.temporal = nn.Parameter(torch.randn(frames, width) * std)

    def forward(self, frames: Tensor) -> Tensor:
        """Project frames [B, T, D] to tokens [B, T*k, H], the k of a frame beside each other, in the weights' type.

        Padding frames get tokens as well, which nobody may read: attention masks them (`VideoLanguageModel`).
        Raises UsageError where T is more than the temporal vectors or D isn't the projector's.
        """
        batch, count, features = frames.shape
        max_frames, width = self.temporal.shape
        if count > max_frames or features != self.linear.in_features:
            raise UsageError(
                f"frame projector: found {count} frames of width {features}, expected at most {max_frames} of width "
                f"{self.linear.in_features}. Resample the frames, or align a model with more of them."
            )
        tokens: Tensor = self.linear(frames.to(self.linear.weight.dtype))
        tokens = tokens.view(batch, count, self.tokens_per_frame, width) + self.temporal[:count, None]
        return tokens.view(batch, count * self.tokens_per_frame, width)

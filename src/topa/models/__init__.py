"""The mathematics: a frozen language model with gated prompts, a video bias and a frame projector."""

from .topa_model import Context, ParameterReport, VideoLanguageModel, trainable_count

__all__ = ["Context", "ParameterReport", "VideoLanguageModel", "trainable_count"]

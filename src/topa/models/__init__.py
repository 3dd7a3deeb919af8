"""The mathematics: a frozen language model with gated prompts, a video bias and a frame projector."""

from .inputs import ModelInputs
from .kv_cache import KVCache
from .topa_model import ParameterReport, VideoLanguageModel, trainable_count

__all__ = ["KVCache", "ModelInputs", "ParameterReport", "VideoLanguageModel", "trainable_count"]

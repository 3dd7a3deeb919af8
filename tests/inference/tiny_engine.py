"""An engine of the tiny model, for tests of how it answers: without a memory, and with any frames."""

from __future__ import annotations

from models.tiny import FEATURES, FRAMES
from models.tiny import model as tiny_model
from topa import Topa
from topa.features.encoder import Encoder
from topa.features.frames import FrameFeatures
from topa.inference.video_inputs import VideoInputs
from topa.models.saved import SavedConfig
from topa.prompts.prompt import Prompter
from training.small import prompter

from .test_scorer import videos


def tiny_engine(encoder: Encoder, writer: Prompter | None = None) -> Topa:
    """Its projector reads rows of width FEATURES, whatever the encoder's width is."""
    config = SavedConfig(
        llm="tiny", llm_layers=3, llm_width=32, llm_identity="tiny", encoder="tiny", encoder_identity=encoder.identity,
        feature_width=FEATURES, frames=FRAMES, tokens_per_frame=1, prompt_length=4, adapted_layers=None, fusion="mean",
        temperature=0.01, protocol="logits", bridge="raw",
    )  # fmt: skip
    return Topa(tiny_model(), writer or prompter(), encoder, None, config)


def tiny_inputs(engine: Topa, count: int) -> list[VideoInputs]:
    """Videos of `test_scorer.videos`."""
    values, valid = videos(count)
    return [
        engine.inputs_of_projected(FrameFeatures(own, there, "image", engine.encoder.identity))
        for own, there in zip(values, valid, strict=True)
    ]

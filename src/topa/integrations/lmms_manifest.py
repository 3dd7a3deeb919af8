"""What lmms-eval is told about topa when it looks for models; the entry point `lmms_eval.models` leads here.

lmms-eval calls it at every start, whatever model is meant, so it loads nothing else.
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """lmms-eval's `ModelManifest`: `--model topa`, and the class behind it."""
    # Not above: importing it is what makes lmms-eval look for entry points, this one among them.
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="topa", simple_class_path="topa.integrations.lmms_model.TopaModel")

"""What lmms-eval is told about topa when it looks for models; the entry point `lmms_eval.models` leads here.

lmms-eval reads it at every start, so it imports nothing else.
"""

from __future__ import annotations

from lmms_eval.models.registry_v2 import ModelManifest

MANIFEST = ModelManifest(model_id="topa", simple_class_path="topa.integrations.lmms_model.TopaModel")

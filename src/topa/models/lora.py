"""LoRA instead of adapter prompts: low-rank updates inside the frozen language model, by the PEFT library.

Called by `models.topa_model`, which trains, saves and loads them like prompts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

from ..core.errors import UsageError
from ..core.install import install_line


def add_lora(llm: PreTrainedModel, rank: int, layers: Sequence[int]) -> None:
    """Put updates of `rank`, zero at first and in float32, beside all linear maps of these layers; only they train.

    Source: LoRA (arXiv 2106.09685), scaled by alpha / rank = 2. Raises UsageError where PEFT isn't installed, or the
    LLM has updates already.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UsageError(f"adapter 'lora': needs the PEFT library. Install it: {install_line('lora')}") from error
    if any("lora_" in name for name, _ in llm.named_parameters()):
        raise UsageError("adapter 'lora': found LoRA in this language model already. Load it afresh.")
    # The first number in a module's name is its layer's.
    numbered = {
        name: re.search(r"\.(\d+)\.", name) for name, module in llm.named_modules() if isinstance(module, nn.Linear)
    }
    targets = [name for name, number in numbered.items() if number and int(number[1]) in layers]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), llm)
    for name, parameter in llm.named_parameters():
        updates = "lora_" in name
        parameter.requires_grad_(updates)
        if updates:
            parameter.data = parameter.data.float()

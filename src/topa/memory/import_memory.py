"""The verb `import memory`: the memory that TOPA's authors published, brought in."""

from __future__ import annotations

from torch.nn.functional import normalize

from ..core.artifacts import output_folder
from ..core.command import typed
from ..core.embedded import PAPER_ENCODER
from ..core.printable import Hint, Printout
from ..features.textvid import read_tensor
from .bank import FILES, MemoryBank
from .verbs import ImportMemoryConfig


def import_memory(config: ImportMemoryConfig) -> Printout[int]:
    """Write the published `memory.pkl` as a memory without captions.

    Raises InputError where the file is no tensor of features, OutputError where `out` can't be written.
    """
    output_folder(config.out, *FILES)
    rows = read_tensor(config.path)
    MemoryBank(normalize(rows, dim=-1), config.encoder or PAPER_ENCODER).save(config.out)
    own = [] if config.encoder is None else ["--encoder", config.encoder]
    words = ["--backbone", "LLAMA", "--adapter", "ADAPTER", "--memory", config.out, *own, "--out", "model"]
    text = [
        f"imported: {config.out} ({len(rows):,} rows)",
        Hint(f"next:     {typed('import', 'checkpoint', *words)}"),
    ]
    return Printout(len(rows), text, {"rows": len(rows)})

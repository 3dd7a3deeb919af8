"""Generate a set of the micro world's Tideos, the default of `topa generate`."""

from __future__ import annotations

from ..core.artifacts import output_folder
from ..core.errors import UsageError
from ..tideos.assemble import assemble
from ..tideos.generate import GenerationPlan
from ..tideos.quality import CleaningReport
from .writer import write_tideos


def write_microworld(plan: GenerationPlan, *, show: bool = True) -> CleaningReport:
    """Write the set of a plan. The same plan gives the same set.

    Raises UsageError without a limit, OutputError if the folder can't be written.
    """
    if plan.limit is None:
        raise UsageError("generate: the micro world writes as many as it is asked for. Give --limit.")
    output_folder(plan.folder)
    part = plan.part
    tideos = (tideo for n, tideo in enumerate(write_tideos(plan.limit, plan.seed)) if part is None or part.has(n))
    return assemble(
        tideos,
        plan.folder,
        seed=plan.seed,
        checks=plan.checks,
        config={"writer": "microworld", "limit": plan.limit} | ({} if part is None else {"shard": str(part)}),
        total=plan.limit,
        show=show,
    )

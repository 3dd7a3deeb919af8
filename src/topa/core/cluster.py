"""Map a function over shards on a Ray cluster."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

from .errors import TopaError, UsageError, WorkerError
from .install import install_line


def map_shards(make: Callable[[int], dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Return the results of `make(0)` to `make(number - 1)`, in order, each computed by its own worker.

    Uses the cluster named by RAY_ADDRESS, or this machine's CPUs. `make` is sent to the workers and returns plain JSON.
    Raises UsageError if Ray isn't installed, and WorkerError with the messages of the shards that failed, after all
    others have finished.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"shards on a cluster need Ray: {install_line('ray')}") from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

    def make_row(row: dict[str, Any]) -> dict[str, Any]:
        index = int(row["id"])
        try:
            return {"index": index, "made": json.dumps(make(index)), "failed": ""}
        except TopaError as error:
            return {"index": index, "made": "", "failed": str(error)}

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.range(number, override_num_blocks=number).map(make_row).take_all()
    rows.sort(key=lambda row: int(row["index"]))
    failed = [f"shard {row['index']} of {number}: {row['failed']}" for row in rows if row["failed"]]
    if failed:
        raise WorkerError(" ".join(failed))
    return [json.loads(row["made"]) for row in rows]

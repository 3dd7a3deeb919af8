"""Shards on many workers: the same function that makes one shard here, mapped by Ray Data over a cluster."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

from .errors import TopaError, UsageError, WorkerError
from .install import install_line


def map_shards(make: Callable[[int], dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """What `make` gives for the indices 0 to number - 1, in their order, each made by a worker of its own.

    Uses the cluster that RAY_ADDRESS names, else this machine's processors. `make` travels to the workers; what it
    gives is plain JSON. Raises UsageError where Ray isn't installed, WorkerError where shards fail, with their words:
    the others are made all the same.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"shards on a cluster need Ray: {install_line('ray')}") from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

    def made(row: dict[str, Any]) -> dict[str, Any]:
        index = int(row["id"])
        try:
            return {"index": index, "made": json.dumps(make(index)), "failed": ""}
        except TopaError as error:
            return {"index": index, "made": "", "failed": str(error)}

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.range(number, override_num_blocks=number).map(made).take_all()
    rows.sort(key=lambda row: int(row["index"]))
    failed = [f"shard {row['index']} of {number}: {row['failed']}" for row in rows if row["failed"]]
    if failed:
        raise WorkerError(" ".join(failed))
    return [json.loads(row["made"]) for row in rows]

"""The Ray cluster that works: the one that RAY_ADDRESS names, else one that starts on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from helpers.base import ROOT, UserError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
os.environ |= {
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
} | os.environ  # nor the user all of it
CORES = 4  # of a worker without a card, at most: with more a batch is not encoded so much faster
PATIENCE = 5  # seconds that a cluster has to answer


class Share(NamedTuple):
    """What a worker has of a cluster, and how many such workers it can hold."""

    cores: int
    cards: int
    workers: int


@contextmanager
def cluster() -> Iterator[Share]:
    """Yield the share of a worker in the cluster, and leave it in the end; one that was started here ends.

    All its machines have this folder at the same path, models and vectors, too, and the same packages.
    Raises UserError: Ray is not installed, or RAY_ADDRESS names no cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("Ray is not installed; run pip install -r requirements-ray.txt.") from error
    address = os.environ.get("RAY_ADDRESS", "")
    paths = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}  # of the workers
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    quiet |= {} if address else {"include_dashboard": False}
    try:
        if host := address.removeprefix("ray://").rpartition(":")[0]:  # Ray itself would try for a quarter of an hour
            socket.create_connection((host, int(address.rpartition(":")[2])), PATIENCE).close()
        ray.init(address or None, ignore_reinit_error=True, runtime_env={"env_vars": paths}, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise UserError(f"RAY_ADDRESS={address}: no cluster there ({said}); start one, or unset it.") from error
    try:
        yield share([node["Resources"] for node in ray.nodes() if node["Alive"]])
    finally:
        ray.shutdown()


def share(nodes: list[dict[str, float]]) -> Share:
    """Return a worker's share of nodes, given by what Ray counts on each: a card, where there is one, or some cores."""
    if cards := sum(int(node.get("GPU", 0)) for node in nodes):
        return Share(1, 1, cards)
    counts = [int(node.get("CPU", 0)) for node in nodes]
    cores = min(CORES, *filter(None, counts), CORES)
    return Share(cores, 0, max(1, sum(count // cores for count in counts)))

"""The Ray cluster that works: the one that RAY_ADDRESS names, else one that starts on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from helpers.base import ROOT, UserError

# What Ray tells its makers, and of what it writes into a terminal the most.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_LOG_LEVEL": "CRITICAL", "RAY_BACKEND_LOG_LEVEL": "fatal"}
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
    Raises UserError: Ray is not installed, RAY_ADDRESS names no cluster, or what the cluster does fails.
    """
    os.environ |= QUIET | os.environ
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("Ray is not installed; run pip install -r requirements-ray.txt.") from error
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):  # Ray Data does not work through its client
        raise UserError(f"RAY_ADDRESS={address}: give HOST:PORT, and run this on a machine of the cluster.")
    paths = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}  # of the workers
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    how |= {} if address else {"include_dashboard": False}
    try:
        host, _, port = address.rpartition(":")
        if host:  # Ray itself would try for a quarter of an hour
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
        ray.init(address or "local", runtime_env={"env_vars": paths}, **how)  # not in what else runs on this machine
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        if address:
            raise UserError(f"RAY_ADDRESS={address}: no cluster there ({said}); start one, or unset it.") from error
        raise UserError(f"Ray does not start here: {said}") from error
    try:
        yield share([node["Resources"] for node in ray.nodes() if node["Alive"]])
    except ray.exceptions.RayError as error:
        raise UserError(f"The cluster failed: {str(error).strip().splitlines()[-1]} Run this again.") from error
    finally:
        ray.shutdown()


def share(nodes: list[dict[str, float]]) -> Share:
    """Return a worker's share of nodes, given by what Ray counts on each: a card, where there is one, or some cores."""
    if cards := sum(int(node.get("GPU", 0)) for node in nodes):
        return Share(1, 1, cards)
    counts = [int(node.get("CPU", 0)) for node in nodes]
    cores = max(1, min(CORES, max(counts)))
    return Share(cores, 0, max(1, sum(count // cores for count in counts)))

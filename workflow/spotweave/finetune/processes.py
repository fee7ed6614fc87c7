"""Several processes that train one network: each embeds its share of a step, and all take the same step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

from spotweave.errors import Refusal
from spotweave.io import read_json, write_json

# A process that waits this long for another is alone.
PATIENCE = timedelta(minutes=30)


class Processes(Protocol):
    """Those that train together, as one of them sees it."""

    rank: int
    count: int

    def share(self, count: int) -> slice:
        """Its own among `count` places, in the order of ranks."""

    def gather(self, own: torch.Tensor, count: int) -> torch.Tensor:
        """(count, D) rows of all, of its own (n, D)."""

    def add_up(self, parameters: Sequence[nn.Parameter]) -> None:
        """Make gradients the sum over all processes."""


class Alone:
    """One process."""

    rank = 0
    count = 1

    def share(self, count: int) -> slice:
        return slice(0, count)

    def gather(self, own: torch.Tensor, count: int) -> torch.Tensor:
        return own.detach()

    def add_up(self, parameters: Sequence[nn.Parameter]) -> None:
        pass


ALONE = Alone()


class Together:
    """One of several, inside `run`."""

    def __init__(self) -> None:
        self.rank = torch.distributed.get_rank()
        self.count = torch.distributed.get_world_size()

    def _bounds(self, count: int, rank: int) -> tuple[int, int]:
        return count * rank // self.count, count * (rank + 1) // self.count

    def share(self, count: int) -> slice:
        return slice(*self._bounds(count, self.rank))

    def gather(self, own: torch.Tensor, count: int) -> torch.Tensor:
        sizes = [stop - start for start, stop in (self._bounds(count, rank) for rank in range(self.count))]
        # Shares differ by one row at most, and messages must not: the shorter ones are filled up.
        filled = own.new_zeros((max(sizes), *own.shape[1:]))
        filled[: len(own)] = own.detach()
        received = [torch.empty_like(filled) for _ in sizes]
        torch.distributed.all_gather(received, filled)
        return torch.cat([rows[:size] for rows, size in zip(received, sizes, strict=True)])

    def add_up(self, parameters: Sequence[nn.Parameter]) -> None:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)


def run(work: Callable[..., None], count: int, *given: Any, device: str = "auto") -> None:
    """Call `work(processes, device, *given)` in `count` processes, over gloo on the CPU and NCCL on GPUs, one each.

    Parameters
    ----------
    work
        A function of a module; `given` is what can be sent to another process. What it returns is lost: the first
        process (rank 0) writes files.
    device
        `auto`, `cpu` or `cuda`.

    Raises
    ------
    ValueError
        If there are fewer GPUs than processes.
    Refusal
        If one of them refuses.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if count == 1:
        work(Alone(), device, *given)
        return
    if device == "cuda" and torch.cuda.device_count() < count:
        raise ValueError(f"{count} processes on {torch.cuda.device_count()} GPUs, allowed: one process a GPU at most")
    with tempfile.TemporaryDirectory() as folder:
        # A file, not a port: nothing listens, and jobs of one node do not meet.
        meeting = Path(folder) / "meeting"
        threads = max(1, torch.get_num_threads() // count)
        try:
            torch.multiprocessing.spawn(_one, (count, meeting, device, threads, work, given), nprocs=count)
        except torch.multiprocessing.ProcessRaisedException:
            said = _refusal_file(meeting)
            if said.is_file():
                raise Refusal(**read_json(said)) from None
            raise


def _one(
    rank: int, count: int, meeting: Path, device: str, threads: int, work: Callable[..., None], given: tuple[Any, ...]
) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(threads)
    if device == "cuda":
        torch.cuda.set_device(rank)
        device = f"cuda:{rank}"
    torch.distributed.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo",
        init_method=meeting.as_uri(),
        world_size=count,
        rank=rank,
        timeout=PATIENCE,
    )
    try:
        work(Together(), device, *given)
    except Refusal as refusal:
        # Another process learns of an exception as text only.
        write_json(
            _refusal_file(meeting),
            {"reason": refusal.reason, "measured": refusal.measured, "threshold": refusal.threshold},
        )
        raise
    finally:
        torch.distributed.destroy_process_group()


def _refusal_file(meeting: Path) -> Path:
    return meeting.with_name("refusal.json")

"""The processes of a team meet, by Lightning Fabric. Imported only by trainings on several devices."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor
from torch.distributed import ReduceOp, distributed_c10d

from rsnb.training.parallel import AnotherFailed, Team

_MEETING = timedelta(minutes=2)  # who has come and is gone in the next moment is waited for so long
_PATIENCE = timedelta(hours=2)  # while the first process validates or writes pictures, the others wait for it


class _Place(ClusterEnvironment):
    """Tells Fabric who is who; the processes were started by `launch.launched`."""

    creates_processes_externally = True
    main_address = "127.0.0.1"
    main_port = 0

    def __init__(self, rank: int, size: int, port: int):
        super().__init__()
        self._rank, self._size, self.main_port = rank, size, port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._size

    def set_world_size(self, size: int) -> None:
        """Known already."""

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        """Known already."""

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0


class _FabricTeam(Team):
    def reduce(self, tensor: Tensor, how: str) -> Tensor:
        # not Fabric's own: it waits at a barrier before each
        if self.broken.is_set():
            raise AnotherFailed
        result = tensor.detach().clone()
        torch.distributed.all_reduce(result, ReduceOp.SUM if how == "mean" else ReduceOp.MAX)
        if self.broken.is_set():
            raise AnotherFailed
        return result / self.size if how == "mean" else result


def connect(rank: int, size: int, port: int, kind: str, lost: Callable[[], bool] = lambda: False) -> Team:
    """Meet the other processes at a port of this machine; kind "cpu" or "cuda" (GPU number `rank`).

    Tensors on GPUs are exchanged by nccl, those on the CPU by gloo, which waits for no GPU.

    Args:
        rank, size, port, kind: see there.
        lost: tells the first process that one of the others will never come.

    Raises:
        AnotherFailed: `lost` says so.
    """
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    # torch's own way to meet waits for all with its eyes shut, and no thread of the process runs meanwhile
    store = torch.distributed.TCPStore(_Place.main_address, port, size, is_master=rank == 0, timeout=_MEETING,
                                       wait_for_workers=False)
    store.set(f"here-{rank}", "")
    while rank == 0 and not store.check([f"here-{other}" for other in range(size)]):
        if lost():
            raise AnotherFailed
        time.sleep(0.01)
    try:
        torch.distributed.init_process_group(backend, rank=rank, world_size=size, store=store, timeout=_MEETING,
                                             device_id=torch.device(kind, rank) if kind == "cuda" else None)
    except Exception:
        distributed_c10d._world.group_count = 0  # torch does not: the next meeting would have another name here
        raise
    distributed_c10d._set_pg_timeout(_PATIENCE)
    strategy = DDPStrategy(cluster_environment=_Place(rank, size, port), process_group_backend=backend)
    Fabric(accelerator=kind, devices=size, strategy=strategy).launch()
    return _FabricTeam(rank, size)


def give_up() -> None:
    """End what GPUs still do together."""
    if torch.distributed.is_initialized() and "nccl" in torch.distributed.get_backend_config():
        torch.distributed.group.WORLD._get_backend(torch.device("cuda")).abort()


def disconnect() -> None:
    """Leave, where there was a meeting."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

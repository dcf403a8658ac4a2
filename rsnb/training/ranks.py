"""The processes of a team meet, by Lightning Fabric. Imported only by trainings on several devices."""

from __future__ import annotations

import logging
import socket
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from rsnb.training.parallel import Team

_PATIENCE = timedelta(hours=2)  # while the first process validates or writes pictures, the others wait for it


class _Place(ClusterEnvironment):
    """Tells Fabric who is who; the processes were started by `parallel.launched`."""

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
    def __init__(self, fabric: Fabric, rank: int, size: int):
        super().__init__(rank, size)
        self.fabric = fabric
        self.device = fabric.device

    def reduce(self, tensor: Tensor, how: str) -> Tensor:
        return self.fabric.all_reduce(tensor.to(self.device), reduce_op=how)


def connect(rank: int, size: int, port: int, kind: str) -> Team:
    """Meet the other processes at a port of this machine; kind "cpu" (gloo) or "cuda" (nccl, GPU number `rank`)."""
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    strategy = DDPStrategy(cluster_environment=_Place(rank, size, port), timeout=_PATIENCE,
                           process_group_backend="nccl" if kind == "cuda" else "gloo")
    fabric = Fabric(accelerator=kind, devices=size, strategy=strategy)
    fabric.launch()
    return _FabricTeam(fabric, rank, size)


def disconnect() -> None:
    """Leave, where there was a meeting."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

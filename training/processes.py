"""One run in several processes: who does which part of a batch, and how parts and gradients come together.

Choices:
- Every process draws the same global batch from the same seed and encodes its own share; vectors are gathered with
  their gradients and every process computes the whole loss. Gradients averaged over processes are then those of one
  process with the same batch, so the loss curve is the same.
- Mixed precision is torch's autocast to bf16 with fp32 weights: no loss scaling, nothing to keep in a checkpoint.

`accelerate launch` starts the processes and says where each belongs. The only file that imports accelerate.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Literal

import torch
from accelerate import PartialState
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather

Precision = Literal["auto", "fp32", "bf16"]


class Processes:
    """This process among those of the run; one alone unless `accelerate launch` started it."""

    def __init__(self, *, cpu: bool = True) -> None:
        """Join the others.

        Args:
            cpu: Stay on the CPU, whose kernels give the same numbers for the same seed.

        Raises:
            ValueError: if there is to be a GPU and torch finds none, where accelerate would go on without.
        """
        if not cpu and not torch.cuda.is_available():
            raise ValueError(f"--device gpu: torch {torch.__version__} finds no GPU on this machine")
        state = PartialState(cpu=cpu)
        self.device: torch.device = state.device
        self.count: int = state.num_processes
        self.rank: int = state.process_index

    @property
    def is_first(self) -> bool:
        """Whether this process writes what the run leaves behind."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all of them have come so far."""
        PartialState().wait_for_everyone()

    def share(self, total: int) -> slice:
        """Which of a batch of `total` this process encodes.

        Raises:
            ValueError: if the batch does not divide among the processes.
        """
        if total % self.count:
            raise ValueError(f"a batch of {total} does not divide among {self.count} processes; change batch_size")
        size = total // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def gathered(self, part: Tensor) -> Tensor:
        """The parts [b, …] of all processes as [count * b, …], with their gradients."""
        return torch.cat(all_gather(part)) if self.count > 1 else part  # type: ignore[no-untyped-call]

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace gradients by their mean over processes; a parameter without one is left out everywhere."""
        if self.count > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.count

    def autocast(self, precision: Precision) -> AbstractContextManager[None]:
        """Arithmetic in bf16 where asked for; auto asks where the device multiplies it faster."""
        bf16 = precision == "bf16" or (precision == "auto" and _multiplies_bf16(self.device))
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))

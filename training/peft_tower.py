"""Low-rank adapters in the text tower's upper layers: LoRA (Hu et al. 2021) and AdaLoRA (Zhang et al. 2023).

Choices:
- Every linear map of the layers that learn gets one; the projection, which is new in this tower, learns in full.
- After fitting they are merged into the weights: what is exported and served is a plain tower.

The only file that imports peft.
"""

from typing import Any

import torch
from peft import AdaLoraConfig, LoraConfig, inject_adapter_in_model
from peft.tuners.adalora.layer import RankAllocator
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from training.config import TextTowerConfig
from training.text_tower import TextTower

_NAME = "default"
_ORTHOGONALITY = 0.1
"""Weight of AdaLoRA's demand that the directions of an adapter be orthogonal."""


class RankBudget(nn.Module):
    """AdaLoRA's moving ranks: which directions matter is told by gradients, and the budget shrinks to its target.

    A module, so that its memory is kept with a checkpoint like every buffer.
    """

    def __init__(self, learning: nn.Module, config: AdaLoraConfig) -> None:
        """Start with every direction in use."""
        super().__init__()
        self._learning = [learning]  # in a list: not a submodule a second time
        self._allocator: Any = RankAllocator(learning, config, _NAME)  # type: ignore[no-untyped-call]
        self._last = int(config.total_step or 0) - config.tfinal
        """The step that drops the last directions."""
        self._names = [name for name, _ in learning.named_parameters() if "lora_" in name]
        for number, name in enumerate(self._names):
            weight = learning.get_parameter(name)
            for kind in ("mean", "spread"):
                self.register_buffer(f"{kind}_{number}", torch.zeros_like(weight))

    def penalty(self) -> Tensor:
        """Mean distance of the adapters' directions from orthogonal ones, weighted; added to the loss."""
        found = []
        for name, weight in self._learning[0].named_parameters():
            if "lora_A" in name or "lora_B" in name:
                gram = weight @ weight.T if "lora_A" in name else weight.T @ weight
                found.append(torch.linalg.norm(gram - torch.eye(len(gram), device=gram.device)))
        return _ORTHOGONALITY * torch.stack(found).mean()

    def update(self, step: int) -> None:
        """Take in the gradients of `step` (from 0) and drop the directions that matter least."""
        self._allocator.exp_avg_ipt = self._memory("mean")
        self._allocator.exp_avg_unc = self._memory("spread")
        self._allocator.ipt = dict.fromkeys(self._names, torch.zeros(0))
        last = self._last
        if step < last:
            self._allocator.update_ipt(self._learning[0])
            for number, name in enumerate(self._names):
                getattr(self, f"mean_{number}").copy_(self._allocator.exp_avg_ipt[name])
                getattr(self, f"spread_{number}").copy_(self._allocator.exp_avg_unc[name])
        budget, due = self._allocator.budget_schedule(min(step, last))
        if (due or step >= last) and budget < self._allocator.init_bgt:
            self._allocator.mask_to_budget(self._learning[0], budget)

    def directions_in_use(self) -> int:
        """How many directions all adapters have together."""
        weights = self._learning[0].named_parameters()
        return sum(int((weight != 0).sum()) for name, weight in weights if "lora_E" in name)

    def _memory(self, kind: str) -> dict[str, Tensor]:
        return {name: getattr(self, f"{kind}_{number}") for number, name in enumerate(self._names)}


def add_adapters(tower: TextTower, config: TextTowerConfig, steps: int) -> RankBudget | None:
    """Put adapters into the layers that learn and freeze what is under them; AdaLoRA's budget where it is asked for."""
    learning = tower.learning
    names = [name for name, module in learning.named_modules() if isinstance(module, nn.Linear)]
    shared: dict[str, Any] = {
        "target_modules": names,
        "lora_alpha": config.alpha,
        "lora_dropout": config.adapter_dropout,
    }
    if config.tuning == "lora":
        inject_adapter_in_model(LoraConfig(r=config.rank, **shared), learning, _NAME)
        return None
    tenth = max(steps // 10, 1)
    total = max(steps, 4 * tenth + 1)
    adaptive = AdaLoraConfig(
        init_r=config.rank + (config.rank + 1) // 2,
        target_r=config.rank,
        tinit=tenth,
        tfinal=3 * tenth,
        total_step=total,
        **shared,
    )
    inject_adapter_in_model(adaptive, learning, _NAME)
    return RankBudget(learning, adaptive)


def merge_adapters(tower: TextTower) -> None:
    """Add every adapter's product to the weights it adapts, and remove it; a tower without adapters stays as it is."""
    for name, module in list(tower.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            holder, _, own = name.rpartition(".")
            setattr(tower.get_submodule(holder), own, module.get_base_layer())


def trained_share(tower: TextTower) -> float:
    """Parameters that learn, as a share of the plain tower's."""
    learning = sum(value.numel() for value in tower.parameters() if value.requires_grad)
    plain = sum(value.numel() for name, value in tower.named_parameters() if "lora_" not in name)
    return learning / plain

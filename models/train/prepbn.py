"""PRepBN (arXiv:2405.11582, section 3.2): a norm that trains as LayerNorm and ends as an affine map.

λ·norm1(x) + (1 − λ)·RepBN(x), with λ going from 1 to 0 in the course of training and RepBN(x) = BN(x) + α·x. At inference
RepBN is affine per channel, and slab-wasm folds it into the next linear layer. State-dict names are those of the official release.
"""

from collections.abc import Callable

import torch
from torch import nn


class RepBN(nn.Module):
    """BN(x) + α·x over the last dimension; x [batch, tokens, dim]."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.bn = nn.BatchNorm1d(dim, eps=eps)

    def forward(self, x):
        return self.bn(x.transpose(1, 2)).transpose(1, 2) + self.alpha * x


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps).to(x.dtype) * self.weight


class PRepBN(nn.Module):
    """The blend while training, RepBN alone in eval mode."""

    def __init__(self, dim: int, norm1: Callable[[int], nn.Module], eps: float):
        super().__init__()
        self.norm1 = norm1(dim)
        self.norm2 = RepBN(dim, eps)
        # a tensor, so that a compiled model sees it change
        self.register_buffer("blend", torch.ones(()), persistent=False)

    def forward(self, x):
        if not self.training:
            return self.norm2(x)
        return self.blend * self.norm1(x) + (1 - self.blend) * self.norm2(x)


def set_blend(model: nn.Module, blend: float) -> None:
    """Sets λ of every norm."""
    for module in model.modules():
        if isinstance(module, PRepBN):
            module.blend.fill_(blend)


def reset_parameters(module: nn.Module) -> None:
    """The initial weights that all the networks share, for module.apply()."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)

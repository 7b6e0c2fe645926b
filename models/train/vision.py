"""SLAB-DeiT (arXiv:2405.11582): DeiT with simplified linear attention as the token mixer and PRepBN as the norm."""

import torch
import torch.nn.functional as F
from torch import nn

from prepbn import PRepBN, reset_parameters

# of BatchNorm; LayerNorm, which inference never runs, has DeiT's own
NORM_EPS = 1e-5


def layer_norm(dim: int) -> nn.Module:
    return nn.LayerNorm(dim, eps=1e-6)


class SimplifiedLinearAttention(nn.Module):
    """relu(q)·(kᵀv) / (relu(q)·Σk + 1e-6) + depthwise 5×5 of v, with k = relu(k + position); one 5×5 for all heads."""

    def __init__(self, dim: int, heads: int, grid: int):
        super().__init__()
        self.heads, self.grid = heads, grid
        head_dim = dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.dwc = nn.Conv2d(head_dim, head_dim, 5, padding=2, groups=head_dim)
        self.positional_encoding = nn.Parameter(torch.zeros(1, grid * grid, dim))

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = F.relu(q), F.relu(k + self.positional_encoding)
        q, k, v = (t.reshape(b, n, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        # sums of hundreds of terms: not in half precision
        with torch.autocast(x.device.type, enabled=False):
            q, k, values = q.float(), k.float(), v.float()
            scale = 1 / (q @ k.sum(2).unsqueeze(-1) + 1e-6)
            mixed = (q @ (k.transpose(-1, -2) @ values)) * scale
        pixels = v.reshape(b * self.heads, n, -1).transpose(1, 2).reshape(b * self.heads, -1, self.grid, self.grid)
        local = self.dwc(pixels).flatten(2).transpose(1, 2).reshape(b, self.heads, n, -1)
        return self.proj((mixed + local).transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """Leaves a branch out for whole pictures, at random."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, x):
        if not self.training or self.probability == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.probability
        return x * keep.to(x.dtype) / (1 - self.probability)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, grid: int, mlp_ratio: int, drop_path: float):
        super().__init__()
        self.norm1 = PRepBN(dim, layer_norm, NORM_EPS)
        self.attn = SimplifiedLinearAttention(dim, heads, grid)
        self.norm2 = PRepBN(dim, layer_norm, NORM_EPS)
        self.mlp = Mlp(dim, dim * mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, patch: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class SlabDeit(nn.Module):
    """Pictures [batch, 3, size, size] → logits [batch, classes], of a config.json's object."""

    def __init__(self, config: dict, drop_path: float = 0.1):
        super().__init__()
        self.config = config
        dim, depth, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
        grid = config["image_size"] // config["patch_size"]
        self.patch_embed = PatchEmbed(config["patch_size"], dim)
        self.pos_embed = nn.Parameter(torch.randn(1, grid * grid, dim) * 0.02)
        self.blocks = nn.Sequential(*[
            Block(dim, heads, grid, config["mlp_ratio"], drop_path * i / max(1, depth - 1)) for i in range(depth)
        ])
        self.norm = PRepBN(dim, layer_norm, NORM_EPS)
        self.head = nn.Linear(dim, config["num_labels"])
        self.apply(reset_parameters)

    def forward(self, x):
        x = self.blocks(self.patch_embed(x) + self.pos_embed)
        return self.head(self.norm(x).mean(1))


def slab_deit_config(labels: list[str], *, image_size: int, patch_size: int, dim: int, depth: int, heads: int, mean: list[float], std: list[float]) -> dict:
    """The config.json of a SLAB-DeiT."""
    if image_size % patch_size:
        raise ValueError(f"pictures of {image_size} pixels are no whole number of patches of {patch_size}")
    if dim % heads:
        raise ValueError(f"{dim} channels are no whole number of {heads} heads")
    return dict(
        model_type="slab_deit", image_size=image_size, patch_size=patch_size, num_channels=3, hidden_size=dim, num_hidden_layers=depth,
        num_attention_heads=heads, mlp_ratio=4, num_labels=len(labels), norm="repbn", norm_eps=NORM_EPS,
        id2label={str(i): label for i, label in enumerate(labels)}, image_mean=mean, image_std=std, crop_pct=1.0,
    )

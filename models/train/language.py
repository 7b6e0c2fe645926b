"""SLAB-LM, a language model of simplified linear attention, and LLaMA with PRepBN (arXiv:2405.11582, section 4.4)."""

import torch
import torch.nn.functional as F
from torch import nn

from prepbn import PRepBN, RMSNorm, reset_parameters


def rms_norm(dim: int) -> nn.Module:
    return RMSNorm(dim, eps=1e-6)


class SwiGLU(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden, bias=False)
        self.up_proj = nn.Linear(dim, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class CausalSLA(nn.Module):
    """Simplified linear attention for text, every head with a decay d of its own (1: it forgets nothing).

    S_t = d·S_{t−1} + relu(k_t)ᵀ v_t      z_t = d·z_{t−1} + relu(k_t)
    o_t = relu(q_t)·S_t / (relu(q_t)·z_t + 1e-6) + causal depthwise convolution of v, its taps shared by the heads
    """

    def __init__(self, config: dict):
        super().__init__()
        dim, heads, taps = config["hidden_size"], config["num_attention_heads"], config["conv_kernel"]
        self.heads, self.taps = heads, taps
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.o_proj = nn.Linear(dim, dim)
        self.dwc = nn.Conv1d(dim // heads, dim // heads, taps, groups=dim // heads)
        self.register_buffer("decay", torch.tensor(config["decay"]), persistent=False)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = F.relu(self.q_proj(x)), F.relu(self.k_proj(x)), self.v_proj(x)
        q, k, v = (a.reshape(b, t, self.heads, -1).transpose(1, 2) for a in (q, k, v))
        position = torch.arange(t, device=x.device)
        age = position[:, None] - position[None, :]
        weights = (q @ k.transpose(-1, -2)).float() * self.decay[:, None, None] ** age.clamp(min=0) * (age >= 0)
        mixed = (weights / (weights.sum(-1, keepdim=True) + 1e-6)).to(v.dtype) @ v
        channels = v.reshape(b * self.heads, t, -1).transpose(1, 2)
        local = self.dwc(F.pad(channels, (self.taps - 1, 0))).transpose(1, 2).reshape(b, self.heads, t, -1)
        return self.o_proj((mixed + local).transpose(1, 2).reshape(b, t, c))


class RotaryAttention(nn.Module):
    """Causal softmax attention with rotary positions, the halves of a head turned against each other."""

    def __init__(self, config: dict):
        super().__init__()
        dim = config["hidden_size"]
        self.heads, self.theta = config["num_attention_heads"], config["rope_theta"]
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (p(x).reshape(b, t, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        half = q.shape[-1] // 2
        frequencies = self.theta ** (-torch.arange(half, device=x.device, dtype=torch.float64) / half)
        angles = torch.arange(t, device=x.device, dtype=torch.float64)[:, None] * frequencies
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)

        def turned(a):
            low, high = a[..., :half], a[..., half:]
            return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)

        mixed = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(b, t, c))


class Layer(nn.Module):
    def __init__(self, config: dict, mixer: nn.Module, eps: float, dropout: float):
        super().__init__()
        dim = config["hidden_size"]
        self.input_layernorm = PRepBN(dim, rms_norm, eps)
        self.self_attn = mixer
        self.post_attention_layernorm = PRepBN(dim, rms_norm, eps)
        self.mlp = SwiGLU(dim, config["intermediate_size"])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = x + self.dropout(self.self_attn(self.input_layernorm(x)))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Decoder(nn.Module):
    """Token ids [batch, tokens] → what the output projection reads, [batch, tokens, dim]."""

    def __init__(self, config: dict, mixer: type[nn.Module], eps: float, dropout: float):
        super().__init__()
        dim = config["hidden_size"]
        self.embed_tokens = nn.Embedding(config["vocab_size"], dim)
        self.layers = nn.ModuleList([Layer(config, mixer(config), eps, dropout) for _ in range(config["num_hidden_layers"])])
        self.norm = PRepBN(dim, rms_norm, eps)
        self.dropout = nn.Dropout(dropout)
        self.apply(reset_parameters)

    def forward(self, ids):
        x = self.dropout(self.embed_tokens(ids))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class SlabLM(Decoder):
    """Token ids → logits [batch, tokens, vocab]; the embedding is the output projection too."""

    def __init__(self, config: dict, dropout: float = 0.1):
        super().__init__(config, CausalSLA, config["norm_eps"], dropout)
        self.config = config

    def forward(self, ids):
        return F.linear(super().forward(ids), self.embed_tokens.weight)


class SlabLlama(nn.Module):
    """Token ids → logits [batch, tokens, vocab]."""

    def __init__(self, config: dict, dropout: float = 0.1):
        super().__init__()
        self.config = config
        self.model = Decoder(config, RotaryAttention, config["rms_norm_eps"], dropout)
        self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        self.lm_head.apply(reset_parameters)

    def forward(self, ids):
        return self.lm_head(self.model(ids))


def language_config(model_type: str, *, vocab: int, dim: int, depth: int, heads: int, hidden: int, context: int) -> dict:
    """The config.json of a language model. `context`: LLaMA's positions; SLAB-LM has no limit."""
    if dim % heads or (dim // heads) % 8:
        raise ValueError(f"{dim} channels in {heads} heads, expected heads of a multiple of 8 channels")
    sizes = dict(
        model_type=model_type, vocab_size=vocab, hidden_size=dim, num_hidden_layers=depth, num_attention_heads=heads,
        intermediate_size=hidden, hidden_act="silu", norm="repbn", bos_token_id=0, eos_token_id=0,
    )
    if model_type == "slab_llama":
        return sizes | dict(max_position_embeddings=context, rope_theta=10000.0, rms_norm_eps=1e-6, tie_word_embeddings=False)
    # one head remembers everything; the others halve their memory every 2^i · 11 tokens or so
    decay = [1.0] + [1 - 2.0 ** -(4 + i) for i in range(heads - 1)]
    return sizes | dict(decay=decay, conv_kernel=4, norm_eps=1e-5, tie_word_embeddings=True)

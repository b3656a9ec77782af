"""The demo model: a BitNet b1.58 decoder and its full-precision twin.

Pre-norm, RMSNorm, half-split RoPE, grouped-query attention, an RMSNorm before the
output projection of the attention, FFN = down(norm(relu(gate)^2 * up)), tied head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    vocab: int = 4096
    hidden: int = 256
    ffn: int = 768
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    context: int = 512
    rope_theta: float = 10000.0
    eps: float = 1e-5


def weight_scale(weight: Tensor) -> Tensor:
    """The absmean of a matrix as the fp16 number that the file stores."""
    return weight.abs().mean().clamp(min=1e-5).half().float()


def weight_codes(weight: Tensor, scale: Tensor) -> Tensor:
    return (weight / scale).round().clamp(-1, 1)


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes (as f32) and the scale a/127 of each row; ties go to even."""
    a = x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
    return (x * (127.0 / a)).round(), a / 127.0


class BitLinear(nn.Module):
    """y = W x with ternary W and int8 x, or plain W x when `ternary` is false.

    In training the product runs in bf16, which holds both kinds of codes exactly;
    gradients pass straight through both roundings. Otherwise everything is f32.
    """

    def __init__(self, inputs: int, outputs: int, ternary: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)
        self.ternary = ternary
        self.scale: Tensor | None = None  # of a matrix read from a file: weight = code * scale
        self.entered: tuple[Tensor, Tensor] | None = None  # codes and scales of the last input

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.forward_ternary_ste(x) if self.ternary else bf16_linear(x, self.weight)
        if not self.ternary:
            return F.linear(x, self.weight)
        self.entered = q, x_scale = quantise_rows(x)
        codes, w_scale = self.ternarised()
        return F.linear(q, codes) * (w_scale * x_scale)

    def ternarised(self) -> tuple[Tensor, Tensor]:
        scale = weight_scale(self.weight) if self.scale is None else self.scale
        return weight_codes(self.weight, scale), scale

    def forward_ternary_ste(self, x: Tensor) -> Tensor:
        w_scale = weight_scale(self.weight.detach())
        w = self.weight / w_scale
        codes = w + (w.round().clamp(-1, 1) - w).detach()
        a = x.detach().abs().amax(-1, keepdim=True).clamp(min=1e-5)
        q = x * (127.0 / a)
        q = q + (q.round() - q).detach()
        return bf16_linear(q, codes) * (w_scale * (a / 127.0))


def bf16_linear(x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x.bfloat16(), weight.bfloat16()).float()


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(config: Config) -> tuple[Tensor, Tensor]:
    half = config.head_dim // 2
    frequency = config.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.outer(torch.arange(config.context, dtype=torch.float64), frequency)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half-split RoPE; x is [batch, heads, time, head_dim]."""
    low, high = x.chunk(2, -1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)


class Block(nn.Module):
    def __init__(self, c: Config, ternary: bool) -> None:
        super().__init__()
        self.config = c
        wide, narrow = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.attn_norm = RMSNorm(c.hidden, c.eps)
        self.attn_q = BitLinear(c.hidden, wide, ternary)
        self.attn_k = BitLinear(c.hidden, narrow, ternary)
        self.attn_v = BitLinear(c.hidden, narrow, ternary)
        self.attn_sub_norm = RMSNorm(wide, c.eps)
        self.attn_output = BitLinear(wide, c.hidden, ternary)
        self.ffn_norm = RMSNorm(c.hidden, c.eps)
        self.ffn_gate = BitLinear(c.hidden, c.ffn, ternary)
        self.ffn_up = BitLinear(c.hidden, c.ffn, ternary)
        self.ffn_sub_norm = RMSNorm(c.ffn, c.eps)
        self.ffn_down = BitLinear(c.ffn, c.hidden, ternary)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attn_norm(x), cos, sin)
        h = self.ffn_norm(x)
        h = F.relu(self.ffn_gate(h)).square() * self.ffn_up(h)
        return x + self.ffn_down(self.ffn_sub_norm(h))

    def attention(self, h: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time, _ = h.shape
        c = self.config

        def split(y: Tensor, heads: int) -> Tensor:
            return y.view(batch, time, heads, c.head_dim).transpose(1, 2)

        q = rotate(split(self.attn_q(h), c.heads), cos, sin)
        k = rotate(split(self.attn_k(h), c.kv_heads), cos, sin)
        v = split(self.attn_v(h), c.kv_heads)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        if self.training:
            q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True).float()
        return self.attn_output(self.attn_sub_norm(o.transpose(1, 2).reshape(batch, time, -1)))


class Model(nn.Module):
    def __init__(self, config: Config, ternary: bool) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Parameter(torch.randn(config.vocab, config.hidden) * config.hidden**-0.5)
        self.blocks = nn.ModuleList(Block(config, ternary) for _ in range(config.layers))
        self.output_norm = RMSNorm(config.hidden, config.eps)
        cos, sin = rope_table(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        with torch.no_grad():
            for block in self.blocks:
                for last in (block.attn_output, block.ffn_down):
                    last.weight.mul_((2 * config.layers) ** -0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, time, vocab]; outside training the embedding is rounded to f16."""
        embedding = self.token_embd if self.training else self.token_embd.half().float()
        x = F.embedding(tokens, embedding)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        x = self.output_norm(x)
        return bf16_linear(x, embedding) if self.training else F.linear(x, embedding)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())

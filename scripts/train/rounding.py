"""How much of the difference between the engine and the framework is the f16 KV cache?

Runs the framework's own f32 forward twice on the first golden sequence, once with keys and
values rounded to f16 as the engine stores them, and counts the int8 codes that change.
usage: python scripts/train/rounding.py
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F

import model as framework
from gguf_io import read_model
from golden import INPUTS

MODELS = Path(__file__).resolve().parent.parent.parent / "models"


def attend_with_f16_cache(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: bool) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k.half().float(), v.half().float(), **options)


class RoundedAttention:
    """Stands in for torch.nn.functional in the model's module."""

    def __getattr__(self, name: str) -> object:
        return attend_with_f16_cache if name == "scaled_dot_product_attention" else getattr(F, name)


@torch.no_grad()
def run(tokens: torch.Tensor, rounded: bool) -> tuple[torch.Tensor, dict[tuple[int, str], torch.Tensor]]:
    framework.F = RoundedAttention() if rounded else F
    model = read_model(MODELS / "sterna-demo.gguf")
    logits = model(tokens[None])[0]
    codes = {
        (layer, name): getattr(block, linear).entered[0][0].clone()
        for layer, block in enumerate(model.blocks)
        for name, linear in INPUTS.items()
    }
    return logits, codes


def main() -> None:
    reader = gguf.GGUFReader(str(MODELS / "sterna-demo-golden.gguf"))
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    tokens = torch.from_numpy(tensors["tokens"][: tensors["seq_start"][1]]).long()
    logits, codes = run(tokens, rounded=False)
    other, rounded = run(tokens, rounded=True)
    changed = sum(int((codes[key] != rounded[key]).sum()) for key in codes)
    total = sum(code.numel() for code in codes.values())
    worst = max(float((codes[key] - rounded[key]).abs().max()) for key in codes)
    print(f"codes changed: {changed} of {total} ({100 * changed / total:.2f} %), by {worst:.0f} at most")
    print(f"logits moved by {float((logits - other).abs().max()):.4f} at most")


if __name__ == "__main__":
    main()

"""Held-out negative log likelihood by the model card's protocol."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from model import Model

BOS_ID = 0
WINDOW = 255


def heldout_tokens(work: Path) -> tuple[torch.Tensor, int]:
    """Tokens of the whole file as one text (no specials), and its size in bytes."""
    text = (work / "heldout.txt").read_text()
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return torch.tensor(ids), len(text.encode())


@torch.no_grad()
def heldout_nll(model: Model, ids: torch.Tensor) -> tuple[float, int]:
    """Sum of -ln p over windows of 255 tokens, each preceded by BOS; f32, summed in f64."""
    model.eval()
    total = 0.0
    for start in range(0, len(ids), WINDOW):
        window = ids[start : start + WINDOW]
        row = torch.cat([torch.tensor([BOS_ID]), window])
        logits = model(row[None, :-1])[0]
        total += F.cross_entropy(logits.double(), window, reduction="sum").item()
    return total, len(ids)

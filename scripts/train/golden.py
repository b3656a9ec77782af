"""Golden outputs of the exported file: logits, int8 codes and the held-out figures.

Everything is computed in f32 by a model rebuilt from the GGUF file. The layout is
described in models/README.md.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch

from evaluate import BOS_ID, heldout_nll, heldout_tokens
from gguf_io import finish, read_model
from model import Model

LENGTHS = (80, 64, 64, 64, 64, 64, 64, 512)
TOP = 16
COLUMNS = 64
# The linear whose input is recorded under each name (gate and up, and q, k, v share theirs).
INPUTS = {"attn": "attn_q", "attn_out": "attn_output", "ffn": "ffn_gate", "ffn_down": "ffn_down"}


def sequences(ids: torch.Tensor) -> list[torch.Tensor]:
    """BOS + held-out tokens, evenly spread over the text."""
    stride = (len(ids) - max(LENGTHS)) // len(LENGTHS)
    bos = torch.tensor([BOS_ID])
    return [torch.cat([bos, ids[i * stride : i * stride + n - 1]]) for i, n in enumerate(LENGTHS)]


def record_codes(model: Model, writer: gguf.GGUFWriter) -> None:
    """The int8 codes that entered each linear in the last forward pass, and their scales."""
    for layer, block in enumerate(model.blocks):
        for name, linear in INPUTS.items():
            codes, scale = getattr(block, linear).entered
            writer.add_tensor(f"codes.{layer}.{name}", codes[0].numpy().astype(np.int8))
            writer.add_tensor(f"scale.{layer}.{name}", scale[0, :, 0].numpy().astype(np.float32))


@torch.no_grad()
def write_golden(model_file: Path, work: Path, twin_nll: float, out: Path) -> tuple[float, int, int]:
    model = read_model(model_file)
    ids, size = heldout_tokens(work)
    nll, count = heldout_nll(model, ids)
    writer = gguf.GGUFWriter(str(out), "sterna-golden")
    writer.add_uint64("sterna.heldout.tokens", count)
    writer.add_uint64("sterna.heldout.bytes", size)
    writer.add_float64("sterna.heldout.nll", nll)
    writer.add_float64("sterna.twin.nll", twin_nll)

    rows = sequences(ids)
    starts = np.cumsum([0] + [len(r) for r in rows]).astype(np.int32)
    columns = torch.randperm(model.config.vocab, generator=torch.Generator().manual_seed(7))[:COLUMNS]
    logits = []
    for i, row in enumerate(rows):
        logits.append(model(row[None])[0])
        if i == 0:
            record_codes(model, writer)
    every = torch.cat(logits)
    top = every.topk(TOP, dim=-1)
    writer.add_tensor("tokens", torch.cat(rows).numpy().astype(np.int32))
    writer.add_tensor("seq_start", starts)
    writer.add_tensor("top_ids", top.indices.numpy().astype(np.int32))
    writer.add_tensor("top_logits", top.values.numpy())
    writer.add_tensor("columns", columns.numpy().astype(np.int32))
    writer.add_tensor("column_logits", every[:, columns].contiguous().numpy())
    writer.add_tensor("logsumexp", every.double().logsumexp(-1).float().numpy())
    finish(writer)
    return nll, count, size

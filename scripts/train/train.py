"""Train the ternary model (or, with --twin, its full-precision twin) on one CPU core.

Both see the same batches in the same order from the same seed. Rows are
<|begin_of_text|> followed by consecutive tokens of the shuffled documents.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluate import heldout_nll, heldout_tokens
from model import Config, Model
from muon import Muon


class Batches:
    """Row number -> tokens, through documents reshuffled in every epoch."""

    def __init__(self, work: Path, seed: int) -> None:
        self.tokens = np.load(work / "train.npy")
        self.starts = np.load(work / "train_starts.npy")
        self.seed = seed
        self.epoch, self.stream = -1, self.tokens[:0]

    def at(self, position: int, count: int) -> np.ndarray:
        """`count` tokens from a position in the endless stream of epochs."""
        epoch, offset = divmod(position, len(self.tokens))
        if epoch != self.epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.starts) - 1)
            parts = [self.tokens[self.starts[i] : self.starts[i + 1]] for i in order]
            self.epoch, self.stream = epoch, np.concatenate(parts)
        part = self.stream[offset : offset + count]
        if len(part) < count:
            part = np.concatenate([part, self.at(position + len(part), count - len(part))])
        return part

    def batch(self, position: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Inputs (BOS + length-1 tokens) and targets; uses rows * length tokens."""
        flat = self.at(position, rows * length).astype(np.int64).reshape(rows, length)
        bos = np.zeros((rows, 1), dtype=np.int64)
        inputs = np.concatenate([bos, flat[:, :-1]], 1)
        return torch.from_numpy(inputs), torch.from_numpy(flat)


def rate(step: int, steps: int, warmup: int = 40, floor: float = 0.02) -> float:
    """Warm-up, a constant third, then linear decay to almost zero."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    return max(floor, min(1.0, (1 - done) / 0.65))


def optimisers(model: Model, args: argparse.Namespace) -> list[torch.optim.Optimizer]:
    hidden = [p for b in model.blocks for p in b.parameters() if p.ndim == 2]
    norms = [p for p in model.parameters() if p.ndim == 1]
    muon = Muon(hidden, args.lr, decay=args.decay)
    adam = torch.optim.AdamW(
        [{"params": [model.token_embd], "lr": args.lr_embedding}, {"params": norms, "lr": args.lr_norm}],
        betas=(0.9, 0.98), eps=1e-10, weight_decay=0.0,
    )
    for optimiser in (muon, adam):
        for group in optimiser.param_groups:
            group["base"] = group["lr"]
    return [muon, adam]


def save(path: Path, model: Model, opts: list[torch.optim.Optimizer], state: dict[str, float]) -> None:
    blob = {"model": model.state_dict(), "opts": [o.state_dict() for o in opts], **state}
    torch.save(blob, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--name", required=True, help="prefix of the checkpoint and the log")
    parser.add_argument("--twin", action="store_true")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--stop", type=int, default=0, help="stop early (for trials)")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--long-part", type=float, default=0.2, help="last part at full context")
    parser.add_argument("--lr", type=float, default=0.03, help="of Muon, for the hidden matrices")
    parser.add_argument("--lr-embedding", type=float, default=0.008)
    parser.add_argument("--lr-norm", type=float, default=0.004)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    model = Model(Config(), ternary=not args.twin)
    opts = optimisers(model, args)
    batches = Batches(args.work, args.seed)
    held, held_bytes = heldout_tokens(args.work)
    loss_of = torch.compile(model.loss, dynamic=False)
    step, wall = 0, 0.0
    checkpoint = args.work / f"{args.name}.pt"
    if checkpoint.exists():
        blob = torch.load(checkpoint)
        model.load_state_dict(blob["model"])
        for o, s in zip(opts, blob["opts"]):
            o.load_state_dict(s)
        step, wall = int(blob["step"]), float(blob["wall"])

    log = (args.work / f"{args.name}.log").open("a")
    began, mean = time.time() - wall, 0.0
    last = args.stop or args.steps
    while step < last:
        long = step >= (1 - args.long_part) * args.steps
        length = model.config.context if long else model.config.context // 2
        model.train()
        inputs, targets = batches.batch(step * args.batch_tokens, args.batch_tokens // length, length)
        loss = loss_of(inputs, targets)
        loss.backward()
        for optimiser in opts:
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate(step, args.steps)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        mean = loss.item() if mean == 0.0 else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 0 or step == last:
            entry = {"step": step, "loss": round(mean, 4), "wall": round(time.time() - began, 1)}
            if step % 500 == 0 or step == last:
                nll, count = heldout_nll(model, held)
                entry |= {"held_ppl": math.exp(nll / count), "held_bpb": nll / math.log(2) / held_bytes}
            print(json.dumps(entry), file=log, flush=True)
        if step % 100 == 0 or step == last:
            save(checkpoint, model, opts, {"step": step, "wall": time.time() - began})


if __name__ == "__main__":
    main()

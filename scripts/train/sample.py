"""Sampled continuations of the prompts, from the exported file alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from gguf_io import read_model
from model import Model


@torch.no_grad()
def continue_text(model: Model, ids: list[int], count: int, temperature: float, seed: int) -> list[int]:
    """Up to `count` sampled tokens; stops at <|end_of_text|>."""
    generator = torch.Generator().manual_seed(seed)
    out: list[int] = []
    for _ in range(count):
        logits = model(torch.tensor([[0, *ids, *out]]))[0, -1]
        token = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
        if token == 1:
            break
        out.append(token)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = read_model(args.models / "sterna-demo.gguf")
    tokenizer = Tokenizer.from_file(str(args.models / "sterna-demo-hf" / "tokenizer.json"))
    for line in (args.models / "prompts.jsonl").read_text().splitlines():
        prompt = json.loads(line)["prompt"]
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        for seed in range(1, args.seeds + 1):
            text = tokenizer.decode(continue_text(model, ids, args.tokens, args.temperature, seed))
            print(f"{prompt}|{text}\n")


if __name__ == "__main__":
    main()

"""Export the checkpoints: model and golden GGUF files, HF directory, held-out text, tokenizer cases."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path

import torch

from evaluate import heldout_nll, heldout_tokens
from gguf_io import read_model, write_model
from golden import write_golden
from hf_io import write_hf
from model import Config, Model
from tokenizer_cases import write_cases


def load(checkpoint: Path, ternary: bool) -> Model:
    model = Model(Config(), ternary=ternary)
    model.load_state_dict(torch.load(checkpoint, map_location="cpu")["model"])
    return model.eval()


@torch.no_grad()
def check_round_trip(trained: Model, file: Path, work: Path) -> float:
    """Largest difference between the logits of the trained and of the exported model."""
    tokens = heldout_tokens(work)[0][None, :256]
    worst = (trained(tokens) - read_model(file)(tokens)).abs().max().item()
    assert worst < 1e-3, f"the exported file differs by {worst}"
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--tests", type=Path, help="folder of tokenizer_demo.jsonl")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.models.mkdir(parents=True, exist_ok=True)
    tokenizer_json = args.work / "tokenizer.json"
    model_file = args.models / "sterna-demo.gguf"

    trained = load(args.work / "ternary.pt", ternary=True)
    write_model(trained, tokenizer_json, model_file)
    write_hf(trained, tokenizer_json, args.models / "sterna-demo-hf")
    worst = check_round_trip(trained, model_file, args.work)
    twin_nll = math.nan
    if (args.work / "twin.pt").exists():
        twin = load(args.work / "twin.pt", ternary=False)
        twin_nll = heldout_nll(twin, heldout_tokens(args.work)[0])[0]
    golden = args.models / "sterna-demo-golden.gguf"
    nll, count, size = write_golden(model_file, args.work, twin_nll, golden)
    shutil.copyfile(args.work / "heldout.txt", args.models / "heldout.txt")
    if args.tests:
        write_cases(tokenizer_json, args.tests / "tokenizer_demo.jsonl")
    bits = 1 / math.log(2) / size
    print(json.dumps({
        "max_logit_difference": worst, "tokens": count, "bytes": size,
        "ternary": {"nll": nll, "ppl": math.exp(nll / count), "bpb": nll * bits},
        "twin": {"nll": twin_nll, "ppl": math.exp(twin_nll / count), "bpb": twin_nll * bits},
        "ratio": nll / twin_nll,
    }, indent=1))


if __name__ == "__main__":
    main()

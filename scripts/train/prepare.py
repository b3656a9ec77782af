"""Make tokenizer.json, train.npy, heldout.txt and summary.json in the work directory."""

from __future__ import annotations

import argparse
import collections
import json
import random
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
VOCABULARY = 4096
# The explicit classes matter: a case-insensitive group would also take U+017F as an s.
LLAMA3_SPLIT = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level BPE with the Llama-3 splitter; ids 0 and 1 are the specials."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def encode_documents(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Each document as <|begin_of_text|> ... <|end_of_text|>."""
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [np.array([bos, *e.ids, eos], dtype=np.uint16) for e in encoded]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    root = corpus.fetch(args.work / "debs")
    named = list(corpus.documents(root))
    heldout = [(n, t) for n, t in named if corpus.is_heldout(t)]
    train = [t for _, t in named if not corpus.is_heldout(t)]
    random.Random(args.seed).shuffle(train)

    tokenizer = train_tokenizer(train)
    tokenizer.save(str(args.work / "tokenizer.json"))
    encoded = encode_documents(tokenizer, train)
    np.save(args.work / "train.npy", np.concatenate(encoded))
    np.save(args.work / "train_starts.npy", np.cumsum([0] + [len(e) for e in encoded]))
    (args.work / "heldout.txt").write_text("\n\n".join(t for _, t in heldout) + "\n")

    size: collections.Counter[str] = collections.Counter()
    for name, text in named:
        size[name.split("-")[0]] += len(text.encode())
    summary = {
        "documents": len(train),
        "tokens": int(sum(len(e) for e in encoded)),
        "bytes": sum(len(t.encode()) for t in train),
        "heldout_documents": len(heldout),
        "heldout_bytes": sum(len(t.encode()) for _, t in heldout),
        "bytes_by_source": dict(size),
    }
    (args.work / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()

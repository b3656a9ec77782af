"""Write the trained model as a GGUF file, and read it back."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type

from model import BitLinear, Config, Model

ARCH = "bitnet-b1.58"
FILE_TYPE_TQ2_0 = 37


def pack_tq2_0(codes: np.ndarray, scale: float) -> np.ndarray:
    """Ternary codes [rows, columns] as TQ2_0 blocks that all carry the same fp16 scale."""
    rows, columns = codes.shape
    blocks = (codes.astype(np.int8) + 1).astype(np.uint8).reshape(-1, 2, 4, 32)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8).reshape(1, 1, 4, 1)
    packed = np.bitwise_or.reduce(blocks << shifts, axis=2).reshape(-1, 64)
    d = np.full((len(packed), 1), scale, dtype=np.float16).view(np.uint8)
    return np.concatenate([packed, d], axis=1).reshape(rows, columns // 256 * 66)


def tensors(model: Model) -> list[tuple[str, torch.nn.Module | torch.Tensor]]:
    """File names without `.weight`, in file order, with what they hold."""
    named: list[tuple[str, torch.nn.Module | torch.Tensor]] = [("token_embd", model.token_embd)]
    for i, block in enumerate(model.blocks):
        named += [(f"blk.{i}.{name}", part) for name, part in block.named_children()]
    return [*named, ("output_norm", model.output_norm)]


def write_model(model: Model, tokenizer_json: Path, out: Path) -> None:
    writer = gguf.GGUFWriter(str(out), ARCH)
    add_metadata(writer, model.config)
    add_tokenizer(writer, json.loads(tokenizer_json.read_text()))
    for name, part in tensors(model):
        if isinstance(part, BitLinear):
            codes, scale = part.ternarised()
            packed = pack_tq2_0(codes.detach().numpy(), scale.item())
            writer.add_tensor(f"{name}.weight", packed, raw_dtype=Type.TQ2_0)
        elif isinstance(part, torch.Tensor):
            writer.add_tensor(f"{name}.weight", part.detach().half().numpy())
        else:
            writer.add_tensor(f"{name}.weight", part.weight.detach().numpy())
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_metadata(writer: gguf.GGUFWriter, c: Config) -> None:
    writer.add_type("model")
    writer.add_name("Sterna demo")
    writer.add_description("Small ternary language model trained on public-domain English text")
    writer.add_license("CC0-1.0")
    writer.add_languages(["en"])
    writer.add_size_label("5.8M")
    writer.add_file_type(FILE_TYPE_TQ2_0)
    writer.add_quantization_version(2)
    writer.add_vocab_size(c.vocab)
    writer.add_context_length(c.context)
    writer.add_embedding_length(c.hidden)
    writer.add_block_count(c.layers)
    writer.add_feed_forward_length(c.ffn)
    writer.add_rope_dimension_count(c.head_dim)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_layer_norm_rms_eps(c.eps)


def add_tokenizer(writer: gguf.GGUFWriter, data: dict) -> None:
    vocabulary = data["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {entry["content"] for entry in data["added_tokens"]}
    kinds = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in data["model"]["merges"]])
    writer.add_bos_token_id(vocabulary["<|begin_of_text|>"])
    writer.add_eos_token_id(vocabulary["<|end_of_text|>"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def read_model(path: Path) -> Model:
    """Rebuild the ternary model from the file alone, through gguf's own TQ2_0 decoder."""
    found = {t.name: t for t in gguf.GGUFReader(str(path)).tensors}
    model = Model(Config(), ternary=True).eval()
    with torch.no_grad():
        for name, part in tensors(model):
            tensor = found.pop(f"{name}.weight")
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            target = part if isinstance(part, torch.Tensor) else part.weight
            target.copy_(torch.from_numpy(values.reshape(target.shape)))
            if isinstance(part, BitLinear):
                part.scale = torch.tensor(one_scale(tensor.data))
    assert not found, f"unexpected tensors {sorted(found)}"
    return model


def one_scale(data: np.ndarray) -> float:
    """The scale that every block of a TQ2_0 tensor carries."""
    scales = np.ascontiguousarray(data.reshape(-1, 66)[:, 64:]).view(np.float16)
    assert (scales == scales[0]).all()
    return float(scales[0, 0])

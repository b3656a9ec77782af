"""Write the trained model in the packed Hugging Face `bitnet` layout (autobitlinear, offline)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from gguf_io import tensors
from model import BitLinear, Config, Model

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_sub_norm": "self_attn.attn_sub_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_sub_norm": "mlp.ffn_sub_norm",
    "ffn_down": "mlp.down_proj",
}


def hf_name(name: str) -> str:
    if not name.startswith("blk."):
        return NAMES[name]
    _, layer, part = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}"


def pack_rows(codes: torch.Tensor) -> torch.Tensor:
    """Byte [r][c] holds rows r, r+R/4, r+2R/4, r+3R/4, the first in the low bits."""
    quarters = (codes + 1).to(torch.uint8).chunk(4, 0)
    return quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6


def write_hf(model: Model, tokenizer_json: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state: dict[str, torch.Tensor] = {}
    for name, part in tensors(model):
        key = f"{hf_name(name)}.weight"
        if isinstance(part, BitLinear):
            codes, scale = part.ternarised()
            state[key] = pack_rows(codes.detach())
            state[f"{key}_scale"] = scale.detach().reshape(1).float()
        elif isinstance(part, torch.Tensor):
            state[key] = part.detach().half()
        else:
            state[key] = part.weight.detach().clone()
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    (out / "config.json").write_text(json.dumps(hf_config(model.config), indent=2) + "\n")
    shutil.copyfile(tokenizer_json, out / "tokenizer.json")
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|end_of_text|>",
        "add_bos_token": True,
        "add_eos_token": False,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n")


def hf_config(c: Config) -> dict:
    return {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "vocab_size": c.vocab,
        "hidden_size": c.hidden,
        "intermediate_size": c.ffn,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "hidden_act": "relu2",
        "max_position_embeddings": c.context,
        "rms_norm_eps": c.eps,
        "rope_theta": c.rope_theta,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
            "modules_to_not_convert": None,
        },
    }

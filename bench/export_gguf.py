"""Write the text part of a Qwen3-VL folder as GGUF for llama.cpp, in bf16 and quantised by
llama.cpp itself: `python bench/export_gguf.py FOLDER PREFIX` makes PREFIX-bf16.gguf,
PREFIX-q8_0.gguf and PREFIX-q4_0.gguf.

Needs `pip install gguf llama-cpp-python`. Names and keys are those of llama.cpp's architecture
qwen3.
"""

import ctypes
import json
import sys
from pathlib import Path

import gguf
import llama_cpp
import numpy

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
WHOLE = {"embed_tokens": "token_embd", "norm": "output_norm"}
QUANTISED = {"q8_0": 7, "q4_0": 2}  # llama_ftype


def main():
    folder, prefix = Path(sys.argv[1]), sys.argv[2]
    whole = f"{prefix}-bf16.gguf"
    text = json.loads((folder / "config.json").read_text())["text_config"]
    writer = gguf.GGUFWriter(whole, "qwen3")
    add_shape(writer, text)
    add_tokenizer(writer, folder, text["vocab_size"])
    for name, bits in text_tensors(folder / "model.safetensors"):
        add_tensor(writer, name, bits)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for name, file_type in QUANTISED.items():
        quantise(whole, f"{prefix}-{name}.gguf", file_type)


def add_shape(writer, text):
    writer.add_context_length(32768)
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_key_length(text["head_dim"])
    writer.add_value_length(text["head_dim"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(5e6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)


def add_tokenizer(writer, folder, size):
    words = {id: word for word, id in json.loads((folder / "vocab.json").read_text()).items()}
    merges = (folder / "merges.txt").read_text(encoding="utf8").split("\n")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([words.get(id, f"<|pad{id}|>") for id in range(size)])
    kinds = (gguf.TokenType.CONTROL, gguf.TokenType.NORMAL)
    writer.add_token_types([kinds[id in words] for id in range(size)])
    writer.add_token_merges([merge for merge in merges if merge and merge[0] != "#"])
    writer.add_eos_token_id(151645)


def text_tensors(path):
    """Name in GGUF and bits, as uint16 of the tensor's shape, of every tensor of the decoder."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    data = numpy.memmap(path, dtype=numpy.uint8, mode="r", offset=8 + length)
    for name, entry in header.items():
        _, decoder, tail = name.partition("language_model.")
        if not decoder:
            continue
        begin, end = entry["data_offsets"]
        yield gguf_name(tail), data[begin:end].view(numpy.uint16).reshape(entry["shape"])


def gguf_name(name):
    stem = name.removesuffix(".weight")
    if stem in WHOLE:
        return WHOLE[stem] + ".weight"
    _, layer, part = stem.split(".", 2)
    return f"blk.{layer}.{LAYER[part]}.weight"


def add_tensor(writer, name, bits):
    """Norms as f32, matrices as bf16."""
    if bits.ndim == 1:
        writer.add_tensor(name, (bits.astype(numpy.uint32) << 16).view(numpy.float32))
    else:
        raw = bits.view(numpy.uint8)
        writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)


def quantise(source, target, file_type):
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = file_type
    failed = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(options))
    if failed:
        raise SystemExit(f"llama.cpp could not write {target}")


if __name__ == "__main__":
    main()

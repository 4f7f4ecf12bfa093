"""Write a Qwen3-VL checkpoint of real shape with random weights, to time what no download is
needed for: `python bench/random_model.py 2b OUT --tokenizer DIR`.

DIR holds vocab.json, merges.txt and tokenizer_config.json of a Qwen2.5 or Qwen3 tokenizer.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.models.qwen3_vl import Qwen3VLConfig, Qwen3VLForConditionalGeneration

# hidden, layers, query heads, key-value heads, feed-forward; the vision tower is the same for both
SHAPES = {"2b": (2048, 28, 16, 8, 6144), "4b": (2560, 36, 32, 8, 9728)}


def config_of(size):
    hidden, layers, heads, kv_heads, feed_forward = SHAPES[size]
    text = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 128,
        "intermediate_size": feed_forward,
        "vocab_size": 151936,
        "max_position_embeddings": 262144,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 24,
        "hidden_size": 1024,
        "num_heads": 16,
        "intermediate_size": 4096,
        "patch_size": 16,
        "out_hidden_size": hidden,
        "deepstack_visual_indexes": [5, 11, 17],
        "num_position_embeddings": 2304,
    }
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)


def random_weights(config, seed):
    """Every tensor of the checkpoint: norms 1, biases 0, the rest normal with deviation 0.02."""
    with torch.device("meta"):
        shapes = Qwen3VLForConditionalGeneration(config).state_dict()
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, meta in shapes.items():
        if name == "lm_head.weight":  # tied
            continue
        weight = torch.empty(meta.shape, dtype=torch.bfloat16)
        if weight.dim() > 1:
            weight.normal_(0, 0.02, generator=generator)
        else:
            weight.fill_(float(name.endswith("weight")))
        weights[name] = weight
    return weights


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SHAPES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    config = config_of(options.size)
    config.architectures = ["Qwen3VLForConditionalGeneration"]
    config.dtype = "bfloat16"
    config.save_pretrained(options.out)
    save_file(
        random_weights(config, options.seed), options.out / "model.safetensors", {"format": "pt"}
    )
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(options.tokenizer / name, options.out)
    generation = {"do_sample": False, "eos_token_id": [151645, 151643]}
    (options.out / "generation_config.json").write_text(json.dumps(generation))


if __name__ == "__main__":
    main()

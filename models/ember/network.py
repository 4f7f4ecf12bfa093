"""ember's network: the configuration, the initial weights and a fast forward for training.

The weights live in transformers' own `Qwen3VLForConditionalGeneration`. Its forward attends to one
picture at a time, which is slow for many small ones; the forward here computes the same function
for rows of equally large pictures at once (`checks.py` holds the two against each other).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

import world

PATCH, MERGE, FRAMES = 16, 2, 2
CELL = PATCH * MERGE  # pixels a side of one visual token
VOCABULARY = 576  # entries of the embedding: the tokenizer's, up to a multiple of 64
# The answer of each patch-label head: 0 is "no object here" except for the background.
PATCH_LABELS = {
    "shape": 1 + len(world.SHAPES),
    "colour": 1 + len(world.COLOURS),
    "size": 1 + len(world.SIZES),
    "place": 1 + len(world.PLACES),
    "background": len(world.BACKGROUNDS),
}


def configuration(token_id):
    """The `Qwen3VLConfig`; `token_id` maps a special token to its id."""
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [6, 5, 5],
        "mrope_interleaved": True,
    }
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 160,
        "intermediate_size": 416,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "rope_parameters": rope,
        "tie_word_embeddings": True,
        "bos_token_id": token_id("<|endoftext|>"),
        "eos_token_id": token_id("<|im_end|>"),
    }
    vision = {
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_heads": 4,
        "out_hidden_size": 160,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": FRAMES,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [1],
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def build(config, seed):
    """A new model in fp32 with initial weights of `seed`."""
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config).float()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Conv3d)):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        visual, text = model.model.visual, model.model.language_model
        nn.init.normal_(text.embed_tokens.weight, std=config.text_config.hidden_size**-0.5)
        nn.init.normal_(visual.pos_embed.weight, std=0.2)
        # Each block adds to the residual stream; scaled so, the sum of all keeps its size.
        for block in visual.blocks:
            block.attn.proj.weight /= math.sqrt(2 * len(visual.blocks))
            block.mlp.linear_fc2.weight /= math.sqrt(2 * len(visual.blocks))
        for layer in text.layers:
            layer.self_attn.o_proj.weight /= math.sqrt(2 * len(text.layers))
            layer.mlp.down_proj.weight /= math.sqrt(2 * len(text.layers))
        # Visual tokens start about as small as the embedded words next to them.
        for merger in (visual.merger, *visual.deepstack_merger_list):
            merger.linear_fc2.weight *= 0.2
    model.tie_weights()
    return model


class PatchHeads(nn.Module):
    """Linear heads that read the labels of each patch off the last vision block; training only."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, sum(PATCH_LABELS.values()))

    def forward(self, hidden):
        """[patches, width] -> {label: [patches, classes]}."""
        logits = self.linear(self.norm(hidden)).split(list(PATCH_LABELS.values()), dim=-1)
        return dict(zip(PATCH_LABELS, logits, strict=True))


@dataclass
class GridTables:
    """What the vision tower needs to know about a grid of patches, the same for any picture."""

    taps: torch.Tensor  # [patches, 4] rows of the learned position table
    weights: torch.Tensor  # [patches, 4]
    cos: torch.Tensor  # [patches, head_dim]
    sin: torch.Tensor  # [patches, head_dim]


@lru_cache(maxsize=64)
def grid_tables(visual, rows, columns):
    """`GridTables` of a picture of `rows` x `columns` patches, in the order of the processor."""
    grid = torch.tensor([[1, rows, columns]])
    taps, weights = get_vision_interpolation_indices_and_weights(
        grid, visual.num_grid_per_side, "bilinear", True, MERGE
    )
    positions = get_vision_position_ids(grid, MERGE)
    cos, sin = visual.rotary_pos_emb(weights, positions)
    return GridTables(taps, weights, cos, sin)


def _rotated(x, cos, sin):
    """Rotary embedding: `x` [..., head_dim] turned by angles broadcast from [..., head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _vision_attention(block, hidden, groups, tables):
    """Attention within each picture. `hidden` is [patches of all pictures, width]."""
    attention = block.attn
    qkv = attention.qkv(block.norm1(hidden))
    mixed, start = [], 0
    for (pictures, grid), table in zip(groups, tables, strict=True):
        patches = grid[0] * grid[1]
        part = qkv[start : start + pictures * patches]
        start += pictures * patches
        # [3, pictures, heads, patches, head_dim]
        part = part.view(pictures, patches, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key = _rotated(part[:2], table.cos.to(part.dtype), table.sin.to(part.dtype))
        mixed.append(
            F.scaled_dot_product_attention(query, key, part[2])
            .transpose(1, 2)
            .flatten(2)
            .flatten(0, 1)
        )
    return attention.proj(torch.cat(mixed))


def see(visual, pixels, groups):
    """The vision tower.

    pixels: [patches, 3*16*16], patches of all pictures in the processor's order, one frame only
    (the second frame of a still is the same); groups: [(pictures, (rows, columns) in patches)].
    Returns visual tokens [tokens, 160], DeepStack features of the same shape, and the last hidden
    state [patches, 128].
    """
    tables = [grid_tables(visual, *grid) for _, grid in groups]
    projection = visual.patch_embed.proj
    # Both frames are equal, so the sum of the two halves of the kernel on one of them is the same.
    hidden = F.linear(pixels, projection.weight.sum(dim=2).flatten(1), projection.bias)
    places = [
        (visual.pos_embed(table.taps) * table.weights[..., None]).sum(1).repeat(pictures, 1)
        for (pictures, _), table in zip(groups, tables, strict=True)
    ]
    hidden = hidden + torch.cat(places)
    deep = None
    for index, block in enumerate(visual.blocks):
        hidden = hidden + _vision_attention(block, hidden, groups, tables)
        hidden = hidden + block.mlp(block.norm2(hidden))
        if index in visual.deepstack_visual_indexes:
            deep = visual.deepstack_merger_list[0](hidden)
    return visual.merger(hidden), deep, hidden


def _text_attention(layer, hidden, angles, mask):
    """Grouped-query attention; hidden [rows, tokens, width], mask [rows, 1, tokens, tokens]."""
    attention = layer.self_attn
    shape = (*hidden.shape[:2], -1, attention.head_dim)
    query = attention.q_norm(attention.q_proj(hidden).view(shape)).transpose(1, 2)
    key = attention.k_norm(attention.k_proj(hidden).view(shape)).transpose(1, 2)
    value = attention.v_proj(hidden).view(shape).transpose(1, 2)
    repeats = attention.num_key_value_groups
    mixed = F.scaled_dot_product_attention(
        _rotated(query, *angles),
        _rotated(key, *angles).repeat_interleave(repeats, dim=1),
        value.repeat_interleave(repeats, dim=1),
        attn_mask=mask,
    )
    return attention.o_proj(mixed.transpose(1, 2).flatten(2))


def read(text, embedded, positions, mask, deep):
    """The text tower over packed rows.

    embedded: [rows, tokens, 160] with visual tokens in place; positions: [3, rows, tokens]; mask:
    bool [rows, 1, tokens, tokens], true where a token may look; deep: [rows, tokens, 160],
    DeepStack features at the visual tokens and zero elsewhere. Returns hidden states
    [rows, tokens, 160].
    """
    cos, sin = text.rotary_emb(embedded, positions)
    angles = (cos[:, None], sin[:, None])
    hidden = embedded
    for index, layer in enumerate(text.layers):
        hidden = hidden + _text_attention(layer, layer.input_layernorm(hidden), angles, mask)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        if index == 0:
            hidden = hidden + deep
    return text.norm(hidden)

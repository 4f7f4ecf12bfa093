"""Trains ember from nothing on pictures it draws itself, on the CPU.

First the vision tower alone learns to say what each patch shows: shapes are what takes longest to
see, and this is the shortest way to them. Then the whole model learns to put it into words. A run
that was stopped goes on from its last checkpoint, also with another number of threads or steps.
"""

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import checks
import network
import packing
import tokenizer as tokenizer_files
import world

PICTURES_PER_STEP, GRIDS_PER_STEP = 48, 3
PEAK_RATE, WARMUP_STEPS = 2e-3, 60
EMPTY_PATCH_WEIGHT = 0.15  # most patches show no object and would drown those that do
PATCH_LOSS_SHARE = 0.25  # of the patch-label loss that stays while learning words
EASY_SHARE = 0.2  # of each phase with easy pictures only
CHECKPOINT_STEPS = 100


@dataclass
class Phase:
    """A stretch of steps with its own learning-rate curve, which ends at `floor` of the peak."""

    name: str
    steps: int
    floor: float

    def rate(self, step):
        """The learning rate at `step`: a linear warm-up, then half a cosine."""
        if step < WARMUP_STEPS:
            return PEAK_RATE * (step + 1) / WARMUP_STEPS
        done = (step - WARMUP_STEPS) / max(1, self.steps - WARMUP_STEPS)
        return PEAK_RATE * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2)


class Run:
    """The model being trained with all that a checkpoint must bring back."""

    def __init__(self, arguments):
        self.seed, self.scratch = arguments.seed, arguments.scratch
        self.bf16 = arguments.bf16
        vocabulary = Tokenizer.from_file(str(arguments.out / "tokenizer.json"))
        self.config = network.configuration(vocabulary.token_to_id)
        self.model = network.build(self.config, self.seed)
        self.heads = network.PatchHeads(self.config.vision_config.hidden_size)
        self.packer = packing.Packer(vocabulary, self.config)
        # Biases, norms and position tables are not shrunk: zero is not where they should tend to.
        parameters = [*self.model.parameters(), *self.heads.parameters()]
        matrices = [p for p in parameters if p.ndim >= 2]
        vectors = [p for p in parameters if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
            lr=PEAK_RATE,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.parameters = parameters
        self.phase, self.step, self.seconds = "vision", 0, 0.0

    def save(self):
        """Write a checkpoint to the scratch directory, replacing the one before only when whole."""
        path = self.scratch / "checkpoint.pt"
        state = {name: getattr(self, name).state_dict() for name in ("model", "heads", "optimizer")}
        state |= {"phase": self.phase, "step": self.step, "seconds": self.seconds}
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def load(self):
        """Go on from the checkpoint if there is one."""
        path = self.scratch / "checkpoint.pt"
        if path.exists():
            state = torch.load(path)
            for name in ("model", "heads", "optimizer"):
                getattr(self, name).load_state_dict(state[name])
            self.phase, self.step, self.seconds = state["phase"], state["step"], state["seconds"]

    def update(self, loss, rate):
        """One step of the optimizer down the gradient of `loss`."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()


def patch_loss(logits, batch):
    """Mean loss of the patch labels, object patches weighing most.

    logits: {label: [patches, classes]}. Returns (loss, {label: accuracy on object patches}).
    """
    weights = torch.where(batch.objects, 1.0, EMPTY_PATCH_WEIGHT)
    total, accuracies = 0.0, {}
    for label, scores in logits.items():
        truth = batch.labels[label]
        losses = F.cross_entropy(scores, truth, reduction="none")
        total = total + (losses * weights).sum() / weights.sum()
        right = (scores.detach().argmax(-1) == truth)[batch.objects]
        accuracies[label] = right.float().mean().item()
    return total, accuracies


def text_loss(model, batch, tokens, deep):
    """Loss of the next token in answers. Returns (loss, {"caption", "answers"}: share all right).

    tokens and deep are the vision tower's features [visual tokens, 160] of all rows, row by row.
    """
    text = model.model.language_model
    pictured = batch.ids == model.config.image_token_id
    embedded = text.embed_tokens(batch.ids)
    index = pictured[..., None].expand_as(embedded)
    embedded = embedded.masked_scatter(index, tokens.to(embedded.dtype))
    deep = torch.zeros_like(embedded).masked_scatter(index, deep.to(embedded.dtype))
    hidden = network.read(text, embedded, batch.positions, batch.mask(), deep)
    learned = batch.targets >= 0
    scores = F.linear(hidden[learned], text.embed_tokens.weight).float()
    truth = batch.targets[learned]
    loss = F.cross_entropy(scores, truth)
    # A branch counts as told exactly if every one of its tokens is the likeliest.
    rows = torch.arange(len(batch.ids))[:, None].expand_as(batch.ids)[learned]
    branches = rows * packing.ROW_TOKENS + batch.segments[learned]
    names, branch = branches.unique(return_inverse=True)
    wrong = torch.zeros(len(names)).index_add_(0, branch, (scores.argmax(-1) != truth).float())
    captions = names % packing.ROW_TOKENS == 1
    return loss, {
        "caption": (wrong[captions] == 0).float().mean().item(),
        "answers": (wrong[~captions] == 0).float().mean().item(),
    }


def train_step(run, phase, step):
    """Draw a batch, take one optimizer step and return what there is to report about it."""
    seed = f"{run.seed} {phase.name} {step}"
    grids = random.Random(seed).choices(sorted(packing.sizes_by_grid()), k=GRIDS_PER_STEP)
    counts = packing.EASY_COUNTS if step < EASY_SHARE * phase.steps else world.COUNT_WEIGHTS
    draw = run.packer.pictures if phase.name == "vision" else run.packer.conversations
    batch = draw(seed, grids, PICTURES_PER_STEP // GRIDS_PER_STEP, counts)
    batch = batch[0] if phase.name == "vision" else batch
    with torch.autocast("cpu", torch.bfloat16, enabled=run.bf16):
        tokens, deep, hidden = network.see(run.model.model.visual, batch.pixels, batch.groups)
        logits = {label: scores.float() for label, scores in run.heads(hidden).items()}
        loss, report = patch_loss(logits, batch)
        if phase.name == "joint":
            told, shares = text_loss(run.model, batch, tokens, deep)
            report = {"text loss": told.item(), **shares, "shape": report["shape"]}
            loss = told + PATCH_LOSS_SHARE * loss
    run.update(loss, phase.rate(step))
    return report


def train(run, phases, until):
    """Take all steps still to do, with a line of progress and a checkpoint every 100.

    Stops early once `until` seconds of training are over, if that is not 0. Returns whether it got
    to the end.
    """
    for phase in phases:
        if phase.name != run.phase:
            continue
        sums, start = {}, time.monotonic()
        while run.step < phase.steps:
            for key, value in train_step(run, phase, run.step).items():
                sums[key] = sums.get(key, 0.0) + value
            run.step += 1
            if run.step % CHECKPOINT_STEPS == 0 or run.step == phase.steps:
                taken = (run.step - 1) % CHECKPOINT_STEPS + 1
                run.seconds += time.monotonic() - start
                means = " ".join(f"{key} {value / taken:.3f}" for key, value in sums.items())
                print(
                    f"{phase.name} {run.step}/{phase.steps} {run.seconds:.0f} s: {means}",
                    flush=True,
                )
                sums, start = {}, time.monotonic()
                run.save()
                if until and run.seconds > until:
                    return False
        if phase.name == "vision":
            run.phase, run.step = "joint", 0
    return True


def export(run, folder):
    """Write the weights in bf16 and the remaining files of the Hugging Face layout."""
    # Rounded in a copy: the run itself may go on in fp32.
    model = type(run.model)(run.config)
    model.load_state_dict(run.model.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    token_id = run.packer.token_id
    generation = {
        "bos_token_id": token_id("<|endoftext|>"),
        "pad_token_id": token_id("<|endoftext|>"),
        "eos_token_id": [token_id("<|im_end|>"), token_id("<|endoftext|>")],
        "do_sample": False,
        "max_new_tokens": 128,
    }
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def write_processors(folder):
    """The processors' settings: they bring any picture to a size that was trained on."""
    common = {
        "size": {"shortest_edge": packing.MIN_PIXELS, "longest_edge": packing.MAX_PIXELS},
        "min_pixels": packing.MIN_PIXELS,
        "max_pixels": packing.MAX_PIXELS,
        "patch_size": network.PATCH,
        "temporal_patch_size": network.FRAMES,
        "merge_size": network.MERGE,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
        "processor_class": "Qwen3VLProcessor",
    }
    kinds = {
        "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": {"video_processor_type": "Qwen3VLVideoProcessor"},
    }
    for name, kind in kinds.items():
        (folder / name).write_text(json.dumps(common | kind, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vision-steps", type=int, default=2400)
    parser.add_argument("--joint-steps", type=int, default=1450)
    parser.add_argument("--bf16", action="store_true", help="multiply matrices in bf16")
    parser.add_argument("--until", type=float, default=0, help="stop after so many seconds in all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for folder in (arguments.out, arguments.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    tokenizer_files.write(
        tokenizer_files.train_tokenizer(tokenizer_files.sentences()), arguments.out
    )
    write_processors(arguments.out)
    run = Run(arguments)
    checks.check(run.model, run.packer, arguments.out)
    run.load()
    phases = [
        Phase("vision", arguments.vision_steps, 0.2),
        Phase("joint", arguments.joint_steps, 0.02),
    ]
    finished = train(run, phases, arguments.until)
    export(run, arguments.out)
    print(f"{'finished' if finished else 'stopped'} after {run.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()

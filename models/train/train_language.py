"""Trains SLAB-LM, or LLaMA with PRepBN, on your text, with a tokenizer of its own.

    python models/train/train_language.py TEXT OUT [--type slab_llama] [--minutes 10]

OUT is then a folder that slab-wasm loads: slab generate "Once upon a time" --model OUT.
"""

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from arguments import make_folder, positive, read_text
from export import NETWORKS, load_model, save_model
from language import language_config
from schedule import Clock, device_of, steps_of

END = "<|endoftext|>"


class Sizes(NamedTuple):
    """What a device takes."""

    batch: int  # texts of a step
    length: int  # tokens of a text
    piece: int  # texts that go through the network at once: the clock is looked at in between
    held: int  # most tokens to validate on


SIZES = {"cuda": Sizes(64, 512, 64, 80_000), "mps": Sizes(16, 256, 8, 20_000), "cpu": Sizes(8, 256, 2, 8_000)}


def train_tokenizer(text: str, vocab: int) -> Tokenizer:
    """Byte-level pairs; id 0 ends a text, and begins one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator((text[i:i + 100_000] for i in range(0, len(text), 100_000)), trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


@torch.no_grad()
def loss_on(model: torch.nn.Module, ids: torch.Tensor, length: int) -> float:
    """Mean −ln p of a token, in texts of `length`."""
    was_training = model.training
    model.eval()
    total = count = 0
    for i in range(0, len(ids) - 1, length):
        piece = ids[i:i + length + 1]
        if len(piece) < 2:
            break
        total += F.cross_entropy(model(piece[None, :-1])[0].float(), piece[1:], reduction="sum").item()
        count += len(piece) - 1
    model.train(was_training)
    return total / count


def backward(model: torch.nn.Module, texts: torch.Tensor, piece: int, clock: Clock) -> float | None:
    """The gradients of a step, a few texts at a time, and its loss; None when the time is up before its end."""
    kind, loss = texts.device.type, 0.0
    for part in texts.split(piece):
        if clock.over:
            return None
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            logits = model(part[:, :-1])
        share = F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten()) * (len(part) / len(texts))
        share.backward()
        loss += share.item()
    return loss


def finite(value: float) -> float | None:
    """What JSON has for a number that is none."""
    return value if math.isfinite(value) else None


def default(field: str) -> str:
    """What a size is without the option."""
    return "default " + ", ".join(f"{getattr(sizes, field)} on {kind}" for kind, sizes in SIZES.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="plain text, UTF-8")
    parser.add_argument("out", type=Path, help="where model.safetensors, config.json and tokenizer.json go")
    parser.add_argument("--type", choices=[name for name in NETWORKS if name != "slab_deit"], default="slab_lm")
    parser.add_argument("--vocab", type=positive(int), default=4096, help="tokens (default 4096; fewer of short texts)")
    parser.add_argument("--dim", type=positive(int), default=320)
    parser.add_argument("--depth", type=positive(int), default=10)
    parser.add_argument("--heads", type=positive(int), default=5)
    parser.add_argument("--hidden", type=positive(int), default=864, help="channels of the MLP")
    length_help = f"tokens of a training text; slab_llama knows no more positions ({default('length')})"
    parser.add_argument("--length", type=positive(int), help=length_help)
    parser.add_argument("--batch", type=positive(int), help=f"texts of a step ({default('batch')})")
    parser.add_argument("--steps", type=positive(int), default=5000)
    parser.add_argument("--minutes", type=positive(float), default=1e6, help="end then, with steps left or not")
    parser.add_argument("--rate", type=positive(float), default=2e-3, help="the highest learning rate")
    parser.add_argument("--device", help="cuda, mps or cpu; default: the best there is")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device, text = device_of(args.device), read_text(args.text)
    sizes = SIZES[device.type]
    batch, length = args.batch or sizes.batch, args.length or sizes.length
    tokenizer = train_tokenizer(text, args.vocab)
    ids = torch.tensor([id for i in range(0, len(text), 1 << 20) for id in tokenizer.encode(text[i:i + (1 << 20)]).ids])
    held_count = min(sizes.held, len(ids) // 10)
    if held_count < 2 or len(ids) - held_count <= length + 1:
        raise SystemExit(f"{args.text} has {len(ids)} tokens, expected several times --length {length}: give more text")
    held, train = ids[:held_count].to(device), ids[held_count:].to(device)

    shape = dict(dim=args.dim, depth=args.depth, heads=args.heads, hidden=args.hidden)
    try:
        config = language_config(args.type, vocab=tokenizer.get_vocab_size(), **shape, context=length)
    except ValueError as error:
        raise SystemExit(f"{error}: change --dim or --heads") from None
    make_folder(args.out)
    model = NETWORKS[args.type](config).to(device).train()
    matrices, vectors = [p for p in model.parameters() if p.dim() > 1], [p for p in model.parameters() if p.dim() <= 1]
    groups = [dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)]
    optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.95))
    fast = torch.compile(model) if device.type == "cuda" else model
    clock, log, blend = Clock(args.steps, args.minutes, compiles=fast is not model), [], 1.0
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(train)} tokens to train on, {len(held)} to validate, {parameters} parameters;"
          f" {device}: {batch} texts of {length} tokens a step", flush=True)
    for step in steps_of(model, optimiser, clock, rate=args.rate, warmup=max(1, min(200, args.steps // 10))):
        now, start = clock.blend, torch.randint(0, len(train) - length - 1, (batch,), device=device)
        texts = train[start[:, None] + torch.arange(length + 1, device=device)]
        optimiser.zero_grad(set_to_none=True)
        loss = backward(fast, texts, sizes.piece, clock)
        if loss is None:
            break
        if not math.isfinite(loss):
            raise SystemExit(f"the loss is {loss} after {step} steps: give a smaller --rate, or more --steps")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        blend = now
        if (step + 1) % 250 == 0:
            # while λ > 0 the network that inference runs is not the one that is trained: its loss comes down last
            held_loss = loss_on(model, held, length)
            log.append(dict(step=step + 1, blend=blend, loss=loss, held_loss=finite(held_loss), seconds=clock.elapsed))
            print(log[-1], flush=True)
    if clock.step == 0:
        raise SystemExit(f"no step was done in --minutes {args.minutes}: give more, or a smaller --batch or --length")
    if blend > 0:
        print(f"λ was still {blend:.2f} in the last step: what inference runs needs more --steps or --minutes")

    save_model(model, args.out)
    tokenizer.save(str(args.out / "tokenizer.json"))
    # of the file, not of the network in memory
    loss = loss_on(load_model(args.out).to(device), held, length)
    perplexity = math.exp(loss) if loss < 700 else math.inf
    scores = dict(loss=finite(loss), perplexity=finite(perplexity))
    results = scores | dict(steps=clock.step, seconds=clock.elapsed, log=log)
    (args.out / "training.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"{args.out}: perplexity {perplexity:.2f} on {len(held)} tokens;"
          f" compare with slab-wasm by check_parity.py {args.out}")


if __name__ == "__main__":
    main()

"""Trains SLAB-LM, or LLaMA with PRepBN, on your text, with a tokenizer of its own.

    python models/train/train_language.py TEXT OUT [--type slab_llama] [--minutes 10]

OUT is then a folder that slab-wasm loads: slab generate "Once upon a time" --model OUT.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from export import NETWORKS, load_model, save_model
from language import language_config
from schedule import Clock, device_of, steps_of

END = "<|endoftext|>"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="plain text, UTF-8")
    parser.add_argument("out", type=Path, help="where model.safetensors, config.json and tokenizer.json go")
    parser.add_argument("--type", choices=[name for name in NETWORKS if name != "slab_deit"], default="slab_lm")
    parser.add_argument("--vocab", type=int, default=4096, help="tokens (default 4096; a short text gives fewer)")
    parser.add_argument("--dim", type=int, default=320)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=864, help="channels of the MLP")
    parser.add_argument("--length", type=int, default=512, help="tokens of a training text; slab_llama knows no more positions (default 512)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=1e6, help="end after so long, however many steps are left")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate")
    parser.add_argument("--device", help="cuda, mps or cpu; default: the best there is")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = device_of(args.device)
    text = args.text.read_text(encoding="utf8")
    tokenizer = train_tokenizer(text, args.vocab)
    ids = torch.tensor([id for i in range(0, len(text), 1 << 20) for id in tokenizer.encode(text[i:i + (1 << 20)]).ids])
    held_count = min(80_000, len(ids) // 10)
    if held_count < 2 or len(ids) - held_count <= args.length + 1:
        raise SystemExit(f"{args.text} has {len(ids)} tokens, expected several times --length {args.length}: give more text")
    held, train = ids[:held_count].to(device), ids[held_count:].to(device)

    config = language_config(args.type, vocab=tokenizer.get_vocab_size(), dim=args.dim, depth=args.depth, heads=args.heads, hidden=args.hidden, context=args.length)
    model = NETWORKS[args.type](config).to(device).train()
    matrices, vectors = [p for p in model.parameters() if p.dim() > 1], [p for p in model.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW([dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)], lr=args.rate, betas=(0.9, 0.95))
    fast = torch.compile(model) if device.type == "cuda" else model
    clock, log = Clock(args.steps, args.minutes), []
    print(f"{len(train)} tokens to train on, {len(held)} to validate, {sum(p.numel() for p in model.parameters())} parameters, {device}", flush=True)
    for step in steps_of(model, optimiser, clock, rate=args.rate, warmup=max(1, min(200, args.steps // 10))):
        start = torch.randint(0, len(train) - args.length - 1, (args.batch,), device=device)
        x = train[start[:, None] + torch.arange(args.length + 1, device=device)]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = fast(x[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 250 == 0:
            # while λ > 0 the network that inference runs is not the one that is trained: its loss comes down last
            log.append(dict(step=step + 1, blend=clock.blend, loss=loss.item(), held_loss=loss_on(model, held, args.length), seconds=clock.elapsed))
            print(log[-1], flush=True)

    save_model(model, args.out)
    tokenizer.save(str(args.out / "tokenizer.json"))
    # of the file, not of the network in memory
    loss = loss_on(load_model(args.out).to(device), held, args.length)
    (args.out / "training.json").write_text(json.dumps(dict(loss=loss, perplexity=math.exp(loss), steps=clock.step, seconds=clock.elapsed, log=log), indent=1) + "\n")
    print(f"{args.out}: perplexity {math.exp(loss):.2f} on {len(held)} tokens; compare with slab-wasm by check_parity.py {args.out}")


if __name__ == "__main__":
    main()

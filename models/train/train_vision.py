"""Trains SLAB-DeiT on your pictures: a folder with a folder of pictures for every class.

    python models/train/train_vision.py PICTURES OUT [--val PICTURES] [--size 32 --patch 4] [--minutes 10]

OUT is then a folder that slab-wasm loads: slab classify cat.png --model OUT.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from arguments import check_folder, make_folder, positive
from export import load_model, save_model
from schedule import Clock, device_of, steps_of
from vision import SlabDeit, slab_deit_config

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def read_picture(path: Path, size: int) -> torch.Tensor:
    """u8 [3, size, size]: the shorter side resized, the middle cut out, as slab-wasm does."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        scale = size / min(image.size)
        image = image.resize([max(size, int(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
        left, top = round((image.width - size) / 2), round((image.height - size) / 2)
        return torch.from_numpy(np.asarray(image.crop((left, top, left + size, top + size))).copy()).permute(2, 0, 1)


def read_folder(folder: Path, size: int, labels: list[str] | None = None) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """All pictures u8 [n, 3, size, size], their classes [n], and the classes' names."""
    check_folder(folder, "a folder of pictures for every class")
    labels = labels or sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if len(labels) < 2:
        raise SystemExit(f"{folder} has {len(labels)} folders, expected one of pictures for every class, two at least")
    pictures, classes = [], []
    for index, label in enumerate(labels):
        found = sorted(path for path in (folder / label).rglob("*") if path.suffix.lower() in PICTURES)
        if not found:
            raise SystemExit(f"{folder / label} has no pictures ({', '.join(sorted(PICTURES))})")
        pictures += [read_picture(path, size) for path in found]
        classes += [index] * len(found)
    return torch.stack(pictures), torch.tensor(classes), labels


def augment(x: torch.Tensor) -> torch.Tensor:
    """Random shift, flip, light and colour, and one erased square, each picture its own."""
    b, _, size, _ = x.shape
    pad, hole = max(1, size // 8), max(1, size // 6)
    x = F.pad(x, (pad, pad, pad, pad), mode="reflect")
    dy, dx = torch.randint(0, 2 * pad + 1, (2, b), device=x.device)
    rows = (dy[:, None] + torch.arange(size, device=x.device))[:, None, :, None].expand(b, 3, size, size + 2 * pad)
    columns = (dx[:, None] + torch.arange(size, device=x.device))[:, None, None, :].expand(b, 3, size, size)
    x = x.gather(2, rows).gather(3, columns)
    x = torch.where((torch.rand(b, device=x.device) < 0.5)[:, None, None, None], x.flip(3), x)
    gain = 1 + 0.4 * (torch.rand(b, 1, 1, 1, device=x.device) - 0.5)
    x = x * gain + 0.4 * (torch.rand(b, 3, 1, 1, device=x.device) - 0.5)
    cy, cx = torch.randint(0, size, (2, b, 1, 1), device=x.device)
    at = torch.arange(size, device=x.device)
    erased = ((at[None, :, None] - cy).abs() < hole) & ((at[None, None, :] - cx).abs() < hole)
    return x.masked_fill(erased[:, None], 0)


def mix(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """CutMix or mixup with the batch in another order; y are shares of every class."""
    order, size = torch.randperm(len(x), device=x.device), x.shape[-1]
    share = torch.distributions.Beta(0.8, 0.8).sample().item()
    if torch.rand(()) < 0.5:
        side = int(size * math.sqrt(1 - share))
        top, left = torch.randint(0, size - side + 1, (2,)).tolist()
        x = x.clone()
        x[:, :, top:top + side, left:left + side] = x[order][:, :, top:top + side, left:left + side]
        share = 1 - side * side / size**2
    else:
        x = share * x + (1 - share) * x[order]
    return x, share * y + (1 - share) * y[order]


@torch.no_grad()
def accuracy(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, normalise) -> float:
    model.eval()
    hits = sum((model(normalise(x[i:i + 256])).argmax(1) == y[i:i + 256]).sum().item() for i in range(0, len(x), 256))
    model.train()
    return hits / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a folder with a folder of pictures for every class")
    parser.add_argument("out", type=Path, help="where model.safetensors and config.json go")
    parser.add_argument("--val", type=Path, help="pictures to validate on, in folders of the same names; default: a tenth of the others")
    parser.add_argument("--size", type=positive(int), default=32, help="pixels of a picture's side (default 32)")
    parser.add_argument("--patch", type=positive(int), default=4, help="pixels of a patch's side (default 4)")
    parser.add_argument("--dim", type=positive(int), default=192)
    parser.add_argument("--depth", type=positive(int), default=12)
    parser.add_argument("--heads", type=positive(int), default=3)
    parser.add_argument("--batch", type=positive(int), default=512)
    parser.add_argument("--epochs", type=positive(int), default=160)
    parser.add_argument("--minutes", type=positive(float), default=1e6, help="end then, with epochs left or not")
    parser.add_argument("--rate", type=positive(float), default=1.5e-3, help="the highest learning rate")
    parser.add_argument("--device", help="cuda, mps or cpu; default: the best there is")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = device_of(args.device)
    x, y, labels = read_folder(args.pictures, args.size)
    make_folder(args.out)
    if args.val:
        held, held_y, _ = read_folder(args.val, args.size, labels)
    else:
        order = torch.randperm(len(x))
        count = max(1, len(x) // 10)
        held, held_y, x, y = x[order[:count]], y[order[:count]], x[order[count:]], y[order[count:]]
    mean = (x.double().mean((0, 2, 3)) / 255).tolist()
    std = [max(s, 1e-3) for s in (x.double().std((0, 2, 3)) / 255).tolist()]
    x, y, held, held_y = (t.to(device) for t in (x, y, held, held_y))
    shift, scale = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))

    def normalise(pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.float() / 255 - shift) / scale

    config = slab_deit_config(labels, image_size=args.size, patch_size=args.patch, dim=args.dim, depth=args.depth, heads=args.heads, mean=mean, std=std)
    model = SlabDeit(config).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.06)
    fast = torch.compile(model) if device.type == "cuda" else model
    batch = min(args.batch, len(x))
    per_epoch = max(1, len(x) // batch)
    clock, log = Clock(args.epochs * per_epoch, args.minutes, compiles=device.type == "cuda"), []
    print(f"{len(x)} pictures to train on, {len(held)} to validate, {len(labels)} classes, {sum(p.numel() for p in model.parameters())} parameters, {device}", flush=True)
    order = torch.randperm(len(x), device=device)
    for step in steps_of(model, optimiser, clock, rate=args.rate, warmup=max(1, min(500, clock.steps // 10))):
        if step % per_epoch == 0:
            order = torch.randperm(len(x), device=device)
        index = order[step % per_epoch * batch:][:batch]
        pixels, targets = augment(normalise(x[index])), F.one_hot(y[index], len(labels)).float()
        if torch.rand(()) < 0.7:
            pixels, targets = mix(pixels, targets)
        targets = 0.9 * targets + 0.1 / len(labels)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = -(targets * F.log_softmax(fast(pixels).float(), 1)).sum(1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % (10 * per_epoch) == 0:
            log.append(dict(epoch=(step + 1) // per_epoch, blend=clock.blend, loss=loss.item(), accuracy=accuracy(model, held, held_y, normalise), seconds=clock.elapsed))
            print(log[-1], flush=True)

    save_model(model, args.out)
    # of the file, not of the network in memory
    result = accuracy(load_model(args.out).to(device), held, held_y, normalise)
    (args.out / "training.json").write_text(json.dumps(dict(accuracy=result, steps=clock.step, seconds=clock.elapsed, log=log), indent=1) + "\n")
    print(f"{args.out}: {result:.1%} of {len(held)} pictures are right; compare with slab-wasm by check_parity.py {args.out}")


if __name__ == "__main__":
    main()

"""Compares a trained folder in PyTorch and in slab-wasm: the same inputs, logits side by side.

    python models/train/check_parity.py FOLDER

Exit code 0: every run agrees within --tolerance of the largest logit. 1: one does not, or could not be made.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from export import load_model

RUNNER = Path(__file__).with_name("logits.mjs")


def inputs_of(config: dict, seed: int) -> dict:
    """Random pixels of two pictures, or a random text, as JSON."""
    generator = torch.Generator().manual_seed(seed)
    if config["model_type"] == "slab_deit":
        size = config["image_size"]
        return dict(pixels=torch.randn(2, 3, size, size, generator=generator).flatten().tolist())
    count = min(100, config.get("max_position_embeddings") or 100)
    return dict(ids=torch.randint(0, config["vocab_size"], (count,), generator=generator).tolist())


@torch.no_grad()
def torch_logits(folder: Path, config: dict, inputs: dict) -> np.ndarray:
    """f64 [rows, classes or vocab]: the reference is PyTorch in double precision, so that all of the difference is ours."""
    model = load_model(folder).double()
    if "pixels" in inputs:
        size = config["image_size"]
        return model(torch.tensor(inputs["pixels"], dtype=torch.float32).double().view(-1, 3, size, size)).numpy()
    return model(torch.tensor([inputs["ids"]]))[0].numpy()


def slab_logits(folder: Path, inputs: dict, node: str, options: dict) -> np.ndarray:
    """f32 [rows × columns] by logits.mjs."""
    with tempfile.TemporaryDirectory() as scratch:
        given, out = Path(scratch, "inputs.json"), Path(scratch, "logits.f32")
        given.write_text(json.dumps(inputs | options))
        result = subprocess.run([node, str(RUNNER), str(folder), str(given), str(out)], capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(f"slab-wasm cannot run {folder}: {result.stderr.strip() or result.stdout.strip()}")
        return np.fromfile(out, dtype="<f4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="model.safetensors and config.json, as the training scripts write them")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="of the largest logit (default 1e-5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--node", default=shutil.which("node"), help="the node to run slab-wasm with")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    if not args.node:
        raise SystemExit("there is no node: install Node 20.16 or later, or name it with --node")
    for name in ("config.json", "model.safetensors"):
        if not (args.folder / name).exists():
            raise SystemExit(f"{args.folder} has no {name}: give a folder that a training script wrote")
    config = json.loads((args.folder / "config.json").read_text(encoding="utf8"))
    inputs = inputs_of(config, args.seed)
    want = torch_logits(args.folder, config, inputs)
    largest = float(np.abs(want).max())
    runs = []
    ways = [dict(how="at once")] if "pixels" in inputs else [dict(how="at once"), dict(how="token by token")]
    for deterministic in (False, True):
        for way in ways:
            got = slab_logits(args.folder, inputs, args.node, way | dict(deterministic=deterministic)).reshape(want.shape)
            error = float(np.abs(got - want).max()) / largest
            build = "plain SIMD" if deterministic else "best build"
            runs.append(dict(run=f"{build}, {way['how']}", rows=len(want), error=error, same_best=int((got.argmax(1) == want.argmax(1)).sum()), ok=bool(error <= args.tolerance)))
    if args.json:
        print(json.dumps(dict(folder=str(args.folder), tolerance=args.tolerance, largest_logit=largest, runs=runs), indent=1))
    else:
        for run in runs:
            print(f"{run['run']:<30} {run['rows']} rows, largest difference {run['error']:.1e} of the largest logit, {run['same_best']} of {run['rows']} the same best: {'ok' if run['ok'] else 'TOO LARGE'}")
    sys.exit(0 if all(run["ok"] for run in runs) else 1)


if __name__ == "__main__":
    main()

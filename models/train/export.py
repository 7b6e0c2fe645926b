"""What slab-wasm loads: a folder of model.safetensors and config.json, written from a network here and read back into one."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from language import SlabLlama, SlabLM
from vision import SlabDeit

NETWORKS: dict[str, type[nn.Module]] = {"slab_deit": SlabDeit, "slab_lm": SlabLM, "slab_llama": SlabLlama}


def save_model(model: nn.Module, folder: Path, *, half: bool = True) -> None:
    """Writes the network as it is at inference: without the norms of the first part of training. `half`: weights as float16; norms stay float32."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    for name, value in model.state_dict().items():
        if ".norm1.weight" in name or ".norm1.bias" in name:
            continue
        if not value.is_floating_point():
            continue
        small = half and not (".bn." in name or name.endswith("alpha"))
        state[name] = (value.half() if small else value.float()).cpu().contiguous()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.config, indent=1) + "\n", encoding="utf8")


def load_model(folder: Path) -> nn.Module:
    """The network of a folder in eval mode, in float32."""
    config = json.loads((folder / "config.json").read_text(encoding="utf8"))
    network = NETWORKS.get(config.get("model_type"))
    if network is None:
        raise ValueError(f'{folder / "config.json"}: "model_type" is {config.get("model_type")!r}, expected one of {", ".join(NETWORKS)}')
    model = network(config)
    state = {name: value.float() for name, value in load_file(folder / "model.safetensors").items() if value.is_floating_point()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    # the norm of the first part of training, and counters, are not in the file
    missing = [name for name in missing if ".norm1." not in name and not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"{folder}: the file lacks {missing[:3]}, and has {unexpected[:3]} too much: config.json is of another network")
    return model.eval()

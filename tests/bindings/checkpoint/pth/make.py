# Writes the .pth files beside this script with PyTorch, and expected.json with what is in them: python3 make.py
import argparse, collections, json, os, sys, types
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "..", "models", "train"))
from vision import SlabDeit

out = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(6)

# a class that no reader has: yacs' node of a training configuration, a dict with attributes
class CfgNode(dict):
    pass
CfgNode.__module__ = "yacs.config"
sys.modules["yacs"], sys.modules["yacs.config"] = types.ModuleType("yacs"), types.ModuleType("yacs.config")
sys.modules["yacs.config"].CfgNode = CfgNode
config = CfgNode(TAG="tiny", MODEL=CfgNode(NAME="slab", DIMS=[2, 3]))
config.frozen = True

net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4), torch.nn.Flatten(2), torch.nn.Linear(4, 5, bias=False))
optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
net(torch.randn(2, 3, 2, 5)).sum().backward()
optimizer.step()
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
training = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(), "max_accuracy": 81.25, "epoch": 299, "config": config,
            "args": argparse.Namespace(lr=0.1), "seen": {1, 2}, "big": 2**70, "state_dict_ema": {k: v * 0.5 for k, v in net.state_dict().items()}}

base, t = torch.arange(24.0), torch.tensor
mixed = collections.OrderedDict((f"module.{k}", v) for k, v in {
    "f32": torch.randn(2, 3), "f16": torch.randn(3).half(), "bf16": torch.randn(3).bfloat16(), "f64": torch.randn(2).double(),
    "i64": t(7), "i32": t([1, -2], dtype=torch.int32), "i16": t([3], dtype=torch.int16), "i8": t([-4], dtype=torch.int8), "u8": t([200], dtype=torch.uint8),
    "u16": t([40000, 1], dtype=torch.uint16), "bool": t([True, False]), "empty": torch.zeros(0, 3), "scalar": t(0.5),
    "whole": base.view(4, 6), "tied": base.view(4, 6), "part": base[5:11], "transposed": base.view(4, 6).t(), "stepped": base[1::4],
    "slab": base.view(2, 3, 4)[:, 1:, ::2], "last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "parameter": torch.nn.Parameter(torch.randn(2)), "expanded": t([1.5]).expand(3, 4)}.items())

expected = {"torch": torch.__version__}
for name, value in {"training": training, "mixed": mixed}.items():
    torch.save(value, os.path.join(out, f"{name}-zip.pth"))
    torch.save(value, os.path.join(out, f"{name}-legacy.pth"), _use_new_zipfile_serialization=False)
    expected[name] = {k.removeprefix("module."): {"dtype": str(v.dtype)[6:], "shape": list(v.shape), "values": v.detach().double().flatten().tolist()}
                      for k, v in value.get("model", value).items()}
# a network as its trainer leaves it, under DataParallel and in halves, and what PyTorch makes of a picture
deit = SlabDeit({"model_type": "slab_deit", "image_size": 32, "patch_size": 8, "num_channels": 3, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 4, "num_labels": 5})
with torch.no_grad():
    for name, value in deit.state_dict().items():
        if value.is_floating_point():
            # as halves hold them, so that both files have the same values
            value.copy_((torch.rand_like(value) + 0.5 if name.endswith("running_var") else torch.randn_like(value) * 0.4).half().float())
deit = deit.double().eval()
pixels = ((torch.arange(3 * 32 * 32, dtype=torch.float64) * 37) % 101 / 50 - 1).view(1, 3, 32, 32)
with torch.no_grad():
    expected["deit"] = deit(pixels).flatten().tolist()
state = deit.float().state_dict()
torch.save({"model": state, "config": config, "epoch": 1}, os.path.join(out, "deit-zip.pth"))
halves = collections.OrderedDict((f"module.{name}", value.half() if value.is_floating_point() else value) for name, value in state.items())
torch.save({"config": config, "state_dict": halves}, os.path.join(out, "deit-legacy.pth"), _use_new_zipfile_serialization=False)

torch.save(mixed, os.path.join(out, "mixed-protocol4.pth"), pickle_protocol=4)
torch.save(net, os.path.join(out, "module.pth"))
with open(os.path.join(out, "expected.json"), "w") as file:
    json.dump(expected, file)

# Writes the .pth files beside this script, and expected.json with what is in them: python3 make.py
# Python's own pickle writes them, byte for byte as under torch.save; PyTorch's classes, of which a pickle holds only the names, are stand-ins.
import argparse, collections, io, json, math, os, pickle, random, struct, sys, types, zipfile

here = os.path.dirname(os.path.abspath(__file__))
random.seed(6)

def module(name, **members):
    made = sys.modules[name] = types.ModuleType(name)
    for key, member in members.items():
        member.__module__ = name
        setattr(made, key, member)
    return made

def stand_in(name):
    def function(*args): raise NotImplementedError(name)
    function.__name__ = function.__qualname__ = name
    return function

# a class that no reader has: yacs' node of a training configuration, a dict with attributes
class CfgNode(dict):
    pass
module("yacs"), module("yacs.config", CfgNode=CfgNode)

TYPES = {"float32": ("Float", "f"), "float64": ("Double", "d"), "float16": ("Half", "e"), "bfloat16": ("BFloat16", None), "int64": ("Long", "q"), "int32": ("Int", "i"),
         "int16": ("Short", "h"), "int8": ("Char", "b"), "uint8": ("Byte", "B"), "bool": ("Bool", "?")}
storage_classes = {dtype: type(f"{stem}Storage", (), {}) for dtype, (stem, _) in TYPES.items()}
torch = module("torch", **{cls.__name__: cls for cls in storage_classes.values()})
torch._utils = module("torch._utils", _rebuild_tensor_v2=stand_in("_rebuild_tensor_v2"), _rebuild_parameter=stand_in("_rebuild_parameter"))

def pack(dtype, values):
    if dtype == "bfloat16":
        return b"".join(struct.pack("<f", v)[2:] for v in values)
    return struct.pack(f"<{len(values)}{TYPES[dtype][1]}", *values)

def exact(dtype, value):
    """The value as the type holds it."""
    if dtype == "bfloat16":
        return struct.unpack("<f", b"\0\0" + struct.pack("<f", value)[2:])[0]
    return struct.unpack(f"<{TYPES[dtype][1]}", struct.pack(f"<{TYPES[dtype][1]}", value))[0]

class Storage:
    def __init__(self, dtype, values):
        self.dtype, self.values = dtype, [exact(dtype, v) for v in values]

class Tensor:
    def __init__(self, storage, shape, strides=None, offset=0):
        self.storage, self.shape, self.offset = storage, tuple(shape), offset
        self.strides = tuple(strides) if strides is not None else tuple(math.prod(shape[i + 1:]) for i in range(len(shape)))
    def __reduce_ex__(self, protocol):
        return torch._utils._rebuild_tensor_v2, (self.storage, self.offset, self.shape, self.strides, False, collections.OrderedDict())
    def values(self):
        def walk(at, dims):
            if not dims: yield self.storage.values[at]
            else:
                for k in range(dims[0][0]): yield from walk(at + k * dims[0][1], dims[1:])
        return list(walk(self.offset, list(zip(self.shape, self.strides))))

class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor
    def __reduce_ex__(self, protocol):
        return torch._utils._rebuild_parameter, (self.tensor, True, collections.OrderedDict())

def tensor(dtype, shape, values=None):
    return Tensor(Storage(dtype, values if values is not None else [random.uniform(-2, 2) for _ in range(math.prod(shape))]), shape)

class Pickler(pickle.Pickler):
    """Storages go by persistent id: their key, in the order in which they are met, or of the object in the old format."""
    def __init__(self, file, protocol, legacy):
        super().__init__(file, protocol)
        self.legacy, self.storages = legacy, {}
    def persistent_id(self, value):
        if not isinstance(value, Storage): return None
        key = self.storages.setdefault(id(value), (str(94000000000000 + 64 * len(self.storages) if self.legacy else len(self.storages)), value))[0]
        head = ("storage", storage_classes[value.dtype], key, "cpu", len(value.values))
        return head + (None,) if self.legacy else head

class Stream:
    def __init__(self, file):
        self.write, self.flush = file.write, file.flush

def save_zip(value, name, protocol=2):
    data = io.BytesIO()
    pickler = Pickler(data, protocol, False)
    pickler.dump(value)
    files = [("data.pkl", data.getvalue()), (".format_version", b"1"), (".storage_alignment", b"64"), ("byteorder", b"little")]
    files += [(f"data/{key}", pack(s.dtype, s.values)) for key, s in pickler.storages.values()]
    files += [("version", b"3\n"), (".data/serialization_id", b"0" * 40)]
    # into a stream: sizes follow the data, as PyTorch writes them
    with open(os.path.join(here, f"{name}.pth"), "wb") as file, zipfile.ZipFile(Stream(file), "w") as archive:
        for path, content in files:
            info = zipfile.ZipInfo(f"{name}/{path}")
            # data begins at multiples of 64 bytes, by a field of padding
            at = archive.fp.tell() + 30 + len(info.filename) + 4
            padding = -at % 64
            info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(info, content)

def save_legacy(value, name, protocol=2):
    with open(os.path.join(here, f"{name}.pth"), "wb") as file:
        for part in (0x1950a86a20f9469cfc6c, 1001, dict(protocol_version=1001, little_endian=True, type_sizes=dict(short=2, int=4, long=4))):
            pickle.dump(part, file, protocol=protocol)
        pickler = Pickler(file, protocol, True)
        pickler.dump(value)
        storages = sorted(pickler.storages.values(), key=lambda s: s[0])
        pickle.dump([key for key, _ in storages], file, protocol=protocol)
        for _, s in storages:
            file.write(struct.pack("<q", len(s.values)) + pack(s.dtype, s.values))

def state(scale):
    dims = {"0.weight": [4, 3, 2, 2], "0.bias": [4], "1.running_var": [4], "2.weight": [5, 4]}
    made = collections.OrderedDict((k, tensor("float32", d, [scale * random.uniform(-1, 1) for _ in range(math.prod(d))])) for k, d in dims.items())
    made["1.num_batches_tracked"] = tensor("int64", [], [1])
    # torch.nn.Module puts attributes on a state dict
    made._metadata = collections.OrderedDict({"": {"version": 1}, "0": {"version": 1}})
    return made

config = CfgNode(TAG="tiny", MODEL=CfgNode(NAME="slab", DIMS=[2, 3]))
config.frozen = True
model = state(1)
moments = {i: {"step": tensor("float32", [], [1]), "exp_avg": tensor("float32", list(t.shape))} for i, t in enumerate(model.values())}
training = {"model": model, "optimizer": {"state": moments, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1, 2], "amsgrad": False, "foreach": None}]},
            "lr_scheduler": {"last_epoch": 299}, "max_accuracy": 81.25, "epoch": 299, "config": config, "args": argparse.Namespace(lr=0.1), "seen": {1, 2}, "big": 2**70,
            "state_dict_ema": state(0.5)}

base = Storage("float32", range(24))
mixed = collections.OrderedDict((f"module.{k}", v) for k, v in {
    "f32": tensor("float32", [2, 3]), "f16": tensor("float16", [3]), "bf16": tensor("bfloat16", [3]), "f64": tensor("float64", [2]), "i64": tensor("int64", [], [7]),
    "i32": tensor("int32", [2], [1, -2]), "i16": tensor("int16", [1], [3]), "i8": tensor("int8", [1], [-4]), "u8": tensor("uint8", [1], [200]), "bool": tensor("bool", [2], [True, False]),
    "empty": tensor("float32", [0, 3]), "scalar": tensor("float32", [], [0.5]), "whole": Tensor(base, [4, 6]), "tied": Tensor(base, [4, 6]), "part": Tensor(base, [6], offset=5),
    "transposed": Tensor(base, [6, 4], [1, 6]), "stepped": Tensor(base, [6], [4], 1), "slab": Tensor(base, [2, 2, 2], [12, 4, 2], 4), "last": Tensor(Storage("float32", range(24)), [2, 3, 2, 2], [12, 1, 6, 3]),
    "parameter": Parameter(tensor("float32", [2])), "expanded": Tensor(Storage("float32", [1.5]), [3, 4], [0, 0])}.items())

expected = {}
for name, value in {"training": training, "mixed": mixed}.items():
    save_zip(value, f"{name}-zip")
    save_legacy(value, f"{name}-legacy")
    plain = {k.removeprefix("module."): getattr(v, "tensor", v) for k, v in value.get("model", value).items()}
    expected[name] = {k: {"dtype": v.storage.dtype, "shape": list(v.shape), "values": v.values()} for k, v in plain.items()}
save_zip(mixed, "mixed-protocol4", 4)
with open(os.path.join(here, "expected.json"), "w") as file:
    json.dump(expected, file)

"""Runs a WASI command in Wasmtime: wasmtime-host.py MODULE [argument ...], with the working directory open as "."."""
import sys

from wasmtime import Engine, ExitTrap, Linker, Module, Store, WasiConfig

module, *arguments = sys.argv[1:]
engine = Engine()
wasi = WasiConfig()
wasi.argv = ["slab-wasi", *arguments]
wasi.preopen_dir(".", ".")
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()
store = Store(engine)
store.set_wasi(wasi)
linker = Linker(engine)
linker.define_wasi()
try:
    linker.instantiate(store, Module.from_file(engine, module)).exports(store)["_start"](store)
except ExitTrap as end:
    sys.exit(end.code)

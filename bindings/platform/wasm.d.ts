// A module where the host imports WebAssembly, its bytes where the build puts them inline.
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

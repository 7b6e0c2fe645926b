// The checkpoints that the paper's authors have released, by the names of slab list.

/** Where they are; `slab pull --from` and SLAB_RELEASES name another place with the same files. */
export const RELEASES_URL = "https://github.com/xinghaochen/SLAB/releases/download/ckpts/";

export const RELEASES: Readonly<Record<string, string>> = {
  deit_t_prepbn: "deit_tiny_prepbn.pth", deit_s_prepbn: "deit_small_prepbn.pth",
  slab_deit_t: "slab_deit_tiny.pth", slab_deit_s: "slab_deit_small.pth",
  pvt_t_prepbn: "pvt_tiny_prepbn.pth", pvt_s_prepbn: "pvt_small_prepbn.pth",
  pvt_m_prepbn: "pvt_medium_prepbn.pth", slab_pvt_t: "slab_pvt_tiny.pth",
  swin_t_prepbn: "swin_tiny_prepbn.pth", slab_swin_t: "slab_swin_tiny.pth",
  slab_swin_s: "slab_swin_small.pth", slab_cswin_t: "slab_cswin_tiny.pth",
};

/** The npm package with models that are small enough for one, and what it has. */
export const MODELS_PACKAGE = "slab-wasm-models";
export const PACKAGED: readonly string[] = ["slab-deit-cifar10", "slab-lm-stories"];

// The constructors of architectures in the piece that load() imports later. Who imports it has the tasks themselves,
// and makes architectures of what is here; with copies of them there would be two classes of sessions and two pools of
// threads.

const of = (task: string) => (networks: object): object => ({ task, networks });

export const backbone = of("backbone"), imageModel = of("imageModel"), languageModel = of("languageModel");

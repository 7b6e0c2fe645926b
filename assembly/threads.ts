// The module of the threads builds: the same exports, and the two by which several threads walk one plan.
export * from "./index";
export { abandonRun, openRun, takePart } from "./plan";

// One line under each model: what it is doing, or what went wrong.

/** Shows text in an element; errors stand out. */
export function statusLine(element) {
  return {
    say(text) {
      element.textContent = text;
      element.classList.remove("wrong");
    },
    complain(error) {
      element.textContent = error instanceof Error ? error.message : String(error);
      element.classList.add("wrong");
    },
  };
}

/** Options for load(): progress as a share of the layers. */
export const loading = (status) =>
  ({ onProgress: ({ done, total }) => status.say(`Loading: ${Math.round((100 * done) / total)} %`) });

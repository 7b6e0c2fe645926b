// A picture → labels, and which places of it spoke for the label.
import { load } from "./slab-wasm/js/browser/worker.js";
import { loading, statusLine } from "./status.js";

const SAMPLES = ["samples/bird.jpg", "samples/cat.png", "samples/deer.jpg", "samples/horse.webp", "samples/owl.webp"];
const $ = (id) => document.getElementById(id);

export async function startSeeing() {
  const status = statusLine($("see-status"));
  let model;
  try {
    model = await load("models/slab-deit-cifar10", { threads: 1, ...loading(status) });
  } catch (error) {
    status.complain(error);
    throw error;
  }
  status.say("Ready.");
  let sample = 0;

  async function see(blob) {
    try {
      const picture = await decodable(blob), bitmap = await createImageBitmap(blob), started = performance.now();
      const labels = await model.classify(picture, { topK: 5 }), took = performance.now() - started;
      const evidence = await model.evidence(picture);
      draw(bitmap, labels[0]);
      drawHeat(evidence);
      $("labels").replaceChildren(...labels.map(labelItem));
      status.say(`${took.toFixed(1)} ms, decoding included. The warm places spoke for “${evidence.label}”.`);
    } catch (error) {
      status.complain(error);
    }
  }

  for (const input of [$("file"), $("camera")]) {
    input.addEventListener("change", () => {
      if (input.files[0]) see(input.files[0]);
      input.value = "";
    });
  }
  $("sample").addEventListener(
    "click", async () => see(await (await fetch(SAMPLES[sample++ % SAMPLES.length])).blob()),
  );
  $("show-heat").addEventListener("change", (event) => ($("heat").hidden = !event.target.checked));
  const drop = $("drop");
  const over = (event) => (event.preventDefault(), drop.classList.add("over"));
  drop.addEventListener("dragenter", over);
  drop.addEventListener("dragover", over);
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) see(file);
    else status.complain("That was no picture file: drop a PNG, JPEG or WebP.");
  });
  return model;
}

/** What the model decodes itself, as it is; of other kinds the pixels that the browser makes of it. */
async function decodable(blob) {
  if (["image/png", "image/jpeg", "image/webp"].includes(blob.type)) return new Uint8Array(await blob.arrayBuffer());
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return { data: new Uint8Array(data.buffer), width, height };
}

/** The middle square of the picture, which is what the model sees. */
function draw(bitmap, best) {
  const canvas = $("photo"), side = Math.min(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(
    bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, canvas.width, canvas.height,
  );
  canvas.setAttribute("aria-label", `Your picture: ${best.label}, ${(100 * best.score).toFixed(0)} %`);
  $("hint").hidden = true;
}

/** Places that add more than the average to the label's logit, the more the warmer. */
function drawHeat({ map, width, height }) {
  const canvas = $("heat");
  const context = canvas.getContext("2d");
  const small = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const mean = map.reduce((sum, share) => sum + share, 0) / map.length, most = Math.max(...map) - mean || 1;
  map.forEach((share, i) => image.data.set([255, 90, 0, 190 * Math.max(0, (share - mean) / most)], 4 * i));
  small.getContext("2d").putImageData(image, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function labelItem({ label, score }) {
  const item = document.createElement("li");
  const name = document.createElement("span");
  const bar = document.createElement("meter");
  const value = document.createElement("data");
  name.textContent = label;
  bar.value = score;
  bar.setAttribute("aria-hidden", "true");
  value.value = String(score);
  value.textContent = `${(100 * score).toFixed(1)} %`;
  item.append(name, bar, value);
  return item;
}

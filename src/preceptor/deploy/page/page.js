// Everything that is computed here is computed on this device; the page's policy forbids any connection.

const facts = JSON.parse(document.getElementById("facts").textContent);
const MOST_PIXELS = 50e6;
const status = document.getElementById("status");
const results = document.getElementById("results");

async function unpack(id) {
  const element = document.getElementById(id);
  const text = atob(element.textContent);
  element.textContent = ""; // the packed text is not needed any more
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function load() {
  const script = new Blob([await unpack("runtime-script")], { type: "text/javascript" });
  const ort = await import(URL.createObjectURL(script));
  ort.env.wasm.numThreads = 1; // several need headers that a file on disk cannot have
  ort.env.wasm.wasmBinary = (await unpack("runtime-binary")).buffer;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(await unpack("model"), { executionProviders: ["wasm"] });
  return { ort, session };
}

/** The upright photo on a canvas of its own size, as stored: no colour conversion, no scaling. */
async function decode(file) {
  let refused;
  try {
    refused = refusal(new Uint8Array(await file.arrayBuffer()));
  } catch {
    refused = "is damaged"; // a length or a place in it lies outside of it
  }
  if (refused) throw new Error(refused);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
  } catch {
    throw new Error("is damaged, or not an image that this browser can read");
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Error(`has ${width} × ${height} pixels; at most 50 million are taken`);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

/** RGB bytes, row by row; partly transparent photos are refused, since what should stand behind them is not known. */
function pixelsOf(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const rgb = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    if (data[from + 3] !== 255) throw new Error("is partly transparent; flatten it onto a background first");
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return rgb;
}

async function predict({ ort, session }, canvas) {
  const images = new ort.Tensor("uint8", pixelsOf(canvas), [1, canvas.height, canvas.width, 3]);
  const start = performance.now();
  const outputs = await session.run({ images });
  return { outputs, milliseconds: performance.now() - start };
}

// --- pictures over the photo ---

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function colour(value) {
  const place = value * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[low].map((from, i) => from + (place - low) * (VIRIDIS[low + 1][i] - from));
}

/** ReLU(Σ w·A) of one class, divided by its maximum: (h, w) values in [0, 1]. */
function activationMap(featureMap, weights) {
  const [, channels, height, width] = featureMap.dims;
  const places = height * width;
  const map = new Float64Array(places);
  for (let k = 0; k < channels; k++)
    for (let i = 0; i < places; i++) map[i] += weights[k] * featureMap.data[k * places + i];
  const most = Math.max(...map, 0);
  return { height, width, values: map.map(value => (most > 0 ? Math.max(value, 0) / most : 0)) };
}

function drawMap(overlay, { height, width, values }) {
  const small = document.createElement("canvas");
  small.width = width;
  small.height = height;
  const image = new ImageData(width, height);
  values.forEach((value, i) => image.data.set([...colour(value), Math.round(255 * value)], 4 * i));
  small.getContext("2d").putImageData(image, 0, 0);
  const context = overlay.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, overlay.width, overlay.height);
  context.drawImage(small, 0, 0, overlay.width, overlay.height);
}

const OUTLINES = [[255, 212, 0], [0, 214, 255], [255, 98, 178], [140, 255, 98], [255, 150, 60]];

/** The border of every class, some pixels wide, so that it is visible where the photo is shown smaller. */
function drawOutline(overlay, mask) {
  const [, height, width] = mask.dims;
  const data = mask.data;
  const reach = Math.max(1, Math.round(Math.max(width, height) / 250));
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const own = data[y * width + x];
      if (!own) continue;
      const edge = x < reach || y < reach || x >= width - reach || y >= height - reach ||
        data[y * width + x - reach] !== own || data[y * width + x + reach] !== own ||
        data[(y - reach) * width + x] !== own || data[(y + reach) * width + x] !== own;
      if (edge) image.data.set([...OUTLINES[(own - 1) % OUTLINES.length], 255], 4 * (y * width + x));
    }
  overlay.getContext("2d").putImageData(image, 0, 0);
}

// --- results ---

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const percent = value => `${(100 * value).toFixed(1)} %`;

/** A bar for each class: grades in their order, other classes by their values; a mark where a label has its threshold. */
function bars(values, select) {
  const order = [...values.keys()];
  if (!facts.ordered) order.sort((a, b) => values[b] - values[a]);
  const list = element("ol", { className: "bars" });
  for (const index of order) {
    const fill = element("i");
    fill.style.width = `${100 * values[index]}%`;
    const bar = element("span", { className: "bar" }, fill);
    if (facts.thresholds) {
      const mark = element("b", { title: `predicted from ${percent(facts.thresholds[index])} on` });
      mark.style.left = `${100 * facts.thresholds[index]}%`;
      bar.append(mark);
    }
    const button = element("button", { type: "button", disabled: !select },
      element("span", { textContent: facts.classes[index] }),
      element("span", { className: "number", textContent: percent(values[index]) }),
      bar);
    if (select)
      button.addEventListener("click", () => {
        for (const other of list.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
        select(index);
      });
    list.append(element("li", {}, button));
  }
  return list;
}

function photoWith(canvas, overlay) {
  const picture = element("div", { className: "photo" }, canvas, overlay);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The photo");
  overlay.setAttribute("aria-hidden", "true");
  return picture;
}

function opacity(text, overlay, start) {
  const input = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: start });
  overlay.style.opacity = start;
  input.addEventListener("input", () => (overlay.style.opacity = input.value));
  return element("div", { className: "controls" }, element("label", {}, text, input));
}

function showClasses(article, details, canvas, outputs) {
  const values = Array.from(outputs.probabilities.data);
  const overlay = element("canvas", { width: canvas.width, height: canvas.height });
  const featureMap = outputs.feature_map;
  const draw = facts.weights && featureMap
    ? index => drawMap(overlay, activationMap(featureMap, facts.weights[index])) : null;
  const list = bars(values, draw);
  const first = values.indexOf(Math.max(...values));
  const present = facts.thresholds && facts.classes.filter((_, i) => values[i] >= facts.thresholds[i]);
  const answer = !present ? `Most probable: ${facts.classes[first]}`
    : present.length ? `Predicted: ${present.join(", ")}` : "No label reaches its threshold";
  details.append(element("p", { className: "answer", textContent: answer }), list);
  if (present)
    details.append(element("p", {
      className: "quiet", textContent: "Each label is a yes or no of its own; it is predicted from the mark in its bar on.",
    }));
  if (draw) {
    list.querySelectorAll("button")[facts.ordered ? first : 0].click();
    details.append(opacity("Activation map", overlay, 0.55), element("p", {
      className: "quiet",
      textContent: "The map shows which places spoke for the marked class: yellow most, uncoloured not at all. " +
        `It has ${featureMap.dims[2]}\u00a0×\u00a0${featureMap.dims[3]} cells: a direction, not an outline.`,
    }));
  }
  article.dataset.probabilities = JSON.stringify(values);
  return overlay;
}

function showMask(article, details, canvas, outputs) {
  const mask = outputs.mask;
  const overlay = element("canvas", { width: canvas.width, height: canvas.height });
  drawOutline(overlay, mask);
  const counts = facts.classes.map(() => 0);
  for (const index of mask.data) counts[index]++;
  const shares = counts.map(count => count / mask.data.length);
  const inside = facts.classes.slice(1).filter((_, i) => counts[i + 1]).join(", ");
  details.append(element("p", { className: "answer", textContent: inside ? `Outlined: ${inside}` : "Nothing outlined" }),
    bars(shares, null), element("p", { className: "quiet", textContent: "Shares of the photo's pixels." }),
    opacity("Outline", overlay, 1));
  article.dataset.shares = JSON.stringify(shares);
  return overlay;
}

async function show(engine, file) {
  const article = element("article");
  const details = element("div", {}, element("h2", { textContent: file.name }));
  try {
    const canvas = await decode(file);
    const { outputs, milliseconds } = await predict(engine, canvas);
    const overlay = (facts.masks ? showMask : showClasses)(article, details, canvas, outputs);
    details.append(element("p", {
      className: "quiet", textContent: `${canvas.width} × ${canvas.height} pixels, ${milliseconds.toFixed(0)} ms`,
    }));
    article.append(photoWith(canvas, overlay), details);
    Object.assign(article.dataset, { width: canvas.width, height: canvas.height, milliseconds });
  } catch (error) {
    article.className = "failed";
    details.append(element("p", { textContent: `${file.name} ${error.message}` }));
    article.append(details);
  }
  results.prepend(article);
}

const engine = load();
engine.then(
  () => (status.textContent = "Ready."),
  error => (status.textContent = `The network cannot be loaded in this browser: ${error.message}`),
);

let queue = Promise.resolve();
function take(files) {
  for (const file of files)
    queue = queue.then(async () => {
      const ready = await engine;
      status.textContent = `Computing ${file.name} …`;
      await new Promise(requestAnimationFrame);
      await show(ready, file);
      status.textContent = "Ready.";
    }).catch(() => {}); // a network that cannot be loaded shows its own message
}

document.getElementById("files").addEventListener("change", event => {
  take([...event.target.files]);
  event.target.value = ""; // so that the same photo may be chosen again
});
for (const button of document.querySelectorAll("#examples button"))
  button.addEventListener("click", () => {
    const bytes = Uint8Array.from(atob(button.querySelector("img").src.split(",")[1]), letter => letter.charCodeAt(0));
    take([new File([bytes], `Example: ${button.textContent} (true class)`, { type: "image/png" })]);
  });
const drop = document.getElementById("drop");
for (const name of ["dragover", "drop", "dragleave"])
  document.addEventListener(name, event => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take([...event.dataTransfer.files]);
  });

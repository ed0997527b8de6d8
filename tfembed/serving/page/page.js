// The page on `/`. It asks TF Serving's REST API, as any client may, and five paths of the local
// server: /page/models.json (what is served), /card.json, /page/gallery.json (which pictures to begin with),
// /page/picture (pictures by id) and /page/metadata.json (what else is said of them).
"use strict";

const at = (id) => document.getElementById(id);
const READ_BY_MODELS = ["image/jpeg", "image/png", "image/gif", "image/bmp"];
const THEIR_FIRST_BYTES = [[0xff, 0xd8, 0xff], [0x89, 0x50, 0x4e, 0x47], [0x47, 0x49, 0x46, 0x38]];
// `query` is what was searched with, null at the beginning; `before` what it was before, for the way back.
const state = {
  models: [], card: null, sample: null, facts: new Map(), answer: null, query: null, before: [], asking: null, shown: null,
};

class Told extends Error {} // its message is a sentence for the reader

async function getJson(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Told("The server does not answer. See whether it is still running.");
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    // told by the status below
  }
  if (response.ok && body !== null) return body;
  const said = body && typeof body.error === "string" ? body.error : `HTTP status ${response.status}`;
  if (said.includes("not found in signature def")) {
    throw new Told("This model has no signature search_bytes, so it cannot be asked by image. " +
      "Models that python -m tfembed.export wrote have it.");
  }
  if (response.status === 413) throw new Told(`The image is too large. ${said}`);
  throw new Told(`The server refused: ${said}`);
}

// A name within a sentence: one of Hebrew or Arabic letters turns nothing beside it around.
const isolated = (name) => (/[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(name) ? `\u2068${name}\u2069` : name);

const shortened = (name) => (name.length > 80 ? `${name.slice(0, 80)}…` : name);

const model = () => state.models[at("model").selectedIndex];
const LONGEST_QUERY = 4000; // characters of a URL
const FACTS = 5; // of a tile; a search from the picture shows all
const modelPath = (name) => `/v1/models/${encodeURIComponent(name)}`;

function pictureUrl(id, side) {
  const asked = new URLSearchParams({ name: model().name, id });
  if (side) asked.set("side", side);
  return `/page/picture?${asked}`;
}

// ---- What is served ----

async function begin() {
  try {
    state.models = (await getJson("/page/models.json")).models;
  } catch (error) {
    return tell(error);
  }
  const select = at("model");
  for (const each of state.models) select.add(new Option(each.name, each.name));
  at("model-choice").hidden = state.models.length < 2;
  if (!state.models.length) return tell(new Told("The server serves no model now. Load this page again later."));
  await choose();
}

async function choose() {
  const chosen = model();
  state.card = null;
  state.sample = null;
  state.answer = null;
  state.before = [];
  at("back").hidden = true;
  clear();
  at("facts").textContent = "";
  const named = new URLSearchParams({ name: chosen.name });
  const [card, status, sample] = await Promise.all([
    getJson(`/card.json?${named}`).catch(() => null),
    getJson(modelPath(chosen.name)).catch(() => null),
    getJson(`/page/gallery.json?${named}`).catch(() => null),
  ]);
  if (model() !== chosen) return;
  state.card = card;
  state.sample = sample;
  const facts = state.models.length < 2 ? [isolated(chosen.name)] : [];
  const versions = ((status && status.model_version_status) || []).filter((each) => each.state === "AVAILABLE");
  if (versions.length) facts.push(`version ${versions.map((each) => each.version).join(", ")}`);
  const gallery = card && card.gallery;
  if (gallery && gallery.size) facts.push(`${gallery.size.toLocaleString("en")} images`);
  if (gallery && Array.isArray(gallery.classes) && gallery.classes.length) {
    facts.push(`${gallery.classes.length.toLocaleString("en")} classes`);
  }
  if (card && card.head && card.head.head) facts.push(`${card.head.head} search`);
  at("facts").textContent = facts.join(" · ");
  if (card && card.k) setMost(Math.min(card.k, (gallery && gallery.size) || card.k));
  if (state.query) await search(state.query);
  else home();
}

// What there is before a search: pictures of the gallery to begin with.
function home(focus = false) {
  if (state.asking) state.asking.abort();
  state.query = state.answer = null;
  at("query").hidden = at("back").hidden = true;
  clear();
  at("status").textContent = "Choose an image to see its nearest neighbours here.";
  const images = (state.sample && state.sample.images) || [];
  at("samples").replaceChildren(...images.map(sampleTile));
  at("start").hidden = !images.length;
  tellPictures();
  if (focus) at("answer-title").focus();
}

// Why there are no pictures, where there are none.
function tellPictures() {
  const missing = (state.sample && state.sample.missing) || "";
  at("no-pictures").hidden = model().pictures;
  at("other-pictures").hidden = !missing;
  at("missing").textContent = missing;
}

function setMost(most) {
  at("k").max = most;
  at("k-most").textContent = `of at most ${most}`;
}

// ---- Asking ----

async function take(blob, name) {
  if (!blob) return;
  state.before = [];
  await search({ blob, name, id: null });
}

async function search(query, focus = false) {
  if (state.asking) state.asking.abort();
  const asking = (state.asking = new AbortController());
  state.query = query;
  show(query);
  clear();
  state.facts = new Map();
  at("status").textContent = "Searching…";
  at("neighbours").setAttribute("aria-busy", "true");
  try {
    if (!model()) throw new Told("The server serves no model now. Load this page again later.");
    const b64 = await base64(await readable(query.blob));
    const body = { signature_name: "search_bytes", inputs: { image_bytes: [{ b64 }] } };
    const answer = await getJson(`${modelPath(model().name)}:predict`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: asking.signal,
    });
    if (state.asking !== asking) return;
    const outputs = answer.outputs;
    if (!outputs || !outputs.valid[0]) {
      throw new Told("The model could not read this image. It reads JPEG, PNG, GIF and BMP files that are whole " +
        "and not too large.");
    }
    state.answer = outputs;
    setMost(outputs.ids[0].length);
    render();
    describe(outputs);
    if (focus) at("answer-title").focus();
  } catch (error) {
    if (error.name !== "AbortError" && state.asking === asking) tell(error);
  } finally {
    if (state.asking === asking) at("neighbours").removeAttribute("aria-busy");
  }
}

// What the model's decoder does not know, the browser turns into PNG: told by the first bytes, as a file's
// name may lie, and of BMP some kinds are not known.
async function readable(blob) {
  const head = new Uint8Array(await blob.slice(0, 4).arrayBuffer());
  if (THEIR_FIRST_BYTES.some((bytes) => bytes.every((byte, at) => head[at] === byte))) return blob;
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    if (READ_BY_MODELS.includes(blob.type)) return blob; // the model says what it thinks of it
    throw new Told("This is no image that the browser can read. Take a JPEG, PNG, GIF or BMP file.");
  }
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Told("The browser could not read the file. Choose it again."));
    reader.readAsDataURL(blob);
  });
}

async function searchFrom(id) {
  const from = state.query;
  try {
    let response;
    try {
      response = await fetch(pictureUrl(id));
    } catch {
      throw new Told("The server does not answer. See whether it is still running.");
    }
    if (!response.ok) throw new Told(`There is no picture of ${id} to search with.`);
    const blob = await response.blob();
    state.before.push(from);
    await search({ blob, name: id, id }, true);
  } catch (error) {
    tell(error);
  }
}

// ---- Showing ----

function show(query) {
  const image = at("query-image");
  if (state.shown) URL.revokeObjectURL(state.shown);
  state.shown = URL.createObjectURL(query.blob);
  image.onload = () => image.classList.toggle("small", image.naturalWidth < 100);
  image.onerror = () => { image.hidden = true; };
  image.hidden = false;
  image.src = state.shown;
  image.alt = `Image searched with: ${query.name}`;
  at("query-name").textContent = at("query-name").title = query.name;
  at("query-facts").replaceChildren();
  at("query").hidden = false;
  at("back").hidden = !state.before.length;
}

function clear() {
  at("error").textContent = "";
  at("status").textContent = "";
  at("neighbours").replaceChildren();
  for (const id of ["start", "verdict", "alike", "scale", "no-pictures", "other-pictures", "by-hand"]) {
    at(id).hidden = true;
  }
}

function tell(error) {
  clear();
  at("start").hidden = Boolean(state.query) || !at("samples").childElementCount;
  if (!(error instanceof Told)) console.error(error);
  at("error").textContent = error instanceof Told ? error.message : `Something went wrong in this page: ${error.message}`;
}

const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.1 ? 1 : 0)} %`;

// The least of what the bars show: the cosine of any two images of the gallery, as far as the card says.
function typical() {
  const mean = state.card && state.card.gallery ? state.card.gallery.mean_cosine : null;
  return typeof mean === "number" ? mean : null;
}

const COLLAPSED = 0.99; // as in tfembed.export.alikeness
const ALIKE = 0.9;
const filled = (score, from) => Math.min(Math.max((score - from) / (1 - from), 0), 1);

// What scores near 1 mean, in a sentence; empty where they mean what they say.
function alikeness(scores, decimals) {
  const mean = typical();
  const two = mean === null ? "" : `two images of the gallery have a cosine of ${mean.toFixed(decimals)} on average`;
  if (mean !== null && mean > COLLAPSED) {
    return `To this encoder all images are nearly alike: ${two}. It has collapsed or was never trained: which ` +
      "images are the nearest, how they vote and whether the image is known say little.";
  }
  if (scores.length > 1 && Math.min(...scores) >= COLLAPSED) {
    return `All of these score ${COLLAPSED} or more${two && `, while ${two}`}: they are near copies, or the encoder ` +
      "brings the images of a class together and does not tell them apart. Their order says little.";
  }
  if (mean !== null && mean > ALIKE) {
    return `To this encoder images are much alike: ${two}. A score near 1 is nothing special here.`;
  }
  return "";
}

// How many rows voted: as many as the card says, or the whole of a smaller gallery.
function voters() {
  const { vote, gallery } = state.card || {};
  if (!vote || !vote.k || !gallery || !gallery.size) return "";
  const count = Math.min(vote.k, gallery.size);
  return count === 1 ? " of the nearest image" : ` of the ${count.toLocaleString("en")} nearest images`;
}

function render() {
  const answer = state.answer;
  const most = answer.ids[0].length;
  const asked = Math.trunc(Number(at("k").value));
  const k = Math.min(Math.max(Number.isFinite(asked) ? asked : 1, 1), most);
  const found = answer.ids[0].filter((id) => id !== "").length;
  const count = Math.min(k, found);

  const vote = answer.vote[0];
  at("vote").textContent = vote || "none: no neighbour has a label";
  at("vote").title = vote;
  at("share").value = answer.vote_probability[0];
  at("share-text").textContent = vote ? `${percent(answer.vote_probability[0])} of the weight${voters()}` : "";
  at("share").hidden = !vote;
  const threshold = state.card && state.card.known ? state.card.known.threshold : null;
  const calibrated = typeof threshold !== "number" || threshold > -1e30;
  const shown = answer.scores[0].slice(0, count);
  const decimals = count && Math.min(...shown) > COLLAPSED ? 5 : 3;
  const from = typeof threshold === "number" && calibrated ? ` (known from ${threshold.toFixed(decimals)})` : "";
  const best = found ? answer.scores[0][0].toFixed(decimals) : "";
  const known = at("known");
  known.className = !calibrated ? "" : answer.known[0] ? "yes" : "no";
  known.textContent = !calibrated
    ? "Known or not: every image counts as known, as no threshold was calibrated."
    : answer.known[0]
      ? `Known: the nearest scores ${best}${from}.`
      : `Not known: even the nearest scores only ${best}${from}. It may be of no class in the gallery.`;
  at("verdict").hidden = false;

  const pictures = model().pictures;
  const list = at("neighbours");
  list.classList.toggle("plain", !pictures);
  const mean = typical();
  const least = mean === null ? 0 : mean;
  const bars = least <= COLLAPSED;
  list.replaceChildren(...Array.from({ length: count }, (_, rank) =>
    tile(rank, pictures, decimals, bars ? filled(shown[rank], least) : null)));
  tellPictures();
  const others = shown.filter((_, rank) => answer.ids[0][rank] !== state.query.id);
  at("alike").textContent = alikeness(others, decimals);
  at("alike").hidden = !at("alike").textContent;
  at("scale").textContent = mean === null
    ? "The number is the cosine of both embeddings; its bar runs from 0 to 1."
    : `The number is the cosine of both embeddings; its bar runs from ${least.toFixed(decimals)}, the mean of any ` +
      "two images of this gallery, to 1, where they are equal.";
  at("scale").hidden = !bars || !count;
  const nearest = count ? ` The nearest is ${isolated(shortened(answer.labels[0][0] || answer.ids[0][0]))}, score ${best}.` : "";
  at("status").textContent =
    `${count} ${count === 1 ? "neighbour" : "neighbours"}.${nearest}` +
    (asked > most ? ` This model gives at most ${most}.` : "");
  at("command").textContent =
    `echo '{"signature_name": "search_bytes", "inputs": {"image_bytes": [{"b64": "'"$(base64 -w0 IMAGE)"'"}]}}' |\n` +
    `  curl -s -d @- '${location.origin}${modelPath(model().name).replaceAll("'", "%27")}:predict'`;
  at("by-hand").hidden = false;
}

// Further columns of the gallery's images, where it has some: asked for once, when the neighbours are there.
async function describe(answer) {
  const gallery = state.card && state.card.gallery;
  const columns = (gallery && gallery.metadata) || [];
  const ids = answer.ids[0].filter((id) => id !== "");
  const own = state.query.id;
  if (own !== null && !ids.includes(own)) ids.push(own);
  const found = new Map();
  while (columns.length && ids.length) {
    const asked = new URLSearchParams({ name: model().name });
    const some = [];
    while (ids.length && (!some.length || String(asked).length < LONGEST_QUERY)) {
      some.push(ids.shift());
      asked.append("id", some[some.length - 1]);
    }
    try {
      const { metadata } = await getJson(`/page/metadata.json?${asked}`);
      some.forEach((id, at) => found.set(id, metadata[at]));
    } catch (error) {
      if (state.answer === answer) tell(error);
      return;
    }
  }
  if (state.answer !== answer) return;
  state.facts = found;
  showFacts(found.get(own) || {});
  if (found.size) render();
}

// All that is said of the picture that is searched from.
function showFacts(facts) {
  const list = at("query-facts");
  list.replaceChildren(...Object.entries(facts).flatMap(([name, text]) => {
    const [term, said] = [element("dt", "quiet"), element("dd", "")];
    term.append(element("bdi", "", name));
    said.append(element("bdi", "", text));
    return [term, said];
  }));
  // What is long is scrolled, by keyboard too.
  if (list.scrollHeight > list.clientHeight) list.tabIndex = 0;
  else list.removeAttribute("tabindex");
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function sampleTile({ id, label }) {
  const own = element("button", "sample");
  own.type = "button";
  own.title = id;
  own.setAttribute("aria-label", `Search from ${label ? `${isolated(label)}, ` : ""}${isolated(id)}`);
  own.addEventListener("click", () => searchFrom(id));
  const image = element("img", "picture");
  image.loading = "lazy";
  image.alt = "";
  image.onload = () => image.classList.toggle("small", image.naturalWidth < 100);
  const item = document.createElement("li");
  image.onerror = () => {
    item.remove();
    at("start").hidden = !at("samples").childElementCount;
  };
  image.src = pictureUrl(id, 192);
  own.append(image);
  if (label) own.append(element("bdi", "label", label));
  item.append(own);
  return item;
}

function tile(rank, pictures, decimals, share) {
  const answer = state.answer;
  const [id, label, score] = [answer.ids[0][rank], answer.labels[0][rank], answer.scores[0][rank]];
  const own = element(pictures ? "button" : "div", "tile");
  if (pictures) {
    own.type = "button";
    own.title = "Search from this image";
    own.addEventListener("click", () => searchFrom(id));
    const image = element("img", "picture");
    image.loading = "lazy";
    image.alt = "";
    image.onload = () => image.classList.toggle("small", image.naturalWidth < 100);
    image.onerror = () => {
      image.replaceWith(element("span", "picture"));
      own.disabled = true;
      own.title = "There is no picture of this one.";
    };
    image.src = pictureUrl(id, 256);
    own.append(image);
  }
  const text = element("span", "text");
  const line = element("span", "line");
  const named = element("bdi", "label", label || "no label");
  named.title = label;
  line.append(named, element("span", "score", score.toFixed(decimals)));
  text.append(line);
  if (share !== null) {
    const bar = element("span", "bar");
    bar.append(element("span", "fill"));
    bar.firstChild.style.width = `${(100 * share).toFixed(2)}%`;
    text.append(bar);
  }
  text.append(element("span", "id", id));
  if (state.query.id === id) {
    own.classList.add("same");
    text.append(element("span", "quiet", "the image itself"));
  }
  const facts = Object.entries(state.facts.get(id) || {});
  for (const [name, said] of facts.slice(0, FACTS)) {
    const fact = element("span", "fact");
    fact.title = `${isolated(name)}: ${isolated(said)}`;
    fact.append(element("bdi", "quiet", name), " ", element("bdi", "", said));
    text.append(fact);
  }
  if (facts.length > FACTS) text.append(element("span", "quiet", `and ${facts.length - FACTS} more`));
  own.append(text);
  const item = document.createElement("li");
  item.append(own);
  return item;
}

// ---- What the reader does ----

at("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // so that the same file can be chosen again
  if (file) take(file, file.name);
});
at("k").addEventListener("input", () => { if (state.answer && at("k").value !== "") render(); });
at("k").addEventListener("change", () => {
  const most = Number(at("k").max);
  const asked = Math.trunc(Number(at("k").value));
  at("k").value = Math.min(Math.max(asked || 1, 1), most);
  if (state.answer) render();
});
at("model").addEventListener("change", choose);
function goBack() {
  const query = state.before.pop();
  if (query) search(query, true);
  else home(true);
}
at("back").addEventListener("click", goBack);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || at("back").hidden || event.defaultPrevented) return;
  if (!event.target.closest("input, select")) goBack();
});

const drop = at("drop");
const dragged = (event) => [...event.dataTransfer.types].includes("Files");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  drop.classList.remove("over");
  if (!dragged(event)) return;
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) take(file, file.name);
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  event.preventDefault();
  const file = files.find((each) => each.type.startsWith("image/")) || files[0];
  take(file, file.name || "pasted image");
});

begin();

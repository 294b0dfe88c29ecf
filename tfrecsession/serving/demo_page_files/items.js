// The page's behaviour. Ids and titles are untrusted text: they enter the document as text nodes and attributes only.

const SHOWN = 3; // models that are selected at first
const session = []; // the events so far: ids, as the server returned them
const columns = new Map(); // model name -> its column, see `column`
const names = new Map(); // id -> {title, image}, or a promise while they are loading
let models = []; // as /page/models lists them
let found = []; // ids in the list of the search
let active = -1; // index of the selected one; -1: none
let searching; // AbortController of the running search
let entered = false; // Enter was pressed before the results arrived

const $ = (id) => document.getElementById(id);
const text = (item) => (typeof item === "string" ? item : JSON.stringify(item)); // ids that are not UTF-8: {"b64": ...}
const title = (item) => names.get(text(item))?.title ?? text(item);
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const say = (words) => ($("spoken").textContent = words);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Requests -----------------------------------------------------------------------------------------------------------

async function call(path, { body, signal } = {}) {
  const request = body ? { method: "POST", body: JSON.stringify(body), signal } : { signal };
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it running?");
  }
  const answer = await response.text();
  let content;
  try {
    content = JSON.parse(answer);
  } catch {
    throw new Error(`${response.status}: the answer is not JSON: ${answer.slice(0, 200)}`);
  }
  if (!response.ok) throw new Error(`${response.status}: ${content?.error ?? response.statusText}`);
  const timing = /dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return { content, server: timing && Number(timing[1]) };
}

function learn(items) {
  const unknown = [...new Set(items)].filter((item) => typeof item === "string" && !names.has(item));
  if (unknown.length) {
    const request = call("/page/names", { body: { items: unknown } })
      .then(({ content }) => remember(content.items, unknown))
      .catch((error) => {
        for (const item of unknown) names.delete(item);
        status(`No titles: ${error.message}`, true);
      });
    for (const item of unknown) names.set(item, request);
  }
  return Promise.all(items.map((item) => names.get(text(item))));
}

function remember(rows, requested = []) {
  for (const item of requested) names.set(item, {});
  for (const row of rows) names.set(row.item, row);
  for (const element of document.querySelectorAll(".item")) {
    if (element.known !== names.get(text(element.item))) fill(element);
  }
}

function status(words, bad = false) {
  $("server").textContent = words;
  $("server").classList.toggle("bad", bad);
}

// Items and the session ----------------------------------------------------------------------------------------------

function item(id) {
  const element = make("span", { class: "item" });
  element.item = id;
  return fill(element);
}

function fill(element) {
  const id = text(element.item);
  const known = (element.known = names.get(id));
  const words = make("span", { class: "words" });
  if (element.item === "") words.append(make("span", { class: "title" }, "no item"));
  if (known?.title) words.append(make("bdi", { class: "title", title: known.title }, known.title));
  if (element.item !== "") words.append(make("bdi", { class: "id", title: id }, id));
  element.replaceChildren(words);
  if (/^https?:\/\//i.test(known?.image ?? "")) {
    const image = make("img", { alt: "", loading: "lazy", referrerpolicy: "no-referrer", src: known.image });
    image.addEventListener("error", () => image.remove());
    element.prepend(image);
  }
  return element;
}

function add(id) {
  session.push(id);
  contexts.push(given("context"));
  changed();
  $("session").scrollTop = $("session").scrollHeight;
}

function remove(index) {
  session.splice(index, 1);
  contexts.splice(index, 1);
  changed();
  const buttons = $("session").querySelectorAll(".remove");
  (buttons[Math.min(index, buttons.length - 1)] ?? $("search")).focus();
}

function changed() {
  const events = session.map((id, index) => {
    const label = `Remove event ${index + 1}, ${title(id)}`;
    const acts = { type: "button", "aria-label": label, click: () => remove(index) };
    const values = Object.entries(contexts[index]).map(([name, value]) => `${name.replace("context_", "")} ${value}`);
    const context = values.length ? [make("small", { class: "quiet" }, values.join(", "))] : [];
    return make("li", {}, item(id), ...context, make("button", { class: "remove", ...acts }, "✕"));
  });
  $("session").replaceChildren(...events);
  $("empty").hidden = session.length > 0;
  $("restart").disabled = !session.length;
  learn(session.filter((id) => id !== ""));
  askAll();
}

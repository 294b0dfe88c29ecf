// Recommendations ----------------------------------------------------------------------------------------------------

function column(name) {
  const parts = {
    heading: make("h3"),
    times: make("p", { class: "times" }),
    changes: make("p", { class: "changes" }),
    removed: make("p", { class: "removed" }),
    error: make("p", { class: "error", role: "alert", hidden: true }),
    list: make("ol", { "aria-label": `Recommendations of ${name}; click one to add it to the session` }),
  };
  const element = make("section", { class: "column", "aria-label": name }, ...Object.values(parts));
  return { name, element, ...parts, items: null, turn: 0, asking: null };
}

function askAll() {
  const shown = [...columns.values()];
  Promise.all(shown.map(ask)).then((summaries) => {
    if (summaries.every(Boolean)) say(shown.map(({ name }, index) => `${name}: ${summaries[index]}`).join(". "));
  });
}

// Shows a model's recommendations. Resolves to a summary to be read aloud, or to null if a later request came first.
async function ask(column) {
  const turn = ++column.turn;
  column.asking?.abort();
  column.asking = new AbortController();
  column.element.classList.add("asking");
  const started = performance.now();
  let summary;
  try {
    const rules = await underRules(column.name, column.asking.signal);
    const context = inContext(column.name);
    const explained = models.find(({ name }) => name === column.name)?.reasons > 0;
    const plain = explained ? ["explain", "explain_in_context"] : [null, "recommend_in_context"];
    const choices = rules ? ["recommend_with_rules", "recommend_in_context_with_rules"] : plain;
    const name = choices[context ? 1 : 0];
    const inputs = { items: [session.length ? session : [""]], ...context, ...rules };
    const body = { ...(name && { signature_name: name }), inputs };
    const path = `/v1/models/${encodeURIComponent(column.name)}:predict`;
    const { content, server } = await call(path, { body, signal: column.asking.signal });
    const took = performance.now() - started;
    const { items: [items] = [], scores: [scores] = [], because: [because] = [] } = content.outputs ?? {};
    const { features: [features] = [], feature_names: [names] = [] } = content.outputs ?? {};
    if (!Array.isArray(items) || !Array.isArray(scores)) throw new Error("The answer has no items and scores.");
    await Promise.race([learn(items.filter((id) => id !== "")), sleep(200)]); // so that titles appear at once
    if (turn !== column.turn) return null;
    const answer = items.map((id, index) => [id, scores[index], because?.[index] ?? [], best(names, features?.[index])]);
    summary = show(column, answer.filter(([id]) => id !== ""));
    const inside = server === null ? "" : `, server ${server.toFixed(1)} ms`;
    column.times.textContent = `round trip ${took.toFixed(1)} ms${inside}`;
    column.removed.textContent = removedBy(rules, content.outputs);
    column.error.hidden = true;
  } catch (error) {
    if (turn !== column.turn || error.name === "AbortError") return null;
    column.error.textContent = summary = error.message;
    column.error.hidden = false;
    column.items = null;
    column.times.textContent = column.changes.textContent = column.removed.textContent = "";
    column.list.replaceChildren();
  }
  column.element.classList.remove("asking");
  return summary;
}

// The feature that carried an item: "item/price" is its price, "context/device" and "request/device" the device.
function best(names = [], parts = []) {
  const most = Math.max(0, ...parts);
  const [side, name = side] = most > 0 ? names[parts.indexOf(most)].split(/\/(.*)/) : [""];
  return side === "item" ? `its ${name}` : name;
}

function show(column, answer) {
  const focused = [...column.list.querySelectorAll("button")].indexOf(document.activeElement);
  const before = column.items;
  const count = { new: 0, up: 0, down: 0 };
  const rows = answer.map(([id, score, because, feature], index) => {
    const was = before ? before.indexOf(text(id)) : index;
    const kind = was < 0 ? "new" : was > index ? "up" : was < index ? "down" : "";
    const places = Math.abs(was - index);
    if (kind) count[kind] += 1;
    const shown = { new: "new", up: `▲ ${places}`, down: `▼ ${places}`, "": "" }[kind];
    const spoken = { new: ", new", up: `, up ${places}`, down: `, down ${places}`, "": "" }[kind];
    const button = make(
      "button",
      { class: kind === "new" || kind === "up" ? "add changed" : "add", type: "button", click: () => add(id) },
      make("span", { class: "rank" }, String(index + 1)),
      item(id),
      make(
        "span",
        { class: "numbers" },
        make("span", { class: "unseen" }, ", score "),
        number(score),
        make("span", { class: "unseen" }, spoken),
        make("span", { class: `move ${kind}`, "aria-hidden": "true" }, make("span", {}, shown)),
      ),
    );
    const causes = [...because.filter((event) => event !== "").map(title), feature].filter((cause) => cause !== "");
    const reason = causes.length ? [make("small", { class: "because quiet" }, `because of ${causes.join(", ")}`)] : [];
    return make("li", {}, button, ...reason);
  });
  column.list.replaceChildren(...rows);
  column.items = answer.map(([id]) => text(id));
  if (focused >= 0 && rows.length) rows[Math.min(focused, rows.length - 1)].firstElementChild.focus();
  const moves = Object.entries(count).filter(([, times]) => times).map(([kind, times]) => `${times} ${kind}`);
  const summary = before ? moves.join(", ") || "no change" : `${rows.length} items`;
  column.changes.textContent = summary;
  return summary;
}

function number(score) {
  const size = Math.abs(score);
  return size && (size < 1e-3 || size >= 1e6) ? score.toExponential(2) : score.toPrecision(4);
}

// Models -------------------------------------------------------------------------------------------------------------

async function follow() {
  let listed;
  try {
    listed = (await call("/page/models")).content.models;
  } catch (error) {
    return status(error.message, true);
  }
  const back = $("server").classList.contains("bad");
  status(listed.length === 1 ? "1 model" : `${listed.length} models`);
  const first = !models.length;
  const before = new Map(models.map((model) => [model.name, JSON.stringify(model)]));
  models = listed;
  const ready = models.filter((model) => model.state === "AVAILABLE");
  if (first) for (const { name } of ready.slice(0, SHOWN)) columns.set(name, column(name));
  const moved = models.filter((model) => before.get(model.name) !== JSON.stringify(model));
  if (first || moved.length) drawModels();
  if (first) return askAll();
  for (const shown of columns.values()) {
    if (back || moved.some((model) => model.name === shown.name)) ask(shown); // a version was added or removed
  }
}

function drawModels() {
  $("no-models").hidden = models.length > 0;
  const focused = document.activeElement?.value;
  $("models").replaceChildren(...models.map((model) => {
    const ready = model.state === "AVAILABLE";
    const running = `${model.model}, version ${model.version}`;
    const about = ready ? running : model.error || (model.state === "END" ? "removed" : "loading");
    const box = make("input", { type: "checkbox", value: model.name, change: () => choose(model.name, box.checked) });
    box.checked = columns.has(model.name);
    box.disabled = !ready && !box.checked;
    const words = make("span", {}, model.name, " ", make("small", { class: ready ? "quiet" : "bad" }, about));
    return make("label", {}, box, words);
  }));
  [...$("models").querySelectorAll("input")].find((box) => box.value === focused)?.focus();
  drawColumns();
}

function choose(name, chosen) {
  if (!chosen) columns.delete(name);
  else columns.set(name, column(name));
  drawColumns();
  if (chosen) ask(columns.get(name));
}

function drawColumns() {
  const shown = models.filter((model) => columns.has(model.name));
  for (const model of shown) {
    const about = make("small", {}, `${model.model}, version ${model.version}`);
    columns.get(model.name).heading.replaceChildren(model.name, about);
  }
  $("answers").replaceChildren(...shown.map((model) => columns.get(model.name).element));
  drawContext();
  drawRules();
}

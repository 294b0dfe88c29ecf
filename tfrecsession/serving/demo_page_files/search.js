// The search ---------------------------------------------------------------------------------------------------------

async function find() {
  const typed = $("search").value;
  [found, active, entered] = [[], -1, false]; // results for the previous text cannot be selected any more
  searching?.abort();
  const controller = (searching = new AbortController());
  try {
    await sleep(typed ? 80 : 0); // one request per pause in typing, not per key
    if (controller.signal.aborted) return;
    const query = new URLSearchParams({ q: typed, limit: 20 });
    for (const name of columns.keys()) query.append("model", name);
    const { content } = await call(`/page/items?${query}`, { signal: controller.signal });
    remember(content.items);
    offer(content.items.map((row) => row.item), typed.trim());
  } catch (error) {
    if (error.name !== "AbortError") offer([], "", error.message);
  }
}

function offer(items, typed, error) {
  found = typed && !items.includes(typed) ? [...items, typed] : items; // an id that no vocabulary has may be added too
  active = typed && items.length ? 0 : -1;
  const options = found.map((id, index) => {
    const content = index < items.length ? [item(id)] : ["Add “", make("bdi", {}, id), "” as typed"];
    const pick = { mousedown: (event) => event.preventDefault(), click: () => pickOption(index) };
    return make("li", { role: "option", id: `found-${index}`, "aria-selected": "false", ...pick }, ...content);
  });
  if (!options.length) options.push(make("li", { class: "none quiet", role: "none" }, error ?? "Nothing found."));
  $("found").replaceChildren(...options);
  open(true);
  mark();
  say(error ?? `${items.length} found`);
  if (entered && found.length) pickOption(Math.max(active, 0));
}

function open(opened) {
  $("found").hidden = !opened;
  $("search").setAttribute("aria-expanded", String(opened));
  if (!opened) {
    searching?.abort();
    [active, entered] = [-1, false];
    $("search").removeAttribute("aria-activedescendant");
  }
}

function mark() {
  for (const [index, option] of [...$("found").children].entries()) {
    option.setAttribute("aria-selected", String(index === active));
    if (index === active) option.scrollIntoView({ block: "nearest" });
  }
  if (active < 0) $("search").removeAttribute("aria-activedescendant");
  else $("search").setAttribute("aria-activedescendant", `found-${active}`);
}

function pickOption(index) {
  const id = found[index];
  $("search").value = "";
  open(false);
  add(id);
}

function keys(event) {
  const opened = !$("found").hidden;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (!opened) return find();
    const step = event.key === "ArrowDown" ? 1 : -1;
    active = found.length ? (active + step + found.length + (active < 0 && step < 0)) % found.length : -1;
    mark();
  } else if (event.key === "Enter") {
    if (active >= 0) pickOption(active);
    else entered = $("search").value !== "";
  } else if (event.key === "Escape") {
    if (!opened) $("search").value = "";
    open(false);
  }
}

$("search").addEventListener("input", find);
$("search").addEventListener("click", () => $("found").hidden && find());
$("search").addEventListener("blur", () => open(false));
$("search").addEventListener("keydown", keys);
$("restart").addEventListener("click", () => {
  session.length = contexts.length = 0;
  changed();
  $("search").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== $("search")) {
    event.preventDefault();
    $("search").focus();
    find();
  }
});
await follow();
setInterval(() => document.hidden || follow(), 2000);

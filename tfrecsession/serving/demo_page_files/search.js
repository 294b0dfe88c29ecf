// The search ---------------------------------------------------------------------------------------------------------

async function find() {
  const typed = $("search").value;
  [found, active, entered] = [[], -1, false]; // those of another text are not to be chosen any more
  searching?.abort();
  const mine = (searching = new AbortController());
  try {
    await sleep(typed ? 80 : 0); // one question per pause, not per key
    if (mine.signal.aborted) return;
    const query = new URLSearchParams({ q: typed, limit: 20 });
    for (const name of columns.keys()) query.append("model", name);
    const { content } = await call(`/page/items?${query}`, { signal: mine.signal });
    remember(content.items);
    offer(content.items.map((row) => row.item), typed.trim());
  } catch (error) {
    if (error.name !== "AbortError") offer([], "", error.message);
  }
}

function offer(items, typed, error) {
  found = typed && !items.includes(typed) ? [...items, typed] : items; // also what no vocabulary has may be an event
  active = typed && items.length ? 0 : -1;
  const options = found.map((id, place) => {
    const content = place < items.length ? [item(id)] : ["Add “", make("bdi", {}, id), "” as it is typed"];
    const pick = { mousedown: (event) => event.preventDefault(), click: () => pickOption(place) };
    return make("li", { role: "option", id: `found-${place}`, "aria-selected": "false", ...pick }, ...content);
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
  for (const [place, option] of [...$("found").children].entries()) {
    option.setAttribute("aria-selected", String(place === active));
    if (place === active) option.scrollIntoView({ block: "nearest" });
  }
  if (active < 0) $("search").removeAttribute("aria-activedescendant");
  else $("search").setAttribute("aria-activedescendant", `found-${active}`);
}

function pickOption(place) {
  const id = found[place];
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
  session.length = 0;
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

// Context ------------------------------------------------------------------------------------------------------------

const contexts = []; // of each event of the session: input -> value, as the fields were when it was added
const fields = new Map(); // input of a signature, such as context_device -> its field, see `field`

// A field for an input, as the export describes it: {input, side, column, kind, values}.
function field({ input, side, column, kind, values }) {
  const about = {
    time: { type: "datetime-local", step: 1 },
    category: { list: `values-${input}`, placeholder: values?.length ? text(values[0]) : "" },
    number: { inputmode: "decimal" },
    gap: { inputmode: "decimal", placeholder: "seconds" },
    hour: { inputmode: "numeric", placeholder: "0 to 23" },
    weekday: { inputmode: "numeric", placeholder: "0 is Monday" },
    month: { inputmode: "numeric", placeholder: "1 to 12" },
  }[kind];
  const box = make("input", { type: "text", id: `field-${input}`, autocomplete: "off", ...about, change: askAll });
  const element = make("div", { class: "field" }, make("label", { for: box.id }, column), box);
  if (kind === "category") {
    const options = (values ?? []).map((value) => make("option", { value: text(value) }));
    element.append(make("datalist", { id: `values-${input}` }, ...options));
  }
  const value = () => (kind === "time" && box.value ? String(new Date(box.value) / 1000) : box.value.trim());
  return { side, element, value };
}

function drawContext() {
  const shown = models.filter((model) => columns.has(model.name));
  const wanted = new Map(shown.flatMap((model) => model.context ?? []).map((input) => [input.input, input]));
  for (const name of fields.keys()) if (!wanted.has(name)) fields.delete(name);
  for (const [name, input] of wanted) if (!fields.has(name)) fields.set(name, field(input));
  for (const side of ["context", "request"]) {
    const elements = [...fields.values()].filter((known) => known.side === side).map((known) => known.element);
    const before = [...$(`${side}-fields`).children];
    if (elements.length !== before.length || elements.some((element, index) => element !== before[index])) {
      $(`${side}-fields`).replaceChildren(...elements);
    }
    $(`${side}-part`).hidden = !elements.length;
  }
  $("itemless").hidden = !shown.some((model) => model.itemless);
}

// The values of the fields of a side: input -> text, without those that are empty.
function given(side) {
  const values = [...fields].filter(([, known]) => known.side === side).map(([name, known]) => [name, known.value()]);
  return Object.fromEntries(values.filter(([, value]) => value !== ""));
}

// The inputs of recommend_in_context for a model beside its items; null if there is nothing to give it.
function inContext(name) {
  const { context = [], itemless = false } = models.find((model) => model.name === name) ?? {};
  const request = given("request");
  const inputs = context.map(({ input, side }) => {
    if (side === "request") return [input, [request[input] ?? ""]];
    const values = session.map((id, index) => (id === "" && !itemless ? "" : contexts[index][input] ?? ""));
    return [input, [values.length ? values : [""]]];
  });
  return inputs.some(([, [value]]) => value !== "" && [value].flat().some(Boolean)) ? Object.fromEntries(inputs) : null;
}

$("itemless").addEventListener("click", () => add(""));

// Rules --------------------------------------------------------------------------------------------------------------

const NO_LIST = [[""]];

// The inputs of recommend_with_rules for a model beside its items; null if there are no rules.
async function underRules(name, signal) {
  const written = $("rules").value.trim();
  if (!written) return null;
  let rules;
  try {
    rules = JSON.parse(written);
  } catch (error) {
    throw new Error(`Rules: ${error.message}`);
  }
  const { content } = await call("/page/rules", { body: { model: name, rules }, signal });
  return content.rules.length ? { rules: [content.rules], exclude: NO_LIST, only: NO_LIST } : null;
}

// What the rules of a request removed, and why its list is short: a text.
function removedBy(inputs, { removed: [counts] = [], note: [note] = [] }) {
  if (!inputs) return "";
  const parts = inputs.rules[0].map((rule, index) => `${rule.replaceAll("\t", " ").trim()}: ${counts[index]} removed`);
  return [...parts, ...(note ? [note] : [])].join("; ");
}

// What the rules of the models shown may read.
function drawRules() {
  const shown = models.filter((model) => columns.has(model.name) && model.rules);
  $("rules-part").hidden = !shown.length;
  const known = new Map(shown.flatMap((model) => Object.entries(model.rules.columns)));
  const words = [...known].map(([name, kind]) => `${name} (${kind})`).join(", ");
  $("rules-columns").textContent = words ? `Columns: ${words}.` : "The items have no columns.";
}

$("rules").addEventListener("change", askAll);

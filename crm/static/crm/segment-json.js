// A filter as JSON, read and written so that what nobody changed stays as it was.

// Numbers that JavaScript would round are kept as they are written, where it can.
const exact = (_, value, context) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source && JSON.rawJSON
    ? JSON.rawJSON(context.source)
    : value;

export function readJSON(text) {
  let found;
  try {
    found = JSON.parse(text, exact);
  } catch {
    return { mistake: "This is no JSON yet. The builder is back as soon as it is." };
  }
  if (!Array.isArray(found) || !found.every(Array.isArray)) {
    return { mistake: "The filters must be a list of lists of conditions." };
  }
  return { groups: found };
}

// A line for each condition.
export function asJSON(groups) {
  if (!groups.length || !groups.every((group) => group.length)) return JSON.stringify(groups);
  const lines = (group) => group.map((item) => `    ${JSON.stringify(item)}`).join(",\n");
  return `[\n${groups.map((group) => `  [\n${lines(group)}\n  ]`).join(",\n")}\n]`;
}

export function asText(value) {
  if (value === undefined || value === null) return "";
  if (typeof value !== "object") return String(value);
  return value.rawJSON ?? JSON.stringify(value);
}

// A number that is written as JavaScript writes it, else the text: it may have many digits.
export const asNumber = (text) =>
  text !== "" && String(Number(text)) === text ? Number(text) : text;

// What an item is about: its property and operator in the filter table, where they are there.
export function known(table, item) {
  const [provider, name] = Array.isArray(item?.source) ? item.source : [];
  const group = table.providers.find((one) => one.value === provider);
  const property = group?.children.find((one) => one.value === name);
  const operator = property?.operators.find((one) => one.value === item.operator);
  return { provider, name, group, property, operator };
}

export function itemFor(source, property, operator, value, old = {}) {
  const item = { source, operator: operator.value };
  if (operator.value_type) item.value = value;
  for (const name of Object.keys(property.needs)) item[name] = old[name] ?? "";
  return item;
}

export const SEVERAL = ["texts", "event keys", "providers", "statuses", "ids"];
export const NUMBERS = ["number", "whole number", "days"];
const FAMILIES = [["id", "ids"], NUMBERS, ["date", "date or time"]];
const family = (type) => FAMILIES.find((types) => types.includes(type));

// A value for another kind of value: kept where it can mean the same.
export function fitted(value, was, becomes) {
  const values = Array.isArray(value) ? value : asText(value) === "" ? [] : [value];
  const kept = family(was) === family(becomes) ? values : [];
  return SEVERAL.includes(becomes) ? kept : (kept[0] ?? "");
}

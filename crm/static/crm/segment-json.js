// Parses and writes a filter as JSON, so that unchanged parts stay as they were.

// Keeps numbers that JavaScript would round as text, where the browser supports it.
const exact = (_, value, context) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source && JSON.rawJSON
    ? JSON.rawJSON(context.source)
    : value;

export const parseJSON = (text) => JSON.parse(text, exact);

export function readJSON(text) {
  let found;
  try {
    found = parseJSON(text);
  } catch {
    return { mistake: "This is no JSON yet. The builder is back as soon as it is." };
  }
  if (!Array.isArray(found) || !found.every(Array.isArray)) {
    return { mistake: "The filters must be a list of lists of conditions." };
  }
  return { groups: found };
}

// Writes one line for each condition.
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

// Returns a number if JavaScript writes it the same way, else the text with all its digits.
export const asNumber = (text) =>
  text !== "" && String(Number(text)) === text ? Number(text) : text;

// Returns the property and the operator of an item in the filter table, if they exist.
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
  for (const name of Object.keys(property.optional)) {
    if (name in old) item[name] = old[name];
  }
  return item;
}

export const SEVERAL = ["texts", "event keys", "providers", "statuses", "ids"];
export const NUMBERS = ["number", "whole number", "days", "hours"];
const FAMILIES = [["id", "ids"], NUMBERS, ["date", "date or time"]];
const family = (type) => FAMILIES.find((types) => types.includes(type));

// Converts a value to another type, and keeps it where it can mean the same.
export function fitted(value, was, becomes) {
  const values = Array.isArray(value) ? value : asText(value) === "" ? [] : [value];
  const kept = family(was) === family(becomes) ? values : [];
  return SEVERAL.includes(becomes) ? kept : (kept[0] ?? "");
}

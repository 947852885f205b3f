// Creates the inputs of triggers and steps, by the table of their fields.

import { asNumber, asText } from "../crm/segment-json.js";
import { button, input, labelled, make, newId, selectOf, valueOf } from "../crm/segment-values.js";
import { filterBuilder } from "../crm/segment.js";

export const grid = (...parts) => make("div", { className: "segment-fields" }, ...parts);
const hint = (text) => make("p", { className: "segment-hint", textContent: text });

export function fieldsOf(context, fields, owner) {
  return fields.map((field) => fieldOf(context, field, owner));
}

function fieldOf(context, field, owner) {
  const set = (value) => {
    owner[field.name] = value;
    context.fresh.delete(owner);
    context.changed(false);
  };
  const { label, type } = field;
  const value = owner[field.name];
  let part;
  if (type === "choice") part = selectOf(label, field.options, value, set);
  else if (type === "boxes") {
    const choices = { closed: true, items: field.options };
    part = valueOf(label, "ids", choices, undefined, value ?? [], set);
  } else if (type === "boolean") part = boxOf(label, value, set);
  else if (type === "number") part = valueOf(label, "whole number", undefined, undefined, value, set);
  else if (type === "long") {
    const area = make("textarea", { rows: 2, value: asText(value) });
    area.addEventListener("input", () => set(area.value));
    part = labelled(label, area);
    part.classList.add("automation-wide");
  } else if (type === "settings") part = settingsOf(context, field, owner);
  else {
    const list = field.choices && { list: `segment-suggestions-${field.choices}` };
    part = labelled(label, input("text", value, set, list));
  }
  if (field.hint) part.append(hint(field.hint));
  return part;
}

function boxOf(label, checked, set) {
  const box = make("input", { type: "checkbox", checked: Boolean(checked) });
  box.addEventListener("change", () => set(box.checked));
  const name = make("label", { className: "automation-box" }, box, label);
  return make("div", { className: "segment-field" }, name);
}

// Texts by names: those of `field.options`, or any.
function settingsOf(context, field, owner) {
  const rows = Object.entries(owner[field.name] ?? {});
  const box = make("div", { className: "automation-wide" });
  const tell = () => {
    owner[field.name] = Object.fromEntries(rows.filter(([name]) => name));
    context.fresh.delete(owner);
    context.changed(false);
  };
  const draw = () => {
    const parts = rows.map((row, index) => {
      const rename = (value) => {
        row[0] = value;
        tell();
      };
      const name = field.options
        ? selectOf("Field", field.options, row[0], rename)
        : labelled("Field", input("text", row[0], rename));
      const text = labelled("Value", input("text", row[1], (value) => {
        row[1] = value;
        tell();
      }));
      const remove = button("Remove field", "segment-remove", () => {
        rows.splice(index, 1);
        draw();
        tell();
        add.focus();
      });
      return make("div", { className: "segment-fields automation-setting" }, name, text, remove);
    });
    box.replaceChildren(...parts, add);
  };
  const add = button("Add field", "segment-add", () => {
    rows.push(["", ""]);
    draw();
    [...box.querySelectorAll("select, input")].at(-2).focus();
  });
  if (!rows.length && field.options) rows.push(["", ""]);
  draw();
  return box;
}

// The kind of what happens, and its fields. `choose` gets another one.
export function happeningOf(context, label, kinds, happening, choose) {
  const options = Object.entries(kinds).map(([value, kind]) => [value, kind.label]);
  const select = selectOf(label, options, happening.type, (value) =>
    choose(structuredClone(kinds[value].new)),
  );
  return [select, ...fieldsOf(context, kinds[happening.type]?.fields ?? [], happening)];
}

export function conditionFields(context, owner, none) {
  const textarea = make("textarea", { hidden: true, value: JSON.stringify(owner.conditions ?? []) });
  textarea.setAttribute("aria-label", "Conditions as JSON");
  const box = make("div", { className: "automation-conditions" }, textarea);
  filterBuilder(
    textarea,
    context.table.filters,
    () => {
      owner.conditions = JSON.parse(textarea.value);
      context.fresh.delete(owner);
      context.changed(false);
    },
    none,
  );
  return box;
}

const WAITS = [
  ["span", "Hours and minutes"],
  ["days", "Days"],
  ["weekdays", "Until a weekday"],
  ["until", "Until a date and time"],
  ["field", "Until a date of the contact"],
];
const NEW_WAITS = {
  span: { hours: 1 },
  days: { days: 1 },
  weekdays: { weekdays: ["mon"], at: "09:00" },
  until: { until: "" },
  field: { field: "date_of_birth", at: "09:00" },
};

function kindOf(wait) {
  if ("field" in wait) return "field";
  if ("until" in wait) return "until";
  if ("minutes" in wait || "hours" in wait) return "span";
  if ("weekdays" in wait) return "weekdays";
  return "days" in wait ? "days" : "span";
}

// The wait in `owner[name]`, which may be missing if it is a limit.
export function waitOf(context, owner, name, isLimit) {
  const box = make("div", { className: "segment-fields" });
  const draw = () => {
    const wait = owner[name];
    const kind = wait ? kindOf(wait) : "none";
    const kinds = isLimit ? [["none", "For ever"], ...WAITS] : WAITS;
    const select = selectOf(isLimit ? "At most" : "Wait", kinds, kind, (value) => {
      if (value === "none") delete owner[name];
      else owner[name] = structuredClone(NEW_WAITS[value]);
      draw();
      context.changed(false);
      box.querySelector("select").focus();
    });
    box.replaceChildren(select, ...(wait ? waitFields(context, wait, kind, owner) : []));
  };
  if (!isLimit) owner[name] ??= structuredClone(NEW_WAITS.span);
  draw();
  return box;
}

function waitFields(context, wait, kind, owner) {
  const { days: dayNames, dates, zones } = context.table.waits;
  // What decides of which kind a wait is stays, also empty.
  const kept = ["hours", "minutes", "days", "until", "field", kind === "weekdays" ? kind : ""];
  const put = (key, value) => {
    const isEmpty = value === "" || value === false || (Array.isArray(value) && !value.length);
    if (isEmpty && !kept.includes(key)) delete wait[key];
    else wait[key] = value;
    context.fresh.delete(owner);
    context.changed(false);
  };
  const number = (label, key, more = { min: 0, step: 1 }) =>
    labelled(label, input("number", wait[key], (text) => put(key, asNumber(text)), more));
  const at = () => labelled("At", input("time", wait.at, (text) => put("at", text)));
  const on = (label) => {
    const choices = { closed: true, items: dayNames };
    return valueOf(label, "ids", choices, undefined, wait.weekdays ?? [], (days) => put("weekdays", days));
  };
  const zone = () =>
    selectOf("Time zone", zones, wait.zone ?? "store", (value) => put("zone", value));
  if (kind === "span") {
    const times = [...(wait.between ?? ["", ""])];
    const time = (label, index) =>
      labelled(label, input("time", times[index], (text) => {
        times[index] = text;
        put("between", times.some(Boolean) ? [...times] : "");
      }));
    return [
      number("Hours", "hours"),
      number("Minutes", "minutes"),
      time("Only from", 0),
      time("Only until", 1),
      on("Only on"),
      zone(),
    ];
  }
  if (kind === "days") return [number("Days", "days", { min: 1, step: 1 }), at(), zone()];
  if (kind === "weekdays") return [on("Weekdays"), at(), zone()];
  if (kind === "until") {
    const until = input("datetime-local", wait.until, (text) => put("until", text));
    return [labelled("Until", until), zone()];
  }
  const list = newId("dates");
  const options = dates.map((value) => make("option", { value }));
  const field = labelled("Date", input("text", wait.field, (text) => put("field", text), { list }));
  field.append(make("datalist", { id: list }, ...options));
  return [
    field,
    number("Days after (before: −)", "days", { step: 1 }),
    at(),
    boxOf("Every year", wait.yearly, (checked) => put("yearly", checked)),
    zone(),
  ];
}

// Builds a filter from the filter table. The builder is drawn from the JSON in a textarea and writes
// it. In the form of a segment the textarea is the field, which works alone without scripts.

import { counter } from "./segment-count.js";
import { asJSON, fitted, itemFor, known, readJSON } from "./segment-json.js";
import { button, make, newId, selectOf, valueOf } from "./segment-values.js";

const LABELS = {
  extra_value: "For event key",
  path: "Path",
  same: "With the same property",
  within_days: "In the last days",
  within_hours: "Or in the last hours",
};
const HINTS = { path: "order.total", same: "cart_id" };
const named = (one) => [one.value, one.label];
const hint = (text) => make("p", { className: "segment-hint", textContent: text });

// `onChange` is called after each change. `none` is what the empty filter means.
export function filterBuilder(textarea, table, onChange, none = "No condition: all contacts.") {
  const builder = make("div", { className: "segment-builder" });
  const count = make("p", { className: "segment-count", role: "status" });
  const recount = counter(table.count, textarea, tell);
  const fresh = new WeakSet(); // new conditions, whose errors are not shown yet
  let groups = [];

  function suggestions(name) {
    const id = `segment-suggestions-${name}`;
    if (name && !table.choices[name].closed && !document.getElementById(id)) {
      const options = table.choices[name].items.map(([value]) => make("option", { value }));
      textarea.after(make("datalist", { id }, ...options));
    }
    return id;
  }

  function conditionOf(group, g, c) {
    const item = group[c];
    const { provider, name, group: found, property, operator } = known(table, item);
    const place = `${g}.${c}`;
    const fields = make("div", { className: "segment-fields" });
    const add = (field, part) => {
      part.dataset.place = `${place}.${field}`;
      fields.append(part);
    };
    const replace = (next) => {
      group[c] = next;
      if (fresh.has(item)) fresh.add(next);
      changed(true);
    };
    const about = (source, next) => {
      const [first] = next.operators;
      replace(itemFor(source, next, first, fitted("", "", first.value_type)));
    };
    const addValue = (field, label, type) => {
      const choices = property.choices[field];
      const set = (value) => {
        if (value === "" && field in property.optional) delete item[field];
        else item[field] = value;
        fresh.delete(item);
        changed(false);
      };
      const offered = table.choices[choices];
      add(field, valueOf(label, type, offered, suggestions(choices), item[field], set));
      if (HINTS[field]) fields.lastChild.querySelector("input").placeholder = HINTS[field];
    };
    add("source", selectOf("Provider", table.providers.map(named), provider, (value) => {
      const next = table.providers.find((one) => one.value === value);
      if (next) about([value, next.children[0].value], next.children[0]);
    }));
    if (found) {
      add("property", selectOf("Property", found.children.map(named), name, (value) => {
        const next = found.children.find((one) => one.value === value);
        if (next) about([provider, value], next);
      }));
    }
    if (property) {
      for (const [field, type] of Object.entries({ ...property.needs, ...property.optional })) {
        addValue(field, LABELS[field] ?? field, type);
      }
      add("operator", selectOf("Operator", property.operators.map(named), item.operator, (value) => {
        const next = property.operators.find((one) => one.value === value);
        const kept = fitted(item.value, operator?.value_type, next?.value_type);
        if (next) replace(itemFor(item.source, property, next, kept, item));
      }));
    }
    if (operator?.value_type) addValue("value", "Value", operator.value_type);
    const mistake = make("p", { className: "segment-mistake", id: newId("mistake"), hidden: true });
    mistake.setAttribute("aria-live", "polite");
    const remove = button("Remove condition", "segment-remove", () => {
      group.splice(c, 1);
      if (!group.length) groups.splice(g, 1);
      changed(true, `[data-add="${Math.max(0, Math.min(g, groups.length - 1))}"]`);
    });
    const help = property?.help ? [hint(property.help)] : [];
    const row = make("div", { className: "segment-condition", role: "group" });
    row.append(fields, ...help, mistake, remove);
    row.setAttribute("aria-label", `Condition ${c + 1}`);
    row.dataset.place = place;
    return row;
  }

  function newCondition(group) {
    if (!groups.includes(group)) groups.push(group);
    const [provider] = table.providers;
    const [property] = provider.children;
    const [operator] = property.operators;
    const value = fitted("", "", operator.value_type);
    const item = itemFor([provider.value, property.value], property, operator, value);
    fresh.add(item);
    const c = group.push(item) - 1;
    changed(true, `[data-place="${groups.indexOf(group)}.${c}.source"] select`);
  }

  function addButton(group, g) {
    const add = button("Add condition", "segment-add", () => newCondition(group));
    add.dataset.add = g;
    return add;
  }

  function groupOf(group, g) {
    const between = (text) => make("p", { className: "segment-between", textContent: text });
    const rows = group.flatMap((_, c) => {
      const row = conditionOf(group, g, c);
      return c ? [between("and"), row] : [row];
    });
    const remove = button("Remove group", "segment-remove", () => {
      groups.splice(g, 1);
      changed(true, `[data-add="0"]`);
    });
    const buttons = make("p", { className: "segment-buttons" }, addButton(group, g), remove);
    const box = make("div", { className: "segment-group", role: "group" }, ...rows, buttons);
    box.setAttribute("aria-label", `Group ${g + 1}`);
    return g ? [between("or"), box] : [box];
  }

  function draw() {
    const last = groups.length
      ? [button("Add group", "segment-add", () => newCondition([]))]
      : [hint(none), addButton([], 0)];
    builder.replaceChildren(...groups.flatMap(groupOf), ...last);
  }

  // The focused control gets the focus back after redrawing.
  function changed(again, focus) {
    textarea.value = asJSON(groups);
    onChange?.();
    if (again) {
      const part = document.activeElement.closest("[data-place]")?.dataset.place;
      draw();
      const target = focus ?? (part && `[data-place="${part}"] :is(select, input)`);
      if (target) builder.querySelector(target)?.focus();
    }
    recount();
  }

  function drawFromJSON() {
    const { groups: found, mistake } = readJSON(textarea.value);
    groups = found ?? [];
    if (found) draw();
    else builder.replaceChildren(make("p", { className: "segment-mistake", textContent: mistake }));
    recount(mistake);
  }

  // Shows the count, and each error at its condition.
  function tell(text, mistakes) {
    count.textContent = text;
    if (!mistakes) return;
    for (const line of builder.querySelectorAll(".segment-mistake")) {
      line.hidden = true;
      line.textContent = "";
    }
    for (const control of builder.querySelectorAll("[aria-invalid]")) {
      control.removeAttribute("aria-invalid");
      control.removeAttribute("aria-errormessage");
    }
    if (text) return;
    const shown = Object.entries(mistakes).filter(([place]) => {
      const [, g, c] = place.split(".");
      return !fresh.has(groups[g]?.[c]);
    });
    const elsewhere = shown.filter(([place, words]) => !atItsPlace(place, words));
    if (elsewhere.length) count.textContent = `Not counted: ${elsewhere[0][1]}`;
    else if (shown.length) count.textContent = "Not counted: a condition has a mistake.";
    else count.textContent = "Fill in the new condition to see how many contacts it finds.";
  }

  function atItsPlace(place, words) {
    const [, g, c, field] = place.split(".");
    const row = builder.querySelector(`[data-place="${g}.${c}"]`);
    const line = row?.querySelector(".segment-mistake");
    if (!line) return false;
    line.textContent = `${line.textContent} ${words}`.trim();
    line.hidden = false;
    const part = row.querySelector(`[data-place="${g}.${c}.${field}"]`);
    for (const control of part?.querySelectorAll("input, select") ?? []) {
      control.setAttribute("aria-invalid", "true");
      control.setAttribute("aria-errormessage", line.id);
    }
    return true;
  }

  if (textarea.readOnly) {
    textarea.before(count);
    recount();
  } else {
    textarea.before(builder, count);
    textarea.addEventListener("input", drawFromJSON);
    drawFromJSON();
  }
}

const textarea = document.getElementById("id_filters");
const table = document.getElementById("segment-table");
if (textarea && table) filterBuilder(textarea, JSON.parse(table.textContent));

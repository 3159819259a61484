// The form, built from the contract: one field per feature, with its unit, range and example.

import { fill, h, show } from "./dom.js";
import { number, words } from "./numbers.js";

const MANY_LEVELS = 40; // beyond, a list to type into is handier than a menu

export class Form {
  constructor(container, contract) {
    const lenient = contract.policies !== undefined && contract.policies.missing !== "reject";
    this.columns = contract.columns.filter((column) => column.role === "feature");
    this.fields = new Map(
      this.columns.map((column, place) => [column.name, new Field(column, place, lenient)]),
    );
    fill(container, ...[...this.fields.values()].map((field) => field.element));
  }

  /** What would be sent: a value by column; null where a field was left empty. */
  values() {
    return Object.fromEntries([...this.fields].map(([name, field]) => [name, field.value]));
  }

  set(row) {
    for (const [name, field] of this.fields) field.value = row[name] ?? null;
    this.clear();
  }

  clear() {
    for (const field of this.fields.values()) field.note(null, []);
  }

  /** Show what was wrong by field; return the errors that belong to none. */
  showErrors(errors) {
    this.clear();
    const others = [];
    let first = null;
    for (const error of errors) {
      const field = this.fields.get(error.field);
      if (field === undefined) others.push(error);
      else {
        field.note(error, []);
        first ??= field;
      }
    }
    first?.control.focus();
    return others;
  }

  /** Show flags ("beyond_training:alcohol") at their fields. */
  showFlags(flags) {
    for (const flag of flags) {
      const [kind, ...name] = flag.split(":");
      this.fields.get(name.join(":"))?.note(null, [FLAGS[kind] ?? words(kind)]);
    }
  }

  typicalRow() {
    return Object.fromEntries(this.columns.map((column) => [column.name, typical(column)]));
  }

  randomRow() {
    return Object.fromEntries(this.columns.map((column) => [column.name, drawn(column)]));
  }
}

export const FLAGS = {
  out_of_range: "outside the allowed range",
  beyond_training: "outside what training saw",
  unknown_category: "not one of the known categories",
  new_category: "training never saw this",
  missing: "missing",
};

class Field {
  constructor(column, place, lenient) {
    this.column = column;
    this.numeric = column.type === "number" || column.type === "integer";
    this.control = this.makeControl(`field-${place}`, column.nullable || lenient);
    const hint = h("div", { class: "hint", id: `hint-${place}` });
    this.control.setAttribute("aria-describedby", hint.id);
    this.messages = h("div");
    fill(hint, this.makeSlider(), h("p", {}, describe(column)), this.messages);
    const unit = column.unit ? h("span", { class: "unit" }, ` ${column.unit}`) : null;
    this.element = h(
      "div",
      { class: "field" },
      h("label", { for: this.control.id, title: column.name }, words(column.name), unit),
      this.control,
      hint,
    );
  }

  makeControl(id, optional) {
    const { type, categories, name } = this.column;
    const given = { id, name, autocomplete: "off" };
    if (type === "boolean" || (categories !== null && categories.length <= MANY_LEVELS)) {
      const levels = type === "boolean" ? ["true", "false"] : categories.map(String);
      const shown = { true: "yes", false: "no" };
      return h(
        "select",
        given,
        h("option", { value: "" }, optional ? "(missing)" : "Choose …"),
        ...levels.map((level) =>
          h("option", { value: level }, type === "boolean" ? shown[level] : level),
        ),
      );
    }
    if (type === "timestamp") return h("input", { ...given, type: "datetime-local", step: 1 });
    if (this.numeric) {
      const mode = this.column.minimum !== null && this.column.minimum >= 0 ? "decimal" : "text";
      const control = h("input", { ...given, inputmode: mode, spellcheck: "false" });
      control.addEventListener("keydown", (event) => this.step(event));
      if (optional) control.placeholder = "missing";
      return control;
    }
    const control = h("input", { ...given, placeholder: optional ? "missing" : null });
    if (categories === null) return control;
    const list = h("datalist", { id: `${id}-levels` }, ...categories.map((level) => h("option", { value: level })));
    control.setAttribute("list", list.id);
    document.body.append(list);
    return control;
  }

  /** The slider is a handle for the mouse on what the text field says; keys have the field. */
  makeSlider() {
    if (!this.numeric) return null;
    const [low, high] = plausible(this.column);
    if (!(high > low)) return null;
    this.slider = h("input", {
      type: "range", class: "slide", tabindex: -1, "aria-hidden": "true",
      min: low, max: high, step: stepOf(this.column),
    });
    this.slider.addEventListener("input", () => {
      this.control.value = this.slider.value;
      this.moved();
      this.control.dispatchEvent(new Event("input", { bubbles: true }));
    });
    this.control.addEventListener("input", () => this.moved());
    return this.slider;
  }

  moved() {
    if (this.slider === undefined) return;
    const value = this.value;
    this.slider.classList.toggle("off", typeof value !== "number");
    if (typeof value === "number") this.slider.value = value;
  }

  step(event) {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const value = this.value ?? typical(this.column);
    if (direction === undefined || typeof value !== "number") return;
    event.preventDefault();
    const step = stepOf(this.column) * (event.shiftKey ? 10 : 1);
    this.control.value = rounded(value + direction * step, stepOf(this.column));
    this.control.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** As JSON: what is no number goes to the server as it was typed, which says what is wrong. */
  get value() {
    const text = this.control.value.trim();
    if (text === "") return null;
    if (this.column.type === "boolean") return text === "true";
    if (!this.numeric) return this.control.value;
    const value = Number(text.includes(".") ? text : text.replace(",", "."));
    return Number.isFinite(value) ? value : text;
  }

  set value(value) {
    let text = value === null ? "" : String(value);
    if (this.column.type === "timestamp") text = text.replace(" ", "T").slice(0, 19);
    this.control.value = text;
    this.moved();
  }

  /** Show an error or remarks below the field, or neither. */
  note(error, remarks) {
    if (error === null) this.control.removeAttribute("aria-invalid");
    else this.control.setAttribute("aria-invalid", "true");
    const lines = remarks.map((remark) => h("p", { class: "flag" }, `Note: ${remark}`));
    if (error !== null) {
      const allowed = error.allowed ? ` Allowed: ${error.allowed}.` : "";
      const message = `${words(this.column.name)} ${error.message.replace(/\.$/, "")}.`;
      lines.push(h("p", { class: "message" }, `${message}${allowed}`));
    }
    fill(this.messages, ...lines);
    show(this.messages, lines.length > 0);
  }
}

/** Words for what a field takes and what training saw. */
function describe(column) {
  const parts = column.description ? [column.description.replace(/\.$/, "")] : [];
  const range = rangeOf(column);
  if (range) parts.push(range);
  if (column.nullable) parts.push("may be empty");
  return parts.join("; ");
}

function rangeOf({ type, minimum, maximum, declared }) {
  if (!["number", "integer"].includes(type) || (minimum === null && maximum === null)) return "";
  const [low, high] = [minimum, maximum].map((bound) => (bound === null ? null : number(bound)));
  const [must, most] = [declared.includes("minimum"), declared.includes("maximum")];
  if (low === null) return most ? `at most ${high}` : `up to ${high} in training`;
  if (high === null) return must ? `at least ${low}` : `from ${low} in training`;
  if (must && most) return `${low} to ${high}`;
  if (must) return `at least ${low}; in training up to ${high}`;
  if (most) return `at most ${high}; in training from ${low}`;
  return `${low} to ${high} in training`;
}

/** The range in which values are likely: what training saw, or else near the example. */
function plausible(column) {
  const { minimum, maximum, declared, example } = column;
  const middle = typeof example === "number" ? example : (minimum ?? maximum ?? 0);
  const reach = Math.abs(middle) * 0.3 || 1;
  const low = minimum !== null && !declared.includes("minimum") ? minimum : middle - reach;
  const high = maximum !== null && !declared.includes("maximum") ? maximum : middle + reach;
  return [Math.max(low, minimum ?? -Infinity), Math.min(high, maximum ?? Infinity)];
}

function stepOf(column) {
  if (column.type === "integer") return 1;
  const [low, high] = plausible(column);
  return 10 ** Math.floor(Math.log10((high - low || 1) / 50));
}

function rounded(value, step) {
  return Number(value.toFixed(Math.max(0, Math.round(-Math.log10(step)))));
}

function typical(column) {
  if (column.example !== null) return column.example;
  if (column.type === "boolean") return true;
  if (column.categories?.length) return column.categories[0];
  if (column.type === "number" || column.type === "integer") {
    const [low, high] = plausible(column);
    return rounded((low + high) / 2, stepOf(column));
  }
  return null;
}

function drawn(column) {
  if (column.type === "boolean") return Math.random() < 0.5;
  if (column.categories?.length) return oneOf(column.categories);
  if (column.type === "number" || column.type === "integer") {
    const [low, high] = plausible(column);
    const value = rounded(low + Math.random() * (high - low), stepOf(column));
    return Math.min(Math.max(value, column.minimum ?? -Infinity), column.maximum ?? Infinity);
  }
  if (column.type === "timestamp" && column.example !== null) {
    const near = new Date(`${String(column.example).replace(" ", "T").slice(0, 19)}Z`);
    near.setUTCHours(near.getUTCHours() + Math.round((Math.random() - 0.5) * 24 * 365));
    return near.toISOString().slice(0, 19);
  }
  return typical(column);
}

const oneOf = (values) => values[Math.floor(Math.random() * values.length)];

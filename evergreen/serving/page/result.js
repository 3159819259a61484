// The answer to one row: prediction, probabilities, what moved it, and how to ask for it again.

import { Refusal, hasKey, postJson } from "./api.js";
import { effects, scale, shares } from "./charts.js";
import { fill, find, h, show } from "./dom.js";
import { FLAGS } from "./form.js";
import { milliseconds, number, percent, words } from "./numbers.js";

let latest = 0; // an explanation that comes after the next prediction is thrown away

export function showResult(answer, ms, row, contract) {
  latest += 1;
  show(find("empty"), false);
  show(find("answer"));
  show(find("stale"), false);
  find("result").classList.remove("is-stale");
  if (contract.task === "classification") showClass(answer);
  else showNumber(answer, contract);
  showFlags(answer.flags);
  showCall(answer, ms);
  find("command").textContent = command(row);
  find("copied").textContent = "";
  explain(row, answer, contract, latest);
}

/** In a word, for lists and for whoever listens. */
export function inWords(answer, contract) {
  if (contract.task !== "classification") return withUnit(number(answer.prediction, 5), contract);
  const share = answer.probabilities?.[answer.label];
  return share === undefined ? answer.label : `${answer.label} (${percent(share)})`;
}

export function markStale() {
  if (find("answer").hidden) return;
  show(find("stale"));
  find("result").classList.add("is-stale");
}

function targetOf(contract) {
  return contract.columns.find((column) => column.name === contract.target);
}

function withUnit(text, contract) {
  const unit = targetOf(contract)?.unit;
  return unit ? `${text} ${unit}` : text;
}

function showClass(answer) {
  fill(find("value"), answer.label);
  show(find("between"), false);
  fill(find("probabilities"), answer.probabilities && shares(answer.probabilities, answer.label));
}

function showNumber({ prediction, interval }, contract) {
  const target = targetOf(contract);
  const unit = target?.unit ? h("span", { class: "unit muted" }, ` ${target.unit}`) : null;
  fill(find("value"), number(prediction, 5), unit);
  show(find("between"), interval !== null);
  if (interval !== null) {
    const [low, high] = interval.map((bound) => number(bound, 5));
    find("between").textContent = `probably between ${low} and ${high}`;
  }
  const known = target?.minimum != null && target.maximum > target.minimum;
  fill(find("probabilities"), known ? scale(prediction, interval, target.minimum, target.maximum) : null);
}

function showFlags(flags) {
  show(find("flags"), flags.length > 0);
  const lines = flags.map((flag) => {
    const [kind, ...name] = flag.split(":");
    return h("li", {}, `${words(name.join(":"))}: ${FLAGS[kind] ?? words(kind)}`);
  });
  fill(find("flags"), ...lines);
}

function showCall(answer, ms) {
  const version = answer.model_version ? `${answer.model}, version ${answer.model_version}` : answer.model;
  const facts = { Model: version, "Round trip": milliseconds(ms), "Request id": answer.request_id };
  const pairs = Object.entries(facts).flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
  fill(find("call"), ...pairs);
}

/** Ask for the SHAP values of a row and draw them. */
async function explain(row, answer, contract, place) {
  const area = find("why");
  show(find("why-title"));
  find("why-note").textContent = "";
  area.setAttribute("aria-busy", "true");
  fill(area, h("p", { class: "waiting" }, "Working out what moved it. The first time takes some seconds."));
  let drawing;
  try {
    const { answer: found } = await postJson("explain", row);
    drawing = contract.task === "classification" ? classEffects(found, answer, contract) : numberEffects(found, contract);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    drawing = [h("p", { class: "waiting" }, error.message)];
  }
  if (place !== latest) return;
  if (drawing.length > 1) {
    find("why-note").textContent = "SHAP values: how far each input moves this answer away from the average one.";
  }
  area.setAttribute("aria-busy", "false");
  fill(area, ...drawing);
}

/** Two classes have one output, the second one's: seen from the first, it is turned round. */
function classEffects(found, { label }, contract) {
  const output = found.outputs.indexOf(label);
  const meaning = [`speaks for ${label}`, "speaks against it"];
  return effects(entriesOf(found, Math.max(output, 0), output < 0 ? -1 : 1, contract), meaning);
}

function numberEffects(found, contract) {
  const meaning = [`raises ${words(contract.target)}`, "lowers it"];
  return effects(entriesOf(found, 0, 1, contract), meaning);
}

function entriesOf(found, output, sign, contract) {
  const types = new Map(contract.columns.map((column) => [column.name, column.type]));
  return found.fields.map(({ field, value, contributions }) => ({
    name: words(field),
    value: valueInWords(value, types.get(field)),
    effect: sign * contributions[output],
  }));
}

function valueInWords(value, type) {
  if (value === null) return "missing";
  if (type === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return number(value);
  return type === "timestamp" ? value.replace("T", " ") : String(value);
}

function command(row) {
  const body = JSON.stringify(row, null, 1).replaceAll("'", "'\\''");
  const key = hasKey() ? ` \\\n  -H "X-API-Key: $EVERGREEN_API_KEY"` : "";
  const url = new URL("predict", document.baseURI);
  return `curl ${url} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d '${body}'`;
}

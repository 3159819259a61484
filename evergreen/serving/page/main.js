// The page: fetches the contract, builds the form, and brings form, answer and lists together.

import { Refusal, askForKey, getJson, hasKey, postJson } from "./api.js";
import { startBatch } from "./batch.js";
import { fill, find, h, show } from "./dom.js";
import { Form } from "./form.js";
import { day, number, plural, words } from "./numbers.js";
import { Recent } from "./recent.js";
import { inWords, markStale, showResult } from "./result.js";

const RUNTIMES = { onnx: "ONNX Runtime", native: "scikit-learn" };
let contract;
let form;
let recent;
let served; // the versions that the header shows

async function start() {
  try {
    contract = await getJson("contract");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    fill(find("notice"), `${error.message} `, h("button", { type: "button", onclick: () => location.reload() }, "Try again"));
    show(find("notice"));
    return;
  }
  show(find("notice"), false);
  form = new Form(find("fields"), contract);
  form.set(form.typicalRow());
  recent = new Recent(contract.use_case, use);
  listen();
  startBatch(contract, form);
  describe();
  await showFacts();
}

function listen() {
  find("inputs").addEventListener("submit", (event) => {
    event.preventDefault();
    predict();
  });
  find("inputs").addEventListener("input", markStale);
  find("random").addEventListener("click", () => use(form.randomRow()));
  find("reset").addEventListener("click", () => use(form.typicalRow()));
  find("change-key").addEventListener("click", () => askForKey());
  find("copy").addEventListener("click", copy);
}

/** Put inputs into the form; what is shown was predicted from others. */
function use(row) {
  form.set(row);
  show(find("form-error"), false);
  find("status").textContent = "";
  markStale();
}

function describe() {
  const { use_case: name, task, target, labels } = contract;
  const title = words(name);
  find("title").textContent = title.charAt(0).toUpperCase() + title.slice(1);
  document.title = `${find("title").textContent} · Evergreen`;
  const known = task === "classification" && labels.length <= 6;
  const list = known ? new Intl.ListFormat("en", { type: "disjunction" }).format(labels.map(String)) : "";
  const kind = task === "classification" && !known ? `, one of ${plural(labels.length, "class", "classes")}` : "";
  find("purpose").textContent = `Predicts ${words(target)}${known ? `: ${list}` : kind}`;
  for (const link of document.querySelectorAll("nav a:not([href=docs])")) show(link, !hasKey());
  show(find("change-key"), hasKey());
}

async function showFacts() {
  const info = await getJson("model/info");
  served = info.arms.filter(({ percent }) => percent > 0).map(({ version }) => version);
  const version = info.version ? [h("strong", {}, `Version ${info.version}`)] : [];
  if (info.alias) version.push(` (${info.alias})`);
  const facts = [
    version.length ? version : null,
    [info.estimator.title],
    [`trained ${day(info.trained)} on ${plural(info.data.rows, "row")}`],
    [figure(info.figures)],
    [RUNTIMES[info.runtime]],
    [split(info)],
  ].filter((fact) => fact !== null && fact[0]);
  fill(find("facts"), ...facts.map((fact) => h("li", {}, ...fact)));
}

function split({ arms }) {
  const beside = arms.find(({ arm }) => arm !== "champion");
  if (!beside) return null;
  if (beside.arm === "shadow") return `version ${beside.version} scores in the shadow`;
  return `version ${beside.version} answers ${number(beside.percent, 3)} % of the requests`;
}

function figure(figures) {
  const found = figures?.metrics?.[figures.metric];
  return found ? `${words(figures.metric)} ${number(found.estimate, 3)}` : null;
}

async function predict() {
  const row = form.values();
  const button = find("predict");
  button.disabled = true;
  show(find("form-error"), false);
  find("status").textContent = "";
  try {
    const { answer, ms } = await postJson("predict", row);
    form.clear();
    form.showFlags(answer.flags);
    showResult(answer, ms, row, contract);
    const said = inWords(answer, contract);
    find("status").textContent = `Predicted: ${said}`;
    recent.add({ time: Date.now(), row, said, version: answer.model_version, ms });
    reveal();
    if (!served.includes(answer.model_version)) await showFacts();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refuse(error);
  } finally {
    button.disabled = false;
  }
}

function refuse(refusal) {
  const others = form.showErrors(refusal.errors);
  const fields = refusal.errors.length - others.length;
  const lines = others.map(({ field, message }) => `${field} ${message}`.trim());
  const text = fields ? `${plural(fields, "input")} must be changed.` : refusal.message;
  find("form-error").textContent = [text, ...lines].join(" ");
  show(find("form-error"));
  find("status").textContent = text;
}

/** On a phone the answer is below the form: bring it into view. */
function reveal() {
  const { top } = find("result").getBoundingClientRect();
  if (top > window.innerHeight * 0.6) {
    find("result").focus({ preventScroll: true });
    find("result").scrollIntoView({ block: "start" });
  }
}

async function copy() {
  const text = find("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
    find("copied").textContent = "Copied";
  } catch {
    // Without HTTPS a browser may refuse: then it is selected, to be copied by hand.
    getSelection().selectAllChildren(find("command"));
    find("copied").textContent = "Selected: press Ctrl+C";
  }
}

start();

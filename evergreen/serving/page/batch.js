// Many rows at once: a file goes in, a CSV file with the predictions comes out.

import { Refusal, request } from "./api.js";
import { shares } from "./charts.js";
import { fill, find, h } from "./dom.js";
import { milliseconds, number, plural } from "./numbers.js";

const TYPES = {
  csv: "text/csv",
  json: "application/json",
  ndjson: "application/x-ndjson",
  jsonl: "application/x-ndjson",
  parquet: "application/vnd.apache.parquet",
};
const PREVIEW = 5;
const SAMPLE = 20;
const MOST_ERRORS = 12;
let offered = null; // the address of the file that can be downloaded

export function startBatch(contract, form) {
  const drop = find("drop");
  find("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) predictFile(file, contract);
    event.target.value = ""; // so that the same file can be chosen again
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    drop.addEventListener(kind, () => drop.classList.remove("over"));
  }
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) predictFile(file, contract);
  });
  find("sample").addEventListener("click", () => {
    const rows = Array.from({ length: SAMPLE }, () => form.randomRow());
    save(toCsv(rows), `${contract.use_case}-sample.csv`);
  });
}

async function predictFile(file, contract) {
  const area = find("batch");
  fill(area, h("p", { class: "waiting" }, `Predicting ${file.name} …`));
  try {
    const { response, ms } = await request("predict/batch", {
      method: "POST",
      headers: { "Content-Type": typeOf(file), Accept: "text/csv" },
      body: file,
    });
    showOutcome(area, file, await response.text(), ms, contract);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    showRefusal(area, file, error);
  }
}

function typeOf(file) {
  const ending = file.name.split(".").pop().toLowerCase();
  return TYPES[ending] ?? "text/csv";
}

function showOutcome(area, file, text, ms, contract) {
  const [head, ...rows] = parseCsv(text);
  const name = `${file.name.replace(/\.[^.]+$/, "")}-predictions.csv`;
  const download = h("a", { href: address(text), download: name }, h("strong", {}, `Download ${name}`));
  const flagged = rows.filter((row) => row[head.indexOf("flags")]).length;
  const notes = flagged ? `; ${plural(flagged, "row")} with odd values, see the column flags` : "";
  const said = `${plural(rows.length, "row")} in ${milliseconds(ms)}${notes}.`;
  const predictions = rows.map((row) => row[head.indexOf("prediction")]);
  fill(
    area,
    h(
      "div",
      { class: "outcome" },
      h("div", {}, h("p", { class: "said" }, h("span", {}, said), download), preview(head, rows)),
      rows.length ? summary(predictions, contract) : null,
    ),
  );
}

function preview(head, rows) {
  const numeric = (text) => text !== "" && Number.isFinite(Number(text));
  const cell = (text, column) =>
    numeric(text) && column !== "row"
      ? h("td", { class: "num" }, number(Number(text)))
      : h("td", { class: column === "row" ? "num" : null }, text);
  const right = head.map((_, place) => rows.length > 0 && numeric(rows[0][place]));
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "The first rows" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...head.map((name, place) => h("th", { class: right[place] ? "num" : null, scope: "col" }, name)))),
      h("tbody", {}, ...rows.slice(0, PREVIEW).map((row) => h("tr", {}, ...row.map((text, place) => cell(text, head[place]))))),
    ),
  );
}

function summary(predictions, contract) {
  if (contract.task === "classification") {
    const counts = new Map(contract.labels.map((label) => [String(label), 0]));
    for (const label of predictions) counts.set(label, (counts.get(label) ?? 0) + 1);
    const parts = [...counts].map(([label, count]) => [label, count / predictions.length]);
    return h("div", {}, h("h3", {}, "How often each class was predicted"), shares(Object.fromEntries(parts), null));
  }
  const values = predictions.map(Number).sort((one, other) => one - other);
  const middle = values[Math.floor(values.length / 2)];
  const figures = { Least: values[0], Median: middle, Greatest: values[values.length - 1] };
  const pairs = Object.entries(figures).flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, number(value, 5))]);
  return h("div", {}, h("h3", {}, "The predictions"), h("dl", { class: "call" }, ...pairs));
}

function showRefusal(area, file, refusal) {
  const shown = refusal.errors.slice(0, MOST_ERRORS);
  const more = refusal.errors.length - shown.length + refusal.more;
  const numbered = shown.some(({ row }) => row !== undefined);
  const lines = shown.map(({ row, field, message, allowed }) =>
    h(
      "tr",
      {},
      numbered ? h("td", { class: "num" }, row === undefined ? "" : String(row)) : null,
      h("td", {}, field),
      h("td", { class: "text" }, allowed ? `${message}; allowed: ${allowed}` : message),
    ),
  );
  const names = [...(numbered ? ["Row"] : []), "Input", "What is wrong"];
  const heads = names.map((name) => h("th", { class: name === "Row" ? "num" : null, scope: "col" }, name));
  fill(
    area,
    h("p", { class: "form-error bad", role: "alert" }, `${file.name} was refused: ${refusal.message}`),
    lines.length ? h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...lines))) : null,
    more > 0 ? h("p", { class: "muted small" }, `and ${number(more, 9)} more`) : null,
    numbered ? h("p", { class: "muted small" }, "Rows are counted from 0, without the header.") : null,
  );
}

// --- files --------------------------------------------------------------------------------------

function address(text) {
  if (offered !== null) URL.revokeObjectURL(offered);
  offered = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  return offered;
}

function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function toCsv(rows) {
  const quoted = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [Object.keys(rows[0]), ...rows.map((row) => Object.values(row))];
  return `${lines.map((line) => line.map(quoted).join(",")).join("\r\n")}\r\n`;
}

/** Read CSV (RFC 4180) as a list of rows. */
export function parseCsv(text) {
  const rows = [];
  let row = [];
  const cell = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r?\n|$)/y;
  while (cell.lastIndex < text.length) {
    const [, content, end] = cell.exec(text) ?? [null, "", ""];
    row.push(content.startsWith('"') ? content.slice(1, -1).replaceAll('""', '"') : content);
    if (end === ",") continue;
    rows.push(row);
    row = [];
    if (end === "") break;
  }
  return rows;
}

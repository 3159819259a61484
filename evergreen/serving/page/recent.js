// The predictions of this browser tab, the newest first, and how long they took.

import { spark } from "./charts.js";
import { fill, find, h, show } from "./dom.js";
import { milliseconds } from "./numbers.js";

const STORED = "evergreen-recent";
const KEPT = 50;
const SHOWN = 10;

export class Recent {
  /** `reuse` is called with the inputs of a prediction that is to be looked at again. */
  constructor(model, reuse) {
    this.model = model;
    this.reuse = reuse;
    const stored = JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
    this.entries = stored.filter((entry) => entry.model === model);
    this.draw();
  }

  add(entry) {
    this.entries = [{ ...entry, model: this.model }, ...this.entries].slice(0, KEPT);
    sessionStorage.setItem(STORED, JSON.stringify(this.entries));
    this.draw();
  }

  draw() {
    show(find("recent"), this.entries.length > 0);
    if (!this.entries.length) return;
    const versioned = this.entries.some((entry) => entry.version !== null);
    const heads = ["Time", "Prediction", ...(versioned ? ["Version"] : []), "Round trip", ""];
    fill(
      find("recent-head"),
      ...heads.map((head) => h("th", { class: head === "Round trip" ? "num" : null, scope: "col" }, head || hidden("Inputs"))),
    );
    const shown = this.entries.slice(0, SHOWN);
    fill(find("recent-rows"), ...shown.map((entry) => this.row(entry, versioned)));
    this.drawTimes();
  }

  row(entry, versioned) {
    const time = new Date(entry.time).toLocaleTimeString("en-GB");
    const reuse = () => this.reuse(entry.row);
    return h(
      "tr",
      {},
      h("td", {}, time),
      h("td", {}, entry.said),
      versioned ? h("td", {}, entry.version ?? "–") : null,
      h("td", { class: "num" }, milliseconds(entry.ms)),
      h(
        "td",
        {},
        h("button", { type: "button", class: "plain", onclick: reuse, "aria-label": `Reuse the inputs of ${time}` }, "Reuse"),
      ),
    );
  }

  drawTimes() {
    const times = this.entries.map((entry) => entry.ms).reverse();
    const sorted = [...times].sort((one, other) => one - other);
    const middle = sorted[Math.floor(sorted.length / 2)];
    const text = `Round trip: median ${milliseconds(middle)}, slowest ${milliseconds(sorted[sorted.length - 1])}`;
    find("latency").textContent = text;
    find("spark").setAttribute("aria-label", text);
    show(find("spark"), times.length > 1);
    spark(find("spark"), times);
  }
}

const hidden = (text) => h("span", { class: "unseen" }, text);

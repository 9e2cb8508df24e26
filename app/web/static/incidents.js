// Rules and their incidents: what goes on now, what has ended, counts, and the shapes of the rules over the pictures.
"use strict";

import { $, drawn, element } from "./elements.js";

const PAST = 50; // incidents in the list of those that have ended
const COUNTS_MS = 15000; // between two readings of the counts
const COUNTED_MS = 3600000; // the time that the counts are of
const HEIGHT = 1000; // of the drawing of shapes, whose width follows the picture
const SIGNS = { info: "●", warning: "▲", alarm: "◆" };

export class Incidents {
  // get: asks the system; age: says for how long; say: speaks a line; changed: redraws the shapes of all cameras;
  // evidence: shows pictures and clips
  constructor({ get, age, say, changed, evidence }) {
    Object.assign(this, { get, age, say, changed, evidence });
    this.rules = [];
    this.active = [];
    this.version = ""; // of the rules, and of the cameras that they name
    this.known = null; // ids of those that went on when last asked
    this.countedAt = -Infinity;
    this.asking = false;
  }

  // Called with every status: asks for what is new, one question at a time, and only while the page is looked at.
  async follow(status) {
    if (this.asking || document.hidden || !status.publisher) return;
    this.asking = true;
    try {
      const version = [status.rules_version, ...status.cameras.map((camera) => camera.id)].join();
      if (version !== this.version) {
        this.rules = await this.read("api/v1/rules");
        this.version = version;
        this.countedAt = -Infinity;
        this.changed();
      }
      this.showActive(await this.read("api/v1/anomalies?active=true&limit=100"));
      this.showPast(await this.read(`api/v1/anomalies?active=false&limit=${PAST}`));
      if (performance.now() - this.countedAt >= COUNTS_MS) await this.showCounts();
    } catch (error) {
      // The next status asks again; whether there is a connection is shown elsewhere.
    } finally {
      this.asking = false;
    }
  }

  async read(path) {
    const answer = await this.get(path);
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  }

  // The severity of the most severe incident that goes on for a track of a camera; undefined: there is none.
  severityOf(camera, track) {
    const about = this.active.filter((one) => one.camera_id === camera && one.track_ids.includes(track));
    return Object.keys(SIGNS).findLast((severity) => about.some((one) => one.severity === severity));
  }

  showActive(active) {
    const before = this.shapesNow();
    this.active = active;
    $("incidents").hidden = active.length === 0;
    // A row is kept while its incident lasts: replacing its link would take the keyboard's focus away.
    const rows = new Map([...$("active").children].map((row) => [row.dataset.anomaly, row]));
    for (const one of active) {
      let row = rows.get(one.anomaly_id);
      if (!row) {
        const to = element("a", one.camera_id);
        to.href = `#camera-${one.camera_id}`;
        row = element("li");
        row.dataset.anomaly = one.anomaly_id;
        row.dataset.severity = one.severity;
        const since = element("span");
        since.className = "since";
        row.append(element("span", `${SIGNS[one.severity]} ${one.severity}: ${what(one)} `), to, since, ...this.shown(one));
        $("active").append(row);
      }
      row.querySelector(".since").textContent = ` since ${clock(one.started_at)}, for ${this.age(one.started_at)}`;
      rows.delete(one.anomaly_id);
    }
    for (const row of rows.values()) row.remove();
    const ids = active.map((one) => one.anomaly_id);
    if (this.known) {
      const fresh = active.filter((one) => !this.known.includes(one.anomaly_id) && one.severity !== "info");
      if (fresh.length) this.say(fresh.map((one) => `${one.severity}: ${what(one)} on ${one.camera_id}`).join("; "));
    }
    this.known = ids;
    if (before !== this.shapesNow()) this.changed();
  }

  showPast(past) {
    $("history").hidden = past.length === 0 && this.rules.length === 0;
    // What has ended stays as it is, and so does its row, with the focus that its button may have.
    const rows = new Map([...$("past").children].map((row) => [row.dataset.anomaly, row]));
    const wanted = past.map((one) => rows.get(one.anomaly_id) ?? this.pastRow(one));
    for (const row of rows.values()) if (!wanted.includes(row)) row.remove();
    wanted.forEach((row, place) => {
      if ($("past").children[place] !== row) $("past").insertBefore(row, $("past").children[place] ?? null);
    });
  }

  pastRow(one) {
    const row = element("li");
    row.dataset.anomaly = one.anomaly_id;
    row.dataset.severity = one.severity;
    row.append(element("time", clock(one.started_at)), element("b", one.camera_id), element("span", lasted(one)));
    const told = element("span", `${SIGNS[one.severity]} ${what(one)}${one.reason ? ` (${one.reason.replace("_", " ")})` : ""}`);
    told.className = "what";
    row.append(told, ...this.shown(one));
    return row;
  }

  // The button that shows an incident's picture and clip, where it has any.
  shown(one) {
    const button = this.evidence.button(one, `${what(one)}, ${one.camera_id}, ${clock(one.started_at)}`);
    return button ? [button] : [];
  }

  async showCounts() {
    this.countedAt = performance.now();
    const from = encodeURIComponent(new Date(Date.now() - COUNTED_MS).toISOString());
    const counted = await Promise.all(this.rules.map((rule) =>
      this.read(`api/v1/rules/${encodeURIComponent(rule.id)}/counts?from=${from}&step=86400`)));
    $("counts").replaceChildren(...this.rules.map((rule, place) => {
      const row = element("tr"), name = element("th", rule.id), sums = new Map();
      name.scope = "row";
      for (const one of counted[place].counts) sums.set(one.direction, (sums.get(one.direction) ?? 0) + one.count);
      const total = [...sums.values()].reduce((sum, count) => sum + count, 0);
      const by = [...sums].filter(([direction]) => direction).map(([direction, count]) => `${count} ${direction.replaceAll("_", " ")}`);
      row.dataset.rule = rule.id;
      row.append(name, element("td", rule.type.replaceAll("_", " ")), element("td", `${total}${by.length ? ` (${by.join(", ")})` : ""}`));
      return row;
    }));
  }

  // The rules that are drawn as having an incident now.
  shapesNow() {
    return [...new Set(this.active.map((one) => `${one.camera_id} ${one.rule}`))].sort().join();
  }

  // Draws zones and lines of the rules of a camera, whose picture has these sides.
  draw(canvas, camera, width, height) {
    const wide = (HEIGHT * width) / height;
    canvas.setAttribute("viewBox", `0 0 ${wide} ${HEIGHT}`);
    canvas.replaceChildren(...this.rules.filter((rule) => rule.applies_to.includes(camera)).flatMap((rule) => {
      const { zone, line } = rule.settings;
      const shape = zone ?? line;
      if (!shape) return [];
      const now = this.active.find((one) => one.camera_id === camera && one.rule === rule.id);
      const points = shape.points.map(([x, y]) => [x * wide, y * HEIGHT]);
      const made = drawn(zone ? "polygon" : "polyline", {
        class: `shape${now ? ` now ${now.severity}` : ""}`, "data-rule": rule.id, points: points.map((point) => point.join()).join(" "),
      });
      made.append(drawn("title", {}, `${shape.name ?? rule.id}: ${rule.type.replaceAll("_", " ")}`));
      const ends = zone ? [] : points.map(([x, y], end) => drawn("text", { x: x + 8, y }, "AB"[end], 34));
      const [x, y] = points.reduce((top, point) => (point[1] < top[1] ? point : top));
      return [made, ...ends, drawn("text", { x: x + (zone ? 8 : 40), y: Math.max(34, y - 8), class: "shape-name" }, shape.name ?? rule.id, 34)];
    }));
  }
}

function what(one) {
  const direction = one.direction ? ` ${one.direction.replaceAll("_", " ")}` : "";
  const about = one.classes.length ? ` (${one.classes.join(", ")})` : "";
  return `${one.rule}, ${one.type.replaceAll("_", " ")}${direction}${about}`;
}

function lasted(one) {
  if (one.state === "instant" || !one.ended_at) return "";
  return `${((Date.parse(one.ended_at) - Date.parse(one.started_at)) / 1000).toFixed(0)} s`;
}

const clock = (time) => time.slice(11, 19);

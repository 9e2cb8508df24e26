// The live page: one stream of events and status, and one picture request at a time for each visible camera.
"use strict";

import { $, drawn, element, hueOf } from "./elements.js";
import { Evidence } from "./evidence.js";
import { Incidents } from "./incidents.js";

const MEANING = {
  encode: "encode (camera)", transport: "transport to the service", queue: "waiting for a detector",
  decode: "decode", inference: "inference", commit: "event made durable",
};
const STAGES = Object.keys(MEANING); // ANSWER_STAGES of app/core/stage.py: tests/unit/web/test_page.py compares them
const SIGNS = { live: "●", starting: "◔", stalled: "▲", reconnecting: "▲", offline: "✖", ended: "■" };
const LISTED = 100; // events in the list
const PICTURE_MS = 500; // between two pictures of a camera
const TRAIL_MS = 3000; // how far back a trail reaches
const PATIENCE_MS = 1500; // how long a picture waits for its event

const tiles = new Map(); // by camera id
const ended = new AbortController(); // aborts every request when the page is left
const evidence = new Evidence({ get, problem });
const incidents = new Incidents({ get, age, say, evidence, changed: () => tiles.forEach((tile) => tile.shapes()) });
let budget = 200, ahead = 0, paused = false, chosen = "";
addEventListener("pagehide", () => ended.abort());
addEventListener("pageshow", (shown) => { if (shown.persisted) location.reload(); });

// Requests, with the token where there is one.

let asking = null;
function askForToken(refused) {
  asking ??= new Promise((resolve) => {
    $("wrong").hidden = !refused;
    $("ask").showModal();
    $("ask").oncancel = (event) => event.preventDefault();
    $("ask-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem("token", $("token").value.trim());
      $("token").value = "";
      $("ask").close();
      asking = null;
      resolve();
    };
  });
  return asking;
}

async function get(path, headers = {}) {
  for (;;) {
    const token = sessionStorage.getItem("token");
    const given = token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
    const answer = await fetch(path, { headers: given, signal: ended.signal, cache: "no-store" });
    if (answer.status !== 401) return answer;
    // Another request may have asked for a new one meanwhile: only a token that was refused is asked for again.
    if (token === sessionStorage.getItem("token")) await askForToken(token !== null);
  }
}

class Refused extends Error {}

// The detail of a problem document; a proxy in between may answer with another format.
async function problem(answer) {
  const document = await answer.json().catch(() => null);
  return document?.detail ?? `the system answers ${answer.status}`;
}

// Events and status.

async function follow() {
  for (let pause = 500; ; pause = Math.min(5000, pause * 2)) {
    let why = "no connection";
    try {
      const answer = await get("api/v1/events/stream");
      if (!answer.ok) throw new Refused(await problem(answer));
      link("good", "connected");
      pause = 250;
      await fill();
      await read(answer.body.getReader());
    } catch (error) {
      if (ended.signal.aborted) return;
      if (error instanceof Refused) why = error.message;
    }
    link("bad", `${why}; trying again`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// Events from before the page was loaded, or from while its connection was interrupted.
async function fill() {
  const status = await get("api/v1/status");
  if (status.ok) showStatus(await status.json());
  const answer = await get("api/v1/events?limit=50");
  if (!answer.ok) return;
  const known = new Set([...$("events").children].map((row) => row.dataset.event));
  for (const event of (await answer.json()).reverse()) if (!known.has(event.event_id)) detected(event);
}

async function read(reader) {
  const decoder = new TextDecoder();
  for (let rest = ""; ; ) {
    const { done, value } = await heard(reader);
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const name = /^event: (.*)$/m.exec(part)?.[1], data = /^data: (.*)$/m.exec(part)?.[1];
      if (name === "detection") detected(JSON.parse(data));
      else if (name === "status") showStatus(JSON.parse(data));
    }
  }
}

// A connection that died silently would show old pictures as live for ever. The status comes every two seconds.
async function heard(reader) {
  const silence = setTimeout(() => reader.cancel().catch(() => {}), Number(document.body.dataset.silenceMs));
  try {
    return await reader.read();
  } finally {
    clearTimeout(silence);
  }
}

function link(tone, text) {
  if ($("link").textContent === text) return;
  if (tone === "bad" || document.body.dataset.link === "bad") say(text);
  document.body.dataset.link = tone;
  $("link").dataset.tone = tone;
  $("link").textContent = text;
}

function say(text) {
  $("said").textContent = text;
}

// The system.

function showStatus(status) {
  budget = status.budget_ms;
  ahead = Date.parse(status.at) - Date.now();
  const ids = status.cameras.map((camera) => camera.id);
  for (const id of [...tiles.keys()]) if (!ids.includes(id)) { tiles.get(id).remove(); tiles.delete(id); }
  for (const camera of status.cameras) {
    if (!tiles.has(camera.id)) tiles.set(camera.id, new Tile(camera.id));
    tiles.get(camera.id).show(camera);
  }
  if ([...$("filter").options].slice(1).map((option) => option.value).join() !== ids.join()) {
    $("filter").replaceChildren(new Option("all", ""), ...ids.map((id) => new Option(id, id)));
    choose(ids.includes(chosen) ? chosen : "");
  }
  showSystem(status);
  showTroubles(status.cameras);
  incidents.follow(status);
}

function showSystem(status) {
  const live = status.cameras.filter((camera) => camera.state === "live").length;
  const of = (name) => status.deployments.find((one) => one.name === name);
  const replicas = (one) => !one ? "none" : `${one.running}${one.starting ? ` (+${one.starting} starting)` : ""}`;
  const spread = status.capture_to_kafka_ms;
  const spool = status.spool;
  const rows = [
    ["cameras live", `${live} of ${status.cameras.length}`, live === status.cameras.length ? "" : "bad"],
    ["capture to Kafka", spread ? `p50 ${ms(spread.p50)} p95 ${ms(spread.p95)} p99 ${ms(spread.p99)} of ${budget} ms` : "nothing yet",
      spread && spread.p95 > budget ? "bad" : ""],
    ["detectors", replicas(of("ObjectDetector")), of("ObjectDetector")?.running ? "" : "bad"],
    ["ingress", replicas(of("DetectionIngress")), of("DetectionIngress")?.running ? "" : "bad"],
    ["queue", status.queue ? `${status.queue.frames_waiting} frames` : "unknown", ""],
    ["spool", spool ? `${spool.events} events${spool.events > 50 ? `, oldest ${spool.oldest_s.toFixed(0)} s` : ""}` : "unknown", ""],
    ...(status.cameras_trouble ? [["configured cameras", `not in force: ${status.cameras_trouble}`, "bad"]] : []),
    ...(status.rules_trouble ? [["rules", `not in force: ${status.rules_trouble}`, "bad"]] : []),
    ...(status.publisher?.quarantine_trouble ? [["quarantine", status.publisher.quarantine_trouble, "bad"]] : []),
    ...(status.evidence?.asked || status.evidence?.trouble ? [["pictures and clips", kept(status.evidence), status.evidence.trouble ? "bad" : ""]] : []),
    ["Kafka", kafka(status.broker), status.broker.trouble ? "bad" : status.broker.embedded || !status.broker.enabled || status.broker.warning ? "wait" : ""],
  ];
  $("system").replaceChildren(...rows.map(([name, text, tone]) => {
    const row = element("div"), value = element("dd", tone === "bad" ? `▲ ${text}` : text);
    if (tone) value.dataset.tone = tone;
    row.append(element("dt", name), value);
    return row;
  }));
}

function kafka(broker) {
  if (!broker.enabled) return "off: nothing is published";
  if (broker.trouble) return broker.trouble;
  if (broker.embedded) return "embedded broker (keeps events in memory only)";
  return `delivering to ${broker.servers.join(", ")}${broker.warning ? `; but ${broker.warning}` : ""}`;
}

function kept(evidence) {
  const lost = evidence.expired + evidence.refused;
  return evidence.trouble || `${evidence.stored} stored, ${evidence.spooled} here${lost ? `, ${lost} lost` : ""}`;
}

let saidBefore = null;
function showTroubles(cameras) {
  const troubled = cameras.filter((camera) => camera.trouble);
  $("attention").hidden = troubled.length === 0;
  // A row is kept while its trouble lasts: replacing its link would take the keyboard's focus away.
  const rows = new Map([...$("troubles").children].map((row) => [row.dataset.camera, row]));
  for (const camera of troubled) {
    let row = rows.get(camera.id);
    if (!row) {
      const to = element("a", camera.id);
      to.href = `#camera-${camera.id}`;
      row = element("li");
      row.dataset.camera = camera.id;
      row.append(to, element("span"));
      $("troubles").append(row);
    }
    row.lastChild.textContent = ` ${camera.trouble}`;
    rows.delete(camera.id);
  }
  for (const row of rows.values()) row.remove();
  const states = cameras.map(spoken);
  if (saidBefore) {
    const fresh = states.filter((state) => !saidBefore.includes(state));
    if (fresh.length) say(fresh.join("; "));
  }
  saidBefore = states;
}

function spoken(camera) {
  const slow = camera.state === "live" && camera.trouble ? `, ${camera.trouble.split(":")[0]}` : ""; // its numbers change too often
  return `${camera.id} is ${camera.state}${slow}${camera.reason ? `: ${camera.reason}` : ""}`;
}

// One camera.

class Tile {
  constructor(id) {
    this.id = id;
    this.events = new Map(); // by frame id
    this.frame = null; // the frame whose picture is shown
    this.inSight = true;
    this.root = $("camera").content.firstElementChild.cloneNode(true);
    this.root.id = `camera-${id}`;
    this.part = (name) => this.root.querySelector(`.${name}`);
    this.part("name").textContent = id;
    this.part("name").onclick = () => choose(chosen === id ? "" : id);
    this.image = this.root.querySelector("img");
    this.sight = new IntersectionObserver(([seen]) => { this.inSight = seen.isIntersecting; });
    this.sight.observe(this.root);
    $("wall").append(this.root);
    this.watch();
  }

  remove() {
    this.gone = true;
    this.sight.disconnect();
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.root.remove();
  }

  show(camera) {
    const tone = camera.state === "live" || camera.state === "ended" ? (camera.trouble ? "wait" : "good")
      : camera.state === "starting" ? "wait" : "bad";
    this.root.dataset.tone = tone;
    this.root.dataset.state = camera.state;
    this.hasPicture = camera.round_trip_ms !== null;
    this.part("sign").textContent = SIGNS[camera.state] ?? "?";
    this.part("word").textContent = camera.state;
    this.part("since").textContent = `for ${age(camera.since)}`;
    this.part("why").textContent = camera.trouble ? `▲ ${camera.trouble}` : camera.reason;
    this.part("rate").textContent = `${camera.fps_delivered.toFixed(1)} of ${+camera.fps_asked.toFixed(2)} frames/s delivered`;
    const total = camera.latency.total;
    this.part("spread").textContent = total ? `p50 ${ms(total.p50)} p95 ${ms(total.p95)} ms` : "";
    const dropped = Object.entries(camera.ledger?.dropped ?? {}).filter(([, count]) => count);
    this.part("drops").textContent = dropped.length ? `dropped: ${dropped.map(([why, count]) => `${count} ${why}`).join(", ")}` : "";
    this.part("options").textContent = options(camera);
    if (camera.width && (camera.width !== this.width || camera.height !== this.height)) {
      this.width = camera.width;
      this.height = camera.height;
      this.part("view").style.aspectRatio = `${camera.width} / ${camera.height}`;
      this.shapes();
    }
    this.image.alt = `Latest picture of ${this.id}`;
  }

  detected(event) {
    this.events.set(event.frame_id, event);
    if (this.events.size > 40) this.events.delete(this.events.keys().next().value);
    if (this.waiting) this.waiting(event);
    else if (event.frame_id === this.frame) this.boxes(event); // it came after its picture was shown without it
    this.bar(event.latency_ms);
  }

  shapes() {
    if (this.width) incidents.draw(this.root.querySelector("svg.shapes"), this.id, this.width, this.height);
  }

  bar(latency) {
    const scale = Math.max(budget * 1.25, latency.total), stages = this.part("stages");
    while (stages.children.length < STAGES.length) stages.append(element("i"));
    STAGES.forEach((stage, place) => {
      stages.children[place].className = stage;
      stages.children[place].style.width = `${(100 * latency[stage]) / scale}%`;
    });
    this.part("line").style.left = `${(100 * budget) / scale}%`;
    const parts = STAGES.map((stage) => `${stage} ${ms(latency[stage])}`).join(", ");
    const text = `${ms(latency.total)} ms of ${budget} ms: ${parts}`;
    this.part("latency").setAttribute("aria-label", text);
    this.part("latency").title = text;
  }

  async watch() {
    while (!this.gone && !ended.signal.aborted) {
      const began = performance.now();
      try {
        if (this.hasPicture && this.inSight && !document.hidden && this.root.dataset.tone !== "bad") await this.refresh();
      } catch (error) {
        if (ended.signal.aborted) return;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(50, PICTURE_MS - (performance.now() - began))));
    }
  }

  async refresh() {
    const known = this.frame ? { "If-None-Match": `"${this.frame}"` } : {};
    const answer = await get(`api/v1/cameras/${encodeURIComponent(this.id)}/frame.jpg`, known);
    if (!answer.ok) return;
    const frame = answer.headers.get("X-Frame-Id"), url = URL.createObjectURL(await answer.blob());
    const event = answer.headers.get("X-Has-Event") === "true" ? await this.eventOf(frame) : null;
    const fresh = new Image();
    fresh.src = url;
    try {
      await fresh.decode();
    } catch (error) {
      URL.revokeObjectURL(url);
      return;
    }
    // Picture and boxes change together: they always belong to the same frame.
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    if (this.gone) return URL.revokeObjectURL(url);
    this.image.src = url;
    this.frame = frame;
    this.root.dataset.frame = frame;
    this.boxes(event);
  }

  // The picture comes first, its event within the next half second.
  eventOf(frame) {
    if (this.events.has(frame)) return this.events.get(frame);
    return new Promise((resolve) => {
      const settle = (event) => { clearTimeout(timer); this.waiting = null; resolve(event); };
      const timer = setTimeout(() => settle(null), PATIENCE_MS);
      this.waiting = (event) => { if (event.frame_id === frame) settle(event); };
    });
  }

  boxes(event) {
    const canvas = this.root.querySelector("svg.boxes");
    canvas.dataset.frame = event?.frame_id ?? "";
    if (!event) return canvas.replaceChildren();
    const { width, height } = event.frame, size = height / 24;
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.replaceChildren(...event.detections.flatMap((seen) => {
      const [x, y, wide, high] = seen.bbox, hue = hueOf(seen.class);
      const text = `${seen.class} ${seen.confidence.toFixed(2)}${seen.track_id === null ? "" : ` #${seen.track_id % 10000}`}`;
      const top = y > size * 1.2 ? y - size * 1.2 : y, length = text.length * size * 0.58;
      return [
        ...this.trail(event, seen.track_id, hue),
        drawn("rect", { class: `box ${incidents.severityOf(this.id, seen.track_id) ?? ""}`.trim(), x, y, width: wide, height: high, stroke: `hsl(${hue} 75% 45%)` }),
        drawn("rect", { x, y: top, width: length, height: size * 1.2, fill: `hsl(${hue} 75% 26%)` }), // white on it is legible in every hue,
        drawn("text", { x: x + size * 0.2, y: top + size * 0.92, textLength: length - size * 0.4 }, text, size),
      ];
    }));
    this.image.alt = `Latest picture of ${this.id}: ${summary(event)}`;
  }

  // Where the foot of an object's box was in the last seconds.
  trail(event, track, hue) {
    if (track === null) return [];
    const now = Date.parse(event.timestamp), points = [];
    for (const one of this.events.values()) {
      const time = Date.parse(one.timestamp), seen = one.detections.find((each) => each.track_id === track);
      if (seen && time <= now && time > now - TRAIL_MS) points.push([time, seen.bbox[0] + seen.bbox[2] / 2, seen.bbox[1] + seen.bbox[3]]);
    }
    points.sort((one, other) => one[0] - other[0]);
    const line = points.map(([, x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    return points.length < 2 ? [] : [drawn("polyline", { class: "trail", points: line, stroke: `hsl(${hue} 75% 45%)` })];
  }
}

// What differs from the defaults of a camera, and the decoder where hardware was asked for.
function options({ settings, decoder }) {
  return [
    settings.decode !== "cpu" && decoder && `decoder ${decoder} (asked for ${settings.decode})`,
    settings.masks.length && `${settings.masks.length} mask${settings.masks.length === 1 ? "" : "s"}`,
    settings.model !== "default" && `model ${settings.model}`,
    settings.confidence !== null && `confidence ${settings.confidence}`,
    settings.classes.length && `only ${settings.classes.join(", ")}`,
    !settings.tracking && "not tracked",
    settings.stall_s !== null && `stalled after ${settings.stall_s} s`,
  ].filter(Boolean).join(" · ");
}

function choose(id) {
  chosen = id;
  $("filter").value = id;
  for (const [name, tile] of tiles) {
    tile.root.classList.toggle("large", name === id);
    tile.part("name").setAttribute("aria-pressed", String(name === id));
  }
  for (const row of $("events").children) row.hidden = Boolean(id) && row.dataset.camera !== id;
}

// The list of events.

function detected(event) {
  tiles.get(event.camera_id)?.detected(event);
  if (paused) return;
  const total = event.latency_ms.total, late = total > budget;
  const row = element("li"), took = element("span", `${ms(total)} ms${late ? " ▲ late" : ""}`), what = element("span", summary(event));
  row.dataset.camera = event.camera_id;
  row.dataset.event = event.event_id;
  row.hidden = Boolean(chosen) && chosen !== event.camera_id;
  took.className = late ? "late" : "";
  what.className = "what";
  row.append(element("time", event.timestamp.slice(11, 23)), element("b", event.camera_id), took, what);
  $("events").prepend(row);
  while ($("events").children.length > LISTED) $("events").lastElementChild.remove();
}

function summary(event) {
  const counts = new Map();
  for (const seen of event.detections) counts.set(seen.class, (counts.get(seen.class) ?? 0) + 1);
  return [...counts].map(([label, count]) => `${count} ${label}`).join(", ") || "nothing detected";
}

// Helpers.

const ms = (value) => value.toFixed(0);

function age(since) {
  const seconds = Math.max(0, (Date.now() + ahead - Date.parse(since)) / 1000);
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  if (seconds < 6000) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

$("legend").append(...STAGES.map((stage) => {
  const entry = element("span"), patch = element("i");
  patch.className = stage;
  entry.append(patch, MEANING[stage]);
  return entry;
}), element("span", "┊ the budget"));
$("filter").onchange = () => choose($("filter").value);
$("pause").onclick = () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
};
addEventListener("keydown", (key) => { if (key.key === "Escape" && chosen) choose(""); });
addEventListener("error", () => { document.body.dataset.fault = "yes"; });
follow();

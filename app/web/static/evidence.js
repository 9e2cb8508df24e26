// The picture and the clip of an incident, in a dialog: fetched when asked for, with the token where there is one.
"use strict";

import { $, element } from "./elements.js";

const NAMES = { image: "picture", clip: "clip" };
const RECORDING_MS = 2000; // between two questions whether a clip is complete

export class Evidence {
  // get: asks the system; problem: returns what it refused
  constructor({ get, problem }) {
    Object.assign(this, { get, problem });
    this.turn = 0; // counts what was opened and closed: an answer to an earlier question is dropped
    this.urls = [];
    $("evidence").addEventListener("close", () => this.clear());
    $("evidence-close").onclick = () => $("evidence").close();
  }

  // The button of an incident's row; null: it has neither picture nor clip.
  button(incident, title) {
    const kinds = Object.keys(NAMES).filter((kind) => incident[kind]);
    if (kinds.length === 0) return null;
    const made = element("button", kinds.map((kind) => NAMES[kind]).join(" and "));
    made.type = "button";
    made.className = "evidence";
    made.setAttribute("aria-label", `Show ${made.textContent} of ${title}`);
    made.onclick = () => this.open(incident.anomaly_id, kinds, title);
    return made;
  }

  open(id, kinds, title) {
    const turn = ++this.turn;
    $("evidence-title").textContent = title;
    $("evidence-parts").replaceChildren(...kinds.map((kind) => {
      const place = element("div", `The ${NAMES[kind]} is being fetched.`);
      place.dataset.kind = kind;
      this.fill(place, id, kind, () => turn === this.turn).catch(() => { place.textContent = "There is no connection."; });
      return place;
    }));
    $("evidence").showModal();
  }

  clear() {
    this.turn += 1;
    $("evidence-parts").replaceChildren();
    for (const url of this.urls) URL.revokeObjectURL(url);
    this.urls = [];
  }

  async fill(place, id, kind, wanted) {
    const path = `api/v1/anomalies/${encodeURIComponent(id)}`;
    while (await this.isRecorded(path, kind)) {
      place.textContent = `The ${NAMES[kind]} is still being recorded.`;
      await new Promise((resolve) => setTimeout(resolve, RECORDING_MS));
      if (!wanted()) return;
    }
    const answer = await this.get(`${path}/${kind}?redirect=false`); // the store may be out of this browser's reach
    if (!answer.ok) {
      const why = await this.problem(answer);
      place.textContent = `${why[0].toUpperCase()}${why.slice(1)}.`;
      return;
    }
    const url = URL.createObjectURL(await answer.blob());
    if (!wanted()) return URL.revokeObjectURL(url);
    this.urls.push(url);
    place.replaceChildren(kind === "image" ? picture(url) : film(url));
  }

  async isRecorded(path, kind) {
    const answer = await this.get(path);
    return answer.ok && (await answer.json())[kind]?.state === "recording";
  }
}

function picture(url) {
  const made = element("img");
  made.alt = "The picture with which the incident was reported";
  made.src = url;
  return made;
}

function film(url) {
  const made = element("video");
  made.setAttribute("aria-label", "The clip around the incident");
  Object.assign(made, { controls: true, muted: true, playsInline: true, src: url });
  made.autoplay = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  return made;
}

// Elements of the page, made by its modules.
"use strict";

export const $ = (id) => document.getElementById(id);

export function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

export function drawn(name, attributes, text = "", size = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  if (size !== null) made.style.fontSize = `${size}px`;
  return made;
}

export function hueOf(label) {
  let mixed = 7;
  for (const letter of label) mixed = (mixed * 31 + letter.codePointAt(0)) % 3600;
  return mixed % 360;
}

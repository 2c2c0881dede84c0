// Helpers for elements.

/** Return a new element from a template. */
export function clone(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

/** Set a text if it differs. Untrusted content is only shown as text. */
export function fill(element, text) {
  if (element.textContent !== String(text)) element.textContent = String(text);
}

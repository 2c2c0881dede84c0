// Two things that every part of the page does.

/** A new element from a template. */
export function clone(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

/** Set a text, if it is another. What comes from elsewhere is only ever shown as text. */
export function fill(element, text) {
  if (element.textContent !== String(text)) element.textContent = String(text);
}

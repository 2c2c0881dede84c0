// Columns and their cards. A change of the store updates single elements, so that an element that a user edits, drags or
// focuses is never replaced.

import { clone, fill } from "./dom.js";

const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const CLOSE = 1e-9; // ranks closer than this leave no room between them

export class Columns {
  #cards = new Map();
  #columns = new Map();

  /**
   * @param {HTMLElement} element The element that contains the columns.
   * @param {Store} store The data.
   * @param {{id: () => string, open: (id: string) => void, told: (text: string, undo?: () => void) => void}} does
   */
  constructor(element, store, does) {
    this.element = element;
    this.store = store;
    this.does = does;
    this.drag = { card: null, cancel: () => {} };
    this.more = document.createElement("button");
    this.more.className = "more";
    this.more.textContent = "+ Add a column";
    this.more.addEventListener("click", () => this.#addColumn());
    element.append(this.more);
  }

  /** Show the present state of the store; `news` are keys that other users have changed. */
  show(news = []) {
    const places = this.#places();
    const columns = this.store.all("column");
    const known = new Set(columns.map(([id]) => id));
    for (const [id, element] of this.#columns) {
      if (known.has(id)) continue;
      if (element.contains(this.drag.card)) this.drag.cancel();
      element.remove();
      this.#columns.delete(id);
    }
    arrange(this.element, columns.map(([id, value]) => this.#column(id, value)));
    const cards = new Set(columns.length ? this.store.all("card").map(([id]) => id) : []);
    for (const [id, element] of this.#cards) {
      if (cards.has(id)) continue;
      if (element === this.drag.card) this.drag.cancel();
      element.remove();
      this.#cards.delete(id);
    }
    for (const [id, element] of this.#columns) {
      const own = this.#in(id).map(([card, value]) => this.#card(card, value));
      fill(element.querySelector(".count"), own.length || "");
      arrange(element.querySelector(".cards"), own.filter((card) => card !== this.drag.card));
    }
    this.#glide(places, new Set(news));
  }

  /** Return the element of a card, if it is shown. */
  card(id) {
    return this.#cards.get(id);
  }

  /** Move a card into a column, behind another card or to the top. */
  move(id, column, after) {
    const others = this.#in(column).filter(([other]) => other !== id);
    const position = others.findIndex(([other]) => other === after) + 1;
    const edit = {};
    const rank = between(others, position, (other, value) => (edit[`card/${other}`] = { rank: value }));
    edit[`card/${id}`] = { column, rank };
    const card = this.store.get(`card/${id}`);
    const before = this.#in(column).findIndex(([other]) => other === id);
    if (card && (card.column !== column || before !== position)) this.store.edit(edit);
    else this.show();
  }

  /** Move a card one place with the keyboard. */
  step(id, key) {
    const columns = this.store.all("column").map(([column]) => column);
    const column = columns.find((one) => this.#in(one).some(([other]) => other === id));
    const own = this.#in(column).map(([other]) => other);
    const place = own.indexOf(id);
    if (key === "ArrowUp" && place > 0) this.move(id, column, own[place - 2] ?? null);
    if (key === "ArrowDown" && place < own.length - 1) this.move(id, column, own[place + 1]);
    const beside = columns[columns.indexOf(column) + { ArrowLeft: -1, ArrowRight: 1 }[key]];
    if (beside) this.move(id, beside, null);
    this.card(id)?.focus();
  }

  // Return the cards of a column. Cards of a deleted column are in the first column.
  #in(column) {
    const columns = this.store.all("column").map(([id]) => id);
    const place = (card) => (columns.includes(card.column) ? card.column : columns[0]);
    return this.store.all("card").filter(([, card]) => place(card) === column);
  }

  #column(id, value) {
    let element = this.#columns.get(id);
    if (!element) {
      element = clone("column");
      element.dataset.id = id;
      this.#columns.set(id, element);
      const name = element.querySelector(".name");
      name.addEventListener("change", () => {
        if (name.value.trim()) this.store.edit({ [`column/${id}`]: { title: name.value.trim() } });
        else name.value = this.store.get(`column/${id}`)?.title ?? "";
      });
      name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
      element.querySelector(".delete").addEventListener("click", () => this.#deleteColumn(id));
      const text = element.querySelector(".add textarea");
      text.addEventListener("keydown", (event) => {
        if (event.key === "Escape") text.blur();
        if (event.key !== "Enter" || event.isComposing) return;
        event.preventDefault();
        const title = text.value.trim();
        text.value = "";
        if (title) this.#addCard(id, title);
      });
    }
    const name = element.querySelector(".name");
    element.ariaLabel = String(value.title);
    if (document.activeElement !== name) name.value = String(value.title);
    return element;
  }

  #card(id, value) {
    let element = this.#cards.get(id);
    if (!element) {
      element = clone("card");
      element.dataset.id = id;
      this.#cards.set(id, element);
      element.addEventListener("click", () => this.does.open(id));
      element.addEventListener("keydown", (event) => {
        if (event.key === "Enter") this.does.open(id);
        if (event.altKey && event.key.startsWith("Arrow")) {
          event.preventDefault();
          this.step(id, event.key);
        }
      });
    }
    element.dataset.colour = value.colour;
    element.classList.toggle("unsent", this.store.waits(`card/${id}`));
    fill(element.querySelector("h3"), value.title);
    fill(element.querySelector("p"), value.text ?? "");
    return element;
  }

  #addCard(column, title) {
    const own = this.#in(column);
    const rank = (own.at(-1)?.[1].rank ?? 0) + 1;
    this.store.edit({ [`card/${this.does.id()}`]: { title, text: "", colour: 0, column, rank } });
    this.#columns.get(column).querySelector(".cards").lastElementChild.scrollIntoView({ block: "nearest" });
  }

  #addColumn() {
    const rank = (this.store.all("column").at(-1)?.[1].rank ?? 0) + 1;
    const id = this.does.id();
    this.store.edit({ [`column/${id}`]: { title: "New column", rank } });
    const name = this.#columns.get(id).querySelector(".name");
    name.focus();
    name.select();
  }

  #deleteColumn(id) {
    const cards = this.#in(id);
    const gone = [[`column/${id}`, this.store.get(`column/${id}`)], ...cards.map(([card, value]) => [`card/${card}`, value])];
    this.store.edit(Object.fromEntries(gone.map(([key]) => [key, null])));
    const many = cards.length ? ` with ${cards.length} ${cards.length > 1 ? "cards" : "card"}` : "";
    this.does.told(`Column deleted${many}.`, () => this.store.edit(Object.fromEntries(gone)));
  }

  // Return the position of each card.
  #places() {
    return new Map([...this.#cards].map(([id, element]) => [id, element.getBoundingClientRect()]));
  }

  // Animate cards that have moved, and highlight cards that other users have changed.
  #glide(places, news) {
    if (CALM.matches) return;
    for (const [id, element] of this.#cards) {
      if (element === this.drag.card) continue;
      const changed = news.has(`card/${id}`);
      if (changed) element.animate([{ outlineColor: "var(--accent)" }, { outlineColor: "transparent" }], 1500);
      const [from, to] = [places.get(id), element.getBoundingClientRect()];
      if (!from) element.animate([{ opacity: 0, scale: 0.95 }, { opacity: 1, scale: 1 }], 150);
      else if (from.left !== to.left || from.top !== to.top) {
        const translate = `${from.left - to.left}px ${from.top - to.top}px`;
        element.animate([{ translate }, { translate: "0 0" }], { duration: changed ? 350 : 150, easing: "ease-out" });
      }
    }
  }
}

// Put elements in order at the start of a parent, without touching those in the right place.
function arrange(parent, elements) {
  let next = parent.firstElementChild;
  for (const element of elements) {
    while (next && next !== element && next.matches(".hole, .dragged")) next = next.nextElementSibling;
    if (next === element) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
}

// Return a rank between two cards. If there is no room left, all cards get new ranks.
function between(cards, position, rerank) {
  const rank = (place) => cards[place]?.[1].rank;
  const [above, below] = [rank(position - 1), rank(position)];
  if (above === undefined) return (below ?? 2) - 1;
  if (below === undefined) return above + 1;
  if (below - above > CLOSE) return (above + below) / 2;
  cards.forEach(([id], place) => rerank(id, place < position ? place : place + 1));
  return position;
}

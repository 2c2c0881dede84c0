// The data of this tab, in three layers: the committed state; over it the pending writes of its server; and on top the
// edits of this tab, until their commits arrive.

const REMEMBERED = 1000;
const KEPT = "edits"; // the key of unsent edits, which survive a reload

export class Store extends EventTarget {
  #committed = new Map();
  #listing = null; // the initial values, while they arrive
  #pending = new Map();
  #edits = [];
  #seen = new Set(); // ids of commits that have arrived
  #wholes = 0; // how often a batch combined several commits

  constructor(storage) {
    super();
    this.storage = storage;
    const kept = JSON.parse(storage.getItem(KEPT) ?? "[]");
    this.#edits = kept.map((changes) => ({ changes, commit: null }));
  }

  /** Return the value of a key to show; undefined if there is none. */
  get(key) {
    let value = this.#pending.has(key) ? this.#pending.get(key) : this.#committed.get(key);
    for (const { changes } of this.#edits) if (key in changes) value = edited(value, changes[key]);
    return value;
  }

  /** Return all values of one kind, [id, value], by their ranks. */
  all(kind) {
    const keys = new Set([...this.#committed.keys(), ...this.#pending.keys()]);
    for (const { changes } of this.#edits) for (const key of Object.keys(changes)) keys.add(key);
    const found = [];
    for (const key of keys) {
      if (!key.startsWith(`${kind}/`)) continue;
      const value = this.get(key);
      if (value !== null && typeof value === "object") found.push([key.slice(kind.length + 1), value]);
    }
    return found.sort(([a, one], [b, other]) => one.rank - other.rank || (a < b ? -1 : 1));
  }

  /** Change keys, all together: {key: members to set, or null to delete}. Visible at once. */
  edit(changes) {
    this.#edits.push({ changes, commit: null });
    this.#keep();
    this.dispatchEvent(new Event("change"));
    this.dispatchEvent(new Event("edit"));
  }

  /** Return the first unsent edit. */
  next() {
    const edit = this.#edits.find(({ commit }) => commit === null);
    if (edit) edit.wholes = this.#wholes;
    return edit;
  }

  /** Return whether a change of a key has not been sent. */
  waits(key) {
    return this.#edits.some(({ changes, commit }) => commit === null && key in changes);
  }

  get unsent() {
    return this.#edits.filter((edit) => edit.commit === null).length;
  }

  /** Note the commit of an edit. The edit stays until the commit arrives among the events, to avoid flicker. */
  accepted(edit, commit) {
    edit.commit = commit;
    if (commit === null || this.#seen.has(commit) || edit.wholes !== this.#wholes) this.#drop(edit);
    this.#keep();
    this.dispatchEvent(new Event("change"));
  }

  /** Drop an edit that was refused. */
  refused(edit) {
    this.#drop(edit);
    this.#keep();
    this.dispatchEvent(new Event("change"));
  }

  /** Handle the start of the events. Pending writes of the previous server may be lost. */
  connected() {
    this.#listing = null;
    this.#pending.clear();
    this.dispatchEvent(new Event("change"));
  }

  /** Apply a batch of changes. */
  receive({ id, initial, end, skipped, changes }) {
    const before = new Map(changes.map(({ key }) => [key, JSON.stringify(this.get(key))]));
    if (initial) this.#listing ??= new Map();
    for (const { key, value, pending } of changes) {
      if (pending) {
        this.#pending.set(key, value);
        continue;
      }
      this.#pending.delete(key);
      const into = initial ? this.#listing : this.#committed;
      if (value === undefined) into.delete(key);
      else into.set(key, value);
    }
    if (end) {
      this.#committed = this.#listing;
      this.#listing = null;
    }
    if (id !== null) this.#remember(id);
    // A batch that combines several commits includes those that edits wait for.
    const whole = end || skipped;
    if (whole) this.#wholes += 1;
    this.#edits = this.#edits.filter(({ commit }) => commit === null || !(whole || commit === id));
    const news = initial ? [] : changes.map(({ key }) => key).filter((key) => JSON.stringify(this.get(key)) !== before.get(key));
    this.dispatchEvent(new CustomEvent("change", { detail: news }));
  }

  #drop(edit) {
    this.#edits = this.#edits.filter((other) => other !== edit);
  }

  #keep() {
    this.storage.setItem(KEPT, JSON.stringify(this.#edits.filter((edit) => edit.commit === null).map((edit) => edit.changes)));
  }

  #remember(id) {
    this.#seen.add(id);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
  }
}

function edited(value, members) {
  if (members === null) return undefined;
  if (value === undefined) return "rank" in members && "title" in members ? members : undefined;
  return { ...value, ...members };
}

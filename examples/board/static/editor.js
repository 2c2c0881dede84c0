// The dialogs: one for a card, one for the user.

export const COLOURS = 8;

/** Close a dialog by its buttons, or by a click outside of it. */
function closing(dialog) {
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close("cancel"));
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close("cancel"));
}

/** Fill in the available colours. */
function colours(fieldset, chosen) {
  fieldset.replaceChildren();
  for (let colour = 0; colour < COLOURS; colour += 1) {
    const input = document.createElement("input");
    input.type = "radio";
    input.name = "colour";
    input.value = colour;
    input.dataset.colour = colour;
    input.checked = colour === chosen;
    input.ariaLabel = `Colour ${colour + 1}`;
    fieldset.append(input);
  }
}

export class Editor {
  #id = null;

  /**
   * @param {HTMLDialogElement} dialog The dialog.
   * @param {Store} store The data.
   * @param {{looks: (id: string | null) => void, told: (text: string, undo?: () => void) => void}} does
   */
  constructor(dialog, store, does) {
    this.dialog = dialog;
    this.form = dialog.querySelector("form");
    this.store = store;
    closing(dialog);
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "save") this.#save();
      this.#id = null;
      does.looks(null);
    });
    this.form.querySelector(".delete").addEventListener("click", () => {
      const key = `card/${this.#id}`;
      const value = store.get(key);
      dialog.close("delete");
      if (!value) return;
      store.edit({ [key]: null });
      does.told("Card deleted.", () => store.edit({ [key]: value }));
    });
    this.form.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit(this.form.querySelector(".primary"));
    });
    this.does = does;
  }

  /** Open a card. */
  open(id) {
    const card = this.store.get(`card/${id}`);
    if (!card) return;
    this.#id = id;
    this.before = { title: String(card.title), text: String(card.text ?? ""), colour: card.colour };
    this.form.title.value = this.before.title;
    this.form.text.value = this.before.text;
    colours(this.form.querySelector(".colours"), card.colour);
    this.dialog.returnValue = "cancel";
    this.dialog.showModal();
    this.does.looks(id);
  }

  /** Show the other users who have the card open; close the dialog if the card is deleted. */
  show(others) {
    if (this.#id === null) return;
    if (!this.store.get(`card/${this.#id}`)) {
      this.dialog.close("cancel");
      this.does.told("Somebody has deleted this card.");
      return;
    }
    const names = [...new Set(others(this.#id).map((guest) => String(guest.name)))];
    const note = this.form.querySelector(".others");
    note.hidden = names.length === 0;
    note.textContent = `${names.join(" and ")} ${names.length > 1 ? "look" : "looks"} at this card, too.`;
  }

  // Only members that were changed here: other users may have changed the rest.
  #save() {
    const now = {
      title: this.form.title.value.trim() || this.before.title,
      text: this.form.text.value,
      colour: Number(this.form.colour.value),
    };
    const changed = Object.entries(now).filter(([name, value]) => value !== this.before[name]);
    if (changed.length && this.store.get(`card/${this.#id}`)) {
      this.store.edit({ [`card/${this.#id}`]: Object.fromEntries(changed) });
    }
  }
}

/** Ask for the name and the colour of the user. */
export function me(dialog, guest, done) {
  const form = dialog.querySelector("form");
  closing(dialog);
  dialog.addEventListener("close", () => {
    const name = form.name.value.trim();
    if (dialog.returnValue === "save" && name) done({ name, colour: Number(form.colour.value) });
  });
  return () => {
    form.name.value = guest().name;
    colours(form.querySelector(".colours"), guest().colour);
    dialog.returnValue = "cancel";
    dialog.showModal();
    form.name.select();
  };
}

// What is chosen on the page, and who wants to know when it changes.
export class State {
  #listeners = [];
  #settle;
  now;

  /** @param settle what of a choice can be shown, such as a strength that the objective was trained with. */
  constructor(initial, settle = now => now) {
    this.#settle = settle;
    this.now = settle({...initial});
  }

  /** Call `tell(now, changed names)` when one of these names changes. */
  on(names, tell) {
    this.#listeners.push({names: new Set(names), tell});
  }

  set(changes) {
    const next = this.#settle({...this.now, ...changes}), changed = Object.keys(next).filter(name => this.now[name] !== next[name]);
    if (!changed.length) return;
    this.now = next;
    for (const {names, tell} of this.#listeners)
      if (changed.some(name => names.has(name))) tell(this.now, changed);
  }
}

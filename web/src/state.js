// What is chosen on the page, and who wants to know when it changes.
export class State {
  #listeners = [];
  now;

  constructor(initial) {
    this.now = {...initial};
  }

  /** Call `tell(now, changed names)` when one of these names changes. */
  on(names, tell) {
    this.#listeners.push({names: new Set(names), tell});
  }

  set(changes) {
    const changed = Object.keys(changes).filter(name => this.now[name] !== changes[name]);
    if (!changed.length) return;
    this.now = {...this.now, ...changes};
    for (const {names, tell} of this.#listeners)
      if (changed.some(name => names.has(name))) tell(this.now, changed);
  }
}

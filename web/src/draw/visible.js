// Figures and pictures are drawn only while they can be seen; what changed meanwhile is drawn when they come into view.
export class Visible {
  #known = new Map();
  #seen = new Set();
  #observer;
  #widths = new ResizeObserver(entries => entries.forEach(({target, contentRect}) => this.#resized(target, contentRect.width)));
  touched = 0; // drawings so far, of charts and pictures together

  constructor() {
    this.#observer = new IntersectionObserver(entries => entries.forEach(({target, isIntersecting}) => {
      if (isIntersecting) this.#seen.add(target);
      else this.#seen.delete(target);
      if (isIntersecting && this.#known.get(target)?.stale) this.#draw(target);
    }), {rootMargin: "60px"});
  }

  /** `draw()` when first seen; `move()`, where given, for a change that needs no new drawing; `wide` redraws on a new width. */
  watch(element, draw, {move = null, wide = true} = {}) {
    this.#known.set(element, {draw, move, stale: true, width: null});
    this.#observer.observe(element);
    if (wide) this.#widths.observe(element);
  }

  forget(element) {
    this.#known.delete(element);
    this.#seen.delete(element);
    this.#observer.unobserve(element);
    this.#widths.unobserve(element);
  }

  /** Draw anew what can be seen, the rest later; `elements` are all that are watched by default. */
  redraw(elements = [...this.#known.keys()]) {
    elements.forEach(element => {
      const own = this.#known.get(element);
      if (!own) return;
      if (this.#seen.has(element)) this.#draw(element);
      else own.stale = true;
    });
  }

  /** Move the cursors of what can be seen. */
  move(elements = [...this.#known.keys()]) {
    elements.forEach(element => {
      const own = this.#known.get(element);
      if (!own?.move) return;
      if (!this.#seen.has(element)) own.stale = true;
      else if (!own.stale) { this.touched++; own.move(); }
    });
  }

  /** Draw all at once, as for print; done when pictures are there too. */
  all() {
    return Promise.all([...this.#known].filter(([, own]) => own.stale).map(([element]) => this.#draw(element)));
  }

  #draw(element) {
    const own = this.#known.get(element);
    own.stale = false;
    this.touched++;
    return own.draw();
  }

  #resized(element, width) {
    const own = this.#known.get(element);
    if (!own) return;
    const before = own.width;
    own.width = width;
    if (before !== null && width > 0 && Math.abs(before - width) > 1) this.redraw([element]);
  }
}

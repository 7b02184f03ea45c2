/** A panel of the console, and doing something at the simulator with the outcome shown. */

import { h, toast } from "../dom.js";

export function panel(title, explanation, ...children) {
  return h("section.panel", { "aria-label": title }, h("h2", {}, title), h("p.explanation", {}, explanation), children);
}

/** Run `action`; say `done` or why not. Every panel then shows the new state. */
export async function act(action, done) {
  try {
    const answer = await action();
    toast(typeof done === "function" ? done(answer) : done);
  } catch (failure) {
    toast(failure.message);
  }
  document.dispatchEvent(new Event("changed"));
}

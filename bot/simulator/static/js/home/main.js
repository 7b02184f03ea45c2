/** The console: the clock, the faults, the callbacks, the company's apps, groups and robots, and the calls the service makes, refreshed while one watches. */

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { addresses } from "./addresses.js";
import { archive } from "./archive.js";
import { bots } from "./bots.js";
import { callbacks } from "./callbacks.js";
import { calls } from "./calls.js";
import { clock } from "./clock.js";
import { faults } from "./faults.js";
import { groups } from "./groups.js";
import { robots } from "./robots.js";

const REFRESH_MS = 2000;
const PARTS = [clock(), callbacks(), faults(), addresses(), groups(), robots(), bots(), archive(), calls()];

/** A part is {element, path, show(answer)}: asked again after anything was changed, and every two seconds while visible. */
async function refresh() {
  const answers = await Promise.allSettled(PARTS.map(({ path }) => get(path())));
  answers.forEach(({ status, value, reason }, index) => {
    const part = PARTS[index];
    part.element.classList.toggle("unreachable", status === "rejected");
    if (status === "fulfilled") part.show(value);
    else part.element.dataset.why = reason.message;
  });
}

fill(
  document.getElementById("console"),
  h(
    "div.panels",
    {},
    PARTS.slice(0, -1).map(({ element }) => element),
  ),
  PARTS.at(-1).element,
);
document.addEventListener("changed", refresh);
refresh();
setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_MS);

/** The client of one employee: five sections on a rail, a list in each, what is open beside it, and the live stream. */

import { at, follow, get } from "../api.js";
import { avatar } from "../avatar.js";
import { fill, h, icon, ICONS, toast } from "../dom.js";
import { readClock } from "../when.js";
import { simulated } from "../words.js";
import { apps } from "./apps.js";
import { contacts } from "./contacts.js";
import { messages } from "./messages.js";
import { colleagues } from "./picker.js";
import { sessions } from "./sessions.js";
import { tasks } from "./tasks.js";

const RELOAD_MS = 150; // several "changed" events within this time cost one reload

/**
 * A section is {key, title, glyph, waiting(world), list(client), open(client, id)}.
 * open answers {element, refresh?(), receive?(message), caughtUp?()}.
 */
const SECTIONS = [messages, sessions, tasks, apps, contacts];

class Client {
  constructor(root) {
    this.root = root;
    this.rail = h("nav.rail", { "aria-label": "主菜单" });
    this.list = h("section.list", { "aria-label": "列表" });
    this.detail = h("section.detail", { "aria-label": "详情" });
    this.current = null;
    window.addEventListener("popstate", () => this.show());
  }

  get place() {
    const query = new URLSearchParams(window.location.search);
    return { as: query.get("as"), in: query.get("in") || "messages", open: query.get("open") };
  }

  /** Go somewhere else; the address says where, so it can be shared and the back button works. */
  go(change) {
    const place = { ...this.place, ...change };
    const query = new URLSearchParams(Object.entries(place).filter(([, value]) => value));
    window.history.pushState(null, "", `?${query}`);
    return this.show();
  }

  path(...parts) {
    return at("sim", "staff", this.place.as, ...parts);
  }

  get section() {
    return SECTIONS.find(({ key }) => key === this.place.in) || SECTIONS[0];
  }

  async show() {
    const { as } = this.place;
    if (as !== this.followed) await this.becomes(as);
    if (!this.world) {
      fill(
        this.root,
        colleagues((userid) => this.go({ as: userid, in: null, open: null })),
      );
      return;
    }
    if (!this.rail.isConnected) fill(this.root, this.rail, this.list, this.detail);
    this.showRail();
    this.showList();
    this.showDetail();
  }

  async becomes(userid) {
    this.stop?.();
    this.stop = null;
    this.world = null;
    this.current = null;
    this.followed = userid;
    if (!userid || !(await this.load())) return;
    this.stop = follow(this.path("stream"), {
      kinds: ["changed", "message"],
      onOpen: () => this.caughtUp(),
      onLost: () => this.root.classList.add("offline"),
      onEvent: (kind, data) => {
        if (kind === "message") this.current?.view.receive?.(data);
        this.reloadSoon();
      },
    });
  }

  async load() {
    try {
      await readClock();
      const [world, { apps: known }, { staff }] = await Promise.all([
        get(this.path()),
        get("/sim/corp"),
        get("/sim/staff"),
      ]);
      this.world = { ...world, apps: known, colleagues: staff };
      document.title = `${world.staff.name} · 员工端 · 企业微信模拟器`;
      return true;
    } catch (failure) {
      toast(failure.message);
      return false;
    }
  }

  async caughtUp() {
    this.root.classList.remove("offline");
    try {
      await Promise.all([this.reload(), this.current?.view.caughtUp?.()]);
    } catch (failure) {
      toast(failure.message); // the line broke again; the next connection tries once more
    }
  }

  async reload() {
    if (!(await this.load())) return;
    this.showRail();
    this.showList();
    this.current?.view.refresh?.();
  }

  reloadSoon() {
    this.reloading ??= setTimeout(() => {
      this.reloading = null;
      this.reload();
    }, RELOAD_MS);
  }

  showRail() {
    const { staff } = this.world;
    fill(
      this.rail,
      h(
        "button.rail-me",
        {
          type: "button",
          title: `${staff.name}（换一位员工）`,
          "aria-label": `${staff.name}，点一下换一位员工`,
          onclick: () => this.go({ as: null, in: null, open: null }),
        },
        avatar({ ...staff, id: staff.userid }, 38),
      ),
      SECTIONS.map((section) => this.railItem(section)),
      h("a.rail-home", { href: "/", title: "模拟器控制台" }, "模拟器"),
    );
  }

  railItem({ key, title, glyph, waiting }) {
    const count = waiting(this.world);
    return h(
      "button.rail-item",
      {
        type: "button",
        "aria-current": key === this.section.key ? "page" : null,
        "data-test": `section-${key}`,
        onclick: () => this.go({ in: key, open: null }),
      },
      h("span.rail-icon", {}, icon(ICONS[glyph]), count ? h("span.badge", {}, count > 99 ? "99+" : count) : null),
      title,
    );
  }

  showList() {
    const { scrollTop } = this.list;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const searching = focused === "search" && this.list.dataset.section === this.section.key;
    if (searching) return; // redrawing would take the field away from someone who is typing
    fill(this.list, h("h1.list-title", {}, this.section.title), this.section.list(this));
    this.list.dataset.section = this.section.key;
    this.list.scrollTop = scrollTop;
    if (focused) this.list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  }

  /** Open what the address names. What is open already stays, so that a half-written reply is not lost. */
  showDetail() {
    const { open } = this.place;
    this.root.classList.toggle("detail-open", Boolean(open));
    const key = `${this.place.as}/${this.section.key}/${open}`;
    if (this.current?.key === key) return;
    const view = open ? this.section.open(this, open) : null;
    this.current = view ? { key, view } : null;
    fill(this.detail, view ? view.element : h("p.empty", {}, this.section.nothing));
    view?.opened?.();
  }

  back() {
    return h(
      "button.back",
      { type: "button", "aria-label": "返回列表", onclick: () => this.go({ open: null }) },
      icon(ICONS.back),
    );
  }

  /** Do something at the simulator; a refusal is shown and answers null. */
  async attempt(action, done = "") {
    try {
      const answer = await action();
      if (done) toast(done);
      this.reloadSoon();
      return answer ?? {};
    } catch (failure) {
      toast(failure.message);
      return null;
    }
  }

  /** H5 pages open in a window of their own, as this employee. */
  browse(url) {
    window.open(`${this.path("open")}?${new URLSearchParams({ url: simulated(url) })}`, "_blank", "noopener");
  }
}

new Client(document.getElementById("client")).show();

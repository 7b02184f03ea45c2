/** 应用消息: what the company's apps send to this employee, cards with buttons included, and what is written back. */

import { post } from "../api.js";
import { avatar } from "../avatar.js";
import { composer } from "../composer.js";
import { fill, h } from "../dom.js";
import { exact, longTime } from "../when.js";
import { appMessage, oneLine } from "./cards.js";
import { row } from "./rows.js";

export const apps = {
  key: "apps",
  title: "应用消息",
  glyph: "apps",
  nothing: "选一个应用，看它发来的消息",
  waiting: () => 0,
  list,
  open: (client, id) => new AppTalk(client, Number(id)),
};

function list(client) {
  const { apps: known, cards } = client.world;
  const latest = (agentid) =>
    cards
      .filter((card) => card.agentid === agentid)
      .sort((a, b) => a.id - b.id)
      .at(-1);
  const names = new Map([
    ...cards.map((card) => [card.agentid, card.agent_name]),
    ...known.map((app) => [app.agentid, app.name]),
  ]);
  const entries = [...names]
    .map(([agentid, name]) => ({ agentid, name, card: latest(agentid) }))
    .sort((a, b) => (b.card?.at || 0) - (a.card?.at || 0));
  if (!entries.length) return h("p.list-none", {}, "这家企业还没有自建应用");
  return h(
    "ul",
    {},
    entries.map(({ agentid, name, card }) =>
      row(client, { id: String(agentid), name, last: card ? { text: oneLine(card), at: card.at } : null, test: "app" }),
    ),
  );
}

class AppTalk {
  constructor(client, agentid) {
    Object.assign(this, { client, agentid });
    this.shown = new Map(); // card id -> {state, element}: a card redraws only when it changed, so choices in others stay
    this.stream = h("div.thread.app-stream", { role: "log", "aria-label": "应用消息", tabindex: "0" });
    this.bar = composer({ onSend: (text) => this.say(text), placeholder: "写给应用，按 Enter 发送" });
    this.element = h(
      "div.talk",
      {},
      h(
        "header.detail-head",
        {},
        client.back(),
        h("div", {}, h("h1", {}, this.name), h("small", {}, `应用 ${agentid}`)),
      ),
      this.stream,
      h("div.talk-foot", {}, this.bar.element),
    );
    this.refresh();
  }

  get name() {
    const app = this.client.world.apps.find(({ agentid }) => agentid === this.agentid);
    return app?.name || this.cards.at(-1)?.agent_name || "应用";
  }

  get cards() {
    return this.client.world.cards.filter(({ agentid }) => agentid === this.agentid).sort((a, b) => a.id - b.id);
  }

  opened() {
    this.toBottom();
    this.client.attempt(() => post(this.client.path("enter_agent"), { agentid: this.agentid }));
  }

  refresh() {
    const { cards } = this;
    const more = cards.length > this.shown.size;
    const { scrollTop } = this.stream;
    fill(
      this.stream,
      cards.length ? cards.map((card) => this.elementOf(card)) : h("p.empty", {}, "这个应用还没有发来消息"),
    );
    this.stream.scrollTop = scrollTop;
    if (more) this.toBottom();
  }

  elementOf(card) {
    const state = JSON.stringify(card);
    const known = this.shown.get(card.id);
    if (known?.state === state) return known.element;
    const element = this.draw(card);
    this.shown.set(card.id, { state, element });
    return element;
  }

  draw(card) {
    const mine = card.mine;
    const { staff } = this.client.world;
    const who = mine ? { ...staff, id: staff.userid } : { name: card.agent_name, id: String(card.agentid) };
    const on = {
      open: (url) => this.client.browse(url),
      say: () => {},
      press: (key, selected) => this.press(card, key, selected),
    };
    return h(
      "div.thread-row.after-silence",
      {},
      h("div.thread-time", { title: exact(card.at) }, longTime(card.at)),
      h(
        `div.message.${mine ? "mine" : "theirs"}`,
        {},
        avatar(who),
        h("div.message-body", { "data-test": "card", "data-id": card.id }, appMessage(card, on)),
      ),
    );
  }

  async press(card, key, selected) {
    const body = selected ? { key, selected } : { key };
    if (await this.client.attempt(() => post(this.client.path("cards", card.id, "press"), body)))
      await this.client.reload();
  }

  say(text) {
    return this.client.attempt(() =>
      post(this.client.path("app", this.agentid, "message"), { text: { content: text } }),
    );
  }

  toBottom() {
    requestAnimationFrame(() => {
      this.stream.scrollTop = this.stream.scrollHeight;
    });
  }
}

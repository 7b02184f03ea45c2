/** 客服会话: the queue of the kf accounts one serves, the sessions one holds, and whether one is receiving. */

import { post } from "../api.js";
import { closedComposer } from "../composer.js";
import { confirmed, fill, h } from "../dom.js";
import { group, row } from "./rows.js";
import { Talk } from "./talk.js";

const QUEUED = 2;
const HELD = 3;

export const sessions = {
  key: "sessions",
  title: "客服会话",
  glyph: "headset",
  nothing: "选一个会话开始接待",
  waiting: ({ sessions: all }) => all.filter(({ state }) => state === QUEUED).length,
  list,
  open: (client, id) => new Session(client, id),
};

const idOf = (session) => `${session.open_kfid}/${session.external_userid}`;

function list(client) {
  const { servicer_of: accounts, sessions: all } = client.world;
  if (!accounts.length) return h("p.list-none", {}, "你还不是任何客服账号的接待人员");
  const inState = (state) => all.filter((session) => session.state === state);
  const draw = (session) =>
    row(client, {
      ...session,
      id: idOf(session),
      faceOf: session.external_userid,
      test: session.state === QUEUED ? "queued" : "held",
    });
  return [
    h(
      "ul.switches",
      {},
      accounts.map((account) => h("li", {}, receivingSwitch(client, account))),
    ),
    group("排队中", inState(QUEUED), draw, "没有客户在排队"),
    group("我在接待", inState(HELD), draw, "手上没有会话"),
  ];
}

function receivingSwitch(client, { open_kfid: openKfid, name, receiving }) {
  const flip = () =>
    client.attempt(() => post(client.path("receiving"), { open_kfid: openKfid, receiving: !receiving }));
  return h(
    "button.switch",
    {
      type: "button",
      role: "switch",
      "aria-checked": String(receiving),
      "data-test": "receiving",
      "data-id": openKfid,
      onclick: flip,
    },
    h("span", {}, name, h("small", {}, receiving ? "接待中" : "停止接待")),
    h("i", { "aria-hidden": "true" }),
  );
}

class Session extends Talk {
  constructor(client, id) {
    const [openKfid, externalUserid] = id.split("/");
    const path = (...parts) => client.path("kf", openKfid, externalUserid, ...parts);
    super(client, {
      title: "",
      source: path("messages"),
      deliver: (payload) => post(path("reply"), payload),
      recall: ({ seq }) => client.attempt(() => post(path("recall"), { seq })),
      belongs: (message) => message.chat_id === openKfid && message.customer === externalUserid,
    });
    Object.assign(this, { id, path });
    this.refresh();
  }

  refresh() {
    const session = this.client.world.sessions.find((one) => idOf(one) === this.id);
    const account = this.client.world.servicer_of.find(({ open_kfid: openKfid }) => this.id.startsWith(`${openKfid}/`));
    this.name = session?.name || this.name || "客户";
    const state = session?.state;
    this.title.textContent = this.name;
    this.subtitle.textContent = [account?.name, STATE_WORDS[state] || "会话已结束或已转给同事"]
      .filter(Boolean)
      .join(" · ");
    if (state === this.shownState && this.shown) return; // leave a half-written reply and an open menu alone
    this.shown = true;
    this.shownState = state;
    fill(this.actions, this.actionsIn(state));
    fill(
      this.foot,
      state === HELD
        ? this.composer.element
        : closedComposer(state === QUEUED ? "接入之后才能回复客户" : "会话已结束，客户再发消息时会重新开始"),
    );
  }

  actionsIn(state) {
    if (state === QUEUED)
      return h(
        "button.primary",
        { type: "button", "data-test": "accept", onclick: () => this.act("accept", {}, "已接入") },
        "接入",
      );
    if (state !== HELD) return null;
    return [
      this.transferMenu(),
      h("button.quiet.danger", { type: "button", "data-test": "end", onclick: () => this.end() }, "结束会话"),
    ];
  }

  transferMenu() {
    const { colleagues, staff } = this.client.world;
    const others = colleagues.filter(({ userid }) => userid !== staff.userid);
    const choose = h(
      "select.quiet",
      { "aria-label": "转接给同事", "data-test": "transfer" },
      h("option", { value: "" }, "转接给…"),
      others.map(({ userid, name }) => h("option", { value: userid }, name)),
    );
    choose.addEventListener("change", async () => {
      const userid = choose.value;
      choose.value = "";
      if (userid) await this.act("transfer", { userid }, "已转接");
    });
    return choose;
  }

  async end() {
    if (await confirmed(`结束与“${this.name}”的会话？`, { yes: "结束", danger: true }))
      await this.act("end", {}, "会话已结束");
  }

  act(verb, body, done) {
    return this.client.attempt(() => post(this.path(verb), body), done);
  }
}

const STATE_WORDS = { [QUEUED]: "排队中", [HELD]: "我在接待" };

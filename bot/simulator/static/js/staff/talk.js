/** A conversation in the client: messages of one customer or group, with a bar to write in when one may. */

import { get } from "../api.js";
import { composer } from "../composer.js";
import { h } from "../dom.js";
import { Thread } from "../thread.js";

/**
 * names: a group, where everybody but me is on the left. rate(message, type): 准确 or 不准确 on a bot's answer.
 * source: path of the messages. deliver(payload): sends one, answers the message (or nothing: the stream brings it).
 * belongs(message): whether a message from the stream is of this conversation.
 */
export class Talk {
  constructor(client, { title, subtitle = "", actions = [], source, deliver, belongs, recall, rate, names = false, beside }) {
    Object.assign(this, { client, deliver, belongs });
    this.thread = new Thread({
      isMine: ({ from }) => (from.kind === "bot" && !rate) || (from.kind === "staff" && (!names || from.id === client.place.as)),
      names,
      load: (query) => get(`${source}?${new URLSearchParams(query)}`),
      on: { open: (url) => client.browse(url), say: () => {}, recall, rate },
    });
    this.title = h("h1", {}, title);
    this.subtitle = h("small", {}, subtitle);
    this.actions = h("div.detail-actions", {}, actions);
    this.composer = composer({ onSend: (text) => this.say(text), placeholder: "输入回复，按 Enter 发送", beside });
    this.foot = h("div.talk-foot", {}, this.composer.element);
    this.element = h(
      "div.talk",
      {},
      h("header.detail-head", {}, client.back(), h("div", {}, this.title, this.subtitle), this.actions),
      this.thread.element,
      this.foot,
    );
  }

  async opened() {
    await this.client.attempt(() => this.thread.open());
    this.composer.field.focus();
  }

  receive(message) {
    if (this.belongs(message)) this.thread.upsert(message);
  }

  caughtUp() {
    return this.thread.catchUp();
  }

  async say(text) {
    const { staff } = this.client.world;
    const me = { kind: "staff", id: staff.userid, name: staff.name, avatar: staff.avatar };
    await this.thread.send({ msgtype: "text", text: { content: text } }, this.deliver, me);
    await this.thread.catchUp();
    this.client.reloadSoon();
  }
}

/** What an app sends, drawn: texts, text cards, news, and the five kinds of template card with their buttons. */

import { mediaUrl } from "../api.js";
import { content } from "../bubbles.js";
import { h, icon, ICONS } from "../dom.js";
import { markdown } from "../markdown.js";
import { link, safeUrl } from "../words.js";
import { choices } from "./choices.js";

/** `on` holds what a tap does: open(url), press(key, selected). */
export function appMessage(message, on) {
  if (message.msgtype === "template_card") return templateCard(message, on);
  const draw = DRAWN[message.msgtype];
  const payload = message.content || {};
  if (draw) return draw(payload, on);
  return h("div.bubble", {}, content({ msgtype: message.msgtype, [message.msgtype]: payload }, on));
}

/** One line for the list of apps. */
export function oneLine({ msgtype, card, content: payload = {} }) {
  if (msgtype === "template_card") return `[卡片] ${card.main_title?.title || card.sub_title_text || ""}`;
  const text = payload.content || payload.title || payload.articles?.[0]?.title || "[消息]";
  return text.replace(/<[^>]*>|[#*>`]/g, "").split("\n")[0];
}

const DRAWN = {
  textcard: drawTextCard,
  news: ({ articles = [] }, on) =>
    h(
      "div.card",
      {},
      articles.map((article, index) => drawArticle(article, index, on)),
    ),
  markdown: ({ content: source = "" }, on) => h("div.bubble.markdown", {}, markdown(source, on.open)),
  miniprogram_notice: ({ title, description, content_item: items = [] }) =>
    h(
      "div.card",
      {},
      h("h3", {}, title),
      description ? h("p.card-desc", {}, description) : null,
      items.map(({ key, value }) => pair(key, value)),
    ),
};

// The description of a text card is a run of <div class="gray|normal|highlight">…</div>.
function drawTextCard({ title = "", description = "", url = "", btntxt = "详情" }, on) {
  const lines = [...description.matchAll(/<div class="(gray|normal|highlight)">([\s\S]*?)<\/div>/g)];
  const body = lines.length
    ? lines.map(([, style, text]) => h(`p.textcard-${style}`, {}, text))
    : h("p.card-desc", {}, description);
  return h("div.card", {}, h("h3", {}, title), body, outward(url, btntxt, on, "a.card-more"));
}

function drawArticle({ title = "", description, url = "", picurl }, index, on) {
  const picture = index === 0 ? pictureOf(picurl) : null;
  return h(
    "div.card-article",
    {},
    picture,
    outward(url, title, on, "a.card-article-title"),
    description ? h("p.card-desc", {}, description) : null,
  );
}

function templateCard({ card, pressed, replaced }, on) {
  const parts = [
    source(card),
    picture(card),
    titles(card),
    emphasis(card),
    imageText(card, on),
    quote(card, on),
    card.sub_title_text ? h("p.card-sub", {}, card.sub_title_text) : null,
    (card.vertical_content_list || []).map(({ title, desc }) =>
      h("div.card-vertical", {}, h("b", {}, title), h("p", {}, desc || "")),
    ),
    (card.horizontal_content_list || []).map((line) => horizontal(line, on)),
    choices(card, pressed, replaced, on),
    buttons(card, pressed, replaced, on),
    jumps(card, on),
  ];
  return h("div.card", { "data-card": card.card_type }, parts);
}

function source({ source: from, action_menu: menu }) {
  if (!from && !menu) return null;
  return h("div.card-source", {}, from?.desc || "", menu ? h("small", { title: menu.desc }, "···") : null);
}

function picture({ card_image: image }) {
  return image ? pictureOf(image.url) : null;
}

function pictureOf(url) {
  const address = safeUrl(url || "");
  if (!address) return null;
  const frame = h("div.card-image");
  frame.append(h("img", { src: address, alt: "", onerror: () => frame.replaceChildren(icon(ICONS.picture)) }));
  return frame;
}

function titles({ main_title: title, card_type: type, card_action: action }) {
  if (!title) return null;
  return h(
    "div.card-titles",
    { "data-link": action && type.endsWith("notice") ? "yes" : null },
    h("h3", {}, title.title || ""),
    title.desc ? h("p.card-desc", {}, title.desc) : null,
  );
}

function emphasis({ emphasis_content: figure }) {
  return figure ? h("div.card-emphasis", {}, h("b", {}, figure.title || ""), h("small", {}, figure.desc || "")) : null;
}

function imageText({ image_text_area: area }, on) {
  if (!area) return null;
  const image = pictureOf(area.image_url);
  const words = h(
    "div",
    {},
    outward(area.type === 1 ? area.url : "", area.title || "", on, "a.card-link-title"),
    h("p.card-desc", {}, area.desc || ""),
  );
  return h("div.card-image-text", {}, image, words);
}

function quote({ quote_area: area }, on) {
  if (!area) return null;
  return h(
    "blockquote.card-quote",
    {},
    area.title ? outward(area.type === 1 ? area.url : "", area.title, on, "a.card-link-title") : null,
    h("p", {}, area.quote_text || ""),
  );
}

const LINK = 1;
const FILE = 2;

function horizontal({ keyname = "", value = "", type, url, media_id: mediaId }, on) {
  if (type === LINK) return pair(keyname, outward(url, value || "查看", on));
  if (type === FILE && mediaId)
    return pair(keyname, h("a", { href: mediaUrl(mediaId), target: "_blank", rel: "noopener" }, value || "附件"));
  return pair(keyname, value);
}

const pair = (name, value) => h("div.card-pair", {}, h("span", {}, name), h("span", {}, value));

/** Once pressed, every button rests and the pressed one says what became of it. */
function buttons({ button_list: list, card_type: type }, pressed, replaced, on) {
  if (type !== "button_interaction" || !list) return null;
  if (replaced) return h("div.card-buttons", {}, h("span.card-button.done", { "data-test": "replaced" }, replaced));
  const button = ({ text, style = 1, key, type: kind, url }) =>
    h(
      `button.card-button.style-${style}`,
      {
        type: "button",
        "data-test": "card-button",
        "data-key": key,
        disabled: Boolean(pressed),
        onclick: () => (kind === LINK ? on.open(safeUrl(url || "") || "about:blank") : on.press(key)),
      },
      text,
      pressed && pressed === key ? " ✓" : "",
    );
  return h("div.card-buttons", {}, list.map(button));
}

function jumps({ jump_list: list = [], card_action: action, card_type: type }, on) {
  const lines = list.map(({ title, url, type: kind }) => outward(kind === LINK ? url : "", title, on, "a.card-jump"));
  if (!lines.length && type.endsWith("notice") && action?.type === LINK)
    lines.push(outward(action.url, "查看详情", on, "a.card-jump"));
  return lines.length ? h("div.card-jumps", {}, lines) : null;
}

function outward(url, words, on, selector = "a") {
  const address = url ? safeUrl(url) : null;
  return address ? link(address, words, on.open, selector) : h(selector.replace(/^a/, "span"), {}, words);
}

"use strict";
// Counts down on the server's clock, keeps the stock moving, and sends a claim in the background. Without this file
// every button is a plain form.

const sale = document.getElementById("sale");
const claim = document.getElementById("claim");
const root = sale || claim;
const ahead = root ? Number(root.dataset.now) - Date.now() : 0; // of this phone's clock
const now = () => Date.now() + ahead;

function clock(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const time = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return days ? `${days} 天 ${time}` : time;
}

function say(words, good) {
  const place = document.getElementById("said");
  place.textContent = words;
  place.hidden = !words;
  place.classList.toggle("good", Boolean(good));
  if (words) place.scrollIntoView({ block: "nearest" });
}

function tick() {
  const left = root.querySelector(".left");
  if (claim) {
    if (claim.dataset.status !== "held") return;
    const ms = Number(claim.dataset.due) - now();
    left.textContent = clock(ms);
    if (ms <= 0) setTimeout(() => location.reload(), 1500);
    else setTimeout(tick, 250);
    return;
  }
  const phase = sale.dataset.phase;
  if (phase === "over") return;
  const ms = Number(phase === "soon" ? sale.dataset.opens : sale.dataset.closes) - now();
  left.textContent = clock(ms);
  if (ms > 0) return void setTimeout(tick, 200);
  if (phase === "soon") open();
  else location.reload();
}

function open() {
  sale.dataset.phase = "open";
  const count = sale.querySelector(".count");
  count.className = "count open";
  count.querySelector("span").textContent = "抢购中";
  for (const button of sale.querySelectorAll(".buy")) {
    button.disabled = false;
    button.textContent = "立即抢";
  }
  for (const item of sale.querySelectorAll(".item")) show(item);
  tick();
}

function show(item) {
  const stock = Number(item.dataset.stock);
  const left = Number(item.dataset.left);
  const held = Number(item.dataset.held || 0);
  item.querySelector(".bar i").style.width = `${stock ? Math.round(((stock - left) / stock) * 100) : 100}%`;
  const words = left ? `剩 ${left} 件，共 ${stock} 件` : held ? `抢光了，${held} 件待付款` : "抢光了";
  item.querySelector(".stock").textContent = words;
  if (sale.dataset.phase !== "open") return;
  const buy = item.querySelector("form.claim");
  const wait = item.querySelector("form.wait");
  if (buy) buy.hidden = !left;
  if (wait) wait.hidden = Boolean(left);
}

function listen() {
  const source = new EventSource(sale.dataset.live);
  source.onmessage = (event) => {
    for (const [code, facts] of Object.entries(JSON.parse(event.data).items)) {
      const item = sale.querySelector(`.item[data-item="${CSS.escape(code)}"]`);
      if (!item) continue;
      Object.assign(item.dataset, { left: facts.left, stock: facts.stock, held: facts.held });
      show(item);
    }
  };
}

async function send(form) {
  // The same key every time: however often the line breaks, it is one claim.
  const body = new URLSearchParams(new FormData(form));
  for (let wait = 400; ; wait = Math.min(wait * 2, 5000)) {
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body,
        headers: { Accept: "application/json" },
        signal: AbortSignal.timeout(8000),
      });
      if (answer.status !== 503 && answer.status !== 502) return await answer.json();
      say("人有点多，正在为您排队提交…");
    } catch {
      say("网络断了，正在重试，名额不会重复…");
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function submit(event) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  const label = button.textContent;
  button.disabled = true;
  button.textContent = "提交中…";
  const answer = await send(form);
  if (answer.to) return void location.assign(answer.to);
  say(answer.said || "没有成功，请刷新页面再试。", answer.ok);
  if (answer.key) form.elements.key && (form.elements.key.value = answer.key);
  button.textContent = label;
  button.disabled = Boolean(answer.ok);
}

if (root) tick();
if (sale) {
  for (const item of sale.querySelectorAll(".item")) show(item);
  if (sale.dataset.phase !== "over") listen();
  for (const form of sale.querySelectorAll("form")) form.addEventListener("submit", submit);
}

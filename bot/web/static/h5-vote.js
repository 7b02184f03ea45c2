"use strict";
// Keeps a vote's result moving. Without this file the page shows it as it was when it was opened.

const tally = document.getElementById("tally");
const source = new EventSource(tally.dataset.live);
source.onmessage = (event) => {
  const votes = JSON.parse(event.data).votes;
  const all = votes.reduce((sum, one) => sum + one, 0);
  tally.querySelector(".votes").textContent = all;
  tally.querySelectorAll(".option").forEach((option, place) => {
    const bar = option.querySelector("progress");
    bar.max = all || 1;
    bar.value = votes[place];
    const share = all ? Math.round((100 * votes[place]) / all) : 0;
    option.querySelector(".count-of").textContent = `${votes[place]} 票，${share}%`;
  });
};

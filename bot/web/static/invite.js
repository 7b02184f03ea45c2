"use strict";
// Copies the link. Without this file the link is there to be copied by hand.

const link = document.getElementById("link");
const copy = document.getElementById("copy");
copy.hidden = false;
copy.addEventListener("click", async () => {
  link.select();
  try {
    await navigator.clipboard.writeText(link.value);
  } catch {
    document.execCommand("copy"); // pages that are not served over TLS have no clipboard
  }
  copy.textContent = "已复制";
});

// "Load older" puts the next piece of the timeline below the last one.
"use strict";
{
  const timeline = document.getElementById("timeline");
  const status = document.getElementById("timeline-status");

  function append(html) {
    const piece = new DOMParser().parseFromString(html, "text/html").body;
    const first = piece.querySelector("summary");
    const lastDay = timeline.querySelector(".day:last-of-type");
    const sameDay = lastDay && piece.querySelector(`.day[data-day="${lastDay.dataset.day}"]`);
    if (sameDay) {
      lastDay.querySelector("ol").append(...sameDay.querySelectorAll("li"));
      sameDay.remove();
    }
    timeline.append(...piece.childNodes);
    // Who uses the keyboard goes on where the new ones begin.
    if (first) first.focus();
  }

  timeline?.addEventListener("click", async (event) => {
    const link = event.target.closest("#load-older");
    if (!link) return;
    event.preventDefault();
    // A second click before the first one's answer.
    if (link.ariaBusy) return;
    link.ariaBusy = "true";
    status.textContent = "Loading …";
    try {
      const answer = await fetch(`${link.href}&piece=1`);
      if (answer.redirected || !answer.ok) throw new Error(answer.status);
      const html = await answer.text();
      link.parentElement.remove();
      append(html);
      status.textContent = "";
    } catch {
      link.ariaBusy = null;
      status.textContent = "That did not work. Try again, or load this page anew.";
    }
  });
}

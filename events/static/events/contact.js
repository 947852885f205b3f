// "Load older" appends the next page of the timeline.
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
    // Keyboard users continue at the first new entry.
    if (first) first.focus();
  }

  timeline?.addEventListener("click", async (event) => {
    const link = event.target.closest("#load-older");
    if (!link) return;
    event.preventDefault();
    // A second click before the response to the first.
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
      status.textContent = "Loading failed. Try again, or reload the page.";
    }
  });
}

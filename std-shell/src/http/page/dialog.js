// A question before something that can't be taken back.

import { byId, say } from "./dom.js";

const box = byId("ask"), title = byId("ask-title"), body = byId("ask-body");
const yes = byId("ask-yes"), no = byId("ask-no"), wrong = byId("ask-error");

/**
 * Asks, and does it on yes. While it is done nothing else can be pressed; what went wrong stands in the box, which stays.
 * Gives what `act` gave, or nothing if it was not done.
 */
export function ask({ question, details, verb, keep = "Leave it", tone = "danger", act }) {
  say(title, question);
  body.replaceChildren(...[details].flat().filter(Boolean));
  say(yes, verb);
  say(no, keep);
  yes.className = tone;
  wrong.hidden = true;
  yes.disabled = no.disabled = false;
  box.showModal();
  // What can't be taken back is not what Enter does.
  (box.querySelector("textarea, input") ?? no).focus();
  return new Promise((resolve) => {
    let result;
    const done = () => { yes.onclick = no.onclick = null; resolve(result); };
    box.addEventListener("close", done, { once: true });
    no.onclick = () => box.close();
    yes.onclick = async () => {
      yes.disabled = no.disabled = true;
      try {
        result = (await act()) ?? true;
        box.close();
      } catch (error) {
        say(wrong, error.message);
        wrong.hidden = false;
        yes.disabled = no.disabled = false;
        yes.focus();
      }
    };
  });
}

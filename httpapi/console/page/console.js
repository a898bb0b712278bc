// The console: signing in, the state of the connection, and which view is shown.

import { Connections } from "./connections.js";
import { $, announce } from "./dom.js";
import { Events } from "./events.js";
import { Rates } from "./rates.js";
import { Session } from "./session.js";

const session = new Session();
const events = new Events(session);
const connections = new Connections(session);
const rates = new Rates(session);
const views = { events: { show() {} }, connections, rates };
let countdown;
let lastUser; // whose events are shown

// Signing in and out.

function welcome(problem = "") {
  $("workplace").hidden = $("tabs").hidden = $("who").hidden = $("status").hidden = true;
  $("welcome").hidden = false;
  $("sign-in-problem").textContent = problem;
  $(way() === "token" ? "token" : "user").focus();
}

function enter() {
  const asked = !$("welcome").hidden; // then the focus was there
  $("welcome").hidden = true;
  $("workplace").hidden = $("who").hidden = $("status").hidden = false;
  $("tabs").hidden = !session.admin;
  $("who-name").textContent = session.user || "signed in";
  $("sign-out").hidden = session.anonymous;
  $("token").value = $("password").value = "";
  if (lastUser !== session.user || !session.user) events.forget();
  lastUser = session.user;
  view("events");
  events.start();
  if (asked) $("list").focus({ preventScroll: true });
}

function leave(problem) {
  session.end();
  events.stop();
  connections.forget();
  rates.forget();
  if (!problem) events.forget();
  welcome(problem);
}

const way = () => document.querySelector("[name=way]:checked").value;

function chooseWay() {
  for (const part of document.querySelectorAll("[data-way]")) part.hidden = part.dataset.way !== way();
}

const reasons = {
  401: "This token is not valid, or not any more.",
  403: "Its user is not known here.",
};

async function signIn() {
  const byToken = way() === "token";
  const token = $("token").value.trim();
  if (byToken ? !token : !$("user").value) {
    $("sign-in-problem").textContent = byToken ? "Enter a token." : "Enter a user.";
    return;
  }
  $("enter").disabled = true;
  $("sign-in-problem").textContent = "";
  try {
    if (byToken) await session.byToken(token, $("keep").checked);
    else await session.byPassword($("user").value, $("password").value, $("keep").checked);
    enter();
  } catch (error) {
    $("sign-in-problem").textContent = byToken && reasons[error.status] || `Not connected: ${error.message}`;
  } finally {
    $("enter").disabled = false;
  }
}

// The state of the connection.

const because = {
  dropped: "an administrator has dropped this user",
  shutdown: "the server is restarting",
  unauthorized: "access was revoked",
};

const why = ({ reason, text }) => because[reason] ?? text;

const words = {
  connecting: () => "Connecting …",
  live: () => "Live",
  waiting: detail => `Reconnecting in ${Math.max(0, Math.ceil((detail.until - Date.now()) / 1000))} s: ${why(detail)}`,
  closed: detail => `Not connected: ${why(detail)}`,
};

const signInAgain = {
  token_expired: "The token has expired. Sign in again to go on where you were.",
  token_refused: "The token is not valid any more. Sign in again to go on where you were.",
};

function showState(detail) {
  clearInterval(countdown);
  const tell = () => { $("status-text").textContent = words[detail.state](detail); };
  tell();
  $("status").dataset.state = detail.state;
  $("reconnect").hidden = detail.state !== "waiting";
  announce({ waiting: `Reconnecting: ${why(detail)}`, live: "Connected" }[detail.state] ?? $("status-text").textContent);
  if (detail.state === "waiting") countdown = setInterval(tell, 1000);
  if (signInAgain[detail.reason] && detail.state !== "connecting") leave(signInAgain[detail.reason]);
}

// The views.

function view(name) {
  for (const other of Object.keys(views)) {
    $(other).hidden = other !== name;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
  views[name].show();
}

$("tabs").addEventListener("click", ({ target }) => {
  const tab = target.closest("[role=tab]");
  if (tab) view(tab.getAttribute("aria-controls"));
});

$("tabs").addEventListener("keydown", event => {
  const tabs = [...$("tabs").children];
  const at = tabs.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const tab = tabs[to % tabs.length];
  view(tab.getAttribute("aria-controls"));
  tab.focus();
});

$("sign-in").addEventListener("submit", event => {
  event.preventDefault();
  signIn();
});
for (const choice of document.querySelectorAll("[name=way]")) choice.addEventListener("change", chooseWay);
chooseWay(); // a browser may have kept another
$("sign-out").addEventListener("click", () => leave(""));
$("reconnect").addEventListener("click", () => events.reconnect());
events.addEventListener("state", ({ detail }) => showState(detail));

try {
  if (await session.resume()) enter();
  else welcome();
} catch (error) {
  welcome(`The server could not be asked: ${error.message}`);
}

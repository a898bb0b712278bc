// Who is signed in: a token, one that a password was exchanged for, or nobody where nobody has to be. It is kept in
// memory, and, if the user wants that, in the tab's sessionStorage; never in a URL.

const KEPT = "notifier.session";
const LIFE = 3600; // seconds, of a token that a password is exchanged for
const AGAIN = 60; // seconds from an exchange that failed to the next

/** What the server said no to. */
export class Refused extends Error {
  constructor(status, text) {
    super(text || `the answer was ${status}`);
    this.status = status;
  }
}

export class Session {
  #token = "";
  #renewal;
  user = ""; // as far as it is known
  admin = false;
  anonymous = false;
  renewed = false; // by itself, as long as the page is open

  get token() { return this.#token; }

  /** Asks the server for a path; the answer is its text. */
  async ask(path, { method = "GET", body, headers = {}, token = this.#token } = {}) {
    if (token) headers.Authorization ??= `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const response = await fetch(new URL(`../${path}`, import.meta.url), { method, headers, body, cache: "no-store" });
    const text = await response.text();
    if (!response.ok) throw new Refused(response.status, told(text));
    return text;
  }

  /** Returns whether nobody has to be signed in, or somebody still is. */
  async resume() {
    const kept = recall();
    if (kept) {
      try {
        await this.#enter(kept.token, kept.user, true, kept.renewed);
        if (kept.renewed) this.#renewLater(0); // nobody knows how old it is
        return true;
      } catch (error) {
        if (error.status !== 401 && error.status !== 403) throw error; // it may be good later
        forget();
      }
    }
    try {
      await this.ask("api/v3/info");
    } catch (error) {
      if (error.status === 401) return false;
      throw error;
    }
    this.anonymous = this.admin = true;
    this.user = "anonymous";
    await this.#findOut(); // whether there is an admin's API
    return true;
  }

  async byToken(token, keep) {
    await this.#enter(token, subject(token), keep, false);
  }

  async byPassword(user, password, keep) {
    const credentials = btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${password}`)));
    let token;
    try {
      token = await this.#exchange(user, { headers: { Authorization: `Basic ${credentials}` } });
    } catch (error) {
      if (error.status === 403 && error.message.startsWith("the answer")) throw new Refused(403, "wrong user or password");
      throw error;
    }
    await this.#enter(token, user, keep, true);
  }

  /** Asks for JSON; undefined if meanwhile somebody else has signed in, whom the answer is not for. */
  async askFor(path) {
    const { user } = this;
    const text = await this.ask(path);
    return user === this.user ? JSON.parse(text) : undefined;
  }

  async #exchange(user, how) {
    return JSON.parse(await this.ask(`api/v3/users/${encodeURIComponent(user)}/token?ttl=${LIFE}`, how)).Token;
  }

  async #enter(token, user, keep, renewed) {
    await this.ask("events?recipient=me", { method: "HEAD", token });
    this.#token = token;
    this.user = user;
    this.renewed = renewed;
    if (keep) remember({ token, user, renewed });
    if (renewed) this.#renewLater();
    await this.#findOut();
  }

  async #findOut() {
    try {
      await this.ask("admin/stats?scope=here");
      this.admin = true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.admin = false;
    }
  }

  /** Exchanges the token for a new one after so many seconds: when half of its life is over. */
  #renewLater(pause = LIFE / 2) {
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(async () => {
      const before = this.#token;
      let token;
      try {
        token = await this.#exchange(this.user, {});
      } catch { /* it ends, which is told then */ }
      if (this.#token !== before) return; // who it was for has signed out, and perhaps somebody else in
      if (token) this.#token = token;
      if (token && recall()) remember({ token, user: this.user, renewed: true });
      this.#renewLater(token ? undefined : AGAIN);
    }, pause * 1000);
  }

  /** Forgets everything. */
  end() {
    clearTimeout(this.#renewal);
    forget();
    this.#token = this.user = "";
    this.admin = this.renewed = false;
  }
}

// A browser may forbid to keep anything: then nothing is kept.

function remember(session) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(session));
  } catch { /* it is asked for again */ }
}

function forget() {
  try {
    sessionStorage.removeItem(KEPT);
  } catch { /* there is none */ }
}

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    return null;
  }
}

/** Returns what an answer says is wrong: in one of the server's forms, or by itself. */
function told(text) {
  try {
    const { error, Messages } = JSON.parse(text);
    return error ?? Messages?.join("; ") ?? "";
  } catch {
    return text.slice(0, 300);
  }
}

/** Returns whose JSON Web Token it is, to show it and for nothing else. */
function subject(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return String(claims.sub ?? claims.data?.id ?? "");
  } catch {
    return "";
  }
}

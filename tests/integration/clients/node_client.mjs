// Node clients that know of the proxy what HTTP_PROXY says, no more.
//
//   node client.mjs CLIENT BASE      with HTTP_PROXY and TOKEN set
//
// Asks BASE/a2a/whoami twice, posts to BASE/a2a/echo, and reads the events of BASE/a2a/sse. Each answer is a line of JSON
// on standard output, each event one when it arrives.
import http from "node:http";

const [client, base] = process.argv.slice(2);
const proxy = process.env.HTTP_PROXY;
const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const events = `${base}/a2a/sse?n=4&ms=200`;
const body = "x".repeat(100_000);

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function sayEvents() {
  let rest = "";
  return (piece) => {
    rest += piece;
    const whole = rest.split("\n\n");
    rest = whole.pop();
    for (const text of whole) say({ step: "event", at: performance.now(), text });
  };
}

// get(url) and post(url, body) give [status, text]; stream(url, onText) ends when the stream does.
async function run({ get, post, stream }) {
  for (let i = 0; i < 2; i++) {
    const [status, text] = await get(`${base}/a2a/whoami`);
    say({ step: "whoami", status, body: JSON.parse(text) });
  }
  const [status, text] = await post(`${base}/a2a/echo`, body);
  say({ step: "echo", status, body: JSON.parse(text) });
  await stream(events, sayEvents());
}

function byFetch(fetch) {
  const text = async (answer) => [answer.status, await answer.text()];
  return {
    get: async (url) => text(await fetch(url, { headers })),
    post: async (url, body) => text(await fetch(url, { method: "POST", headers, body })),
    stream: async (url, onText) => {
      const answer = await fetch(url, { headers });
      for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) onText(piece);
    },
  };
}

async function fetchThrough(options) {
  const undici = await import("undici");
  undici.setGlobalDispatcher(new undici.EnvHttpProxyAgent(options));
  return undici;
}

const clients = {
  // undici asks for http:// URLs by CONNECT, unless told otherwise
  "undici-connect": async () => run(byFetch((await fetchThrough({})).fetch)),
  undici: async () => run(byFetch((await fetchThrough({ proxyTunnel: false })).fetch)),
  // Node's own fetch is another copy of undici; the dispatcher set is shared
  fetch: async () => {
    await fetchThrough({ proxyTunnel: false });
    await run(byFetch(globalThis.fetch));
  },
  "fetch-connect": async () => {
    await fetchThrough({});
    await run(byFetch(globalThis.fetch));
  },
  axios: async () => {
    const { default: axios } = await import("axios");
    const options = { headers, responseType: "text", transformResponse: (text) => text };
    await run({
      get: async (url) => {
        const answer = await axios.get(url, options);
        return [answer.status, answer.data];
      },
      post: async (url, body) => {
        const answer = await axios.post(url, body, options);
        return [answer.status, answer.data];
      },
      stream: async (url, onText) => {
        const answer = await axios.get(url, { headers, responseType: "stream" });
        for await (const piece of answer.data.setEncoding("utf8")) onText(piece);
      },
    });
  },
  "http-request": async () => {
    const { HttpProxyAgent } = await import("http-proxy-agent");
    const agent = new HttpProxyAgent(proxy, { keepAlive: true });
    const ask = (method, url, body) =>
      new Promise((resolve, reject) => {
        const request = http.request(url, { method, headers, agent }, resolve);
        request.on("error", reject).end(body);
      });
    const text = async (answer) => {
      let whole = "";
      for await (const piece of answer.setEncoding("utf8")) whole += piece;
      return [answer.statusCode, whole];
    };
    await run({
      get: async (url) => text(await ask("GET", url)),
      post: async (url, body) => text(await ask("POST", url, body)),
      stream: async (url, onText) => {
        for await (const piece of (await ask("GET", url)).setEncoding("utf8")) onText(piece);
      },
    });
    agent.destroy();
  },
  // The SDK of the A2A project: the card, message/send, message/stream
  "a2a-sdk": async () => {
    await fetchThrough({ proxyTunnel: false });
    const { A2AClient } = await import("@a2a-js/sdk/client");
    const slowly = (url) => (String(url).endsWith("/a2a/") ? `${url}?n=4&ms=200` : url);
    const agent = await A2AClient.fromCardUrl(`${base}/.well-known/agent-card.json`, {
      fetchImpl: (url, init) => fetch(slowly(url), { ...init, headers: { ...init?.headers, ...headers } }),
    });
    const message = { kind: "message", messageId: "m1", role: "user", parts: [{ kind: "text", text: "hello" }] };
    for (let i = 0; i < 2; i++) {
      const answer = await agent.sendMessage({ message });
      say({ step: "whoami", status: 200, body: answer.result.parts[1].data });
    }
    for await (const event of agent.sendMessageStream({ message }))
      say({ step: "event", at: performance.now(), text: JSON.stringify(event) });
  },
};

await clients[client]();

// Node clients that know of the proxy what their environment says, no more.
//
//   node client.mjs CLIENT BASE...      with TOKEN set
//
// Of each BASE, asks /a2a/whoami twice, posts to /a2a/echo, and reads the events of /a2a/sse. Each answer is a line of
// JSON on standard output, each event one when it arrives.
import http from "node:http";
import https from "node:https";

const [client, ...bases] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const body = "x".repeat(100_000);

let base; // of the moment
const say = (line) => process.stdout.write(JSON.stringify({ base, ...line }) + "\n");

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
const steps = ({ get, post, stream }) => async () => {
  for (let i = 0; i < 2; i++) {
    const [status, text] = await get(`${base}/a2a/whoami`);
    say({ step: "whoami", status, body: JSON.parse(text) });
  }
  const [status, text] = await post(`${base}/a2a/echo`, body);
  say({ step: "echo", status, body: JSON.parse(text) });
  await stream(`${base}/a2a/sse?n=4&ms=200`, sayEvents());
};

function byFetch(fetch) {
  const text = async (answer) => [answer.status, await answer.text()];
  return steps({
    get: async (url) => text(await fetch(url, { headers })),
    post: async (url, body) => text(await fetch(url, { method: "POST", headers, body })),
    stream: async (url, onText) => {
      const answer = await fetch(url, { headers });
      for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) onText(piece);
    },
  });
}

async function undiciThrough(options) {
  const undici = await import("undici");
  undici.setGlobalDispatcher(new undici.EnvHttpProxyAgent(options));
  return undici;
}

// What a client needs once; gives what is done for each base.
const clients = {
  // Node's own fetch, and nothing set in the program
  fetch: async () => byFetch(globalThis.fetch),
  // undici asks for http:// URLs by CONNECT, unless told otherwise
  "undici-connect": async () => byFetch((await undiciThrough({})).fetch),
  undici: async () => byFetch((await undiciThrough({ proxyTunnel: false })).fetch),
  // Node's own fetch is another copy of undici; a dispatcher that the program sets is shared
  "fetch-undici": async () => {
    await undiciThrough({});
    return byFetch(globalThis.fetch);
  },
  axios: async () => {
    const { default: axios } = await import("axios");
    const options = { headers, responseType: "text", transformResponse: (text) => text };
    return steps({
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
  // http.request and https.request with the agents that they have
  "http-request": async () => {
    const ask = (method, url, body) =>
      new Promise((resolve, reject) => {
        const { request } = url.startsWith("https:") ? https : http;
        request(url, { method, headers }, resolve).on("error", reject).end(body);
      });
    const text = async (answer) => {
      let whole = "";
      for await (const piece of answer.setEncoding("utf8")) whole += piece;
      return [answer.statusCode, whole];
    };
    return steps({
      get: async (url) => text(await ask("GET", url)),
      post: async (url, body) => text(await ask("POST", url, body)),
      stream: async (url, onText) => {
        for await (const piece of (await ask("GET", url)).setEncoding("utf8")) onText(piece);
      },
    });
  },
  // The SDK of the A2A project: the card, message/send, message/stream
  "a2a-sdk": async () => {
    const { A2AClient } = await import("@a2a-js/sdk/client");
    // The card names one URL, whichever base it was read at.
    const place = (url) => {
      const asked = new URL(url);
      const slow = asked.pathname === "/a2a/" ? "?n=4&ms=200" : "";
      return `${base}${asked.pathname}${slow}`;
    };
    return async () => {
      const agent = await A2AClient.fromCardUrl(`${base}/.well-known/agent-card.json`, {
        fetchImpl: (url, init) => fetch(place(url), { ...init, headers: { ...init?.headers, ...headers } }),
      });
      const message = { kind: "message", messageId: "m1", role: "user", parts: [{ kind: "text", text: "hello" }] };
      for (let i = 0; i < 2; i++) {
        const answer = await agent.sendMessage({ message });
        say({ step: "whoami", status: 200, body: answer.result.parts[1].data });
      }
      for await (const event of agent.sendMessageStream({ message }))
        say({ step: "event", at: performance.now(), text: JSON.stringify(event) });
    };
  },
  // The SDK of the MCP project: Streamable HTTP
  "mcp-sdk": async () => {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    return async () => {
      const mcp = new Client({ name: "agent1", version: "1" });
      mcp.fallbackNotificationHandler = async () => say({ step: "event", at: performance.now() });
      await mcp.connect(new StreamableHTTPClientTransport(new URL(`${base}/mcp`), { requestInit: { headers } }));
      const { tools } = await mcp.listTools();
      const answer = await mcp.callTool({ name: tools[0].name });
      say({ step: "tool", body: JSON.parse(answer.content[0].text) });
      await mcp.close();
    };
  },
};

const run = await clients[client]();
for (base of bases) await run();

// The same in Node: node websocket_client.mjs CLIENT URL      with HTTP_PROXY or HTTPS_PROXY, and TOKEN set
const [client, url] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const long = "x".repeat(1_000_000);
const proxy = url.startsWith("wss:") ? process.env.HTTPS_PROXY : process.env.HTTP_PROXY;

const open = {
  // the interface of browsers, which is Node's own since version 22
  undici: async () => {
    const { EnvHttpProxyAgent, WebSocket } = await import("undici");
    return new WebSocket(url, { headers, dispatcher: new EnvHttpProxyAgent() });
  },
  ws: async () => {
    const { HttpProxyAgent } = await import("http-proxy-agent");
    const { HttpsProxyAgent } = await import("https-proxy-agent");
    const { WebSocket } = await import("ws");
    const agent = url.startsWith("wss:") ? new HttpsProxyAgent(proxy) : new HttpProxyAgent(proxy);
    return new WebSocket(url, { headers, agent });
  },
  "ws-connect": async () => {
    const { HttpsProxyAgent } = await import("https-proxy-agent");
    const { WebSocket } = await import("ws");
    return new WebSocket(url, { headers, agent: new HttpsProxyAgent(proxy) });
  },
};

const ws = await open[client]();
const answers = [];
ws.onopen = () => ws.send("hello");
ws.onerror = (event) => {
  console.error(event.message ?? event.error);
  process.exit(1);
};
ws.onmessage = (event) => {
  answers.push(event.data);
  if (answers.length === 1) ws.send(long);
  else ws.close();
};
ws.onclose = () => {
  console.log(JSON.stringify({ short: answers[0], long_is_whole: answers[1] === long }));
  process.exit(0);
};

// Loaded into Node by NODE_OPTIONS (tokenhop exec): asks the proxy that HTTP_PROXY and HTTPS_PROXY name for what
// the built-in fetch and the global agents of http and https are asked for. Nothing is done in a Node that does so
// itself. Where a program sets a dispatcher or an agent of its own, that is left alone.
"use strict";

const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const tls = require("node:tls");

const env = (name) => process.env[name] || process.env[name.toUpperCase()] || "";
function proxyOf(name) {
  try {
    return new URL(env(name));
  } catch {
    return null; // none, or what no URL is: not for this module to end a program
  }
}
const direct = env("no_proxy").split(/[\s,]+/).filter(Boolean);
const proxies = { "http:": proxyOf("http_proxy"), "https:": proxyOf("https_proxy") };

const plain = (host) => String(host).replace(/^\[|\]$/g, "").toLowerCase();

function proxyFor(protocol, host) {
  const name = plain(host);
  const isDirect = direct.some((entry) => {
    const wanted = plain(entry).replace(/^\*?\./, "");
    return entry === "*" || name === wanted || name.endsWith(`.${wanted}`);
  });
  return isDirect ? null : proxies[protocol];
}

const portOf = (url) => Number(url.port || (url.protocol === "https:" ? 443 : 80));

function credentials(proxy) {
  if (!proxy.username && !proxy.password) return {};
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "Proxy-Authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
}

function connectToProxy(proxy) {
  const to = { host: plain(proxy.hostname), port: portOf(proxy) };
  return proxy.protocol === "https:" ? tls.connect({ ...to, servername: net.isIP(to.host) ? "" : to.host }) : net.connect(to);
}

// A socket to host:port through the proxy's CONNECT (RFC 9110, 9.3.6).
function tunnel(proxy, host, port, done) {
  const authority = `${net.isIPv6(plain(host)) ? `[${plain(host)}]` : host}:${port}`;
  const request = http.request({
    method: "CONNECT",
    path: authority,
    headers: { Host: authority, ...credentials(proxy) },
    createConnection: () => connectToProxy(proxy),
  });
  request.once("error", done);
  request.once("connect", (answer, socket, head) => {
    request.removeListener("error", done);
    if (answer.statusCode === 200) {
      if (head.length > 0) socket.unshift(head);
      done(null, socket);
      return;
    }
    // what the proxy says of it is worth more than its status
    socket.destroy();
    const error = new Error(`the proxy refused ${authority}: ${answer.statusCode} ${head.toString().slice(0, 500)}`);
    done(Object.assign(error, { code: "ERR_PROXY_TUNNEL", statusCode: answer.statusCode }));
  });
  request.end();
}

function useForAgents() {
  const { globalAgent: clear } = http;
  const addRequest = clear.addRequest;
  clear.addRequest = function (request, options, ...rest) {
    const proxy = proxyFor("http:", options.host);
    const isProxy = proxy && plain(options.host) === plain(proxy.hostname) && Number(options.port) === portOf(proxy);
    // a client that asks the proxy by itself, and a socket of the file system, are left alone
    if (!proxy || isProxy || options.socketPath || !request.path.startsWith("/"))
      return addRequest.call(this, request, options, ...rest);
    const host = net.isIPv6(plain(options.host)) ? `[${plain(options.host)}]` : options.host;
    request.path = `http://${host}:${options.port || 80}${request.path}`;
    for (const [name, value] of Object.entries(credentials(proxy))) request.setHeader(name, value);
    const to = { ...options, host: plain(proxy.hostname), hostname: plain(proxy.hostname), port: portOf(proxy) };
    return addRequest.call(this, request, proxy.protocol === "https:" ? { ...to, securedProxy: proxy } : to, ...rest);
  };
  const connect = clear.createConnection;
  clear.createConnection = function (options, ...rest) {
    return options.securedProxy ? connectToProxy(options.securedProxy) : connect.call(this, options, ...rest);
  };
  const { globalAgent: secure } = https;
  const createConnection = secure.createConnection;
  secure.createConnection = function (options, done) {
    const proxy = proxyFor("https:", options.host);
    if (!proxy || options.socketPath) return createConnection.call(this, options, done);
    tunnel(proxy, options.host, options.port || 443, (error, socket) => {
      if (error) return done(error);
      const { host, port, path, ...more } = options;
      return done(null, tls.connect({ ...more, socket, servername: options.servername || (net.isIP(host) ? "" : host) }));
    });
    return undefined;
  };
}

// undici's own way to be told how to connect; its class is had from the dispatcher that Node made.
function connectForFetch(options, done) {
  const proxy = proxyFor(options.protocol, options.hostname);
  const port = options.port || (options.protocol === "https:" ? 443 : 80);
  const secured = (socket) => {
    const servername = options.servername || (net.isIP(plain(options.hostname)) ? "" : options.hostname);
    const over = tls.connect({ socket, servername, ALPNProtocols: ["http/1.1"] });
    over.once("error", done);
    over.once("secureConnect", () => {
      over.removeListener("error", done);
      done(null, over);
    });
  };
  const connected = (error, socket) => {
    if (error) return done(error);
    socket.setNoDelay(true);
    return options.protocol === "https:" ? secured(socket) : done(null, socket);
  };
  if (proxy) return tunnel(proxy, options.hostname, port, connected);
  const socket = net.connect({ host: plain(options.hostname), port });
  socket.once("error", connected);
  return socket.once("connect", () => {
    socket.removeListener("error", connected);
    connected(null, socket);
  });
}

function useForFetch() {
  const place = Symbol.for("undici.globalDispatcher.1");
  const { fetch } = globalThis;
  let isPrepared = false;
  const prepare = () => {
    if (isPrepared) return;
    isPrepared = true;
    fetch("data:,").catch(() => {}); // makes Node load what it has, and its dispatcher
    const { constructor } = globalThis[place] ?? {};
    if (constructor?.name === "Agent") globalThis[place] = new constructor({ connect: connectForFetch });
    globalThis.fetch = fetch;
  };
  if (typeof fetch === "function")
    globalThis.fetch = function (...args) {
      prepare();
      return fetch.apply(this, args);
    };
}

const [major, minor] = process.versions.node.split(".").map(Number);
const isBuiltIn = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
if (!(isBuiltIn && process.env.NODE_USE_ENV_PROXY === "1") && (proxies["http:"] || proxies["https:"])) {
  useForAgents();
  useForFetch();
}

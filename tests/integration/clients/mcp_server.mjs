// A server of the MCP SDK (Streamable HTTP) that asks for a token of the authorization server, as a protected MCP
// server does: mcp_server.mjs ISSUER JWKS_URI AUDIENCE CERTIFICATE KEY
//
// Listens on two free ports of 127.0.0.1, in clear and by TLS, and says which on one line of JSON. Its one tool tells
// whose call it is.
import { createHash, createPublicKey, verify as verifySignature, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

globalThis.crypto ??= webcrypto; // which the SDK wants, and Node 18 has not there
const [issuer, jwksUri, audience, certificate, key] = process.argv.slice(2);
const { keys } = await (await fetch(jwksUri)).json();

// As a resource server does (RFC 9068, 4): signature, issuer, audience, time.
function verify(request) {
  const [, token] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "") ?? [];
  const [head, claims, signature] = (token ?? "").split(".");
  const { alg, kid } = JSON.parse(Buffer.from(head, "base64url"));
  const key = createPublicKey({ key: keys.find((one) => one.kid === kid), format: "jwk" });
  const isSigned = verifySignature("sha256", Buffer.from(`${head}.${claims}`), key, Buffer.from(signature, "base64url"));
  const payload = JSON.parse(Buffer.from(claims, "base64url"));
  const now = Date.now() / 1000;
  if (alg !== "RS256" || !isSigned || payload.iss !== issuer || payload.aud !== audience || !(payload.exp > now))
    throw new Error("the token is not for here");
  return { payload, token_sha256: createHash("sha256").update(token).digest("hex") };
}

// A session a request: the server keeps nothing.
async function answer(request, response, seen) {
  const server = new McpServer({ name: "protected", version: "1" });
  server.registerTool("whoami", { description: "who calls" }, async ({ sendNotification }) => {
    for (let i = 0; i < 4; i++) {
      await sendNotification({ method: "notifications/message", params: { level: "info", data: i } });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return { content: [{ type: "text", text: JSON.stringify(seen) }] };
  });
  server.server.registerCapabilities({ logging: {} });
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on("close", () => transport.close());
  await server.connect(transport);
  await transport.handleRequest(request, response);
}

async function serve(request, response) {
  try {
    const seen = verify(request);
    if (request.method !== "POST") return response.writeHead(405, { Allow: "POST" }).end();
    return await answer(request, response, seen);
  } catch (error) {
    console.error(String(error));
    return response.writeHead(401, { "WWW-Authenticate": "Bearer" }).end();
  }
}

const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
const clear = await listen(http.createServer(serve));
const secured = await listen(https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, serve));
console.log(JSON.stringify({ port: clear, tls_port: secured }));

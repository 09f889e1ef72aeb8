/* The keys of listeners: where callers connect. */
#include "table.h"

static const struct th_config_key_choice listener_modes[] = {
    {"forward", TH_LISTENER_FORWARD},
    {"gateway", TH_LISTENER_GATEWAY},
    {"authz", TH_LISTENER_AUTHZ},
    {"transparent", TH_LISTENER_TRANSPARENT},
    {NULL, 0}};

static const struct th_config_key_choice schemes[] = {{"http", 0}, {"https", 1}, {NULL, 0}};

static const struct th_config_key_choice originals[] = {{"request", TH_ORIGINAL_REQUEST},
                                                        {"x-original", TH_ORIGINAL_X_ORIGINAL},
                                                        {"x-forwarded", TH_ORIGINAL_X_FORWARDED},
                                                        {NULL, 0}};

static const struct th_config_key proxy_protocol_keys[] = {
    {.name = "from",
     .type = TH_KEY_SOURCE,
     TEXTS(struct th_raw_proxy_protocol, from),
     .required = true,
     .min_items = 1,
     .max_items = 256,
     .doc = "Where such proxies connect from: addresses and networks, \"10.0.0.0/8\", and \"unix\" "
            "for whoever connects to a unix socket. A connection from there must begin with a "
            "valid header, or it is closed; one from elsewhere may not have any, and gets 400."},
};
static const struct th_section proxy_protocol_section = {
    SECTION("proxy_protocol", struct th_raw_proxy_protocol, proxy_protocol_keys)};

static const struct th_config_key_choice redirections[] = {
    {"redirect", 0}, {"tproxy", 1}, {NULL, 0}};

static const struct th_config_key_choice destinations[] = {{"check", 0}, {"ignore", 1}, {NULL, 0}};

static const struct th_config_key listener_keys[] = {
    {.name = "name",
     .type = TH_KEY_NAME,
     TEXT(struct th_raw_listener, head.name),
     .required = true,
     .needs_restart = true,
     .doc = "What logs and metrics call this listener."},
    {.name = "address",
     .type = TH_KEY_PLACE,
     TEXT(struct th_raw_listener, address),
     .required = true,
     .needs_restart = true,
     .doc =
         "Where tokenhop listens: an address in digits and a port, \"127.0.0.1:8080\" or "
         "\"[::1]:8080\", a unix socket, \"unix:/run/tokenhop/agents.sock\", or what systemd hands over under a name, "
         "\"systemd:agents\". Whoever can "
         "reach it acts as the listener's agent, so anything but loopback needs a network that "
         "only the agent can use, or callers that prove who they are."},
    {.name = "socket_mode",
     .type = TH_KEY_MODE,
     TEXT(struct th_raw_listener, socket_mode),
     .default_text = "0600",
     .needs_restart = true,
     .doc = "Of a unix socket: who may connect, as the mode of a file. Who may write to it may."},
    {.name = "socket_group",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_listener, socket_group),
     .max = 64,
     .needs_restart = true,
     .doc = "Of a unix socket: the group that it belongs to, by name or number. tokenhop must be "
            "a member of it, or run as root."},
    {.name = "proxy_protocol",
     OBJECT(struct th_raw_listener, proxy_protocol, proxy_protocol_section),
     .doc =
         "For a load balancer in front of this listener: it tells who its client is by the PROXY "
         "protocol, version 1 or 2 (HAProxy: send-proxy-v2). That address is the client's for "
         "logs and limits."},
    {.name = "mode",
     ENUM(struct th_raw_listener, mode, listener_modes),
     .default_text = "forward",
     .needs_restart = true,
     .doc =
         "How requests name their destination. \"forward\" is an HTTP proxy: the request line "
         "holds the whole URL, as clients send it that have HTTP_PROXY set. \"gateway\" takes "
         "requests as servers do: Host names the destination (a mesh's egress hop, a sidecar). "
         "\"authz\" carries nothing: a data plane asks what to send with a request, and gets 200 "
         "with the field, or the refusal (Envoy's ext_authz, nginx' auth_request, Traefik's "
         "forwardAuth). Whoever can reach such a listener gets credentials: bind it to loopback. "
         "\"transparent\" takes connections that the kernel has redirected, from clients that know of "
         "no proxy: Host or the TLS server name names the destination (docs/modes.md)."},
    {.name = "scheme",
     ENUM(struct th_raw_listener, scheme, schemes),
     .default_text = "https",
     .needs_restart = true,
     .doc = "With \"gateway\" and \"authz\": the scheme of the destinations that Host names."},
    {.name = "original",
     ENUM(struct th_raw_listener, original, originals),
     .default_text = "request",
     .needs_restart = true,
     .doc =
         "With \"authz\": where a question names the request that it is about. \"request\": in its own "
         "request line and Host (Envoy); \"x-original\": in X-Original-Host, X-Original-URI and "
         "X-Original-Method (nginx, which must set all three); \"x-forwarded\": in "
         "X-Forwarded-Host, X-Forwarded-Uri and X-Forwarded-Method (Traefik)."},
    {.name = "redirected_by",
     ENUM(struct th_raw_listener, redirected_by, redirections),
     .default_text = "redirect",
     .needs_restart = true,
     .doc =
         "With \"transparent\": how connections come here. \"redirect\": by NAT, redirect of nftables "
         "or REDIRECT of iptables. \"tproxy\": by the target of that name, which needs "
         "CAP_NET_ADMIN; destinations with the listener's own port are not served then."},
    {.name = "original_destination",
     ENUM(struct th_raw_listener, original_destination, destinations),
     .default_text = "check",
     .doc = "With \"transparent\": what the address counts that the client had connected to. "
            "\"check\": it must be one of those that the name in Host or the TLS server name has "
            "here, and is the one that is connected to; else 403. \"ignore\": any address of the "
            "name is connected to, for names whose addresses differ between the client and here."},
    {.name = "agent",
     .type = TH_KEY_REFERENCE,
     TEXT(struct th_raw_listener, agent),
     .doc =
         "The agent that every caller of this listener acts as, whoever it is. Without it a caller "
         "must prove to be one of callers."},
    {.name = "tls",
     OBJECT(struct th_raw_listener, tls, th_section_listener_tls),
     .needs_restart = true,
     .doc = "Clients of this listener speak TLS to it: an \"HTTPS proxy\", a gateway for https:// "
            "URLs. What is new in the files takes effect without a restart."},
    {.name = "forwarded_certificate",
     OBJECT(struct th_raw_listener, forwarded, th_section_forwarded_certificate),
     .doc =
         "Who stands before this listener (a mesh's sidecar) has ended the TLS of its clients, and "
         "says by which certificate each has come."},
};
const struct th_section th_section_listener = {
    SECTION("listener", struct th_raw_listener, listener_keys), .has_head = true};

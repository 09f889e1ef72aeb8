/* The table of keys: other proxies on the way to destinations. */
#include "table.h"

static const struct th_config_key_choice carries[] = {
    {"all", TH_PARENT_CARRIES_ALL},
    {"origins", TH_PARENT_CARRIES_ORIGINS},
    {"authorization_servers", TH_PARENT_CARRIES_SERVERS},
    {NULL, 0}};

static const struct th_config_key parent_keys[] = {
    {.name = "for",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_parent, destinations),
     .min_items = 1,
     .max = 512,
     .doc = "The destinations: hosts (\"agent2.example.com\", \"*.example.com\" for all that is "
            "below it), with a port or a scheme where only that one is meant "
            "(\"agent2.example.com:8443\", \"https://*.okta.com\"), and addresses or networks "
            "(\"10.0.0.0/8\"), which are met by URLs that have an address, not by names. Without "
            "it, all but what is on this machine (loopback addresses, localhost)."},
    {.name = "proxy",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_parent, proxy),
     .required = true,
     .max = 512,
     .doc = "The proxy's URL, http:// or https:// (spoken to by TLS), or \"direct\": these "
            "destinations are reached without one. It may be at a private address; at a loopback "
            "one only if egress.allow names it."},
    {.name = "carries",
     ENUM(struct th_raw_parent, carries, carries),
     .default_text = "all",
     .doc = "What goes through it: requests to destinations (\"origins\"), what tokenhop asks of "
            "authorization servers, or both."},
    {.name = "basic",
     OBJECT(struct th_raw_parent, basic, th_section_basic),
     .doc = "Shown to the proxy (Proxy-Authorization, RFC 7617), and to nobody else."},
    {.name = "ca_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_parent, ca_file),
     .doc = "A PEM file with the authorities that an https:// proxy is verified by, in place of "
            "the system's. Destinations behind it are verified as ever."},
    {.name = "allow_cleartext",
     BOOLEAN(struct th_raw_parent, allow_cleartext),
     .default_text = "false",
     .doc = "Whether \"basic\" may be sent to an http:// proxy beyond loopback, where whoever is "
            "on the way can read it."},
};
const struct th_section th_section_parent = {SECTION("parent", struct th_raw_parent, parent_keys),
                                             .has_head = true};

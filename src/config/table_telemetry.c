/* The keys of what is exported to a collector. */
#include "table.h"

static const struct th_config_key telemetry_keys[] = {
    {.name = "otlp_endpoint",
     .type = TH_KEY_URL,
     TEXT(struct th_raw_telemetry, otlp_endpoint),
     .required = true,
     .needs_restart = true,
     .doc = "The base URL of an OpenTelemetry collector that takes OTLP over HTTP as JSON "
            "(\"http://127.0.0.1:4318\"): /v1/traces and /v1/metrics are added to it."},
    {.name = "authorization_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_telemetry, authorization_file),
     .needs_restart = true,
     .doc =
         "A file with the Authorization field that the collector wants, scheme included (\"Bearer "
         "...\"). It is refused when others than its owner may read it."},
    {.name = "ca_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_telemetry, ca_file),
     .needs_restart = true,
     .doc = "PEM certificates of the authorities that vouch for the collector, in place of the "
            "system's."},
    {.name = "allow_cleartext",
     BOOLEAN(struct th_raw_telemetry, allow_cleartext),
     .default_text = "false",
     .needs_restart = true,
     .doc =
         "Allows an http:// endpoint beyond loopback: who calls whom then crosses the network for "
         "all to read."},
    {.name = "service_name",
     .type = TH_KEY_NAME,
     TEXT(struct th_raw_telemetry, service_name),
     .default_text = "tokenhop",
     .needs_restart = true,
     .doc = "What traces and metrics call this process (service.name)."},
    {.name = "sample_percent",
     COUNT(struct th_raw_telemetry, sample_percent),
     .default_text = "100",
     .max = 100,
     .needs_restart = true,
     .doc =
         "Of the traces that begin here, how many are exported; 0 exports none of them. A request "
         "that comes with a traceparent field goes by its flag."},
    {.name = "metrics_interval",
     DURATION(struct th_raw_telemetry, metrics_interval_ms),
     .default_text = "1m",
     .max = HOUR,
     .needs_restart = true,
     .doc = "How often the metrics are exported; \"0s\" is never."},
};
const struct th_section th_section_telemetry = {
    SECTION("telemetry", struct th_raw_telemetry, telemetry_keys)};

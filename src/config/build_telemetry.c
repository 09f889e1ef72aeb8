/* The collector that traces and metrics are sent to. */
#include "loader.h"
#include "url.h"

static void check_endpoint(struct th_loader *l, const struct th_raw_telemetry *raw, uint32_t place)
{
    struct th_config_url url;
    struct th_errinfo info = {0};

    if (th_config_url_split(raw->otlp_endpoint, false, &url, &info) < 0)
        th_loader_report_info(l, place, &info);
    else if (url.query.len > 0)
        th_loader_report(l, place, "leave it out", "a query has no place in a base URL");
    else if (!url.https && !url.loopback && !raw->allow_cleartext)
        th_loader_report(l, place, "write https://, or set \"allow_cleartext\": true",
                         "who calls whom would cross the network in cleartext");
}

static void check_authorization(struct th_loader *l, struct th_str value, uint32_t place)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < ' ' || value.ptr[i] > '~') {
            th_loader_report(l, place, "it is the field's value alone, on one line",
                             "this has a character that no Authorization field has");
            return;
        }
}

void th_build_telemetry(struct th_loader *loader)
{
    const struct th_raw_telemetry *raw = &loader->raw.telemetry;
    struct th_config_telemetry *telemetry = &loader->config->view.telemetry;
    uint32_t place = th_loader_member(loader, 0, "telemetry"), at = place;
    struct th_str endpoint = raw->otlp_endpoint;

    if (endpoint.ptr == NULL) /* not there, or refused already */
        return;
    check_endpoint(loader, raw, th_loader_member(loader, place, "otlp_endpoint"));
    while (endpoint.len > 0 && endpoint.ptr[endpoint.len - 1] == '/')
        endpoint.len--;
    *telemetry = (struct th_config_telemetry){
        .otlp_endpoint = endpoint,
        .ca_file = th_build_ca_file(loader, raw->ca_file, place, NULL),
        .allow_cleartext = raw->allow_cleartext,
        .service_name = raw->service_name,
        .sample_percent = raw->sample_percent,
        .metrics_interval_ms = raw->metrics_interval_ms,
    };
    telemetry->authorization =
        th_build_secret(loader, raw->authorization_file, TH_STR_NONE, "authorization", place, &at);
    if (telemetry->authorization != NULL)
        check_authorization(loader, th_secret_expose(telemetry->authorization), at);
}

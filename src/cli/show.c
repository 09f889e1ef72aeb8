#include "show.h"

#include <inttypes.h>
#include <string.h>

#include "tokenhop/oauth/jose.h"

struct indented {
    FILE *out;
    int indent;
    bool at_start; /* of a line */
};

static int write_indented(const char *bytes, size_t len, void *arg)
{
    struct indented *to = arg;

    for (size_t i = 0; i < len; i++) {
        if (to->at_start)
            fprintf(to->out, "%*s", to->indent, "");
        to->at_start = bytes[i] == '\n';
        putc(bytes[i], to->out);
    }
    return 0;
}

void th_show_json(FILE *out, int indent, const json_t *json)
{
    struct indented to = {out, indent, true};

    if (json_dump_callback(json, write_indented, &to,
                           JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) != 0)
        fprintf(out, "%*s(no memory to show it)", indent, "");
    putc('\n', out);
}

void th_show_text(FILE *out, struct th_str text)
{
    for (size_t i = 0; i < text.len; i++)
        putc(text.ptr[i] >= ' ' && text.ptr[i] < 0x7f ? text.ptr[i] : '?', out);
}

void th_show_value(const char *before, struct th_str value)
{
    fputs(before, stdout);
    th_show_text(stdout, value);
    putchar('\n');
}

void th_show_expiry(FILE *out, int indent, const json_t *claims, int64_t wall_ms)
{
    int64_t expires_ms = th_jwt_time_ms(claims, "exp");

    if (expires_ms < 0)
        return;
    if (expires_ms > wall_ms)
        fprintf(out, "%*sexpires in %" PRId64 " s\n", indent, "", (expires_ms - wall_ms) / 1000);
    else
        fprintf(out, "%*sexpired %" PRId64 " s ago\n", indent, "", (wall_ms - expires_ms) / 1000);
}

static void show_actor(FILE *out, int indent, const char *member, struct th_str sub,
                       const struct th_config_view *config)
{
    fprintf(out, "%*s%s ", indent, "", member);
    if (sub.len > 0)
        th_show_text(out, sub);
    else
        fputs("(without sub)", out);
    for (size_t i = 0; i < config->n_agents; i++)
        if (th_str_equal(config->agents[i].client_id, sub))
            fprintf(out, " (agent \"%.*s\")", TH_STR_ARGS(config->agents[i].name));
    putc('\n', out);
}

void th_show_chain(FILE *out, int indent, const json_t *claims, const struct th_config_view *config)
{
    show_actor(out, indent, "sub", th_jwt_text(claims, "sub"), config);
    for (const json_t *act = json_object_get(claims, "act"); json_is_object(act);
         act = json_object_get(act, "act")) {
        show_actor(out, indent, "`- act", th_jwt_text(act, "sub"), config);
        indent += 3;
    }
}

void th_show_proof(const struct th_config_caller *caller)
{
    switch (caller->proof) {
    case TH_CALLER_BASIC:
        fputs(", by user and password", stdout);
        return;
    case TH_CALLER_BEARER:
        fputs(", by a token", stdout);
        return;
    case TH_CALLER_KUBERNETES:
        printf(", by a token of the service account %.*s/%.*s",
               TH_STR_ARGS(caller->workload.namespace_name),
               TH_STR_ARGS(caller->workload.service_account));
        return;
    case TH_CALLER_UNIX:
        printf(", %s %u of a unix socket", caller->is_group ? "gid" : "uid",
               (unsigned)caller->unix_id);
        return;
    case TH_CALLER_URI:
    case TH_CALLER_DNS:
    case TH_CALLER_SUBJECT:
        printf(", by a certificate of %s",
               caller->proof == TH_CALLER_SUBJECT ? "the subject " : "");
        th_show_text(stdout, caller->certificate);
        return;
    }
}

void th_show_security(const struct th_config_listener *listener)
{
    static const char *const clients[] = {
        [TH_CLIENT_CERTIFICATE_NONE] = "",
        [TH_CLIENT_CERTIFICATE_OPTIONAL] = ", client certificates optional",
        [TH_CLIENT_CERTIFICATE_REQUIRED] = ", client certificates required",
    };
    if (listener->tls.is_spoken)
        printf(", TLS%s", clients[listener->tls.client_certificate]);
    if (listener->forwarded.header.len > 0)
        printf(", certificates forwarded in %.*s", TH_STR_ARGS(listener->forwarded.header));
}

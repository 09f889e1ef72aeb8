/* The status as a page, for a person with a browser (through "ssh -L 9901:/run/tokenhop/admin.sock"). It
 * has no script and loads nothing but its own style; every text is escaped where it is written. */
#include <stdio.h>
#include <string.h>

#include "admin_private.h"

static const char style[] =
    "body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; max-width: 70rem }\n"
    "table { border-collapse: collapse; margin: 0 0 2rem }\n"
    "th, td { text-align: left; padding: .2rem 1rem .2rem 0; "
    "border-bottom: 1px solid #ddd; vertical-align: top }\n"
    "h1 { font-size: 1.4rem } h2 { font-size: 1.1rem }\n"
    "code { font-size: .9em }\n";

int th_route_style(struct th_admin_request *request, struct th_admin_answer *answer)
{
    (void)request;
    answer->content_type = "text/css; charset=utf-8";
    th_buf_add(&answer->body, style, sizeof style - 1);
    return 0;
}

static void add_text(struct th_buf *out, const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        switch (*text) {
        case '&':
            th_buf_printf(out, "&amp;");
            break;
        case '<':
            th_buf_printf(out, "&lt;");
            break;
        case '>':
            th_buf_printf(out, "&gt;");
            break;
        case '"':
            th_buf_printf(out, "&quot;");
            break;
        case '\'':
            th_buf_printf(out, "&#39;");
            break;
        default:
            th_buf_add_char(out, *text);
        }
    }
}

static void add_value(struct th_buf *out, const json_t *value)
{
    size_t i;
    const json_t *item;

    if (value == NULL) /* a member that is not always there */
        return;
    switch (json_typeof(value)) {
    case JSON_STRING:
        add_text(out, json_string_value(value));
        break;
    case JSON_INTEGER:
        th_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_ARRAY:
        json_array_foreach(value, i, item)
        {
            th_buf_printf(out, "%s", i > 0 ? "<br>" : "");
            add_value(out, item);
        }
        break;
    case JSON_TRUE:
        th_buf_printf(out, "yes");
        break;
    case JSON_FALSE:
        th_buf_printf(out, "no");
        break;
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_REAL:
        break;
    }
}

/* A row a member; what nests as "workers: running". */
static void add_rows(struct th_buf *out, const char *before, json_t *object)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        if (json_is_object(value)) {
            add_rows(out, name, value);
            continue;
        }
        th_buf_printf(out, "<tr><th>%s%s", before, before[0] != '\0' ? ": " : "");
        add_text(out, name);
        th_buf_printf(out, "</th><td>");
        add_value(out, value);
        th_buf_printf(out, "</td></tr>\n");
    }
}

static void add_connections(struct th_buf *out, const json_t *list)
{
    static const char *const columns[] = {
        "name",   "type",   "urls",     "agents", "authorization_server",
        "scopes", "cached", "requests", "shadow", "last_error"};
    size_t i;
    json_t *connection;

    th_buf_printf(out, "<h2>Connections</h2>\n<table>\n<tr>");
    for (size_t k = 0; k < TH_COUNT_OF(columns); k++)
        th_buf_printf(out, "<th>%s</th>", columns[k]);
    th_buf_printf(out, "</tr>\n");
    json_array_foreach(list, i, connection)
    {
        th_buf_printf(out, "<tr>");
        for (size_t k = 0; k < TH_COUNT_OF(columns); k++) {
            th_buf_printf(out, "<td>");
            add_value(out, json_object_get(connection, columns[k]));
            th_buf_printf(out, "</td>");
        }
        th_buf_printf(out, "</tr>\n");
    }
    th_buf_printf(out, "</table>\n");
}

int th_route_page(struct th_admin_request *request, struct th_admin_answer *answer)
{
    struct th_buf *out = &answer->body;
    json_t *status = th_status_to_json(request), *connections = th_connections_to_json(request);

    answer->content_type = "text/html; charset=utf-8";
    th_buf_printf(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<title>tokenhop</title>\n<link rel=\"stylesheet\" href=\"style.css\">\n"
                       "</head>\n<body>\n<h1>tokenhop</h1>\n<table>\n");
    if (status == NULL || connections == NULL)
        out->failed = true;
    else
        add_rows(out, "", status);
    th_buf_printf(out, "</table>\n");
    if (connections != NULL)
        add_connections(out, json_object_get(connections, "connections"));
    th_buf_printf(out, "<p><a href=\"status\">status</a> <a href=\"connections\">connections</a> "
                       "<a href=\"cache\">cache</a> <a href=\"metrics\">metrics</a></p>\n"
                       "</body>\n</html>\n");
    json_decref(status);
    json_decref(connections);
    return 0;
}

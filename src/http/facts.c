#include "facts.h"

#include "tokenhop/http/url.h"

#include "scan.h"

/* Each option of Connection is compared with each field: bounded, so that a head full of commas
 * costs no more than a head full of fields. */
#define OPTIONS_MAX 100

struct gathered {
    unsigned n_hosts;
    unsigned n_connections;
    unsigned n_upgrades;
    unsigned n_traceparents;
    unsigned n_max_forwards;
    bool close;
    bool keep_alive;
    bool upgrade;
};

static void gather_expect(struct th_head *head, struct th_str value)
{
    struct th_str element;
    while (th_head_take_element(&value, &element)) {
        if (th_str_equal_nocase(element, TH_STR("100-continue")))
            head->expect_continue = true;
        else
            head->expect_unknown = true;
    }
}

static void gather_te(struct th_head *head, struct th_str value)
{
    struct th_str element;
    while (th_head_take_element(&value, &element)) {
        if (th_str_equal_nocase(element, TH_STR("trailers")))
            head->te_trailers = true;
    }
}

static void gather_field(struct th_head *head, struct gathered *g, unsigned i)
{
    struct th_field *field = &head->fields[i];
    switch (field->id) {
    case TH_HEADER_HOST:
        head->host = (int16_t)i;
        g->n_hosts++;
        break;
    case TH_HEADER_AUTHORIZATION:
        if (head->n_authorization++ == 0)
            head->authorization = (int16_t)i;
        break;
    case TH_HEADER_CONNECTION:
        g->n_connections++;
        break;
    case TH_HEADER_UPGRADE:
        g->n_upgrades++;
        break;
    case TH_HEADER_EXPECT:
        gather_expect(head, field->value);
        break;
    case TH_HEADER_TE:
        gather_te(head, field->value);
        break;
    case TH_HEADER_MAX_FORWARDS:
        head->max_forwards = (int16_t)i;
        g->n_max_forwards++;
        break;
    case TH_HEADER_TRACEPARENT:
        head->traceparent = (int16_t)i;
        g->n_traceparents++;
        break;
    }
}

static void drop_named(struct th_head *head, struct th_str option)
{
    enum th_header_id id = th_header_find(option);
    if (id != TH_HEADER_UNKNOWN && (th_header_get(id)->flags & TH_HEADER_FIXED) != 0)
        return; /* R2: cannot be nominated away */
    for (unsigned i = 0; i < head->n_fields; i++) {
        struct th_field *field = &head->fields[i];
        if (field->id == id &&
            (id != TH_HEADER_UNKNOWN || th_str_equal_nocase(field->name, option)))
            field->dropped = true;
    }
}

static int gather_connection(struct th_head *head, struct gathered *g)
{
    unsigned n_options = 0;
    for (unsigned i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id != TH_HEADER_CONNECTION)
            continue;
        struct th_str rest = head->fields[i].value;
        struct th_str option;
        while (th_head_take_element(&rest, &option)) {
            /* what is no token could be read as naming another field than the one seen here */
            if (!th_scan_all(option, TH_SCAN_TOKEN))
                return TH_E_BAD_REQUEST;
            if (++n_options > OPTIONS_MAX)
                return TH_E_HEAD_TOO_LARGE;
            if (th_str_equal_nocase(option, TH_STR("close")))
                g->close = true;
            else if (th_str_equal_nocase(option, TH_STR("keep-alive")))
                g->keep_alive = true;
            else if (th_str_equal_nocase(option, TH_STR("upgrade")))
                g->upgrade = true;
            else
                drop_named(head, option);
        }
    }
    return 0;
}

/* RFC 9112, 3.2: exactly one in HTTP/1.1. One that comes twice is refused in HTTP/1.0 as well. */
static int check_host(const struct th_head *head, unsigned n_hosts)
{
    if (n_hosts > 1 || (n_hosts == 0 && head->minor > 0))
        return TH_E_BAD_REQUEST;
    if (n_hosts == 0)
        return 0;
    struct th_str value = head->fields[head->host].value;
    struct th_url url;
    if (value.len > 0 && th_url_parse_authority(value, false, &url) != 0)
        return TH_E_BAD_REQUEST;
    return 0;
}

/* W3C Trace Context, 3.2: of two traceparents none is to be believed, nor passed on. */
static void drop_traceparents(struct th_head *head)
{
    head->traceparent = -1;
    for (unsigned i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id == TH_HEADER_TRACEPARENT)
            head->fields[i].dropped = true;
    }
}

static void reset_facts(struct th_head *head)
{
    head->expect_continue = head->expect_unknown = false;
    head->upgrade = head->te_trailers = head->keep_alive = false;
    head->host = head->authorization = head->max_forwards = head->traceparent = -1;
    head->n_authorization = 0;
}

int th_facts_gather(struct th_head *head, enum th_direction direction)
{
    bool is_request = direction == TH_DIRECTION_REQUEST;
    struct gathered g = {0};
    reset_facts(head);
    for (unsigned i = 0; i < head->n_fields; i++) {
        struct th_field *field = &head->fields[i];
        if (field->id == TH_HEADER_UNKNOWN)
            continue;
        field->dropped = (th_header_get((enum th_header_id)field->id)->flags & TH_HEADER_HOP) != 0;
        gather_field(head, &g, i);
    }
    int r = g.n_connections > 0 ? gather_connection(head, &g) : 0;
    if (r == 0 && is_request)
        r = check_host(head, g.n_hosts);
    if (r != 0)
        return r;
    /* a proxy lowers this number by one; of two it would lower one and forward the other */
    if (is_request && g.n_max_forwards > 1)
        return TH_E_BAD_REQUEST;
    if (g.n_traceparents > 1)
        drop_traceparents(head);
    else if (g.n_traceparents == 1 && head->fields[head->traceparent].dropped)
        head->traceparent = -1; /* Connection named it */

    /* RFC 9112, 9.3. Of an HTTP/1.0 client's keep-alive the section says that a proxy should not
     * honour it, for old proxies pass the field on blindly; whoever holds the connection decides
     * that, this says what the message says. Proxy-Connection is no standard and is ignored. */
    head->keep_alive = !g.close && (head->minor > 0 || g.keep_alive);
    /* RFC 9110, 7.8 and 10.1.1: both are ignored in HTTP/1.0 */
    head->upgrade = g.upgrade && g.n_upgrades > 0 && head->minor > 0;
    head->expect_continue = head->expect_continue && is_request && head->minor > 0;
    head->expect_unknown = head->expect_unknown && is_request;
    return 0;
}

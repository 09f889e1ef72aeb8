/* Who may ask. The socket's mode and its peer's user, or loopback, are the first bar (socket.c, the
 * configuration); this is what a request itself must show. A browser on this machine reaches loopback
 * too, and runs what other sites give it:
 *
 *   - its cross-site requests say so, by Origin or Sec-Fetch-Site: refused, and no CORS field ever
 *     allows one
 *   - what changes something needs a field that no form can add, and that a script of another site may
 *     only add after a preflight, which is refused
 *   - a name of another site that is made to resolve to loopback (DNS rebinding) shows in Host: it must
 *     be this machine's own
 *
 * Where a token is configured it must come with every request but the probes', and Host may be
 * anything: no browser has the token. */
#include <string.h>

#include "admin_private.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/http/url.h"

#define CUSTOM_FIELD "x-tokenhop-admin"

static const struct th_field *find_field(const struct th_head *head, const char *name)
{
    for (uint16_t i = 0; i < head->n_fields; i++)
        if (th_str_equal_nocase(head->fields[i].name, th_str_of(name)))
            return &head->fields[i];
    return NULL;
}

/* The digests are compared, in constant time: how long the token is does not show either. */
static bool is_token(struct th_str given, const struct th_secret *token)
{
    uint8_t theirs[32], ours[32];
    th_broker_digest(given, theirs);
    th_broker_digest(th_secret_expose(token), ours);
    return th_secret_equal_bytes(theirs, ours, sizeof ours);
}

static bool bears_token(const struct th_head *head, const struct th_secret *token)
{
    static const struct th_str scheme = {"Bearer ", 7};
    if (head->n_authorization != 1)
        return false;
    struct th_str value = head->fields[head->authorization].value;
    if (value.len <= scheme.len ||
        !th_str_equal_nocase((struct th_str){value.ptr, scheme.len}, scheme))
        return false;
    return is_token(th_str_trim((struct th_str){value.ptr + scheme.len, value.len - scheme.len}),
                    token);
}

/* A loopback literal, "localhost", which no name server answers for (RFC 6761, 6.3), or nothing. */
static bool is_own_host(const struct th_head *head)
{
    struct th_url url = {0};
    struct th_address address;
    if (head->host < 0) /* HTTP/1.0: no browser */
        return true;
    struct th_str text = head->fields[head->host].value;
    if (text.len == 0)
        return true;
    if (th_url_parse_authority(text, false, &url) < 0)
        return false;
    if (th_str_equal(url.host, TH_STR("localhost")))
        return true;
    return url.host_is_literal && th_address_parse(url.host, 1, &address) == 0 &&
           th_address_is_loopback(&address);
}

/* What a browser says of a request that another site made. Of its own page and of the address bar it
 * says "same-origin" and "none"; where it says nothing, it is none or an old one, which sends Origin. */
static bool is_cross_site(const struct th_head *head)
{
    const struct th_field *site = find_field(head, "sec-fetch-site");
    if (find_field(head, "origin") != NULL)
        return true; /* the page has no scripts and no forms: nothing of ours sends it */
    return site != NULL && !th_str_equal(site->value, TH_STR("same-origin")) &&
           !th_str_equal(site->value, TH_STR("none"));
}

int th_guard_check(const struct th_admin_request *request, bool is_probe, const char **ret_why)
{
    const struct th_head *head = request->head;
    const struct th_secret *token = th_config_get(request->config)->admin.token;
    bool reads = head->method == TH_METHOD_GET || head->method == TH_METHOD_HEAD;

    if (is_cross_site(head)) {
        *ret_why = "requests of other sites are refused";
        return 403;
    }
    if (is_probe)
        return 0;
    if (token != NULL && !bears_token(head, token)) {
        *ret_why = "the admin token is missing or wrong: Authorization: Bearer";
        return 401;
    }
    if (token == NULL && !is_own_host(head)) {
        *ret_why = "Host must be localhost or a loopback address";
        return 403;
    }
    if (!reads && find_field(head, CUSTOM_FIELD) == NULL) {
        *ret_why = "what changes something needs the field X-Tokenhop-Admin: 1";
        return 403;
    }
    return 0;
}

#include "watch.h"

#include <stdio.h>

#include "form.h"
#include "printable.h"
#include "tokenhop/base/check.h"

#define FORM_MAX ((size_t)512 * 1024)
#define NUMBER_MAX 32

/* What may be shown. Whatever is not in a list here is taken for a secret. */
enum shown_as { SHOWN_HIDDEN, SHOWN_TEXT, SHOWN_TOKEN };

struct shown_row {
    const char *name;
    enum shown_as as;
};

static const struct shown_row parameters[] = {
    {"grant_type", SHOWN_TEXT},
    {"requested_token_type", SHOWN_TEXT},
    {"requested_token_use", SHOWN_TEXT},
    {"subject_token", SHOWN_TOKEN},
    {"subject_token_type", SHOWN_TEXT},
    {"actor_token", SHOWN_TOKEN},
    {"actor_token_type", SHOWN_TEXT},
    {"audience", SHOWN_TEXT},
    {"resource", SHOWN_TEXT},
    {"scope", SHOWN_TEXT},
    {"assertion", SHOWN_TOKEN},
    {"client_id", SHOWN_TEXT},
    {"client_assertion_type", SHOWN_TEXT},
    {"client_assertion", SHOWN_TOKEN},
};

/* Members of an answer, in the order in which they are shown. What a server adds besides is left out,
 * its name too. */
static const struct shown_row members[] = {
    {"error", SHOWN_TEXT},
    {"issued_token_type", SHOWN_TEXT},
    {"token_type", SHOWN_TEXT},
    {"expires_in", SHOWN_TEXT},
    {"scope", SHOWN_TEXT},
    {"access_token", SHOWN_TOKEN},
    {"refresh_token", SHOWN_HIDDEN},
    {"id_token", SHOWN_HIDDEN},
    {"vaulted_secret", SHOWN_HIDDEN},
    {"secret", SHOWN_HIDDEN},
    {"service_account", SHOWN_HIDDEN},
};

/* The claims that were parsed for a view live in `jwts` until the call is over. */
struct view {
    struct th_exchange_shown shown[TH_EXCHANGE_SHOWN_MAX];
    struct th_jwt jwts[TH_EXCHANGE_SHOWN_MAX];
    size_t n;
};

static void view_add(struct view *view, struct th_str name, enum shown_as as, struct th_str value)
{
    if (view->n == TH_EXCHANGE_SHOWN_MAX)
        return;
    struct th_exchange_shown *shown = &view->shown[view->n];
    struct th_jwt *jwt = &view->jwts[view->n];
    view->n++;
    *shown = (struct th_exchange_shown){.name = name, .is_token = as == SHOWN_TOKEN};
    *jwt = (struct th_jwt){0};
    switch (as) {
    case SHOWN_HIDDEN:
        break;
    case SHOWN_TEXT:
        shown->text = value;
        break;
    case SHOWN_TOKEN:
        if (th_jwt_parse(value, jwt) == 0) {
            shown->header = jwt->header;
            shown->claims = jwt->claims;
        }
        break;
    }
}

static void view_fini(struct view *view)
{
    for (size_t i = 0; i < view->n; i++)
        th_jwt_fini(&view->jwts[i]);
}

static enum shown_as parameter_as(struct th_str name)
{
    for (size_t i = 0; i < TH_COUNT_OF(parameters); i++) {
        if (th_str_equal(name, th_str_of(parameters[i].name)))
            return parameters[i].as;
    }
    return SHOWN_HIDDEN;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c - 'A' + 10; /* as th_form_encode() writes them */
}

/* Undoes th_form_encode(); returns where it was put. */
static struct th_str decode(struct th_buf *room, struct th_str text)
{
    size_t start = room->len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '%' && i + 2 < text.len) {
            th_buf_add_char(room,
                            (char)(digit_of(text.ptr[i + 1]) << 4 | digit_of(text.ptr[i + 2])));
            i += 2;
        } else {
            th_buf_add_char(room, text.ptr[i] == '+' ? ' ' : text.ptr[i]);
        }
    }
    return (struct th_str){room->ptr + start, room->len - start};
}

static struct th_str take_until(struct th_str *rest, char end)
{
    const char *at = rest->len > 0 ? memchr(rest->ptr, end, rest->len) : NULL;
    struct th_str taken = {rest->ptr, at != NULL ? (size_t)(at - rest->ptr) : rest->len};
    size_t skip = taken.len + (at != NULL ? 1 : 0);
    *rest = (struct th_str){rest->ptr + skip, rest->len - skip};
    return taken;
}

void th_exchange_watch_request(const struct th_exchange *ex, struct th_str form,
                               struct th_str authorization)
{
    if (ex->observer == NULL)
        return;
    struct view view = {.n = 0};
    char proof[TH_DPOP_THUMBPRINT_LEN + 32];
    struct th_buf room;
    th_buf_init_secret(&room, FORM_MAX);
    /* At once, so that it does not move: what is decoded is never longer. */
    bool has_room = th_buf_reserve(&room, form.len) != NULL;
    while (has_room && form.len > 0) {
        struct th_str pair = take_until(&form, '&');
        struct th_str name = take_until(&pair, '=');
        name = decode(&room, name);
        view_add(&view, name, parameter_as(name), decode(&room, pair));
    }
    if (authorization.len > 0)
        view_add(&view, TH_STR("Authorization"), SHOWN_HIDDEN, TH_STR_NONE);
    if (ex->dpop_proof != NULL) {
        struct th_str jkt = th_dpop_key_thumbprint(ex->dpop_key);
        int len = snprintf(proof, sizeof proof, "a proof by the key %.*s", TH_STR_ARGS(jkt));
        view_add(&view, TH_STR("DPoP"), SHOWN_TEXT, (struct th_str){proof, (size_t)len});
    }
    ex->observer->on_request(ex->observer_arg, &ex->result.legs[th_exchange_report_at(ex)],
                             view.shown, view.n);
    view_fini(&view);
    th_buf_fini(&room);
}

static void add_member(struct view *view, const struct shown_row *row, const json_t *member,
                       char number[NUMBER_MAX])
{
    struct th_str value = TH_STR_NONE;
    enum shown_as as = row->as;
    if (json_is_string(member)) {
        value = (struct th_str){json_string_value(member), json_string_length(member)};
    } else if (json_is_integer(member)) {
        (void)snprintf(number, NUMBER_MAX, "%lld", (long long)json_integer_value(member));
        value = th_str_of(number);
    } else {
        as = SHOWN_HIDDEN;
    }
    if (as == SHOWN_TEXT && th_printable_hides_token(value))
        as = SHOWN_HIDDEN;
    view_add(view, th_str_of(row->name), as, value);
}

void th_exchange_watch_answer(const struct th_exchange *ex, int64_t duration_us)
{
    if (ex->observer == NULL)
        return;
    struct view view = {.n = 0};
    char numbers[TH_COUNT_OF(members)][NUMBER_MAX];
    struct th_exchange_leg_report leg = ex->result.legs[th_exchange_report_at(ex)];
    leg.duration_us = duration_us;
    for (size_t i = 0; i < TH_COUNT_OF(members); i++) {
        const json_t *member = json_object_get(ex->answer.object, members[i].name);
        if (member != NULL)
            add_member(&view, &members[i], member, numbers[i]);
    }
    ex->observer->on_answer(ex->observer_arg, &leg, view.shown, view.n, ex->answer.why);
    view_fini(&view);
}

void th_exchange_watch_note(const struct th_exchange *ex, const char *note)
{
    if (ex->observer != NULL)
        ex->observer->on_note(ex->observer_arg, note);
}

_Static_assert(TH_COUNT_OF(parameters) + 4 <= TH_EXCHANGE_SHOWN_MAX, "all parameters can be shown");
_Static_assert(TH_COUNT_OF(members) <= TH_EXCHANGE_SHOWN_MAX, "all members can be shown");

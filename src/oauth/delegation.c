#include "tokenhop/oauth/delegation.h"

#include "actors.h"
#include "delegation_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/jose.h"

#define TEXT_MAX ((size_t)256)
#define WORDS_MAX ((size_t)4096)
#define TEXTS (6 + TH_DELEGATION_ACTORS_MAX + TH_DELEGATION_LEGS_MAX)

/* All texts, first as they are borrowed; then moved into room behind the struct. */
static size_t gather(struct th_delegation *d, struct th_str *ret_texts[TEXTS])
{
    size_t n = 0;
    ret_texts[n++] = &d->subject_issuer;
    ret_texts[n++] = &d->subject_name;
    ret_texts[n++] = &d->issued_id;
    ret_texts[n++] = &d->issued_scopes;
    ret_texts[n++] = &d->issued_audience;
    for (size_t i = 0; i < d->n_actors; i++)
        ret_texts[n++] = &d->actors[i];
    for (size_t i = 0; i < d->n_legs; i++)
        ret_texts[n++] = &d->legs[i].endpoint;
    return n;
}

/* The struct, its arrays and its texts, one behind the other. */
static struct th_delegation *copy_whole(struct th_delegation *borrowed)
{
    struct th_str *texts[TEXTS];
    size_t n = gather(borrowed, texts);
    size_t size = sizeof *borrowed + borrowed->n_legs * sizeof *borrowed->legs +
                  borrowed->n_actors * sizeof *borrowed->actors;
    for (size_t i = 0; i < n; i++) {
        bool has_words =
            texts[i] == &borrowed->issued_scopes || texts[i] == &borrowed->issued_audience;
        size_t max = has_words ? WORDS_MAX : TEXT_MAX;
        if (texts[i]->len > max)
            texts[i]->len = max;
        size += texts[i]->len;
    }
    struct th_delegation *d = th_malloc(size);
    if (d == NULL)
        return NULL;
    *d = *borrowed;
    th_ref_init(&d->ref);
    d->size = (uint32_t)size;
    d->legs = (struct th_delegation_leg *)(d + 1);
    d->actors = (struct th_str *)(d->legs + d->n_legs);
    for (size_t i = 0; i < d->n_legs; i++)
        d->legs[i] = borrowed->legs[i];
    for (size_t i = 0; i < d->n_actors; i++)
        d->actors[i] = borrowed->actors[i];
    char *at = (char *)(d->actors + d->n_actors);
    n = gather(d, texts);
    for (size_t i = 0; i < n; i++) {
        if (texts[i]->len > 0)
            memcpy(at, texts[i]->ptr, texts[i]->len);
        texts[i]->ptr = at;
        at += texts[i]->len;
    }
    return d;
}

/* Its words parted by spaces, as far as they fit into `room` whole. */
static struct th_str join_words(struct th_buf *room, struct th_str text, char separator)
{
    struct th_str word;

    while (th_str_take_word(&text, separator, &word))
        if (word.len > 0 && word.len + 1 <= WORDS_MAX - room->len)
            th_buf_printf(room, "%s%.*s", room->len > 0 ? " " : "", (int)word.len, word.ptr);
    return th_buf_str(room);
}

static struct th_str join_list(struct th_buf *room, const json_t *list)
{
    size_t i;
    const json_t *item;

    json_array_foreach(list, i, item)(void)
        join_words(room, (struct th_str){json_string_value(item), json_string_length(item)}, ' ');
    return th_buf_str(room);
}

/* Of the answer (RFC 8693, 2.2.1), else of the token: `scope`, or `scp` as Okta has it. */
static struct th_str scopes_of(const struct th_exchange *ex, const json_t *claims,
                               struct th_buf *room)
{
    const json_t *list = json_object_get(claims, "scp");
    struct th_str scopes = th_jwt_text(ex->answer.object, "scope");

    if (scopes.len == 0)
        scopes = th_jwt_text(claims, "scope");
    if (scopes.len == 0)
        scopes = th_jwt_text(claims, "scp");
    if (scopes.len == 0)
        return join_list(room, list);
    return join_words(room, scopes, th_scope_parting(scopes, ex->connection->scope_separator));
}

static struct th_str audience_of(const json_t *claims, struct th_buf *room)
{
    const json_t *audience = json_object_get(claims, "aud");

    return json_is_array(audience) ? join_list(room, audience)
                                   : join_words(room, th_jwt_text(claims, "aud"), ' ');
}

static void take_subject(struct th_delegation *d, const struct th_exchange *ex,
                         struct th_actors *actors)
{
    d->subject_issuer = th_jwt_text(ex->subject_claims, "iss");
    d->subject_name = th_jwt_text(ex->subject_claims, "sub");
    d->subject_verified = ex->is_subject_verified;
    th_actors_read(ex->subject_claims, actors);
    d->n_all_actors = actors->count;
    d->actors = actors->subs;
    d->n_actors =
        actors->count < TH_DELEGATION_ACTORS_MAX ? actors->count : TH_DELEGATION_ACTORS_MAX;
}

static void take_legs(struct th_delegation *d, const struct th_exchange *ex)
{
    while (d->n_legs < ex->result.n_legs && d->n_legs < TH_DELEGATION_LEGS_MAX) {
        const struct th_exchange_leg_report *report = &ex->result.legs[d->n_legs];
        d->legs[d->n_legs++] = (struct th_delegation_leg){report->name, report->endpoint,
                                                          report->status, report->duration_us};
    }
}

void th_delegation_note(struct th_exchange *ex, const json_t *issued)
{
    struct th_delegation_leg legs[TH_DELEGATION_LEGS_MAX];
    struct th_delegation d = {.issued_until_wall_ms = -1, .legs = legs};
    struct th_actors actors;
    struct th_buf scopes, audience;
    if (!ex->exchanger->keeps_delegations || ex->result.delegation != NULL)
        return;
    th_buf_init(&scopes, WORDS_MAX);
    th_buf_init(&audience, WORDS_MAX);
    take_subject(&d, ex, &actors);
    take_legs(&d, ex);
    if (ex->result.error == 0) {
        d.issued_id = th_jwt_text(issued, "jti");
        d.issued_audience = audience_of(issued, &audience);
        d.issued_scopes = scopes_of(ex, issued, &scopes);
        if (ex->result.lifetime_ms > 0)
            d.issued_until_wall_ms = th_clock_wall_ms(ex->worker->clock) + ex->result.lifetime_ms;
    }
    ex->result.delegation = copy_whole(&d); /* without memory, the line is without it */
    th_buf_fini(&scopes);
    th_buf_fini(&audience);
}

struct th_delegation *th_delegation_ref(struct th_delegation *delegation)
{
    th_ref_take(&delegation->ref);
    return delegation;
}

struct th_delegation *th_delegation_unref(struct th_delegation *delegation)
{
    if (delegation != NULL && th_ref_release(&delegation->ref))
        th_free(delegation);
    return NULL;
}

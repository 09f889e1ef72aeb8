/* What a rule of the policy asks of the subject token. */
#include "policy.h"

static const char *const path_mend =
    "write \"groups\", \"realm_access.roles\", or a JSON pointer: \"/https:~1~1example.com~1groups\"";

/* RFC 6901, 4: "~1" is '/', "~0" is '~'. False: another character follows '~'. */
static bool unescape(char *text, size_t *len)
{
    size_t to = 0;
    for (size_t i = 0; i < *len; i++) {
        char c = text[i];
        if (c == '~') {
            if (++i == *len || (text[i] != '0' && text[i] != '1'))
                return false;
            c = text[i] == '1' ? '/' : '~';
        }
        text[to++] = c;
    }
    *len = to;
    return true;
}

static size_t count(struct th_str text, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == c;
    return n;
}

static bool names_whole(struct th_str text)
{
    return memmem(text.ptr, text.len, "://", 3) != NULL;
}

/* The steps of a claim's name, in room of the snapshot. False: it is malformed. */
static bool split(struct th_loader *l, struct th_str text, struct th_policy_claim *claim)
{
    bool is_pointer = text.ptr[0] == '/';
    char by = is_pointer ? '/' : '.';
    struct th_str rest = is_pointer ? (struct th_str){text.ptr + 1, text.len - 1} : text;
    bool is_whole = !is_pointer && names_whole(text);
    size_t n = is_whole ? 1 : count(rest, by) + 1;
    struct th_str *steps = th_loader_alloc(l, n, sizeof *steps);
    for (size_t i = 0; steps != NULL && i < n; i++) {
        const char *end = !is_whole && rest.len > 0 ? memchr(rest.ptr, by, rest.len) : NULL;
        struct th_str step = {rest.ptr, end != NULL ? (size_t)(end - rest.ptr) : rest.len};
        char *room = th_loader_alloc(l, step.len + 1, 1);
        if (room == NULL)
            return true;
        if (step.len > 0)
            memcpy(room, step.ptr, step.len);
        size_t len = step.len;
        if (is_pointer ? !unescape(room, &len) : len == 0)
            return false;
        room[len] = '\0';
        steps[i] = (struct th_str){room, len};
        if (end != NULL)
            rest = (struct th_str){end + 1, rest.len - step.len - 1};
    }
    claim->steps = steps;
    claim->n_steps = steps != NULL ? n : 0;
    return true;
}

static void build_claim(struct th_loader *l, const struct th_raw_claim *raw,
                        struct th_policy_claim *claim)
{
    struct th_raw_list one = {NULL, 1};
    claim->text = raw->claim;
    if (raw->claim.ptr != NULL && !split(l, raw->claim, claim))
        th_loader_report(l, th_loader_member(l, raw->head.place, "claim"), path_mend,
                         "this names no claim");
    claim->is_words = claim->n_steps == 1 && th_str_equal(claim->steps[0], TH_STR("scope"));
    if (raw->any_of.n > 0) {
        claim->test = TH_POLICY_ANY_OF;
        claim->values = th_build_texts(l, &raw->any_of, &claim->n_values);
        return;
    }
    claim->test = raw->equals.ptr != NULL ? TH_POLICY_EQUALS : TH_POLICY_CONTAINS;
    one.items = raw->equals.ptr != NULL ? &raw->equals : &raw->contains;
    claim->values = th_build_texts(l, &one, &claim->n_values);
}

static void build_issuers(struct th_loader *l, const struct th_raw_policy_rule *raw,
                          struct th_policy_rule *rule)
{
    struct th_str *issuers = th_loader_alloc(l, raw->issuers.n, sizeof *issuers);
    for (size_t i = 0; issuers != NULL && i < raw->issuers.n; i++) {
        issuers[i] = raw->issuers.items[i];
        if (issuers[i].ptr == NULL || names_whole(issuers[i]))
            continue;
        const struct th_config_authorization_server *server =
            th_build_find_server(l, issuers[i], th_loader_item(l, raw->head.place, "issuer", i));
        issuers[i] = server != NULL ? server->issuer : TH_STR_NONE;
    }
    rule->issuers = issuers;
    rule->n_issuers = issuers != NULL ? raw->issuers.n : 0;
}

void th_build_claims(struct th_loader *loader, const struct th_raw_policy_rule *raw,
                     struct th_policy_rule *rule)
{
    const struct th_raw_claim *from = raw->claims.items;
    struct th_policy_claim *claims = th_loader_alloc(loader, raw->claims.n, sizeof *claims);
    for (size_t i = 0; claims != NULL && i < raw->claims.n; i++)
        build_claim(loader, &from[i], &claims[i]);
    rule->claims = claims;
    rule->n_claims = claims != NULL ? raw->claims.n : 0;
    build_issuers(loader, raw, rule);
    bool says =
        th_source_find_member(&loader->source, raw->head.place, "max_chain") != TH_SOURCE_NONE;
    rule->max_chain = says ? (int)raw->max_chain : -1;
    rule->any_actors = th_build_texts(loader, &raw->actors.any_of, &rule->n_any_actors);
    rule->only_actors = th_build_texts(loader, &raw->actors.only, &rule->n_only_actors);
    rule->asks_claims = rule->n_claims > 0 || rule->n_issuers > 0 || rule->max_chain >= 0 ||
                        rule->n_any_actors > 0 || rule->n_only_actors > 0;
}

#include "faults.h"

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "world.h"

#define MAX_RULES 100
#define DEFAULT_LONG_TEXT 200000
#define MAX_LONG_TEXT (16 * 1024 * 1024)

static const struct fault_row {
    const char *name;
    enum th_fault_phase phase;
    const char *text;
} rows[] = {
    [TH_FAULT_NONE] = {"none", TH_FAULT_PHASE_DELAY, ""},
#define X(symbol, name, phase, text) [TH_FAULT_##symbol] = {name, TH_FAULT_PHASE_##phase, text},
#include "faults.def"
#undef X
};

struct fault_rule {
    struct th_list link;
    enum th_fault_kind kind;
    char place[24];
    char path[128];
    long skip;
    long count; /* left; -1 for ever */
    json_t *args;
};

void th_faults_init(struct th_faults *faults)
{
    th_list_init(&faults->rules);
    faults->n_rules = 0;
}

static void drop_rule(struct th_faults *faults, struct fault_rule *rule)
{
    th_list_remove(&rule->link);
    faults->n_rules--;
    json_decref(rule->args);
    th_free(rule);
}

void th_faults_clear(struct th_faults *faults)
{
    TH_LIST_EACH(it, &faults->rules)
        drop_rule(faults, TH_LIST_ENTRY(it, struct fault_rule, link));
}

void th_faults_fini(struct th_faults *faults)
{
    th_faults_clear(faults);
}

bool th_faults_is_place(const char *place)
{
    static const char *const endpoints[] = {"token", "revoke", "keys", "metadata", "sts"};
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++) {
        if (th_world_resources[i].listens && strcmp(place, th_world_resources[i].name) == 0)
            return true;
    }
    for (size_t i = 0; i < TH_SERVER_COUNT; i++) {
        size_t len = strlen(th_world_servers[i].name);
        if (strncmp(place, th_world_servers[i].name, len) != 0 || place[len] != '_')
            continue;
        for (size_t k = 0; k < TH_COUNT_OF(endpoints); k++) {
            if (strcmp(place + len + 1, endpoints[k]) == 0)
                return true;
        }
    }
    return false;
}

static enum th_fault_kind find_kind(const char *name)
{
    for (size_t i = 1; i < TH_COUNT_OF(rows); i++) {
        if (strcmp(rows[i].name, name) == 0)
            return (enum th_fault_kind)i;
    }
    return TH_FAULT_NONE;
}

/* Whether a fault of this phase has a meaning at the place. */
static bool phase_fits(enum th_fault_phase phase, const char *place)
{
    bool at_token = strstr(place, "_token") != NULL;
    bool at_server = strchr(place, '_') != NULL;
    switch (phase) {
    case TH_FAULT_PHASE_DELAY:
    case TH_FAULT_PHASE_RAW:
    case TH_FAULT_PHASE_REPLY:
        return true;
    case TH_FAULT_PHASE_CLAIMS:
    case TH_FAULT_PHASE_BODY:
        return at_token;
    case TH_FAULT_PHASE_HEAD:
        return !at_server;
    }
    return false;
}

int th_faults_add(struct th_faults *faults, const json_t *object, struct th_errinfo *reterr)
{
    const char *place = json_string_value(json_object_get(object, "place"));
    const char *name = json_string_value(json_object_get(object, "kind"));
    const char *path = json_string_value(json_object_get(object, "path"));
    const json_t *count = json_object_get(object, "count");
    if (place == NULL || !th_faults_is_place(place))
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, NULL, "no such place");
    enum th_fault_kind kind = name != NULL ? find_kind(name) : TH_FAULT_NONE;
    if (kind == TH_FAULT_NONE)
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, NULL, "no such kind");
    if (!phase_fits(rows[kind].phase, place))
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, NULL,
                              "%s cannot be played at this place", rows[kind].name);
    if ((count != NULL && !json_is_integer(count)) || (path != NULL && strlen(path) > 127))
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, NULL, "bad count or path");
    if (faults->n_rules == MAX_RULES)
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, NULL, "too many rules");
    struct fault_rule *rule = th_calloc(1, sizeof *rule);
    json_t *args = json_deep_copy(object);
    if (rule == NULL || args == NULL) {
        th_free(rule);
        json_decref(args);
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    }
    rule->kind = kind;
    rule->args = args;
    rule->count = count != NULL ? (long)json_integer_value(count) : 1;
    rule->skip = (long)json_integer_value(json_object_get(object, "skip"));
    snprintf(rule->place, sizeof rule->place, "%s", place);
    snprintf(rule->path, sizeof rule->path, "%s", path != NULL ? path : "");
    th_list_push_back(&faults->rules, &rule->link);
    faults->n_rules++;
    return 0;
}

json_t *th_faults_json(const struct th_faults *faults)
{
    json_t *list = json_array();
    TH_LIST_EACH(it, &faults->rules) {
        const struct fault_rule *rule = TH_LIST_ENTRY(it, struct fault_rule, link);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:O}", "place", rule->place, "kind",
                                              rows[rule->kind].name, "left",
                                              (json_int_t)rule->count, "rule", rule->args));
    }
    return list;
}

struct th_fault th_faults_take(struct th_faults *faults, const char *place, const char *path)
{
    TH_LIST_EACH(it, &faults->rules) {
        struct fault_rule *rule = TH_LIST_ENTRY(it, struct fault_rule, link);
        if (strcmp(rule->place, place) != 0 || strncmp(path, rule->path, strlen(rule->path)) != 0)
            continue;
        if (rule->skip > 0) {
            rule->skip--;
            break;
        }
        struct th_fault fault = {rule->kind, rows[rule->kind].phase, json_incref(rule->args)};
        if (rule->count > 0 && --rule->count == 0)
            drop_rule(faults, rule);
        return fault;
    }
    return (struct th_fault){TH_FAULT_NONE};
}

void th_fault_fini(struct th_fault *fault)
{
    json_decref(fault->args);
    *fault = (struct th_fault){TH_FAULT_NONE};
}

long th_fault_long(const struct th_fault *fault, const char *name, long otherwise)
{
    const json_t *value = json_object_get(fault->args, name);
    return json_is_integer(value) ? (long)json_integer_value(value) : otherwise;
}

const char *th_fault_text(const struct th_fault *fault, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(fault->args, name));
    return text != NULL ? text : otherwise;
}

const char *th_fault_name(enum th_fault_kind kind)
{
    return rows[kind].name;
}

void th_faults_help(FILE *out)
{
    for (size_t i = 1; i < TH_COUNT_OF(rows); i++)
        fprintf(out, "  %-20s %s\n", rows[i].name, rows[i].text);
}

static json_t *long_text(long len)
{
    if (len < 1 || len > MAX_LONG_TEXT)
        len = DEFAULT_LONG_TEXT;
    TH_CLEANUP(th_freep) char *text = th_malloc((size_t)len);
    if (text == NULL)
        return NULL;
    memset(text, 'A', (size_t)len);
    return json_stringn(text, (size_t)len);
}

static void widen_scope(const struct th_fault *fault, json_t *claims)
{
    char text[1024];
    const char *more = th_fault_text(fault, "value", "chat.admin");
    json_t *list = json_object_get(claims, "scp");
    const char *scope = json_string_value(json_object_get(claims, "scope"));
    if (json_is_array(list))
        json_array_append_new(list, json_string(more));
    if (scope != NULL) {
        snprintf(text, sizeof text, "%s %s", scope, more);
        json_object_set_new(claims, "scope", json_string(text));
    }
}

static void change_actor(const struct th_fault *fault, json_t *claims)
{
    json_t *act = json_object_get(claims, "act");
    if (json_is_object(act))
        json_object_set_new(act, "sub", json_string(th_fault_text(fault, "value", "wlpAttacker")));
}

static void shorten_chain(const struct th_fault *fault, json_t *claims)
{
    json_object_del(json_object_get(claims, "act"), "act");
}

static void change_key(const struct th_fault *fault, json_t *claims)
{
    static const char other[] = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    json_object_set_new(claims, "cnf",
                        json_pack("{s:s}", "jkt", th_fault_text(fault, "value", other)));
}

static void expire(const struct th_fault *fault, json_t *claims)
{
    json_int_t iat = json_integer_value(json_object_get(claims, "iat"));
    json_object_set_new(claims, "exp", json_integer(iat - 60));
}

static void make_long(const struct th_fault *fault, json_t *body)
{
    json_object_set_new(body, "access_token", long_text(th_fault_long(fault, "bytes", 0)));
}

/* What becomes of one member: it is the fault's `value`, else `text`, else the number 0; gone when the
 * row says so, or the value is null. Where that is not enough, `twist` does it. */
static const struct twist_row {
    enum th_fault_kind kind;
    const char *member;
    const char *text;
    bool gone;
    void (*twist)(const struct th_fault *fault, json_t *object);
} twists[] = {
    {TH_FAULT_WRONG_AUDIENCE, "aud", "https://attacker.example", false, NULL},
    {TH_FAULT_OTHER_SUBJECT, "sub", "00u9mallorysandbox09", false, NULL},
    {TH_FAULT_LOST_CHAIN, "act", NULL, true, NULL},
    {TH_FAULT_WIDE_SCOPE, NULL, NULL, false, widen_scope},
    {TH_FAULT_OTHER_ACTOR, NULL, NULL, false, change_actor},
    {TH_FAULT_CUT_CHAIN, NULL, NULL, false, shorten_chain},
    {TH_FAULT_OTHER_KEY, NULL, NULL, false, change_key},
    {TH_FAULT_EXPIRED_TOKEN, NULL, NULL, false, expire},
    {TH_FAULT_NO_TOKEN, "access_token", NULL, true, NULL},
    {TH_FAULT_BAD_TOKEN, "access_token", "a b\r\nX-Evil: 1", false, NULL},
    {TH_FAULT_OPAQUE_TOKEN, "access_token", "opaque-0123456789", false, NULL},
    {TH_FAULT_LONG_TOKEN, NULL, NULL, false, make_long},
    {TH_FAULT_TOKEN_TYPE, "token_type", "mac", false, NULL},
    {TH_FAULT_SECRET, "vaulted_secret", "no object", false, NULL},
    {TH_FAULT_ACCOUNT, "service_account", "no object", false, NULL},
    {TH_FAULT_NO_EXPIRES, "expires_in", NULL, true, NULL},
    {TH_FAULT_EXPIRES, "expires_in", NULL, false, NULL},
    {TH_FAULT_ISSUED_TYPE, "issued_token_type", "urn:ietf:params:oauth:token-type:access_token",
     false, NULL},
    {TH_FAULT_ERROR_IN_200, "error", "invalid_grant", false, NULL},
};

static void apply_twist(const struct twist_row *row, const struct th_fault *fault, json_t *object)
{
    json_t *value = json_object_get(fault->args, "value");
    if (row->twist != NULL)
        row->twist(fault, object);
    else if (row->gone || json_is_null(value))
        json_object_del(object, row->member);
    else if (value != NULL)
        json_object_set(object, row->member, value);
    else if (row->text != NULL)
        json_object_set_new(object, row->member, json_string(row->text));
    else
        json_object_set_new(object, row->member, json_integer(0));
}

void th_fault_twist(const struct th_fault *fault, json_t *object)
{
    for (size_t i = 0; i < TH_COUNT_OF(twists); i++) {
        if (twists[i].kind == fault->kind)
            apply_twist(&twists[i], fault, object);
    }
}

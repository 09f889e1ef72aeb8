/* Callers: who they are, whom they act as; of what they prove it with only a digest is kept. */
#include <openssl/evp.h>

#include "loader.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/password.h"

#define PROOF_MIN_LEN 8
#define PROOF_MAX_LEN 512 /* what is sent is no longer than a field of some KiB */
#define MEND_PROOF "make one: openssl rand -hex 32"

static void digest(struct th_loader *l, struct th_str user, struct th_str proof,
                   struct th_config_caller *caller)
{
    struct th_buf text;
    th_buf_init_secret(&text, 4096);
    if (caller->proof == TH_CALLER_BASIC) {
        th_buf_add_str(&text, user);
        th_buf_add_char(&text, ':');
    }
    th_buf_add_str(&text, proof);
    if (text.failed ||
        EVP_Digest(text.ptr, text.len, caller->digest, NULL, EVP_sha256(), NULL) != 1)
        l->nomem = true;
    th_buf_fini(&text);
}

static void build_peer(struct th_loader *l, const struct th_raw_caller *raw, uint32_t place,
                       struct th_config_caller *caller)
{
    const struct th_raw_unix *peer = &raw->peer;
    uint32_t user_at = th_loader_member(l, place, "user");
    uint32_t group_at = th_loader_member(l, place, "group");
    caller->is_group = group_at != place || th_loader_member(l, place, "gid") != place;
    if (user_at != place)
        (void)th_build_find_user(l, peer->user, user_at, &caller->unix_id);
    else if (group_at != place)
        (void)th_build_find_group(l, peer->group, group_at, &caller->unix_id);
    else
        caller->unix_id = (uint32_t)(caller->is_group ? peer->gid : peer->uid);
}

/* By its name, or by what it says of itself. */
static const struct th_config_authorization_server *find_issuer(struct th_loader *l,
                                                                struct th_str text, uint32_t place)
{
    const struct th_config_view *view = &l->config->view;
    for (size_t i = 0; text.len > 0 && i < view->n_servers; i++) {
        if (th_str_equal(view->servers[i].issuer, text))
            return &view->servers[i];
    }
    return th_build_find_server(l, text, place);
}

/* RFC 1123 names and the dots between them: what an account's name is made of. */
static void check_account_name(struct th_loader *l, struct th_str name, uint32_t place)
{
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-.", name.ptr[i]) != NULL)
            continue;
        th_loader_report(l, place, NULL,
                         "names in Kubernetes are of small letters, digits, '-' and '.'");
        return;
    }
}

/* The same account of the same cluster has the same digest. */
static void digest_workload(struct th_loader *l, struct th_config_caller *caller)
{
    const struct th_config_workload *workload = &caller->workload;
    const struct th_str parts[] = {workload->issuer->issuer, workload->audience,
                                   workload->namespace_name, workload->service_account};
    struct th_buf text;
    th_buf_init(&text, 8192);
    for (size_t i = 0; i < TH_COUNT_OF(parts); i++) {
        th_buf_add_str(&text, parts[i]);
        th_buf_add_char(&text, '\0');
    }
    if (text.failed ||
        EVP_Digest(text.ptr, text.len, caller->digest, NULL, EVP_sha256(), NULL) != 1)
        l->nomem = true;
    th_buf_fini(&text);
}

static void build_workload(struct th_loader *l, const struct th_raw_kubernetes *raw, uint32_t place,
                           struct th_config_caller *caller)
{
    struct th_config_workload *workload = &caller->workload;
    check_account_name(l, raw->namespace_name, th_loader_member(l, place, "namespace"));
    check_account_name(l, raw->service_account, th_loader_member(l, place, "service_account"));
    *workload = (struct th_config_workload){
        .issuer = find_issuer(l, raw->issuer, th_loader_member(l, place, "issuer")),
        .audience = raw->audience,
        .namespace_name = raw->namespace_name,
        .service_account = raw->service_account,
    };
    if (workload->issuer != NULL && workload->issuer->issuer.ptr != NULL)
        digest_workload(l, caller);
}

static enum th_caller_proof proof_of(const struct th_loader *l, const struct th_raw_caller *raw)
{
    uint32_t place = raw->head.place;
    if (th_loader_member(l, place, "unix") != place)
        return TH_CALLER_UNIX;
    if (th_loader_member(l, place, "kubernetes") != place)
        return TH_CALLER_KUBERNETES;
    return th_loader_member(l, place, "basic") != place ? TH_CALLER_BASIC : TH_CALLER_BEARER;
}

/* The password or token itself. */
static void keep_plain(struct th_loader *l, struct th_str text, uint32_t at,
                       struct th_config_caller *caller)
{
    if (text.len < PROOF_MIN_LEN || text.len > PROOF_MAX_LEN)
        th_loader_report(l, at, MEND_PROOF, "it must be of %d to %d characters", PROOF_MIN_LEN,
                         PROOF_MAX_LEN);
    else if (th_str_has_control(text))
        th_loader_report(l, at, MEND_PROOF, "it has a control character, which no field can hold");
    else if (memmem(text.ptr, text.len, ":$", 2) != NULL) /* of /etc/shadow, of htpasswd */
        th_loader_report(l, at, "of \"USER:HASH\" only HASH; a password with \":$\" must be hashed",
                         "it looks like a user's name before a hash");
    else
        digest(l, caller->user, text, caller);
}

static void build_proof(struct th_loader *l, const struct th_raw_caller *raw,
                        struct th_config_caller *caller)
{
    if (caller->proof == TH_CALLER_UNIX) {
        build_peer(l, raw, th_loader_member(l, raw->head.place, "unix"), caller);
        return;
    }
    if (caller->proof == TH_CALLER_KUBERNETES) {
        build_workload(l, &raw->kubernetes, th_loader_member(l, raw->head.place, "kubernetes"),
                       caller);
        return;
    }
    const char *key = caller->proof == TH_CALLER_BASIC ? "basic" : "bearer";
    uint32_t place = th_loader_member(l, raw->head.place, key), at = place;
    struct th_secret *proof = caller->proof == TH_CALLER_BASIC
                                  ? th_build_secret(l, raw->basic.password_file,
                                                    raw->basic.password.env, "password", place, &at)
                                  : th_build_secret(l, raw->bearer.token_file,
                                                    raw->bearer.token.env, "token", place, &at);
    if (caller->proof == TH_CALLER_BASIC) {
        caller->proof_file = th_loader_file(l, raw->basic.password_file);
        caller->proof_variable = raw->basic.password.env;
    } else {
        caller->proof_file = th_loader_file(l, raw->bearer.token_file);
        caller->proof_variable = raw->bearer.token.env;
    }
    if (proof == NULL)
        return;
    struct th_str text = th_secret_expose(proof);
    if (th_password_is_hashed(text))
        th_build_passwords(l, text, at, caller);
    else
        keep_plain(l, text, at, caller);
    th_config_let_go(l->config, proof);
}

static void check_user(struct th_loader *l, const struct th_raw_caller *raw,
                       const struct th_config_caller *caller)
{
    if (caller->proof == TH_CALLER_BASIC && caller->user.ptr != NULL &&
        (memchr(caller->user.ptr, ':', caller->user.len) != NULL ||
         th_str_has_control(caller->user)))
        th_loader_report(
            l, th_loader_member(l, th_loader_member(l, raw->head.place, "basic"), "user"),
            "choose another name", "a user name has no colon and no control character");
}

/* Two that cannot be told apart: the first would be taken for the other. */
static void check_unique(struct th_loader *l, const struct th_config_caller *callers, size_t i,
                         uint32_t place)
{
    static const uint8_t none[sizeof callers->digest];
    for (size_t j = 0; j < i; j++) {
        if (callers[i].name.ptr != NULL && th_str_equal(callers[i].name, callers[j].name))
            th_loader_report(l, th_loader_member(l, place, "name"), "give it another name",
                             "two callers have the name \"%.*s\"", TH_STR_ARGS(callers[i].name));
        if (callers[i].proof == TH_CALLER_UNIX && callers[j].proof == TH_CALLER_UNIX &&
            callers[i].is_group == callers[j].is_group && callers[i].unix_id == callers[j].unix_id)
            th_loader_report(l, place, "name another user or group, or join them",
                             "the callers \"%.*s\" and \"%.*s\" are the same %s",
                             TH_STR_ARGS(callers[j].name), TH_STR_ARGS(callers[i].name),
                             callers[i].is_group ? "group" : "user");
        bool is_same = callers[i].proof == callers[j].proof &&
                       memcmp(callers[i].digest, none, sizeof none) != 0 &&
                       memcmp(callers[i].digest, callers[j].digest, sizeof none) == 0;
        if (is_same || th_build_has_same_password(&callers[i], &callers[j]) ||
            (callers[i].proof == TH_CALLER_BASIC && callers[i].user.ptr != NULL &&
             callers[j].proof == TH_CALLER_BASIC && th_str_equal(callers[i].user, callers[j].user)))
            th_loader_report(l, place, "give each its own user name, token or certificate",
                             "the callers \"%.*s\" and \"%.*s\" cannot be told apart",
                             TH_STR_ARGS(callers[j].name), TH_STR_ARGS(callers[i].name));
    }
}

static struct th_config_share complete(const struct th_config_share *own,
                                       const struct th_config_share *otherwise)
{
    return (struct th_config_share){
        .connections = own->connections != 0 ? own->connections : otherwise->connections,
        .requests_per_second = own->requests_per_second != 0 ? own->requests_per_second
                                                             : otherwise->requests_per_second,
        .exchanges_per_second = own->exchanges_per_second != 0 ? own->exchanges_per_second
                                                               : otherwise->exchanges_per_second,
        .waiting = own->waiting != 0 ? own->waiting : otherwise->waiting,
    };
}

void th_build_callers(struct th_loader *loader)
{
    const struct th_raw_caller *raw = loader->raw.callers.items;
    size_t n = loader->raw.callers.n;
    struct th_config_caller *callers = th_loader_alloc(loader, n, sizeof *callers);
    for (size_t i = 0; callers != NULL && i < n; i++, raw++) {
        struct th_config_caller *caller = &callers[i];
        caller->name = raw->head.name;
        caller->user = raw->basic.user;
        caller->proof = proof_of(loader, raw);
        caller->limits = complete(&raw->limits, &loader->raw.limits.per_caller);
        if (th_loader_member(loader, raw->head.place, "certificate") != raw->head.place)
            th_build_caller_certificate(loader, raw, caller);
        caller->agent = th_build_find_agent(loader, raw->agent,
                                            th_loader_member(loader, raw->head.place, "agent"));
        check_user(loader, raw, caller);
        if (!th_caller_is_by_certificate(caller->proof))
            build_proof(loader, raw, caller);
        check_unique(loader, callers, i, raw->head.place);
    }
    loader->config->view.callers = callers;
    loader->config->view.n_callers = callers != NULL ? n : 0;
    th_build_all_passwords(loader);
}

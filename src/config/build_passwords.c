/* Passwords and tokens of callers whose files hold hashes. */
#include <openssl/evp.h>

#include "loader.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/password.h"

#define LINES_MAX                                                                                  \
    8 /* a wrong password is held against each: some for those that go, and that come */
#define SLOW_BEARERS_MAX 8 /* likewise, whoever's */

static void digest_all(struct th_loader *l, const struct th_buf *text, uint8_t ret_digest[32])
{
    if (text->failed || EVP_Digest(text->ptr, text->len, ret_digest, NULL, EVP_sha256(), NULL) != 1)
        l->nomem = true;
}

static void version_of(struct th_loader *l, struct th_config_passwords *passwords)
{
    struct th_buf text;

    if (passwords->n == 0)
        return;
    th_buf_init(&text, passwords->n * sizeof passwords->version);
    for (size_t i = 0; i < passwords->n; i++)
        th_buf_add(&text, passwords->items[i].digest, sizeof passwords->items[i].digest);
    digest_all(l, &text, passwords->version);
    th_buf_fini(&text);
}

/* No client can send the NUL: it is in no user's name. */
static void fill_digest(struct th_loader *l, struct th_str line,
                        struct th_config_password *password)
{
    struct th_buf text;

    th_buf_init_secret(&text, 4096);
    if (password->caller->proof == TH_CALLER_BASIC)
        th_buf_add_str(&text, password->caller->user);
    th_buf_add_char(&text, '\0');
    th_buf_add_str(&text, line);
    digest_all(l, &text, password->digest);
    th_buf_fini(&text);
}

static void add_digest(struct th_loader *l, struct th_str line, struct th_config_password *password)
{
    char small[TH_PASSWORD_DIGEST_LEN];

    for (size_t i = 0; i < sizeof small; i++)
        small[i] =
            line.ptr[i] >= 'A' && line.ptr[i] <= 'F' ? (char)(line.ptr[i] + 32) : line.ptr[i];
    fill_digest(l, (struct th_str){small, sizeof small}, password);
}

static void add_slow(struct th_loader *l, struct th_str line, struct th_config_password *password)
{
    password->hash = th_secret_new(line.ptr, line.len);
    if (password->hash == NULL || th_config_hold(l->config, password->hash) < 0)
        l->nomem = true; /* and let go of */
    else
        fill_digest(l, line, password);
}

static void check_count(struct th_loader *l, size_t n, unsigned n_wrong, uint32_t place)
{
    if (n == 0 && n_wrong == 0)
        th_loader_report(
            l, place, TH_PASSWORD_MEND,
            "it begins as a file of hashes does ('$', '#' or \"sha256:\"), and has none");
    else if (n > LINES_MAX)
        th_loader_report(l, place, "leave out those that nobody uses any more",
                         "it has more than %d hashes, each of which a wrong password costs",
                         LINES_MAX);
}

void th_build_passwords(struct th_loader *loader, struct th_str text, uint32_t place,
                        struct th_config_caller *caller)
{
    struct th_config_password *slow = th_loader_alloc(loader, LINES_MAX, sizeof *slow);
    struct th_config_password *fast = th_loader_alloc(loader, LINES_MAX, sizeof *fast);
    unsigned line_number = 0, n_wrong = 0;
    size_t n_slow = 0, n_fast = 0, n = 0;
    struct th_str line;

    while (slow != NULL && fast != NULL && th_password_next_line(&text, &line_number, &line)) {
        const char *fault = th_password_find_fault(line);
        bool is_digest = th_password_is_digest(line);
        if (fault != NULL) {
            th_loader_report(loader, place, TH_PASSWORD_MEND, "line %u of it: %s", line_number,
                             fault);
            n_wrong++;
            continue;
        }
        if (++n > LINES_MAX)
            break;
        struct th_config_password *password = is_digest ? &fast[n_fast++] : &slow[n_slow++];
        password->caller = caller;
        if (is_digest)
            add_digest(loader, line, password);
        else
            add_slow(loader, line, password);
    }
    check_count(loader, n, n_wrong, place);
    caller->slow = (struct th_config_passwords){.items = slow, .n = n_slow};
    caller->fast = (struct th_config_passwords){.items = fast, .n = n_fast};
    version_of(loader, &caller->slow);
    version_of(loader, &caller->fast);
}

static bool has_line(const struct th_config_passwords *passwords, const uint8_t digest[32])
{
    for (size_t i = 0; i < passwords->n; i++)
        if (memcmp(passwords->items[i].digest, digest, sizeof passwords->items[i].digest) == 0)
            return true;
    return false;
}

bool th_build_has_same_password(const struct th_config_caller *a, const struct th_config_caller *b)
{
    bool is_same = false;

    for (size_t i = 0; i < a->slow.n && !is_same; i++)
        is_same = has_line(&b->slow, a->slow.items[i].digest);
    for (size_t i = 0; i < a->fast.n && !is_same; i++)
        is_same = has_line(&b->fast, a->fast.items[i].digest);
    return is_same && a->proof == b->proof;
}

/* A bearer token names nobody: it is held against all of them. */
static void gather_bearers(struct th_loader *l)
{
    struct th_config_view *view = &l->config->view;
    struct th_config_password *items = th_loader_alloc(l, SLOW_BEARERS_MAX, sizeof *items);
    size_t n = 0;

    for (size_t i = 0; items != NULL && i < view->n_callers; i++) {
        const struct th_config_caller *caller = &view->callers[i];
        if (caller->proof != TH_CALLER_BEARER)
            continue;
        if (n + caller->slow.n > SLOW_BEARERS_MAX) {
            uint32_t place = th_loader_item(l, 0, "callers", i);
            th_loader_report(l, place,
                             "hash what a machine made at random by: tokenhop password --digest",
                             "a bearer token is held against the hashes of all callers, of which "
                             "there must be no more than %d besides sha256: ones",
                             SLOW_BEARERS_MAX);
            return;
        }
        if (caller->slow.n > 0)
            memcpy(&items[n], caller->slow.items, caller->slow.n * sizeof *items);
        n += caller->slow.n;
    }
    view->slow_bearers = (struct th_config_passwords){.items = items, .n = n};
    version_of(l, &view->slow_bearers);
}

static void version_users(struct th_loader *l)
{
    struct th_config_view *view = &l->config->view;
    struct th_buf text;

    th_buf_init(&text, view->n_callers * 512 + 1);
    for (size_t i = 0; i < view->n_callers; i++) {
        const struct th_config_caller *caller = &view->callers[i];
        if (caller->proof != TH_CALLER_BASIC)
            continue;
        th_buf_add_str(&text, caller->user);
        th_buf_add_char(&text, '\0');
        th_buf_add(&text, caller->digest, sizeof caller->digest);
        th_buf_add(&text, caller->slow.version, sizeof caller->slow.version);
        th_buf_add(&text, caller->fast.version, sizeof caller->fast.version);
    }
    th_buf_add_char(&text, '\0'); /* so that there is something */
    digest_all(l, &text, view->users_version);
    th_buf_fini(&text);
}

void th_build_all_passwords(struct th_loader *loader)
{
    gather_bearers(loader);
    version_users(loader);
}

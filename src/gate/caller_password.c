#include "tokenhop/gate/caller_password.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/token/broker.h"

static const struct th_config_caller *find_user(const struct th_config_view *config,
                                                struct th_str user)
{
    const struct th_config_caller *found = NULL;

    for (size_t i = 0; i < config->n_callers; i++)
        if (config->callers[i].proof == TH_CALLER_BASIC &&
            th_str_equal(config->callers[i].user, user))
            found = &config->callers[i];
    return found;
}

static size_t count_users(const struct th_config_view *config)
{
    size_t n = 0;

    for (size_t i = 0; i < config->n_callers; i++)
        n += config->callers[i].proof == TH_CALLER_BASIC;
    return n;
}

/* Which one, nobody can tell who does not know the hashes. */
static const struct th_config_caller *stand_in(const struct th_config_view *config,
                                               struct th_str user)
{
    char text[sizeof config->users_version + TH_CALLER_TEXT_MAX];
    uint8_t digest[32];
    uint64_t number;
    size_t n = count_users(config);

    if (n == 0)
        return NULL;
    memcpy(text, config->users_version, sizeof config->users_version);
    if (user.len > 0)
        memcpy(text + sizeof config->users_version, user.ptr, user.len);
    th_broker_digest((struct th_str){text, sizeof config->users_version + user.len}, digest);
    memcpy(&number, digest, sizeof number);
    th_wipe(text, sizeof text);
    number %= n;
    for (size_t i = 0; i < config->n_callers; i++)
        if (config->callers[i].proof == TH_CALLER_BASIC && number-- == 0)
            return &config->callers[i];
    return NULL;
}

bool th_caller_find_hashes(const struct th_config_view *config, const struct th_caller_text *text,
                           struct th_caller_hashes *ret_hashes)
{
    *ret_hashes = (struct th_caller_hashes){.passwords = &config->slow_bearers};
    if (text->proof == TH_CALLER_BASIC) {
        const struct th_config_caller *caller = find_user(config, text->user);
        const struct th_config_caller *other = stand_in(config, text->user); /* asked in any case */
        ret_hashes->is_stand_in = caller == NULL;
        if (caller == NULL)
            caller = other;
        if (caller == NULL)
            return false;
        ret_hashes->passwords = &caller->slow;
    }
    return ret_hashes->passwords->n > 0;
}

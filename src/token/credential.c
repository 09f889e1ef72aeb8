#include "tokenhop/token/credential.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/dpop.h"

struct th_credential *th_credential_new(struct th_secret *value, int64_t expires_ms,
                                        int64_t refresh_ms)
{
    struct th_credential *credential = th_malloc(sizeof *credential);
    if (credential == NULL) {
        th_secret_unref(value);
        return NULL;
    }
    *credential = (struct th_credential){
        .value = value,
        .secret_len = (uint32_t)th_secret_len(value),
        .expires_ms = expires_ms,
        .refresh_ms = refresh_ms,
    };
    th_ref_init(&credential->ref);
    return credential;
}

struct th_credential *th_credential_ref(struct th_credential *credential)
{
    th_ref_take(&credential->ref);
    return credential;
}

struct th_credential *th_credential_unref(struct th_credential *credential)
{
    if (credential != NULL && th_ref_release(&credential->ref)) {
        th_secret_unref(credential->value);
        th_delegation_unref(credential->delegation);
        th_dpop_key_unref(credential->dpop_key);
        th_free(credential);
    }
    return NULL;
}

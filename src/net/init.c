#include "tokenhop/net/init.h"

#include <curl/curl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "tokenhop/base/mem.h"

/* What libcurl lets go of has held tokens: request bodies on their way out, answers, header fields.
 * So all of it is wiped, which costs little as it allocates little on a kept connection. */

static void wiping_free(void *ptr)
{
    if (ptr != NULL)
        th_wipe(ptr, malloc_usable_size(ptr));
    th_free(ptr);
}

static void *plain_malloc(size_t size)
{
    return th_malloc(size);
}

static void *plain_calloc(size_t count, size_t size)
{
    return th_calloc(count, size);
}

static char *plain_strdup(const char *text)
{
    return th_strdup(text);
}

static void *wiping_realloc(void *old, size_t size)
{
    size_t old_size = old != NULL ? malloc_usable_size(old) : 0;
    void *fresh;

    if (old != NULL && size <= old_size && size >= old_size / 2)
        return old;
    fresh = th_malloc(size);
    if (fresh == NULL)
        return NULL;
    if (old != NULL)
        memcpy(fresh, old, old_size < size ? old_size : size);
    wiping_free(old);
    return fresh;
}

int th_net_global_init(void)
{
    /* OpenSSL writes its sockets by write(): MSG_NOSIGNAL does not reach there. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return TH_E_IO;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, plain_malloc, wiping_free, wiping_realloc,
                                plain_strdup, plain_calloc) == CURLE_OK
               ? 0
               : TH_E_NOMEM;
}

void th_net_global_fini(void)
{
    curl_global_cleanup();
}

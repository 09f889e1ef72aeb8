#include "tokenhop/net/init.h"

#include <curl/curl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tokenhop/base/mem.h"

/* What libcurl lets go of has held tokens: request bodies on their way out, answers, header fields.
 * So all of it is wiped, which costs little as it allocates little on a kept connection.
 *
 * The memory is the system's and not th_malloc()'s: with an allocation that fails, libcurl 7.88.1
 * may divide by zero (in its table of connections), so that a test which makes each one fail would
 * end there. */

static void wiping_free(void *ptr)
{
    if (ptr != NULL)
        th_wipe(ptr, malloc_usable_size(ptr));
    free(ptr);
}

static void *wiping_realloc(void *old, size_t size)
{
    size_t old_size = old != NULL ? malloc_usable_size(old) : 0;
    void *fresh;

    if (old != NULL && size <= old_size && size >= old_size / 2)
        return old;
    fresh = malloc(size);
    if (fresh == NULL)
        return NULL;
    if (old != NULL)
        memcpy(fresh, old, old_size < size ? old_size : size);
    wiping_free(old);
    return fresh;
}

/* Debian's libcurl brings libgnutls along, for protocols that are never spoken here (RTMP, LDAP), and
 * it sets itself up when it is loaded: 1 MB of memory and 2 ms of every start, unless the program
 * has this function (gnutls.h, GNUTLS_SKIP_GLOBAL_INIT). Found by its name among the program's
 * dynamic symbols: see the executable's link_args. */
int _gnutls_global_init_skip(void);
int _gnutls_global_init_skip(void)
{
    return 1;
}

int th_net_global_init(void)
{
    /* OpenSSL writes its sockets by write(): MSG_NOSIGNAL does not reach there. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return TH_E_IO;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup,
                                calloc) == CURLE_OK
               ? 0
               : TH_E_NOMEM;
}

void th_net_global_fini(void)
{
    curl_global_cleanup();
}

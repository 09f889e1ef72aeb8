#include "tokenhop/net/init.h"

#include <curl/curl.h>
#include <signal.h>

int th_net_global_init(void)
{
    /* OpenSSL writes its sockets by write(): MSG_NOSIGNAL does not reach there. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return TH_E_IO;
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : TH_E_NOMEM;
}

void th_net_global_fini(void)
{
    curl_global_cleanup();
}

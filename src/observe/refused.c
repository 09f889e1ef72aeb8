/* Compiled by refused.sh, never run: each CASE but 0 must not compile, so that no secret, and
 * nothing else that holds bytes untyped, can become a field of a log line. */
#include "tokenhop/base/secret.h"
#include "tokenhop/observe/log.h"

void use(struct th_log *log, struct th_secret *secret, const void *bytes, const char *text);
void use(struct th_log *log, struct th_secret *secret, const void *bytes, const char *text)
{
    TH_LOG(log, TH_LEVEL_INFO, "test.refused", "Message",
#if CASE == 0
           TH_LOG_STR("x", th_str_of(text)), TH_LOG_TEXT("x", text), TH_LOG_INT("x", 1),
           TH_LOG_UINT("x", 1), TH_LOG_BOOL("x", secret == bytes), TH_LOG_ERR("x", TH_E_IO)
#elif CASE == 1
           TH_LOG_STR("x", secret)
#elif CASE == 2
           TH_LOG_TEXT("x", secret)
#elif CASE == 3
           TH_LOG_INT("x", secret)
#elif CASE == 4
           TH_LOG_UINT("x", secret)
#elif CASE == 5
           TH_LOG_BOOL("x", secret)
#elif CASE == 6
           TH_LOG_ERR("x", secret)
#elif CASE == 7
           TH_LOG_STR("x", *secret)
#elif CASE == 8
           TH_LOG_BOOL("x", text)
#elif CASE == 9
           secret
#elif CASE == 10
           TH_LOG_TEXT(text, "the name of a field must be a literal")
#endif
    );
#if CASE == 11
    TH_LOG(log, TH_LEVEL_INFO, "test.refused", text);
#elif CASE == 12
    TH_LOG(log, TH_LEVEL_INFO, text, "the name of the event must be a literal");
#endif
}

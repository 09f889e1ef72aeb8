/* What a fetch keeps of the head of its answer. The worker's thread only. */
#ifndef TH_NET_FETCH_HEAD_H
#define TH_NET_FETCH_HEAD_H

#include "tokenhop/net/fetch.h"

enum th_fetch_field {
    TH_FETCH_CONTENT_TYPE,
    TH_FETCH_DPOP_NONCE,
    TH_FETCH_WWW_AUTHENTICATE,
    TH_FETCH_FIELDS
};

struct th_fetch_head {
    char *fields[TH_FETCH_FIELDS]; /* NULL: not sent */
    size_t size;                   /* of all head lines so far, of interim answers too */
    int64_t date_ms;               /* Date; -1 */
    int64_t retry_s;               /* Retry-After in seconds; -1 */
    int64_t retry_at_ms;           /* Retry-After as a date; -1 */
    int64_t reset_at_ms;           /* X-Rate-Limit-Reset; -1 */
    int64_t expires_ms;            /* Expires; -1 */
    int64_t max_age_s;             /* Cache-Control: max-age; 0: may not be kept; -1 */
    int64_t age_s;                 /* Age; 0 */
    bool failed;                   /* too large, or no memory */
};

void th_fetch_head_init(struct th_fetch_head *head);
void th_fetch_head_fini(struct th_fetch_head *head);
/* One line with its line end, the status line too: that one begins anew (after an interim answer).
 */
void th_fetch_head_add(struct th_fetch_head *head, struct th_str line);
/* `wall_ms` stands in for a Date that was not sent. */
void th_fetch_head_fill(const struct th_fetch_head *head, int64_t wall_ms,
                        struct th_fetch_response *response);

#endif

/* What a line of the audit log says of a hop. Private to the room. */
#ifndef TOKENHOP_PROXY_HOP_AUDIT_H
#define TOKENHOP_PROXY_HOP_AUDIT_H

#include "hop.h"
#include "tokenhop/observe/audit.h"

/* Room for what a record borrows. */
struct th_hop_texts {
    char client[TH_ADDRESS_TEXT_MAX];
    char authority[TH_URL_HOST_MAX + 16];
    char subject[TH_FINGERPRINT_LEN + 1];
    struct th_audit_leg legs[TH_DELEGATION_LEGS_MAX];
};

/* Who asks, and for what at the connection (NULL: none is there). Besides `texts` the record borrows the method of the
 * request; what else it borrows is the configuration's, and the desk's. */
void th_hop_audit_describe(const struct th_hop *hop, const struct th_config_connection *connection,
                           struct th_hop_texts *texts, struct th_audit_record *record);
/* What the exchange knew; NULL: nothing. Its legs are those of the request that it was made for, and of no other,
 * which record->cache tells. */
void th_hop_audit_delegation(const struct th_delegation *delegation, struct th_hop_texts *texts,
                             struct th_audit_record *record);
/* By which rule of the policy, or of its dry run; empty: none was asked. The configuration's, or constant. */
struct th_str th_hop_audit_rule(const struct th_hop *hop, bool of_dry_run);

#endif

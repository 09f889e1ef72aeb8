/* By which certificate a request comes: that of its connection, or one that a proxy before us forwards. */
#include "hop.h"
#include "secure.h"

static const struct th_config_forwarded_certificate *forwarded_of(const struct th_hop *hop)
{
    const struct th_config_listener *listener = hop->listener;

    return listener != NULL && listener->forwarded.header.len > 0 ? &listener->forwarded : NULL;
}

bool th_hop_is_forwarded_certificate(const struct th_hop *hop, struct th_str name)
{
    const struct th_config_forwarded_certificate *forwarded = forwarded_of(hop);

    return forwarded != NULL && th_header_names_alike(name, forwarded->header);
}

/* Also one that Connection names: what a request says of its fields is not the word of the one who forwards. */
static const struct th_field *find_forwarded(const struct th_hop *hop, bool *ret_several)
{
    const struct th_field *found = NULL;

    *ret_several = false;
    for (uint16_t i = 0; i < hop->request.n_fields; i++) {
        if (!th_hop_is_forwarded_certificate(hop, hop->request.fields[i].name))
            continue;
        *ret_several = found != NULL;
        found = &hop->request.fields[i];
    }
    return found;
}

/* What a proxy before us says of the client, where its word counts, goes before what is known of the connection:
 * that is the proxy's own, and no proof of a client of which it says nothing. */
static int read_forwarded(struct th_hop *hop, struct th_caller_names *room,
                          struct th_caller_facts *facts)
{
    const struct th_config_forwarded_certificate *forwarded = forwarded_of(hop);
    bool several;

    /* A PROXY header may tell of a unix socket on another machine: that is none of ours. And one that tells of
     * nobody comes from a proxy that passes on what anybody may have written. */
    bool is_elsewhere =
        hop->session->peer.any.sa_family == AF_UNIX && hop->session->unix_peer == NULL;
    if (forwarded == NULL || is_elsewhere || hop->session->is_anybody ||
        !th_caller_names_trusts(forwarded, &hop->session->peer))
        return 0;
    facts->has_certificate = facts->has_too_many_names = false;
    facts->names = NULL;
    facts->n_names = 0;
    facts->peer = NULL;
    const struct th_field *field = find_forwarded(hop, &several);
    if (field == NULL)
        return 0;
    if (several || th_caller_names_forwarded(field->value, room) < 0) {
        hop->detail = several ? "more than one field with a forwarded certificate"
                              : "the field with the forwarded certificate is malformed";
        return TH_E_BAD_REQUEST;
    }
    facts->has_certificate = true;
    facts->has_too_many_names = room->too_many;
    facts->names = room->items;
    facts->n_names = room->n;
    return 0;
}

static void read_own(const struct th_hop *hop, struct th_caller_facts *facts)
{
    const struct th_secure *secure = hop->session->secure;

    if (secure == NULL || !secure->has_certificate)
        return;
    facts->has_certificate = true;
    facts->has_too_many_names = secure->too_many_names;
    facts->names = secure->names;
    facts->n_names = secure->n_names;
}

int th_hop_read_certificate(struct th_hop *hop, struct th_caller_names *room,
                            struct th_caller_facts *facts)
{
    read_own(hop, facts);
    return read_forwarded(hop, room, facts);
}

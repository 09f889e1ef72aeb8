#include "framing.h"

/* Longer bodies than this cannot be counted in off_t by whoever gets them. */
#define LENGTH_MAX ((uint64_t)INT64_MAX)

struct evidence {
    const struct th_field *length; /* the last Content-Length, NULL: none */
    const struct th_field *coding; /* the last Transfer-Encoding, NULL: none */
    unsigned n_lengths;
    unsigned n_codings;
};

static struct evidence gather(const struct th_head *head)
{
    struct evidence e = {0};
    for (unsigned i = 0; i < head->n_fields; i++) {
        const struct th_field *field = &head->fields[i];
        if (field->id == TH_HEADER_CONTENT_LENGTH) {
            e.length = field;
            e.n_lengths++;
        } else if (field->id == TH_HEADER_TRANSFER_ENCODING) {
            e.coding = field;
            e.n_codings++;
        }
    }
    return e;
}

static void drop_length(struct th_head *head)
{
    for (unsigned i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id == TH_HEADER_CONTENT_LENGTH)
            head->fields[i].dropped = true;
    }
}

/* What the fields say by themselves. RFC 9112, 6.3, 4 and 5 would let a recipient read "5, 5" as 5;
 * 6.1 would let it prefer Transfer-Encoding over Content-Length. Either is how requests are
 * smuggled, so either is refused. */
static int check_evidence(struct th_head *head, const struct evidence *e)
{
    if (e->n_lengths > 1 || e->n_codings > 1)
        return TH_E_BAD_FRAMING;
    if (e->length != NULL && e->coding != NULL)
        return TH_E_BAD_FRAMING;
    if (e->coding != NULL) {
        /* 6.1: in HTTP/1.0 it is faulty framing. Codings besides chunked are not decoded here. */
        if (head->minor == 0 || !th_str_equal_nocase(e->coding->value, TH_STR("chunked")))
            return TH_E_BAD_FRAMING;
    }
    if (e->length != NULL) {
        if (th_str_to_u64(e->length->value, LENGTH_MAX, &head->content_length) != 0)
            return TH_E_BAD_FRAMING;
        head->has_content_length = true;
    }
    return 0;
}

static void ignore_length(struct th_head *head)
{
    head->has_content_length = false;
    head->content_length = 0;
}

int th_framing_decide(struct th_head *head, enum th_direction direction,
                      enum th_method request_method)
{
    bool is_request = direction == TH_DIRECTION_REQUEST;
    head->framing = TH_FRAMING_NONE;
    ignore_length(head);
    struct evidence e = gather(head);
    int r = check_evidence(head, &e);
    if (r != 0)
        return r;

    if (!is_request && (head->status < 200 || head->status == 204)) {
        /* 6.1: a server must not send Transfer-Encoding here; 6.3, 1: there is no body, whatever
         * the fields say. A length that promises one is not passed on (RFC 9110, 8.6). */
        if (e.coding != NULL)
            return TH_E_BAD_FRAMING;
        ignore_length(head);
    } else if (!is_request && request_method == TH_METHOD_CONNECT && head->status < 300) {
        ignore_length(head); /* 6.3, 2: both are ignored, a tunnel follows */
    } else if (!is_request && (request_method == TH_METHOD_HEAD || head->status == 304)) {
        /* 6.3, 1: no body; the length is that of the answer to GET, and stays known */
    } else if (is_request && head->method == TH_METHOD_CONNECT) {
        /* RFC 9110, 9.3.6: no content. One that claims to have some is read as request and body by
         * one side and as the tunnel's first bytes by the other. */
        if (e.coding != NULL || head->content_length > 0)
            return TH_E_BAD_FRAMING;
        ignore_length(head);
    } else if (e.coding != NULL) {
        head->framing = TH_FRAMING_CHUNKED;
    } else if (e.length != NULL) {
        head->framing = TH_FRAMING_LENGTH;
    } else if (!is_request) {
        head->framing = TH_FRAMING_CLOSE;
    }
    if (head->framing != TH_FRAMING_LENGTH)
        drop_length(head);
    return 0;
}

#include "properties.h"

#include <stdlib.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/http/url.h"
#include "tokenhop/http/xfcc.h"

#ifdef TH_FUZZING
#define N_CUTS 32 /* rather more heads than more cuts */
#else
#define N_CUTS 256
#endif
#define WRITTEN_MAX (PROPERTY_HEAD_MAX + 256)

/* A copy that ends where its memory does, so that a sanitizer sees a read past the end. */
static char *exact_copy(const char *bytes, size_t len)
{
    char *copy = th_malloc(len > 0 ? len : 1);
    TH_REQUIRE(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

/* --- heads --- */

struct subject {
    bool is_request;
    enum th_method request_method;
};

struct parsed {
    int result;
    struct th_head head;
    struct th_field fields[PROPERTY_FIELDS_MAX];
};

static int parse(const struct subject *s, struct parsed *p, const char *bytes, size_t len,
                 size_t *scanned)
{
    static const struct th_http1_limits limits = {PROPERTY_HEAD_MAX, PROPERTY_FIELDS_MAX};
    memset(p, 0xa5, sizeof(*p)); /* nothing may be expected of what was there before */
    p->head.fields = p->fields;
    p->head.max_fields = PROPERTY_FIELDS_MAX;
    p->result = s->is_request ? th_http1_parse_request(&p->head, bytes, len, scanned, &limits)
                              : th_http1_parse_response(&p->head, bytes, len, scanned, &limits,
                                                        s->request_method);
    return p->result;
}

static bool field_equal(const struct th_field *a, const struct th_field *b)
{
    return th_str_equal(a->name, b->name) && th_str_equal(a->value, b->value) && a->id == b->id &&
           a->dropped == b->dropped;
}

static void require_equal(const struct parsed *a, const struct parsed *b)
{
    TH_REQUIRE(a->result == b->result);
    if (a->result != 0)
        return;
    const struct th_head *x = &a->head;
    const struct th_head *y = &b->head;
    TH_REQUIRE(x->len == y->len && x->minor == y->minor && x->n_fields == y->n_fields);
    TH_REQUIRE(x->method == y->method && th_str_equal(x->method_text, y->method_text));
    TH_REQUIRE(th_str_equal(x->target, y->target));
    TH_REQUIRE(x->status == y->status && th_str_equal(x->reason, y->reason));
    TH_REQUIRE(x->framing == y->framing && x->content_length == y->content_length);
    TH_REQUIRE(x->keep_alive == y->keep_alive && x->upgrade == y->upgrade);
    TH_REQUIRE(x->host == y->host && x->authorization == y->authorization);
    for (unsigned i = 0; i < x->n_fields; i++)
        TH_REQUIRE(field_equal(&x->fields[i], &y->fields[i]));
}

/* A mistake is found at its byte or, at the latest, when its line is complete: when the last bytes
 * came without a line's end, the end comes now. */
static void require_same_verdict(const struct subject *s, const struct parsed *whole,
                                 struct parsed *late, const char *bytes, size_t len, size_t scanned)
{
    if (late->result == TH_AGAIN && whole->result != TH_AGAIN) {
        TH_REQUIRE(whole->result < 0);
        char *ended = th_malloc(len + 1);
        TH_REQUIRE(ended != NULL);
        memcpy(ended, bytes, len);
        ended[len] = '\n';
        parse(s, late, ended, len + 1, &scanned);
        th_free(ended);
    }
    require_equal(whole, late);
}

/* Gives the first `cut` bytes, then all of them. */
static void require_split_equal(const struct subject *s, const struct parsed *whole,
                                const char *bytes, size_t len, size_t cut)
{
    char *first = exact_copy(bytes, cut);
    struct parsed split;
    size_t scanned = 0;
    int r = parse(s, &split, first, cut, &scanned);
    if (r == TH_AGAIN)
        parse(s, &split, bytes, len, &scanned);
    require_same_verdict(s, whole, &split, bytes, len, scanned);
    th_free(first);
}

static void require_drip_equal(const struct subject *s, const struct parsed *whole,
                               const char *bytes, size_t len)
{
    struct parsed drip = {.result = TH_AGAIN};
    size_t scanned = 0;
    for (size_t n = 1; n <= len && drip.result == TH_AGAIN; n++)
        parse(s, &drip, bytes, n, &scanned);
    if (len > 0)
        require_same_verdict(s, whole, &drip, bytes, len, scanned);
}

/* Said another way than the parser does: lines end in CRLF, neither byte stands elsewhere, and no
 * control but HTAB is anywhere else. */
static void require_clean(const struct parsed *p, const char *bytes)
{
    size_t len = p->head.len;
    TH_REQUIRE(len >= 4 && len <= PROPERTY_HEAD_MAX && memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\r')
            TH_REQUIRE(i + 1 < len && bytes[i + 1] == '\n');
        else if (c == '\n')
            TH_REQUIRE(i > 0 && bytes[i - 1] == '\r' &&
                       (i + 1 == len || (bytes[i + 1] != ' ' && bytes[i + 1] != '\t')));
        else
            TH_REQUIRE((c >= 0x20 && c != 0x7f) || c == '\t');
    }
    for (unsigned i = 0; i < p->head.n_fields; i++) {
        const struct th_field *f = &p->fields[i];
        TH_REQUIRE(f->name.len > 0 && f->name.ptr > bytes && f->name.ptr[f->name.len] == ':');
        TH_REQUIRE(f->value.ptr + f->value.len < bytes + len);
        TH_REQUIRE(f->value.len == 0 || (strchr(" \t", f->value.ptr[0]) == NULL &&
                                         strchr(" \t", f->value.ptr[f->value.len - 1]) == NULL));
    }
}

/* The facts, gathered anew in the plainest way. */
static void require_facts(const struct subject *s, const struct th_head *head)
{
    unsigned n_hosts = 0;
    unsigned n_lengths = 0;
    unsigned n_codings = 0;
    for (unsigned i = 0; i < head->n_fields; i++) {
        const struct th_field *f = &head->fields[i];
        n_hosts += th_str_equal_nocase(f->name, TH_STR("Host"));
        n_lengths += th_str_equal_nocase(f->name, TH_STR("Content-Length"));
        n_codings += th_str_equal_nocase(f->name, TH_STR("Transfer-Encoding"));
        if (th_str_equal_nocase(f->name, TH_STR("Authorization")))
            TH_REQUIRE(!f->dropped && head->n_authorization > 0);
        if (th_str_equal_nocase(f->name, TH_STR("Connection")) ||
            th_str_equal_nocase(f->name, TH_STR("Transfer-Encoding")) ||
            th_str_equal_nocase(f->name, TH_STR("Proxy-Authorization")))
            TH_REQUIRE(f->dropped);
        if (f->id == TH_HEADER_CONTENT_LENGTH)
            TH_REQUIRE(f->dropped == (head->framing != TH_FRAMING_LENGTH));
    }
    TH_REQUIRE(n_lengths <= 1 && n_codings <= 1 && n_lengths + n_codings <= 1);
    if (s->is_request)
        TH_REQUIRE(n_hosts <= 1 && (n_hosts == 1 || head->minor == 0) &&
                   head->framing != TH_FRAMING_CLOSE);
    TH_REQUIRE(head->framing != TH_FRAMING_CHUNKED || n_codings == 1);
    TH_REQUIRE(head->framing != TH_FRAMING_LENGTH || n_lengths == 1);
    TH_REQUIRE(head->framing != TH_FRAMING_CLOSE || !head->keep_alive);
}

/* As a proxy writes it: in HTTP/1.1, with framing of its own. */
static size_t write_anew(const struct subject *s, const struct th_head *head, char *room)
{
    struct th_writer w;
    th_writer_init(&w, room, WRITTEN_MAX);
    if (s->is_request) {
        th_writer_add(&w, head->method_text);
        th_writer_add(&w, TH_STR(" "));
        th_writer_add(&w, head->target);
        th_writer_add(&w, TH_STR(" HTTP/1.1\r\n"));
        th_writer_add_field(&w, TH_STR("Host"),
                            head->host >= 0 ? head->fields[head->host].value : TH_STR("h"));
    } else {
        th_writer_add_status_line(&w, head->status, head->reason);
    }
    th_writer_add_fields(&w, head);
    if (head->framing == TH_FRAMING_CHUNKED) {
        th_writer_add_field(&w, TH_STR("Transfer-Encoding"), TH_STR("chunked"));
    } else if (head->has_content_length) {
        th_writer_add(&w, TH_STR("Content-Length: "));
        th_writer_add_u64(&w, head->content_length);
        th_writer_add(&w, TH_STR("\r\n"));
    }
    th_writer_add(&w, TH_STR("\r\n"));
    TH_REQUIRE(!w.overflow);
    return w.len;
}

static unsigned n_written_fields(const struct th_head *head, unsigned *ret_indexes)
{
    unsigned n = 0;
    for (unsigned i = 0; i < head->n_fields; i++) {
        const struct th_field *f = &head->fields[i];
        if (!f->dropped && !(th_header_get((enum th_header_id)f->id)->flags & TH_HEADER_FRAMING))
            ret_indexes[n++] = i;
    }
    return n;
}

static void require_rewritten_equal(const struct subject *s, const struct parsed *p)
{
    char once[WRITTEN_MAX];
    char twice[WRITTEN_MAX];
    size_t once_len = write_anew(s, &p->head, once);
    if (once_len > PROPERTY_HEAD_MAX || p->head.n_fields + 2 > PROPERTY_FIELDS_MAX)
        return; /* the fields that a proxy adds went beyond the limits */
    struct parsed again;
    size_t scanned = 0;
    TH_REQUIRE(parse(s, &again, once, once_len, &scanned) == 0);
    TH_REQUIRE(again.head.len == once_len);
    TH_REQUIRE(again.head.framing == p->head.framing);
    TH_REQUIRE(again.head.content_length == p->head.content_length);
    TH_REQUIRE(again.head.has_content_length == p->head.has_content_length);
    TH_REQUIRE(th_str_equal(again.head.target, p->head.target));
    TH_REQUIRE(again.head.method == p->head.method && again.head.status == p->head.status);
    unsigned left[PROPERTY_FIELDS_MAX];
    unsigned right[PROPERTY_FIELDS_MAX];
    unsigned n = n_written_fields(&p->head, left);
    TH_REQUIRE(n_written_fields(&again.head, right) == n);
    for (unsigned i = 0; i < n; i++)
        TH_REQUIRE(field_equal(&p->fields[left[i]], &again.fields[right[i]]));
    TH_REQUIRE(write_anew(s, &again.head, twice) == once_len);
    TH_REQUIRE(memcmp(once, twice, once_len) == 0);
}

static void property_head(const struct subject *s, const char *bytes, size_t len)
{
    char *copy = exact_copy(bytes, len);
    struct parsed whole;
    size_t scanned = 0;
    parse(s, &whole, copy, len, &scanned);
    TH_REQUIRE(whole.result != TH_AGAIN || (len < PROPERTY_HEAD_MAX && scanned == len));
    TH_REQUIRE(whole.result == TH_AGAIN || scanned == 0);
    /* all boundaries of a short head, others each time of a long one */
    size_t step = len / N_CUTS + 1;
    for (size_t cut = len % step; cut < len; cut += step)
        require_split_equal(s, &whole, copy, len, cut);
    require_drip_equal(s, &whole, copy, len);
    if (whole.result == 0) {
        TH_REQUIRE(whole.head.len <= len);
        const char *start = copy;
        if (s->is_request && copy[0] == '\r') { /* the one empty line that is passed over */
            start += 2;
            whole.head.len -= 2;
        }
        require_clean(&whole, start);
        require_facts(s, &whole.head);
        require_rewritten_equal(s, &whole);
    }
    th_free(copy);
}

void th_property_request_head(const char *bytes, size_t len)
{
    property_head(&(struct subject){.is_request = true}, bytes, len);
}

void th_property_response_head(const char *bytes, size_t len, enum th_method request_method)
{
    property_head(&(struct subject){.request_method = request_method}, bytes, len);
}

/* --- chunked bodies --- */

struct decoded {
    int result;
    size_t taken;
    char *data;
    size_t data_len;
    char trailer[TH_CHUNKED_TRAILER_MAX];
    size_t trailer_len;
};

/* Decodes in pieces of 1..max_piece bytes. */
static void decode(struct decoded *d, const char *bytes, size_t len, size_t max_piece,
                   unsigned seed)
{
    struct th_chunked chunked;
    th_chunked_init(&chunked);
    chunked.trailer = d->trailer;
    chunked.trailer_size = sizeof(d->trailer);
    d->data = th_malloc(len > 0 ? len : 1);
    TH_REQUIRE(d->data != NULL);
    d->result = 0;
    d->taken = d->data_len = 0;
    while (d->result == 0 && d->taken < len) {
        seed = seed * 1103515245u + 12345u;
        size_t n = 1 + (seed >> 16) % max_piece;
        if (n > len - d->taken)
            n = len - d->taken;
        char *piece = exact_copy(bytes + d->taken, n);
        size_t taken;
        size_t data;
        d->result = th_chunked_decode(&chunked, piece, n, &taken, &data);
        if (d->result >= 0) {
            TH_REQUIRE(data <= taken && taken <= n);
            TH_REQUIRE(taken == n || d->result == TH_CHUNKED_DONE);
            memcpy(d->data + d->data_len, piece, data);
            d->data_len += data;
            d->taken += taken;
        }
        th_free(piece);
    }
    d->trailer_len = chunked.trailer_len;
}

static void require_encoded_equal(const struct decoded *d, size_t max_piece)
{
    size_t room = d->data_len * (TH_CHUNKED_LINE_MAX + 3) + d->trailer_len + 16;
    char *text = th_malloc(room);
    TH_REQUIRE(text != NULL);
    size_t len = 0;
    for (size_t at = 0; at < d->data_len;) {
        size_t n = d->data_len - at < max_piece ? d->data_len - at : max_piece;
        len += th_chunked_write_line(text + len, n);
        memcpy(text + len, d->data + at, n);
        memcpy(text + len + n, "\r\n", 2);
        len += n + 2;
        at += n;
    }
    memcpy(text + len, "0\r\n", 3);
    memcpy(text + len + 3, d->trailer, d->trailer_len);
    memcpy(text + len + 3 + d->trailer_len, "\r\n", 2);
    len += d->trailer_len + 5;
    static struct decoded again; /* large; fuzzers and tests have one thread */
    decode(&again, text, len, len, 0);
    TH_REQUIRE(again.result == TH_CHUNKED_DONE && again.taken == len);
    TH_REQUIRE(again.data_len == d->data_len && again.trailer_len == d->trailer_len);
    TH_REQUIRE(memcmp(again.data, d->data, d->data_len) == 0);
    TH_REQUIRE(memcmp(again.trailer, d->trailer, d->trailer_len) == 0);
    th_free(again.data);
    th_free(text);
}

static void require_trailers(const struct decoded *d)
{
    struct th_field fields[128];
    struct th_str trailer = {d->trailer, d->trailer_len};
    int count = th_chunked_parse_trailers(trailer, fields, TH_COUNT_OF(fields));
    TH_REQUIRE(count >= 0); /* the decoder and the parser agree on what is a field */
    for (int i = 0; i < count; i++) {
        if (th_str_equal_nocase(fields[i].name, TH_STR("authorization")) ||
            th_str_equal_nocase(fields[i].name, TH_STR("content-length")) ||
            th_str_equal_nocase(fields[i].name, TH_STR("transfer-encoding")) ||
            th_str_equal_nocase(fields[i].name, TH_STR("host")))
            TH_REQUIRE(fields[i].dropped);
    }
}

void th_property_chunked(const char *bytes, size_t len, unsigned seed)
{
    static struct decoded whole;
    static struct decoded pieces;
    decode(&whole, bytes, len, len > 0 ? len : 1, 0);
    for (int round = 0; round < 2; round++) {
        decode(&pieces, bytes, len, round == 0 ? 1 : 1 + seed % 37, seed);
        TH_REQUIRE(pieces.result == whole.result);
        if (whole.result >= 0) {
            TH_REQUIRE(pieces.taken == whole.taken && pieces.data_len == whole.data_len);
            TH_REQUIRE(memcmp(pieces.data, whole.data, whole.data_len) == 0);
            TH_REQUIRE(pieces.trailer_len == whole.trailer_len);
            TH_REQUIRE(memcmp(pieces.trailer, whole.trailer, whole.trailer_len) == 0);
        }
        th_free(pieces.data);
    }
    if (whole.result == TH_CHUNKED_DONE) {
        require_trailers(&whole);
        require_encoded_equal(&whole, 1 + seed % 61);
    }
    th_free(whole.data);
}

/* --- URLs --- */

static void require_urls_equal(const struct th_url *a, const struct th_url *b)
{
    TH_REQUIRE(a->scheme == b->scheme && th_str_equal(a->host, b->host));
    TH_REQUIRE(a->port == b->port && a->host_is_literal == b->host_is_literal);
    TH_REQUIRE(a->host_is_ipv6 == b->host_is_ipv6 && th_str_equal(a->path, b->path));
    TH_REQUIRE(th_str_equal(a->path_query, b->path_query));
}

/* RFC 3986, 5.2.4 and percent-decoding, in the plainest way: neither may change an unambiguous
 * path. */
static void require_unambiguous(struct th_str path)
{
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c == '%') {
            char hex[3] = {path.ptr[i + 1], path.ptr[i + 2], '\0'};
            long byte = strtol(hex, NULL, 16);
            TH_REQUIRE(byte > 0x1f && byte != '/' && byte != '.' && byte != '\\' && byte != 0x7f);
        }
        TH_REQUIRE(c != '\\' && c != '#');
        if (c != '/')
            continue;
        struct th_str rest = {path.ptr + i, path.len - i};
        TH_REQUIRE(!th_str_starts_with(rest, TH_STR("//")));
        TH_REQUIRE(!th_str_starts_with(rest, TH_STR("/./")));
        TH_REQUIRE(!th_str_starts_with(rest, TH_STR("/../")));
        TH_REQUIRE(!th_str_starts_with(rest, TH_STR("/..;")));
        TH_REQUIRE(!th_str_equal(rest, TH_STR("/.")) && !th_str_equal(rest, TH_STR("/..")));
    }
}

static void require_normal_host(const struct th_url *url)
{
    TH_REQUIRE(url->host.len > 0 && url->host.len <= TH_URL_HOST_MAX);
    for (size_t i = 0; i < url->host.len; i++) {
        char c = url->host.ptr[i];
        TH_REQUIRE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                   c == '_' || (c == ':' && url->host_is_ipv6));
    }
    TH_REQUIRE(url->host.ptr[url->host.len - 1] != '.');
}

static void property_authority(const char *bytes, size_t len)
{
    struct th_url url;
    struct th_url again;
    char room[TH_URL_HOST_MAX + 16];
    url.scheme = again.scheme = TH_SCHEME_HTTPS;
    if (th_url_parse_authority((struct th_str){bytes, len}, false, &url) != 0)
        return;
    require_normal_host(&url);
    size_t n = th_url_write_authority(&url, room, sizeof(room));
    TH_REQUIRE(n > 0 && th_url_write_authority(&url, room, n - 1) == 0);
    TH_REQUIRE(th_url_parse_authority((struct th_str){room, n}, false, &again) == 0);
    TH_REQUIRE(th_str_equal(again.host, url.host) && again.host_is_ipv6 == url.host_is_ipv6);
    TH_REQUIRE(again.port == url.port || (url.port == 443 && again.port == 0));
}

void th_property_url(const char *bytes, size_t len)
{
    char *copy = exact_copy(bytes, len);
    struct th_url url;
    property_authority(copy, len);
    (void)th_url_path_is_ambiguous((struct th_str){copy, len});
    if (th_url_parse((struct th_str){copy, len}, &url) == 0) {
        require_normal_host(&url);
        TH_REQUIRE(url.port > 0 && url.path.len > 0 && url.path.ptr[0] == '/');
        TH_REQUIRE(th_str_starts_with(url.path_query, url.path));
        if (!th_url_path_is_ambiguous(url.path))
            require_unambiguous(url.path);
        size_t size = len + TH_URL_HOST_MAX + 32;
        char *room = th_malloc(size);
        TH_REQUIRE(room != NULL);
        struct th_writer w;
        th_writer_init(&w, room, size);
        th_writer_add(&w, th_scheme_text(url.scheme));
        th_writer_add(&w, TH_STR("://"));
        w.len += th_url_write_authority(&url, room + w.len, size - w.len);
        th_writer_add(&w, url.path_query);
        TH_REQUIRE(!w.overflow);
        struct th_url again;
        TH_REQUIRE(th_url_parse((struct th_str){room, w.len}, &again) == 0);
        require_urls_equal(&url, &again);
        th_free(room);
    }
    th_free(copy);
}

/* As Envoy writes it of a certificate with each kind of name, and of one without a subject. */
static const struct th_str appended[] = {
    TH_STR(
        "By=spiffe://mesh/b;Hash=00;Subject=\"CN=agent\\,1,O=Example\";URI=spiffe://mesh/a;DNS=a.test"),
    TH_STR("By=spiffe://mesh/b;Hash=00;Subject=\"\";URI=spiffe://mesh/a"),
    TH_STR("Hash=00"),
};

static void require_appended(const char *copy, size_t len, struct th_str more, bool was_fine)
{
    struct th_str element;
    char *room = th_malloc(len + 1 + more.len);

    TH_REQUIRE(room != NULL);
    if (len > 0)
        memcpy(room, copy, len);
    room[len] = ',';
    memcpy(room + len + 1, more.ptr, more.len);
    int error = th_xfcc_find_last((struct th_str){room, len + 1 + more.len}, &element);
    TH_REQUIRE(error == 0 || !was_fine);
    TH_REQUIRE(error != 0 || th_str_equal(element, more));
    th_free(room);
}

void th_property_xfcc(const char *bytes, size_t len)
{
    char *copy = exact_copy(bytes, len);
    struct th_str element;
    struct th_xfcc_pair pair;
    bool fine = th_xfcc_find_last((struct th_str){copy, len}, &element) == 0;

    if (fine) {
        const char *end = element.ptr + element.len;
        TH_REQUIRE(element.len > 0 && element.ptr >= copy && end <= copy + len);
        for (const char *at = end; at < copy + len; at++)
            TH_REQUIRE(*at == ' ' || *at == '\t');
        while (th_xfcc_next(&element, &pair))
            TH_REQUIRE(pair.value.ptr + pair.value.len <= end);
        TH_REQUIRE(element.len == 0);
    }
    for (size_t i = 0; i < TH_COUNT_OF(appended); i++)
        require_appended(copy, len, appended[i], fine);
    th_free(copy);
}

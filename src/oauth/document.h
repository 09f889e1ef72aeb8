/* What a kind of document brings, and how its own functions ask for one. */
#ifndef TOKENHOP_SRC_OAUTH_DOCUMENT_H
#define TOKENHOP_SRC_OAUTH_DOCUMENT_H

#include "tokenhop/base/buf.h"
#include "tokenhop/base/str.h"
#include "tokenhop/oauth/documents.h"

/* The head of every document. */
struct th_document {
    struct th_ref ref;
    void (*free)(struct th_document *document);
    int64_t asked_wall_ms; /* when its fetch began: what it says held then */
};

/* Who is asked, and how. Borrowed. */
struct th_document_source {
    struct th_str name; /* the kind says of what: an issuer, a URL */
    struct th_str ca_file;
    bool allow_cleartext;
};

struct th_document_kind {
    const char *name; /* "key set": for the log */
    size_t max_bytes;
    /* The URL to be asked at the attempt, 0, 1 ...: false when there is no more. */
    bool (*place)(struct th_str name, unsigned attempt, struct th_buf *url);
    /* 0; TH_E_NOMEM; else *ret_why says what is wrong with it. */
    int (*read)(const struct th_document_source *source, struct th_str body,
                struct th_document **ret_document, const char **ret_why);
    int when_unusable; /* the error when no place has a document that can be used */
};

struct th_document *th_document_ref(struct th_document *document);
struct th_document *th_document_unref(struct th_document *document); /* NULL is fine */

/* A new reference to the one that is there and may still serve; NULL: none is, and none is fetched. */
struct th_document *th_document_peek(struct th_document_desk *desk,
                                     const struct th_document_kind *kind,
                                     const struct th_document_source *source);

/* 0: *ret_document is a new reference. TH_AGAIN: the waiter waits. Else *ret_failure says why.
 * `older`: one that was not enough, so that only a newer one will do; not more often than every
 * half minute is one fetched for that. */
int th_document_get(struct th_document_desk *desk, const struct th_document_kind *kind,
                    const struct th_document_source *source, const struct th_document *older,
                    struct th_document_waiter *waiter, struct th_document **ret_document,
                    struct th_document_failure *ret_failure) TH_MUST;

#endif

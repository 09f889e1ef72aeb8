/* What an agent's runtime trusts: the roots that it trusted anyway and the authority for interception, in
 * the forms that runtimes read, in a folder. That is either one of its own, which its owner alone can
 * enter and which goes away with it, or one that was named, which stays. Nothing secret is ever put
 * there. Main thread; blocking. Private to the room. */
#ifndef TOKENHOP_CLI_TRUST_H
#define TOKENHOP_CLI_TRUST_H

#include <openssl/x509.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_trust {
    char *folder;
    bool stays;
    STACK_OF(X509) * authority; /* NULL: there is none */
    STACK_OF(X509) * roots;     /* the system's, once read */
    const char *roots_file;     /* as named; NULL: the system's */
    struct th_trust_bundle *bundles;
};

/* `folder` NULL: one of its own, below XDG_RUNTIME_DIR, TMPDIR or /tmp. `roots_file` NULL: the system's;
 * borrowed. `authority_file` NULL: there is no authority. *trust is zeroed before; th_trust_fini()
 * in any case. */
int th_trust_init(struct th_trust *trust, const char *folder, const char *roots_file,
                  const char *authority_file, struct th_errinfo *reterr) TH_MUST;
void th_trust_fini(struct th_trust *trust);

/* A PEM file of the certificates in `base` and the authority; NULL: of the system's roots. The same base
 * gives the same file. *ret_path belongs to `trust`. */
int th_trust_make_bundle(struct th_trust *trust, const char *base, const char **ret_path,
                         struct th_errinfo *reterr) TH_MUST;
/* A PEM file of the authority, and of the certificates in `base`; NULL: of the roots that were named, as
 * a runtime with roots of its own does not know them. */
int th_trust_make_extra(struct th_trust *trust, const char *base, const char **ret_path,
                        struct th_errinfo *reterr) TH_MUST;
/* The bundle of the system's roots as a folder, a file a certificate, named by its subject's hash. */
int th_trust_make_folder(struct th_trust *trust, const char **ret_path,
                         struct th_errinfo *reterr) TH_MUST;
/* The same as a PKCS #12 store for Java: no password, each marked as trusted. */
int th_trust_make_store(struct th_trust *trust, const char **ret_path,
                        struct th_errinfo *reterr) TH_MUST;
/* A text as a file of that name. */
int th_trust_make_file(struct th_trust *trust, const char *name, struct th_str text,
                       const char **ret_path, struct th_errinfo *reterr) TH_MUST;

#endif

/* One run of loading: what its steps share. On the stack of th_config_load_text(); one thread.
 *
 * Steps do not return whether they found mistakes: they report them and go on, so that all are
 * found. Memory shortage is noted once and ends the run at the next step. */
#ifndef TOKENHOP_SRC_CONFIG_LOADER_H
#define TOKENHOP_SRC_CONFIG_LOADER_H

#include <jansson.h>

#include "key.h"
#include "raw.h"
#include "snapshot.h"
#include "source.h"
#include "tokenhop/base/arena.h"
#include "tokenhop/config/load.h"

#define TH_CONFIG_MAX_MISTAKES 100

struct th_loader {
    struct th_config *config; /* being made */
    struct th_arena *arena;   /* the snapshot's */
    struct th_config_mistakes *mistakes;
    struct th_source source;
    const char *folder;
    struct th_raw_root raw;
    bool nomem;
    bool without_authority; /* the files of `interception` are not read */
    bool without_files;     /* no file that the configuration names is read, nor the environment */
};

/* A value of the file: jansson's, and its place. */
struct th_value {
    json_t *json;
    uint32_t place;
};

/* A mistake at the value, or at the key, of a place; `mend` may be NULL. Formats must not quote
 * values of the file: a secret may stand in the wrong place. Names that passed the check of names
 * may be quoted. */
void th_loader_report(struct th_loader *loader, uint32_t place, const char *mend, const char *fmt,
                      ...) TH_PRINTF(4, 5);
void th_loader_report_key(struct th_loader *loader, uint32_t place, const char *mend,
                          const char *fmt, ...) TH_PRINTF(4, 5);
/* What a check said. */
void th_loader_report_info(struct th_loader *loader, uint32_t place, const struct th_errinfo *info);
/* At an offset of the text, where there is no place; TH_SOURCE_NONE: the file as a whole. */
void th_loader_report_offset(struct th_loader *loader, uint32_t offset, const char *mend,
                             const char *what);
void th_loader_sort_mistakes(struct th_config_mistakes *mistakes);

/* Zeroed memory and copied texts of the snapshot's arena; NULL and `nomem` when there is none. */
void *th_loader_alloc(struct th_loader *loader, size_t count, size_t size);
struct th_str th_loader_copy(struct th_loader *loader, struct th_str text);
/* The file that a name of the configuration means: relative ones are relative to its folder. */
struct th_str th_loader_file(struct th_loader *loader, struct th_str name);
/* Notes that the file is about to be read, so that it is watched: whoever reads one calls this before.
 * Its mark is valid as long as the snapshot; NULL: it is not to be read, or there is no memory. */
const struct th_file_mark *th_loader_watch(struct th_loader *loader, struct th_str path);
/* Places below a place, for reports: the member or, where it is missing, the object itself. */
uint32_t th_loader_member(const struct th_loader *loader, uint32_t place, const char *name);
uint32_t th_loader_item(const struct th_loader *loader, uint32_t place, const char *name,
                        size_t ordinal);

/* read.c: the tree of the file to `base`, which section's struct it is; defaults filled in. */
void th_read_section(struct th_loader *loader, struct th_value value,
                     const struct th_section *section, void *base);

/* build_*.c: raw to model; each reports what it finds. Servers before agents before connections. */
void th_build_servers(struct th_loader *loader);
void th_build_agents(struct th_loader *loader);
void th_build_callers(struct th_loader *loader);
void th_build_listeners(struct th_loader *loader);
void th_build_connections(struct th_loader *loader);
void th_build_admin(struct th_loader *loader);
void th_build_telemetry(struct th_loader *loader);
void th_build_rest(struct th_loader *loader);
void th_build_policy(struct th_loader *loader);       /* after the connections and callers */
void th_build_parents(struct th_loader *loader);      /* after the listeners */
void th_build_interception(struct th_loader *loader); /* after the connections */

/* Finds what a reference names; reports it with the nearest name when there is none. `kind` is
 * "agent" or "authorization server". An empty name was reported already: NULL. */
const struct th_config_authorization_server *th_build_find_server(struct th_loader *loader,
                                                                  struct th_str name,
                                                                  uint32_t place);
const struct th_config_agent *th_build_find_agent(struct th_loader *loader, struct th_str name,
                                                  uint32_t place);

/* build_admin.c: whether the text is "unix:" and a path, which is looked at and filled in. */
bool th_build_socket(struct th_loader *loader, struct th_str text, uint32_t place,
                     struct sockaddr_storage *ret_address, socklen_t *ret_len,
                     struct th_str *ret_path);

/* system_name.c: the number of a user or group of this system, which is reported when there is none. */
bool th_build_find_user(struct th_loader *loader, struct th_str name, uint32_t place,
                        uint32_t *ret_uid);
bool th_build_find_group(struct th_loader *loader, struct th_str name, uint32_t place,
                         uint32_t *ret_gid);

/* The path of the `ca_file` of the object at `place`, whose certificates are looked at; none:
 * empty. *ret_mark (may be NULL): what it looked like. */
struct th_str th_build_ca_file(struct th_loader *loader, struct th_str name, uint32_t place,
                               struct th_file_mark *ret_mark);

/* inject.c: how the connection's credential is put on a request. */
void th_build_inject(struct th_loader *loader, const struct th_raw_connection *raw,
                     struct th_config_inject *ret_inject);

/* static_values.c: the values of a static connection, held against what `inject` makes of them. */
void th_build_values(struct th_loader *loader, const struct th_raw_connection *raw,
                     struct th_config_connection *connection);
/* And the token of an object that says {"from": "file", "file": ...}, at `place`. */
struct th_secret *th_build_token_file(struct th_loader *loader, struct th_str file, uint32_t place);

/* build_exchange.c: what the requests of an exchange say. After the connection's agents, server and
 * source of subject tokens. */
void th_build_exchange(struct th_loader *loader, const struct th_raw_connection *raw,
                       struct th_config_connection *connection);

/* Reports scopes that stand in a list twice, and with !system_too those that Okta has for itself. */
void th_build_check_scopes(struct th_loader *loader, const struct th_raw_list *scopes,
                           uint32_t object, const char *key, bool system_too);
/* In memory of the snapshot. */
struct th_str th_build_join(struct th_loader *loader, const struct th_raw_list *texts,
                            char separator);

/* build_scopings.c: which requests ask for other scopes. When all else of the connection is made. */
void th_build_scopings(struct th_loader *loader, const struct th_raw_connection *raw,
                       struct th_config_connection *connection);
/* Of the connection and its variants: of whole connections only. */
void th_build_versions(struct th_loader *loader, struct th_config_connection *connection);

/* Where a key, secret or token is said to be, and by which keys of the file. `variable_key` NULL:
 * the object itself says "env". */
struct th_secret_names {
    struct th_str file;
    struct th_str variable;
    const char *file_key;
    const char *variable_key;
};

/* build_passwords.c: the hashes in the text of a file that holds such, at `place`; after the caller's user. */
void th_build_passwords(struct th_loader *loader, struct th_str text, uint32_t place,
                        struct th_config_caller *caller);
/* Whether a hash is of both. */
bool th_build_has_same_password(const struct th_config_caller *a, const struct th_config_caller *b);
/* What concerns all callers, which are made. */
void th_build_all_passwords(struct th_loader *loader);

/* secret_source.c: a secret from a file (whose last line feed does not count; refused where others
 * may use it, R16) or an environment variable, kept for the snapshot. It is at `key`_file or `key` of
 * the object at `place`; *ret_place is where a mistake in it is to be reported. NULL: there is none,
 * which was reported if one was named. */
struct th_secret *th_build_secret(struct th_loader *loader, struct th_str file,
                                  struct th_str variable, const char *key, uint32_t place,
                                  uint32_t *ret_place);
/* The same, with any keys. `ret_path`: of the file, unchanged where there is none. */
struct th_secret *th_build_secret_of(struct th_loader *loader, const struct th_secret_names *names,
                                     bool trim, uint32_t place, uint32_t *ret_place,
                                     struct th_str *ret_path);

/* certificate.c: the certificate that `cert_file` of the object at `place` names. With the key: for TLS,
 * whose key must be PEM; without: for assertions. NULL: there is none, which was reported if one was
 * named, or `key` is NULL. The snapshot's. */
struct th_identity *th_build_identity(struct th_loader *loader, struct th_str cert_file,
                                      const struct th_secret *key, uint32_t place,
                                      uint32_t key_place);
struct th_identity *th_build_assertion_certificate(struct th_loader *loader,
                                                   struct th_str cert_file,
                                                   const struct th_secret *key, uint32_t place);
/* As th_build_ca_file(), of revocation lists. */
struct th_str th_build_crl_file(struct th_loader *loader, struct th_str name, uint32_t place);
/* The same for what a listener shows: with the key always, and for servers. */
struct th_identity *th_build_server_identity(struct th_loader *loader, struct th_str cert_file,
                                             const struct th_secret *key, uint32_t place,
                                             uint32_t key_place);
/* The text of a file of PEM certificates, or of revocation lists, at `place` itself; each was looked at. The
 * snapshot's; empty: none, which was reported if one was named. */
struct th_str th_build_authorities_text(struct th_loader *loader, struct th_str name,
                                        uint32_t place);
struct th_str th_build_lists_text(struct th_loader *loader, struct th_str name, uint32_t place);
/* What of TLS a connection has of its own; after its patterns. */
void th_build_connection_tls(struct th_loader *loader, const struct th_raw_connection *raw,
                             struct th_config_connection *connection);

/* build_listener_tls.c: TLS of a listener, and certificates that are forwarded to it. */
void th_build_listener_tls(struct th_loader *loader, const struct th_raw_listener *raw,
                           struct th_config_listener *listener);
/* The name of a caller's certificate to its proof and digest. */
void th_build_caller_certificate(struct th_loader *loader, const struct th_raw_caller *raw,
                                 struct th_config_caller *caller);

/* auth.c: reads the key or secret and holds it against `alg`. `place` is the auth object's. */
void th_build_auth(struct th_loader *loader, const struct th_raw_auth *raw, uint32_t place,
                   struct th_config_auth *ret_auth);
/* auth.c: the agent's DPoP key, which must be another than `auth` has. */
void th_build_dpop_key(struct th_loader *loader, const struct th_raw_agent *raw,
                       const struct th_config_auth *auth, struct th_config_dpop_key *ret_key);

#endif

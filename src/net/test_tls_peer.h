/* A TLS server for the tests of TLS streams, in lockstep with the stream on one thread, and the
 * certificates it shows. */
#ifndef TH_NET_TEST_TLS_PEER_H
#define TH_NET_TEST_TLS_PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>

struct identity {
    X509 *certificate;
    EVP_PKEY *key;
};

struct identity_spec {
    const char *cn;
    const char *san; /* as openssl.cnf has it: "DNS:a.test,IP:127.0.0.1"; NULL: none */
    long from, to;   /* seconds from now; 0: an hour ago, in a day */
    const struct identity *issuer; /* NULL: self-signed */
    bool authority;
    bool for_clients;  /* extendedKeyUsage clientAuth alone */
    const char *usage; /* any other, as openssl.cnf has it; NULL: none */
};

struct identity identity_make(const struct identity_spec *spec);
void identity_free(struct identity *identity);
/* A file with the certificate in a folder of its own; the path is in ret_path. */
void identity_write(const struct identity *identity, char ret_path[64]);

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    char name[256]; /* the SNI that came; "" */
    bool done;      /* the handshake */
    bool failed;
};

/* Version 0: as OpenSSL likes it. */
SSL_CTX *peer_context_new(const struct identity *identity, int min_version, int max_version);
/* Takes the descriptor. */
void peer_open(struct peer *peer, SSL_CTX *ctx, int fd);
void peer_step(struct peer *peer); /* of the handshake */
void peer_say(struct peer *peer, const char *text);
/* Received so far, as far as it is there; adds to text. Returns SSL_ERROR_*. */
int peer_hear(struct peer *peer, char *text, size_t size);
void peer_close(struct peer *peer); /* the descriptor without a farewell, if it is open */

#endif

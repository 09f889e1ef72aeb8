/* The two halves of a key. The low-level calls of libcrypto are used although OpenSSL 3 would
 * rather have EVP: they allocate nothing and cannot fail, and a digest that could fail would have
 * to be a wrong key. They are also the fastest: 109 ns for 64 bytes, where a fetched EVP_MD with
 * a context that is used again takes 149 and SHA256() 458. */
#define OPENSSL_API_COMPAT 10100

#include <openssl/sha.h>
#include <string.h>

#include "tokenhop/token/broker.h"

void th_broker_digest(struct th_str subject_token, uint8_t ret_digest[32])
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, subject_token.ptr, subject_token.len);
    SHA256_Final(ret_digest, &context); /* wipes the context */
}

static void add_number(SHA256_CTX *context, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    SHA256_Update(context, bytes, sizeof bytes);
}

/* With its length before it, so that no two lists of texts read the same. */
static void add_text(SHA256_CTX *context, struct th_str text)
{
    add_number(context, text.len);
    SHA256_Update(context, text.ptr, text.len);
}

void th_broker_scope(const struct th_config_agent *agent,
                     const struct th_config_connection *connection, uint8_t ret_scope[16])
{
    uint8_t digest[32];
    SHA256_CTX context;
    SHA256_Init(&context);
    add_text(&context, agent->name);
    add_text(&context, agent->client_id);
    add_text(&context, connection->name);
    SHA256_Update(&context, connection->version, sizeof connection->version);
    add_number(&context, connection->n_scopes);
    for (size_t i = 0; i < connection->n_scopes; i++)
        add_text(&context, connection->scopes[i]);
    if (connection->dpop != TH_DPOP_OFF) {
        /* Another key, and what is bound to the one before is of no use any more. Without one here the
         * process has a single one for the agent. */
        const struct th_config_dpop_key *key = &agent->dpop_key;
        add_number(&context, key->alg);
        add_text(&context, key->key != NULL ? th_secret_expose(key->key) : TH_STR_NONE);
    }
    SHA256_Final(digest, &context);
    memcpy(ret_scope, digest, 16);
}

#include "token.h"

#include <stdio.h>
#include <stdlib.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"

static struct token *add(struct tokens *tokens, enum token_kind kind, const char *name)
{
    struct token *token = zeroed(sizeof *token);

    token->kind = kind;
    snprintf(token->name, sizeof token->name, "%s", name);
    token->next = tokens->first;
    tokens->first = token;
    tokens->n_made++;
    return token;
}

void json_text_free(char *text)
{
    json_malloc_t get;
    json_free_t put;

    json_get_alloc_funcs(&get, &put); /* not the C library's: th_json_start() */
    put(text);
}

static void encode(struct th_buf *out, const json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    TH_REQUIRE(text != NULL);
    th_base64url_encode(out, text, strlen(text));
    json_text_free(text);
}

struct token *token_add(struct tokens *tokens, enum token_kind kind, const char *name,
                        const char *typ, json_t *claims)
{
    struct token *token = add(tokens, kind, name);
    struct th_buf text;
    char jti[32], signature[32];

    snprintf(jti, sizeof jti, "jti-%06u", tokens->n_made);
    json_object_set_new(claims, "jti", json_string(jti));
    json_t *header = json_pack("{s:s, s:s, s:s}", "alg", "RS256", "kid", "server", "typ", typ);
    th_buf_init(&text, (size_t)64 * 1024);
    encode(&text, header);
    th_buf_add_char(&text, '.');
    encode(&text, claims);
    th_buf_add_char(&text, '.');
    /* Its own bytes, so that a part of one token is not found in another. */
    snprintf(signature, sizeof signature, "signature-%016llx",
             0x9e3779b97f4a7c15ULL * (tokens->n_made + 1));
    th_base64url_encode(&text, signature, strlen(signature));
    TH_REQUIRE(!text.failed);
    token->text = copy_text(text.ptr, text.len);
    token->claims = claims;
    th_buf_fini(&text);
    json_decref(header);
    return token;
}

struct token *token_add_opaque(struct tokens *tokens, enum token_kind kind, const char *name)
{
    struct token *token = add(tokens, kind, name);
    struct bytes text = {0};

    bytes_printf(&text, "opaque-%s-%016llx", name, 0x9e3779b97f4a7c15ULL * tokens->n_made);
    token->text = text.ptr;
    return token;
}

struct token *token_find(const struct tokens *tokens, struct th_str name)
{
    for (struct token *token = tokens->first; token != NULL; token = token->next)
        if (th_str_equal(th_str_of(token->name), name))
            return token;
    return NULL;
}

struct token *token_find_text(const struct tokens *tokens, struct th_str text)
{
    for (struct token *token = tokens->first; token != NULL; token = token->next)
        if (th_str_equal(th_str_of(token->text), text))
            return token;
    return NULL;
}

void tokens_fini(struct tokens *tokens)
{
    while (tokens->first != NULL) {
        struct token *token = tokens->first;
        tokens->first = token->next;
        json_decref(token->claims);
        free(token->text);
        free(token);
    }
}

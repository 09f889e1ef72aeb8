/* tokenhop keygen: an agent's key pair. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "show.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/process.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/oauth/jose.h"
#include "write_file.h"

#define KID_MAX 128
#define THUMBPRINT_MAX 64

static const char usage[] =
    "usage: tokenhop keygen --out FILE [--alg ALG] [--kid KID] [--force]\n"
    "\n"
    "Makes an agent's key pair. The private key goes to FILE, as PEM that its owner alone can read; the\n"
    "public JWK, to be registered with the identity provider, to standard output.\n"
    "\n"
    "  -o, --out FILE   where the private key goes; a file that is there is not touched. -: to\n"
    "                   standard output, and the JWK to standard error\n"
    "      --alg ALG    RS256 (default), RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA\n"
    "      --kid KID    the key's id (default: its RFC 7638 thumbprint)\n"
    "      --force      replaces FILE\n"
    "  -h, --help       this text\n"
    "\n"
    "  tokenhop keygen --out agent1.pem > agent1.jwk.json\n"
    "  tokenhop keygen --out agent1.pem --alg ES256 --kid k2 --force\n"
    "  tokenhop keygen --out - 2> agent1.jwk.json | vault kv put secret/agent1 key=-\n";

struct order {
    const char *out;
    const char *alg_name;
    const char *kid;
    bool force;
    enum th_alg alg;
};

static int put_private(const struct order *order, const struct th_key *key,
                       struct th_errinfo *reterr)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *pem = NULL;
    int error = th_key_to_private_pem(key, &pem);

    if (error < 0)
        return th_errinfo_set(reterr, error, NULL, NULL, "no memory for the key");
    struct th_str text = th_secret_expose(pem);
    if (strcmp(order->out, "-") != 0)
        return th_write_file(order->out, text, 0600, order->force, reterr);
    /* Not through stdio, whose buffer would keep it. */
    if (th_write_all(STDOUT_FILENO, text) < 0)
        return th_write_refuse("standard output", NULL, "the key cannot be written", errno, reterr);
    return 0;
}

static int put_public(const struct order *order, const json_t *jwk, struct th_errinfo *reterr)
{
    FILE *out = strcmp(order->out, "-") == 0 ? stderr : stdout;

    th_show_json(out, 0, jwk);
    if (ferror(out) || fflush(out) != 0)
        return th_write_refuse("standard output", "make the key anew, with --force",
                               "the JWK cannot be written", errno, reterr);
    return 0;
}

/* Both halves, or nothing: a file without its JWK would have to be written over. */
static int put_pair(const struct order *order, const struct th_key *key, struct th_str kid,
                    struct th_errinfo *reterr)
{
    json_t *jwk = th_key_to_public_jwk(key, kid, order->alg);

    if (jwk == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory for the JWK");
    int error = put_private(order, key, reterr);
    if (error == 0)
        error = put_public(order, jwk, reterr);
    json_decref(jwk);
    return error;
}

static void say_where(const struct order *order, struct th_str kid)
{
    fprintf(
        stderr,
        "%s holds the private key. Register the JWK; in the configuration:\n"
        "  \"auth\": { \"method\": \"private_key_jwt\", \"key_file\": \"%s\", \"kid\": \"%.*s\", "
        "\"alg\": \"%s\" }\n",
        order->out, order->out, TH_STR_ARGS(kid), th_alg_name(order->alg).ptr);
}

static int make(const struct order *order, struct th_errinfo *reterr)
{
    struct th_str kid = th_str_of(order->kid);
    struct th_buf thumbprint;
    struct th_key *key = NULL;
    int error = th_key_generate(order->alg, &key);

    th_buf_init(&thumbprint, THUMBPRINT_MAX);
    if (error == 0 && order->kid == NULL) {
        error = th_key_thumbprint(key, &thumbprint);
        kid = th_buf_str(&thumbprint);
    }
    if (error < 0) {
        th_errinfo_set(reterr, error, NULL, NULL, "the key pair cannot be made: %s",
                       th_error_get(error)->title);
    } else {
        error = put_pair(order, key, kid, reterr);
    }
    if (error == 0 && strcmp(order->out, "-") != 0)
        say_where(order, kid);
    th_buf_fini(&thumbprint);
    th_key_unref(key);
    return error;
}

/* A kid stands in headers of tokens and in the configuration, between quotes. */
static bool is_kid_fine(const char *kid)
{
    size_t len = strlen(kid);

    for (size_t i = 0; i < len; i++)
        if (kid[i] <= ' ' || kid[i] >= 0x7f || kid[i] == '"' || kid[i] == '\\')
            return false;
    return len > 0 && len <= KID_MAX;
}

static int check_order(struct order *order, const char *command)
{
    order->alg = th_alg_find(th_str_of(order->alg_name));
    if (order->alg == TH_JWS_NONE)
        return th_options_refuse(command, "--alg names no algorithm that agents can sign with");
    if (order->kid != NULL && !is_kid_fine(order->kid))
        return th_options_refuse(command, "--kid must be 1 to %d visible letters, no quotes",
                                 KID_MAX);
    if (order->out == NULL)
        return th_options_refuse(command, "say where the private key goes; add --out FILE");
    if (strcmp(order->out, "-") == 0 && isatty(STDOUT_FILENO))
        return th_options_refuse(command, "a private key is not shown on a terminal; redirect it, "
                                          "or add --out FILE");
    return -1;
}

static int keygen(int argc, char **argv)
{
    struct order order = {.alg_name = "RS256"};
    const struct th_option options[] = {{"out", 'o', &order.out, NULL},
                                        {"alg", '\0', &order.alg_name, NULL},
                                        {"kid", '\0', &order.kid, NULL},
                                        {"force", '\0', NULL, &order.force}};
    struct th_errinfo info = {0};
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), NULL, 0);

    if (status < 0)
        status = check_order(&order, argv[0]);
    if (status >= 0)
        return status;
    if (th_process_harden(&info) < 0 || make(&order, &info) < 0) {
        th_options_print_error(argv[0], &info);
        return TH_EXIT_NOT_SO;
    }
    return TH_EXIT_FINE;
}

const struct th_command th_command_keygen = {"keygen", "makes an agent's key pair", usage, keygen};

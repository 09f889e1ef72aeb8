/* Writes the map from subject tokens to access tokens, as HAProxy (map_str) or nginx (map) reads it:
 *
 *   bench_map haproxy N        "<subject token> Bearer <access token>"
 *   bench_map haproxy-sha N    the same keyed by the upper-case hex SHA-256 of the subject token
 *   bench_map nginx N          "Bearer <subject token>" "Bearer <access token>";
 *   bench_map subject N        the subject token N alone */
#include "bench_util.h"

#include <openssl/evp.h>
#include <string.h>

static void print_sha(const char *token, size_t len)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (!EVP_Digest(token, len, md, &n, EVP_sha256(), NULL))
        bench_die("SHA-256 failed");
    for (unsigned i = 0; i < n; i++)
        printf("%02X", md[i]);
}

int main(int argc, char **argv)
{
    char subject[BENCH_SUBJECT_MAX];
    char access[BENCH_ACCESS_LEN + 1];
    uint64_t n;

    if (argc != 3)
        bench_die("usage: bench_map haproxy|haproxy-sha|nginx|subject N");
    n = bench_parse_number("N", argv[2], BENCH_INDEX_MAX);
    if (strcmp(argv[1], "subject") == 0) {
        bench_subject_token(n, subject);
        puts(subject);
        return 0;
    }
    for (uint64_t i = 0; i < n; i++) {
        size_t len = bench_subject_token(i, subject);

        bench_access_token(i, access);
        if (strcmp(argv[1], "haproxy") == 0) {
            printf("%s Bearer %s\n", subject, access);
        } else if (strcmp(argv[1], "haproxy-sha") == 0) {
            print_sha(subject, len);
            printf(" Bearer %s\n", access);
        } else if (strcmp(argv[1], "nginx") == 0) {
            printf("\"Bearer %s\" \"Bearer %s\";\n", subject, access);
        } else {
            bench_die("unknown format '%s'", argv[1]);
        }
    }
    return 0;
}

/* The tokens of the comparison: JWTs by form, with signatures that are deterministic noise. Nobody
 * here verifies a signature; what matters is that sizes and alphabets are those of real ones. */
#include "bench_util.h"

#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Unpadded base64url (RFC 7515, section 2). Returns the end of what was written. */
static char *put_base64url(char *dst, const unsigned char *src, size_t len)
{
    size_t i;

    for (i = 0; i + 2 < len; i += 3) {
        uint32_t v = (uint32_t)src[i] << 16 | (uint32_t)src[i + 1] << 8 | src[i + 2];

        *dst++ = alphabet[v >> 18];
        *dst++ = alphabet[v >> 12 & 63];
        *dst++ = alphabet[v >> 6 & 63];
        *dst++ = alphabet[v & 63];
    }
    if (i < len) {
        uint32_t v = (uint32_t)src[i] << 16 | (i + 1 < len ? (uint32_t)src[i + 1] << 8 : 0);

        *dst++ = alphabet[v >> 18];
        *dst++ = alphabet[v >> 12 & 63];
        if (i + 1 < len)
            *dst++ = alphabet[v >> 6 & 63];
    }
    return dst;
}

static size_t get_base64url(unsigned char *dst, const char *src, size_t len)
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        const char *p = src[i] ? strchr(alphabet, src[i]) : NULL;

        if (!p)
            return 0;
        v = v << 6 | (uint32_t)(p - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            dst[n++] = (unsigned char)(v >> bits & 255);
        }
    }
    return n;
}

/* splitmix64: enough to make every token's signature its own. */
static uint64_t next_noise(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void fill_noise(unsigned char *dst, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = next_noise(&seed);

        memcpy(dst + i, &v, len - i < 8 ? len - i : 8);
    }
}

/* header.payload.signature; the signature has sig_len bytes before encoding. */
static size_t put_jwt(char *dst, const char *header, const char *payload, size_t sig_len,
                      uint64_t seed)
{
    unsigned char sig[256];
    char *p = dst;

    fill_noise(sig, sig_len, seed);
    p = put_base64url(p, (const unsigned char *)header, strlen(header));
    *p++ = '.';
    p = put_base64url(p, (const unsigned char *)payload, strlen(payload));
    *p++ = '.';
    p = put_base64url(p, sig, sig_len);
    *p = '\0';
    return (size_t)(p - dst);
}

static void check_index(uint64_t index)
{
    if (index > BENCH_INDEX_MAX)
        bench_die("token index %llu is beyond %d", (unsigned long long)index, BENCH_INDEX_MAX);
}

size_t bench_subject_token(uint64_t index, char ret_token[BENCH_SUBJECT_MAX])
{
    char payload[512];

    check_index(index);
    /* An access token for agent 1 as a custom server issues it: RS256, so 256 bytes of signature. */
    snprintf(
        payload, sizeof(payload),
        "{\"ver\":1,\"jti\":\"AT.bench-subject-%07llu\",\"iss\":\"%s\",\"aud\":\"%s\","
        "\"sub\":\"user-%07llu\",\"iat\":1700000000,\"exp\":4102444800,"
        "\"cid\":\"0oabench000000000client\",\"scp\":[\"agent1.invoke\"],"
        "\"groups\":[\"everyone\",\"traders\",\"region-north\"],\"tenant\":\"bench-tenant-0001\"}",
        (unsigned long long)index, BENCH_CUSTOM_ISSUER, BENCH_AGENT_RESOURCE,
        (unsigned long long)index);
    return put_jwt(ret_token,
                   "{\"typ\":\"at+jwt\",\"alg\":\"RS256\",\"kid\":\"bench-signing-key-01\"}",
                   payload, 256, index * 2 + 1);
}

size_t bench_access_token(uint64_t index, char ret_token[BENCH_ACCESS_LEN + 1])
{
    char payload[512];
    size_t len;

    check_index(index);
    /* The header has 39 bytes, the payload 255 and the ES256 signature 64: 52 + 340 + 86
     * characters and two dots. */
    snprintf(payload, sizeof(payload),
             "{\"jti\":\"AT.%07llu\",\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"user-%07llu\","
             "\"iat\":1700000000,\"exp\":4102444800,\"scp\":[\"%s\"],\"act\":{\"sub\":\"%s\"},"
             "\"x\":\"",
             (unsigned long long)index, BENCH_CUSTOM_ISSUER, BENCH_TARGET_RESOURCE,
             (unsigned long long)index, BENCH_SCOPE, BENCH_AGENT_ID);
    len = strlen(payload);
    if (len > 253)
        bench_die("the claims of an access token do not leave room for padding");
    memset(payload + len, '-', 253 - len);
    memcpy(payload + 253, "\"}", 3);
    len = put_jwt(ret_token, "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"bch\"}", payload, 64,
                  index * 2 + 2);
    if (len != BENCH_ACCESS_LEN)
        bench_die("an access token came out %zu bytes long", len);
    return len;
}

size_t bench_idjag_token(uint64_t index, int64_t now, uint64_t serial,
                         char ret_token[BENCH_IDJAG_MAX])
{
    char payload[768];

    check_index(index);
    snprintf(payload, sizeof(payload),
             "{\"jti\":\"IDAAG.%016llx\",\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"user-%07llu\","
             "\"client_id\":\"%s\",\"resource\":\"%s\",\"scope\":\"%s\",\"iat\":%lld,\"exp\":%lld,"
             "\"act\":{\"sub\":\"%s\"}}",
             (unsigned long long)serial, BENCH_ORG_ISSUER, BENCH_CUSTOM_ISSUER,
             (unsigned long long)index, BENCH_AGENT_ID, BENCH_TARGET_RESOURCE, BENCH_SCOPE,
             (long long)now, (long long)now + 300, BENCH_AGENT_ID);
    return put_jwt(ret_token,
                   "{\"typ\":\"oauth-id-jag+jwt\",\"alg\":\"RS256\",\"kid\":\"bench-org-key\"}",
                   payload, 256, serial);
}

bool bench_token_index(const char *token, size_t len, uint64_t *ret_index)
{
    static const char key[] = "\"sub\":\"user-";
    unsigned char payload[BENCH_IDJAG_MAX];
    const char *dot = memchr(token, '.', len);
    const char *end;
    const char *p;
    char *stop;
    size_t n;

    if (!dot)
        return false;
    end = memchr(dot + 1, '.', len - (size_t)(dot + 1 - token));
    if (!end || (size_t)(end - dot) > sizeof(payload))
        return false;
    n = get_base64url(payload, dot + 1, (size_t)(end - dot - 1));
    if (!n || n >= sizeof(payload))
        return false;
    payload[n] = '\0';
    p = strstr((char *)payload, key);
    if (!p)
        return false;
    *ret_index = strtoull(p + sizeof(key) - 1, &stop, 10);
    return *stop == '"' && *ret_index <= BENCH_INDEX_MAX;
}

#include "tokenhop/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret_store.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/base/ref.h"

#define MAX_LEN ((size_t)1024 * 1024)
#define MAX_PIECES 8

/* Shared. Eight bytes of header and the NUL are all that a secret costs beyond its own. */
struct th_secret {
    struct th_ref ref;
    uint32_t len;
    char bytes[];
};

/* Process-wide, for metrics. */
static atomic_size_t n_bytes_held;

static size_t size_of(size_t len)
{
    return sizeof(struct th_secret) + len + 1;
}

static struct th_secret *secret_alloc(size_t len)
{
    struct th_secret *secret = len <= MAX_LEN ? th_secret_store_alloc(size_of(len)) : NULL;
    if (secret == NULL)
        return NULL;
    th_ref_init(&secret->ref);
    secret->len = (uint32_t)len;
    secret->bytes[len] = '\0';
    atomic_fetch_add_explicit(&n_bytes_held, len, memory_order_relaxed);
    return secret;
}

struct th_secret *th_secret_new(const void *bytes, size_t len)
{
    return th_secret_join(&(struct th_str){bytes, len}, 1);
}

struct th_secret *th_secret_join(const struct th_str *pieces, size_t count)
{
    TH_REQUIRE(count <= MAX_PIECES);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > MAX_LEN)
            return NULL;
        len += pieces[i].len;
    }
    struct th_secret *secret = secret_alloc(len);
    if (secret == NULL)
        return NULL;
    char *at = secret->bytes;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(at, pieces[i].ptr, pieces[i].len);
        at += pieces[i].len;
    }
    return secret;
}

struct th_secret *th_secret_ref(struct th_secret *secret)
{
    th_ref_take(&secret->ref);
    return secret;
}

struct th_secret *th_secret_unref(struct th_secret *secret)
{
    if (secret != NULL && th_ref_release(&secret->ref)) {
        atomic_fetch_sub_explicit(&n_bytes_held, secret->len, memory_order_relaxed);
        th_secret_store_free(secret, size_of(secret->len));
    }
    return NULL;
}

struct th_str th_secret_expose(const struct th_secret *secret)
{
    return (struct th_str){secret->bytes, secret->len};
}

size_t th_secret_len(const struct th_secret *secret)
{
    return secret->len;
}

bool th_secret_equal(const struct th_secret *a, const struct th_secret *b)
{
    return a->len == b->len && th_secret_equal_bytes(a->bytes, b->bytes, a->len);
}

bool th_secret_equal_bytes(const void *a, const void *b, size_t len)
{
    return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}

size_t th_secret_bytes_held(void)
{
    return atomic_load_explicit(&n_bytes_held, memory_order_relaxed);
}

static void closep(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* Reads all of the file and one byte more at most, so that one that grows meanwhile is noticed. */
static int read_all(int fd, char *at, size_t room, size_t *ret_len)
{
    size_t len = 0;
    while (len < room) {
        ssize_t got = read(fd, at + len, room - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return TH_E_IO;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    *ret_len = len;
    return 0;
}

static int check_file(const char *path, const struct stat *st, size_t max,
                      struct th_errinfo *reterr)
{
    if (!S_ISREG(st->st_mode))
        return th_errinfo_set(reterr, TH_E_IO, path, "name a regular file",
                              "%s is not a regular file", path);
    if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return th_errinfo_set(reterr, TH_E_IO, path, "chmod 600 it",
                              "others than its owner may use %s (mode %03o)", path,
                              (unsigned)st->st_mode & 0777);
    if ((uintmax_t)st->st_size > max)
        return th_errinfo_set(reterr, TH_E_IO, path, "is it the right file?",
                              "%s is larger than %zu bytes", path, max);
    return 0;
}

int th_secret_read_file(const char *path, size_t max, bool trim, struct th_secret **ret_secret,
                        struct th_errinfo *reterr)
{
    /* Not blocking, as opening a FIFO that nobody writes to would wait for good. */
    TH_CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int err = errno;
        return th_errinfo_set(reterr, TH_E_IO, path, err == EACCES ? TH_SECRET_MEND_DENIED : NULL,
                              "%s cannot be opened: %s", path, strerror(err));
    }
    int error = check_file(path, &st, max < MAX_LEN ? max : MAX_LEN - 1, reterr);
    if (error != 0)
        return error;
    size_t room = (size_t)st.st_size + 1, len;
    TH_CLEANUP(th_secret_unrefp) struct th_secret *whole = secret_alloc(room);
    if (whole == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, path, NULL, "no memory to read %s", path);
    if (read_all(fd, whole->bytes, room, &len) != 0) {
        int err = errno;
        return th_errinfo_set(reterr, TH_E_IO, path, NULL, "%s cannot be read: %s", path,
                              strerror(err));
    }
    if (len == room)
        return th_errinfo_set(reterr, TH_E_IO, path, "write it aside and rename it",
                              "%s grew while it was read", path);
    if (trim && len > 0 && whole->bytes[len - 1] == '\n')
        len--;
    struct th_secret *secret = th_secret_new(whole->bytes, len);
    if (secret == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, path, NULL, "no memory to read %s", path);
    *ret_secret = secret;
    return 0;
}

/* Process-wide: a key for each use, made at first use and never kept. The algorithm is fetched once, as
 * fetching costs more than the work (OpenSSL 3), and each thread keeps a context. */
struct keyed {
    pthread_key_t contexts;
    unsigned char key[32];
};
static struct {
    pthread_once_t once;
    EVP_MAC *hmac;
    struct keyed prints, digests;
} macs = {.once = PTHREAD_ONCE_INIT};

static void context_free(void *context)
{
    EVP_MAC_CTX_free(context);
}

static bool keyed_start(struct keyed *keyed)
{
    th_random_bytes(keyed->key, sizeof keyed->key);
    return pthread_key_create(&keyed->contexts, context_free) == 0;
}

/* Without one of them there is none: nothing is digested, and whoever asks for it is told so. */
static void macs_start(void)
{
    if (keyed_start(&macs.prints) && keyed_start(&macs.digests))
        macs.hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
}

static EVP_MAC_CTX *context_get(const struct keyed *keyed)
{
    if (macs.hmac == NULL)
        return NULL;
    EVP_MAC_CTX *context = pthread_getspecific(keyed->contexts);
    if (context != NULL)
        return context;
    char digest[] = OSSL_DIGEST_NAME_SHA2_256;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    context = EVP_MAC_CTX_new(macs.hmac);
    if (context == NULL)
        return NULL;
    if (EVP_MAC_init(context, keyed->key, sizeof keyed->key, params) != 1 ||
        pthread_setspecific(keyed->contexts, context) != 0) {
        EVP_MAC_CTX_free(context);
        return NULL;
    }
    return context;
}

/* The context at its begin; NULL when memory is short. */
static EVP_MAC_CTX *begin(const struct keyed *keyed)
{
    pthread_once(&macs.once, macs_start);
    EVP_MAC_CTX *context = context_get(keyed);
    return context != NULL && EVP_MAC_init(context, NULL, 0, NULL) == 1 ? context : NULL;
}

int th_secret_digest(const struct th_str *pieces, size_t count, uint8_t ret_digest[32])
{
    EVP_MAC_CTX *context = begin(&macs.digests);
    size_t len;
    if (context == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        /* With its length before it, so that no two lists of pieces are the same. */
        uint64_t piece_len = pieces[i].len;
        if (EVP_MAC_update(context, (const unsigned char *)&piece_len, sizeof piece_len) != 1 ||
            EVP_MAC_update(context, (const unsigned char *)pieces[i].ptr, pieces[i].len) != 1)
            return TH_E_NOMEM;
    }
    return EVP_MAC_final(context, ret_digest, &len, 32) == 1 ? 0 : TH_E_NOMEM;
}

void th_secret_fingerprint(const void *bytes, size_t len, char ret_text[TH_FINGERPRINT_LEN + 1])
{
    unsigned char digest[32];
    size_t digest_len;
    EVP_MAC_CTX *context = begin(&macs.prints);
    if (context == NULL || EVP_MAC_update(context, bytes, len) != 1 ||
        EVP_MAC_final(context, digest, &digest_len, sizeof digest) != 1) {
        /* Without memory there is none, which a log may say; it never shows anything else. */
        memset(ret_text, '-', TH_FINGERPRINT_LEN);
        ret_text[TH_FINGERPRINT_LEN] = '\0';
        return;
    }
    th_str_format_hex(digest, TH_FINGERPRINT_LEN / 2, ret_text);
}

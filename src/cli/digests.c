#include "digests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenhop/base/mem.h"

static bool add(struct th_digests *digests, const char *text)
{
    if (digests->n == digests->size) {
        size_t size = digests->size > 0 ? 2 * digests->size : 16;
        struct th_digest *items = th_realloc_array(digests->items, size, sizeof *items);
        if (items == NULL)
            return false;
        digests->items = items;
        digests->size = size;
    }
    struct th_digest *digest = &digests->items[digests->n++];
    *digest = (struct th_digest){0};
    memcpy(digest->text, text, TH_SEAL_DIGEST_LEN);
    digests->is_sorted = false;
    return true;
}

bool th_digests_add_list(struct th_digests *digests, const char *list, size_t *ret_n)
{
    for (;;) {
        size_t len = strcspn(list, ",");
        if (!th_seal_is_digest((struct th_str){list, len}) || !add(digests, list))
            return false;
        (*ret_n)++;
        if (list[len] == '\0')
            return true;
        list += len + 1;
    }
}

int th_digests_add_file(struct th_digests *digests, const char *path, size_t *ret_n)
{
    char text[TH_SEAL_DIGEST_LEN];
    size_t len = 0;
    int c, err = 0;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return errno;
    errno = 0;
    do {
        c = getc_unlocked(file);
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
            if (len < sizeof text)
                text[len] = (char)c;
            len++;
            continue;
        }
        if (len == sizeof text && !add(digests, text))
            err = ENOMEM;
        *ret_n += len == sizeof text;
        len = 0;
    } while (c != EOF && err == 0);
    if (ferror(file))
        err = errno;
    fclose(file);
    return err;
}

static int compare(const void *a, const void *b)
{
    return memcmp(((const struct th_digest *)a)->text, ((const struct th_digest *)b)->text,
                  TH_SEAL_DIGEST_LEN);
}

/* The same one twice is one. */
static void sort(struct th_digests *digests)
{
    size_t n = 0;

    qsort(digests->items, digests->n, sizeof *digests->items, compare);
    for (size_t i = 0; i < digests->n; i++)
        if (n == 0 || compare(&digests->items[n - 1], &digests->items[i]) != 0)
            digests->items[n++] = digests->items[i];
    digests->n = n;
    digests->is_sorted = true;
}

void th_digests_see(struct th_digests *digests, struct th_str digest)
{
    struct th_digest key;

    if (digests->n == 0)
        return;
    if (!digests->is_sorted)
        sort(digests);
    memcpy(key.text, digest.ptr, TH_SEAL_DIGEST_LEN);
    struct th_digest *found =
        bsearch(&key, digests->items, digests->n, sizeof *digests->items, compare);
    if (found != NULL)
        found->is_seen = true;
}

void th_digests_fini(struct th_digests *digests)
{
    th_free(digests->items);
    *digests = (struct th_digests){0};
}

/* The fuzz targets' seeds, and some thousand bent copies of them, through the same properties: so
 * that a build without clang and its fuzzer holds them as well. Argument: the corpus' folder. */
#include <dirent.h>
#include <stdio.h>

#include "tokenhop/base/check.h"

#include "differential.h"
#include "properties.h"

#define SEED_MAX 4096
#define BENT_COPIES 60

static unsigned random_state;

static unsigned next_random(unsigned bound)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % bound;
}

/* One small change: what separates a good message from one that somebody reads otherwise. */
static size_t bend(char *bytes, size_t len)
{
    static const char telling[] = "\r\n :;,\t\"%./\\0";
    size_t at = next_random((unsigned)len);
    switch (next_random(5)) {
    case 0:
        bytes[at] = (char)(bytes[at] ^ 1 << next_random(8));
        return len;
    case 1:
        bytes[at] = telling[next_random(sizeof(telling))];
        return len;
    case 2:
        memmove(bytes + at, bytes + at + 1, len - at - 1);
        return len - 1;
    case 3:
        memmove(bytes + at + 1, bytes + at, len - at);
        bytes[at] = telling[next_random(sizeof(telling))];
        return len + 1;
    }
    return at + 1; /* cut short */
}

static void hold_properties(const char *kind, const char *bytes, size_t len)
{
    if (strcmp(kind, "request_head") == 0) {
        th_property_request_head(bytes, len);
        th_differential_requests(bytes, len);
    } else if (strcmp(kind, "differential") == 0) {
        th_differential_requests(bytes, len);
        th_differential_response(bytes, len, TH_METHOD_GET);
        th_differential_response(bytes, len, TH_METHOD_HEAD);
    } else if (strcmp(kind, "response_head") == 0) {
        th_property_response_head(bytes, len, TH_METHOD_GET);
        th_property_response_head(bytes, len, TH_METHOD_HEAD);
        th_property_response_head(bytes, len, TH_METHOD_CONNECT);
        th_differential_response(bytes, len, TH_METHOD_GET);
    } else if (strcmp(kind, "chunked") == 0) {
        th_property_chunked(bytes, len, next_random(1000));
    } else if (strcmp(kind, "xfcc") == 0) {
        th_property_xfcc(bytes, len);
    } else {
        th_property_url(bytes, len);
    }
}

static void run_seed(const char *kind, const char *path)
{
    char seed[SEED_MAX];
    char bent[SEED_MAX + 2 * BENT_COPIES];
    FILE *file = fopen(path, "rb");
    TH_REQUIRE(file != NULL);
    size_t len = fread(seed, 1, sizeof(seed), file);
    fclose(file);
    TH_REQUIRE(len > 0 && len < sizeof(seed));
    hold_properties(kind, seed, len);
    for (unsigned i = 0; i < BENT_COPIES; i++) {
        memcpy(bent, seed, len);
        size_t bent_len = bend(bent, len);
        if (bent_len > 0 && next_random(2) == 0)
            bent_len = bend(bent, bent_len);
        hold_properties(kind, bent, bent_len);
    }
}

static unsigned run_kind(const char *corpus, const char *kind)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", corpus, kind);
    DIR *dir = opendir(path);
    TH_REQUIRE(dir != NULL);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s/%s", corpus, kind, entry->d_name);
        run_seed(kind, path);
        count++;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"request_head", "response_head", "chunked",
                                        "differential", "url",           "xfcc"};
    TH_REQUIRE(argc == 2);
    for (size_t i = 0; i < TH_COUNT_OF(kinds); i++) {
        unsigned count = run_kind(argv[1], kinds[i]);
        printf("%s: %u seeds hold\n", kinds[i], count);
        TH_REQUIRE(count >= 12);
    }
    return 0;
}

/* The seeds of the fuzz targets, and bent copies of them, through the same properties, so that a build
 * without clang holds them too. usage: test_corpus FOLDER */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "properties.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/json.h"

#define BENT_COPIES 50

typedef void property_fn(const char *bytes, size_t len);

static char room[1 << 20];

/* Repeatable, so that what fails once fails again. */
static size_t random_below(size_t bound)
{
    static unsigned state = 1;
    state = state * 1103515245u + 12345u;
    return (state >> 8) % bound;
}

/* In memory of its own size, so that reading on is seen. */
static void hold(property_fn *property, const char *bytes, size_t len)
{
    char *copy = malloc(len != 0 ? len : 1);
    TH_REQUIRE(copy != NULL);
    memcpy(copy, bytes, len);
    property(copy, len);
    free(copy);
}

/* One byte changed or left out, or the end cut off. */
static void hold_bent(property_fn *property, size_t len)
{
    static const char telling[] = "\"\\{}[]:,.=-_0eJ \n";
    size_t at = random_below(len);
    char was = room[at];
    switch (random_below(4)) {
    case 0:
        room[at] = (char)(was ^ 1 << random_below(8));
        break;
    case 1:
        room[at] = telling[random_below(sizeof telling)];
        break;
    case 2:
        len = at;
        break;
    default:
        memmove(room + 1, room, at); /* what stood before takes its place */
        hold(property, room + 1, len - 1);
        memmove(room, room + 1, at);
        room[at] = was;
        return;
    }
    hold(property, room, len);
    room[at] = was;
}

static size_t read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    TH_REQUIRE(file != NULL);
    size_t len = fread(room, 1, sizeof room, file);
    TH_REQUIRE(len < sizeof room && fclose(file) == 0);
    return len;
}

static unsigned play(const char *corpus, const char *name, property_fn *property)
{
    char path[4096];
    unsigned n = 0;
    (void)snprintf(path, sizeof path, "%s/%s", corpus, name);
    DIR *folder = opendir(path);
    TH_REQUIRE(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s/%s", corpus, name, entry->d_name);
        size_t len = read_file(path);
        hold(property, room, len);
        for (int i = 0; i < BENT_COPIES && len > 0; i++)
            hold_bent(property, len);
        n++;
    }
    closedir(folder);
    return n;
}

int main(int argc, char **argv)
{
    TH_REQUIRE(argc == 2);
    th_json_start();
    unsigned n_tokens = play(argv[1], "jwt", th_property_token);
    unsigned n_answers = play(argv[1], "token_response", th_property_token_response);
    unsigned n_documents = play(argv[1], "document", th_property_document);
    printf("%u tokens and keys, %u answers, %u documents\n", n_tokens, n_answers, n_documents);
    return n_tokens >= 10 && n_answers >= 10 && n_documents >= 5 ? 0 : 1;
}

#include "script.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "tokenhop/base/check.h"

struct reader {
    const char *path;
    const char *at; /* the rest of the text */
    unsigned number;
};

static bool complain(const struct reader *reader, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", reader->path, reader->number, what);
    return false;
}

static bool load_file(const char *path, struct bytes *ret_text)
{
    FILE *file = fopen(path, "re");
    char room[4096];
    size_t n;

    if (file == NULL) {
        perror(path);
        return false;
    }
    while ((n = fread(room, 1, sizeof room, file)) > 0)
        bytes_add(ret_text, room, n);
    bool fine = !ferror(file);
    fclose(file);
    bytes_add(ret_text, "", 0);
    return fine;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* After the backslash; moves *at behind the escape. -1: there is no such one. */
static int read_escape(const char **at)
{
    char c = *(*at)++;

    switch (c) {
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '\\':
    case '"':
        return c;
    case 'x': {
        int high = hex((*at)[0]);
        int low = high >= 0 ? hex((*at)[1]) : -1;
        if (low < 0)
            return -1;
        *at += 2;
        return high * 16 + low;
    }
    default:
        return -1;
    }
}

static bool read_quoted(struct reader *reader, struct bytes *word)
{
    reader->at++;
    while (*reader->at != '"') {
        if (*reader->at == '\0' || *reader->at == '\n')
            return complain(reader, "the quotation has no end on its line");
        if (*reader->at != '\\') {
            bytes_add(word, reader->at++, 1);
            continue;
        }
        reader->at++;
        int c = read_escape(&reader->at);
        if (c < 0)
            return complain(reader, "an escape that is none: \\r \\n \\t \\\" \\\\ \\xHH are");
        char byte = (char)c;
        bytes_add(word, &byte, 1);
    }
    reader->at++;
    return true;
}

/* `<<END`: the lines from the next one up to a line that is END. */
static bool read_block(struct reader *reader, struct bytes *word)
{
    const char *mark = reader->at + 2;
    size_t mark_len = strcspn(mark, " \t\n");
    unsigned began = reader->number;
    const char *line = strchr(mark, '\n');

    while (line != NULL) {
        line++;
        reader->number++;
        size_t len = strcspn(line, "\n");
        if (len == mark_len && strncmp(line, mark, len) == 0) {
            reader->at = line + len;
            return true;
        }
        bytes_add(word, line, len);
        bytes_add(word, "\n", 1);
        line = strchr(line, '\n');
    }
    reader->number = began;
    return complain(reader, "the block has no end");
}

/* A word: bare, quoted, or both joined (scope="a b"). */
static bool read_word(struct reader *reader, struct bytes *word)
{
    if (reader->at[0] == '{') { /* JSON: the rest of the line */
        size_t len = strcspn(reader->at, "\n");
        bytes_add(word, reader->at, len);
        reader->at += len;
        while (word->len > 0 && isspace((unsigned char)word->ptr[word->len - 1]))
            word->len--;
        return true;
    }
    if (strncmp(reader->at, "<<", 2) == 0)
        return read_block(reader, word);
    while (*reader->at != '\0' && !isspace((unsigned char)*reader->at)) {
        if (*reader->at == '"') {
            if (!read_quoted(reader, word))
                return false;
        } else {
            bytes_add(word, reader->at++, 1);
        }
    }
    bytes_add(word, "", 0);
    return true;
}

static bool read_line(struct reader *reader, struct line *line)
{
    line->number = reader->number;
    for (;;) {
        reader->at += strspn(reader->at, " \t\r");
        if (*reader->at == '#')
            reader->at += strcspn(reader->at, "\n");
        if (*reader->at == '\0' || *reader->at == '\n')
            return true;
        if (line->n_words == SCRIPT_WORDS_MAX)
            return complain(reader, "too many words");
        struct bytes word = {0};
        if (!read_word(reader, &word)) {
            bytes_fini(&word);
            return false;
        }
        line->words[line->n_words++] = (struct word){word.ptr, word.len};
    }
}

static void drop_words(struct line *line)
{
    for (size_t i = 0; i < line->n_words; i++)
        free(line->words[i].text);
}

bool script_read(const char *path, struct script *ret_script)
{
    struct bytes text = {0};
    struct script script = {.path = copy_text(path, strlen(path))};
    struct reader reader = {path, NULL, 0};
    bool fine = load_file(path, &text);

    reader.at = text.ptr;
    while (fine && *reader.at != '\0') {
        struct line line = {0};
        reader.number++;
        fine = read_line(&reader, &line);
        if (fine && line.n_words > 0) {
            script.lines = realloc(script.lines, (script.n_lines + 1) * sizeof line);
            TH_REQUIRE(script.lines != NULL);
            script.lines[script.n_lines++] = line;
        } else {
            drop_words(&line);
        }
        if (*reader.at == '\n')
            reader.at++;
    }
    bytes_fini(&text);
    if (fine)
        *ret_script = script;
    else
        script_fini(&script);
    return fine;
}

void script_fini(struct script *script)
{
    for (size_t i = 0; i < script->n_lines; i++)
        drop_words(&script->lines[i]);
    free(script->lines);
    free(script->path);
    *script = (struct script){0};
}

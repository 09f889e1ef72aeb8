/* What the tests of this room share: a directory of their own, files read whole, lines parsed. */
#ifndef TOKENHOP_SRC_OBSERVE_TESTING_H
#define TOKENHOP_SRC_OBSERVE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/tokenhop-observe-XXXXXX";
static char file_path[64];

static inline int directory_make(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(file_path, sizeof file_path, "%s/log", directory);
    return 0;
}

static inline int directory_remove(void **state)
{
    (void)state;
    (void)unlink(file_path);
    return rmdir(directory);
}

/* The content, for free(); empty when there is no such file. */
static inline char *file_read(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    *ret_len = 0;
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        if (file != NULL)
            fclose(file);
        return calloc(1, 1);
    }
    char *text = malloc((size_t)st.st_size + 1);
    assert_non_null(text);
    *ret_len = fread(text, 1, (size_t)st.st_size, file);
    text[*ret_len] = '\0';
    fclose(file);
    return text;
}

/* The object that a line is: one, on one line. */
static inline json_t *line_parse_as(const char *line, size_t flags)
{
    json_error_t error;
    const char *end = strchr(line, '\n');
    assert_non_null(end);
    json_t *object = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES | flags, &error);
    if (object == NULL)
        fail_msg("%s in: %.*s", error.text, (int)(end - line < 800 ? end - line : 800), line);
    assert_true(json_is_object(object));
    return object;
}

static inline json_t *line_parse(const char *line)
{
    return line_parse_as(line, 0);
}

static inline const char *string_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "(absent)";
}

static inline json_int_t int_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

#endif

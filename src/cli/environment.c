#include "environment.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node_proxy_text.h"
#include "runtimes.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define VALUE_MAX ((size_t)128 * 1024) /* of one variable: the kernel's bound (MAX_ARG_STRLEN) */
#define WGETRC_MAX ((size_t)1 << 20)

static int no_memory(struct th_errinfo *reterr)
{
    return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "there is not enough memory");
}

/* NULL: not set, or empty, which runtimes take for the same. */
static const char *inherited(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* In double quotes where there is a blank; both Node and Java take them so. */
static void add_quoted(struct th_buf *buf, const char *path)
{
    bool is_quoted = strpbrk(path, " \t'") != NULL;

    if (is_quoted)
        th_buf_add_char(buf, '"');
    th_buf_add_str(buf, th_str_of(path));
    if (is_quoted)
        th_buf_add_char(buf, '"');
}

/* --- values of a kind --- */

static void add_inherited(struct th_buf *value, const char *name)
{
    if (inherited(name) == NULL)
        return;
    th_buf_add_str(value, th_str_of(inherited(name)));
    th_buf_add_char(value, ' ');
}

static int add_node_options(struct th_buf *value, struct th_trust *trust, struct th_errinfo *reterr)
{
    const char *path;
    int error =
        th_trust_make_file(trust, "node-proxy.cjs", TH_STR(TH_NODE_PROXY_TEXT), &path, reterr);

    if (error < 0)
        return error;
    add_inherited(value, "NODE_OPTIONS");
    th_buf_add_str(value, TH_STR("--require="));
    add_quoted(value, path);
    return 0;
}

/* "localhost,.example.com" as patterns: "localhost|*.example.com". Those with a port are left out, which the
 * JVM's have none of. Empty means none, and not the JVM's own list, in which loopback is. */
static void add_non_proxy_hosts(struct th_buf *value, const char *direct)
{
    th_buf_add_str(value, TH_STR(" -Dhttp.nonProxyHosts="));
    for (size_t n; *direct != '\0'; direct += n + (direct[n] == ',')) {
        n = strcspn(direct, ",");
        const char *colon = memchr(direct, ':', n);
        bool is_v6 =
            colon != NULL && memchr(colon + 1, ':', (size_t)(direct + n - colon) - 1) != NULL;
        if (n == 0 || direct[0] == '[' || (colon != NULL && !is_v6))
            continue;
        if (value->ptr[value->len - 1] != '=')
            th_buf_add_char(value, '|');
        if (direct[0] == '.')
            th_buf_add_char(value, '*');
        th_buf_printf(value, is_v6 ? "[%.*s]" : "%.*s", (int)n, direct);
    }
}

static int add_java_options(struct th_buf *value, const struct th_proxy_place *place,
                            struct th_trust *trust, struct th_errinfo *reterr)
{
    const char *old = inherited("JAVA_TOOL_OPTIONS"), *path;

    add_inherited(value, "JAVA_TOOL_OPTIONS");
    th_buf_printf(
        value, "-Dhttp.proxyHost=%s -Dhttp.proxyPort=%u -Dhttps.proxyHost=%s -Dhttps.proxyPort=%u",
        place->host, place->port, place->host, place->port);
    add_non_proxy_hosts(value, place->direct);
    /* A store that was chosen is left: there is no adding to it without its password. */
    if ((trust->authority == NULL && trust->roots_file == NULL) ||
        (old != NULL && strstr(old, "javax.net.ssl.trustStore=") != NULL))
        return 0;
    int error = th_trust_make_store(trust, &path, reterr);
    if (error < 0)
        return error;
    th_buf_add_str(value, TH_STR(" -Djavax.net.ssl.trustStore="));
    add_quoted(value, path);
    th_buf_add_str(value, TH_STR(" -Djavax.net.ssl.trustStoreType=PKCS12"));
    return 0;
}

/* Adds what everybody may read; false: it may hold a password, and is left where it is. */
static bool add_public_file(struct th_buf *text, const char *path)
{
    char piece[4096];
    struct stat st;
    size_t n;
    FILE *file = fopen(path, "re");
    bool fine = file == NULL || (fstat(fileno(file), &st) == 0 && (st.st_mode & S_IROTH) != 0);

    while (fine && file != NULL && (n = fread(piece, 1, sizeof piece, file)) > 0)
        th_buf_add(text, piece, n);
    if (file != NULL)
        (void)fclose(file);
    return fine;
}

/* The system's wgetrc and a line: the user's own ~/.wgetrc is read besides. */
static int make_wgetrc(struct th_buf *value, struct th_trust *trust, struct th_errinfo *reterr)
{
    const char *path = inherited("SYSTEM_WGETRC"), *bundle;
    struct th_buf text;

    int error = th_trust_make_bundle(trust, NULL, &bundle, reterr);
    if (error < 0)
        return error;
    th_buf_init(&text, WGETRC_MAX);
    if (path == NULL)
        path = "/etc/wgetrc";
    if (add_public_file(&text, path)) {
        th_buf_printf(&text, "\nca_certificate = %s\n", bundle);
        error = text.failed ? no_memory(reterr)
                            : th_trust_make_file(trust, "wgetrc", th_buf_str(&text), &path, reterr);
    }
    th_buf_fini(&text);
    if (error == 0)
        th_buf_add_str(value, th_str_of(path));
    return error;
}

static int add_value(struct th_buf *value, const struct th_variable *variable,
                     const struct th_proxy_place *place, struct th_trust *trust,
                     struct th_errinfo *reterr)
{
    const char *path = NULL;
    int error = 0;

    switch (variable->value) {
    case TH_VALUE_PROXY:
        th_buf_add_str(value, th_secret_expose(place->url));
        return 0;
    case TH_VALUE_NO_PROXY:
        th_buf_add_str(value, th_str_of(place->direct));
        return 0;
    case TH_VALUE_ONE:
        th_buf_add_char(value, '1');
        return 0;
    case TH_VALUE_NODE_OPTIONS:
        return add_node_options(value, trust, reterr);
    case TH_VALUE_JAVA_OPTIONS:
        return add_java_options(value, place, trust, reterr);
    case TH_VALUE_WGETRC:
        return make_wgetrc(value, trust, reterr);
    case TH_VALUE_BUNDLE:
        error = th_trust_make_bundle(trust, inherited(variable->name), &path, reterr);
        break;
    case TH_VALUE_AUTHORITY:
        error = th_trust_make_extra(trust, inherited(variable->name), &path, reterr);
        break;
    case TH_VALUE_FOLDER:
        error = th_trust_make_folder(trust, &path, reterr);
        /* What was named is looked into as well: runtimes take several, parted by colons. */
        if (error == 0 && inherited(variable->name) != NULL)
            th_buf_printf(value, "%s:", inherited(variable->name));
        break;
    }
    if (error == 0)
        th_buf_add_str(value, th_str_of(path));
    return error;
}

/* --- the whole --- */

static int set(struct th_environment *environment, const struct th_variable *variable,
               const struct th_proxy_place *place, struct th_trust *trust,
               struct th_errinfo *reterr)
{
    struct th_buf text;

    th_buf_init_secret(&text, VALUE_MAX);
    th_buf_printf(&text, "%s=", variable->name);
    int error = add_value(&text, variable, place, trust, reterr);
    char *copy = error == 0 && !text.failed ? th_strndup(text.ptr, text.len) : NULL;
    th_buf_fini(&text);
    if (copy == NULL)
        return error < 0 ? error : no_memory(reterr);
    environment->list[environment->count++] = copy;
    environment->n_set++;
    return 0;
}

/* Whether the text "NAME=VALUE" is of a variable that was set anew. */
static bool is_set(const struct th_environment *environment, const char *text)
{
    size_t len = strcspn(text, "=") + 1;

    for (size_t i = 0; i < environment->n_set; i++)
        if (strncmp(environment->list[i], text, len) == 0)
            return true;
    return false;
}

/* Whether the text is of a variable whose value is no agent's to know. */
static bool is_withheld(const char *withheld, const char *text)
{
    size_t len = strcspn(text, "=");

    for (const char *name = withheld; *name != '\0'; name += strlen(name) + 1)
        if (strlen(name) == len && memcmp(name, text, len) == 0)
            return true;
    return false;
}

int th_environment_init(struct th_environment *environment, const struct th_proxy_place *place,
                        struct th_trust *trust, struct th_errinfo *reterr)
{
    bool has_trust = trust->authority != NULL || trust->roots_file != NULL;
    size_t n = 0;
    int error = 0;

    *environment = (struct th_environment){0};
    while (environ[n] != NULL)
        n++;
    environment->list = th_calloc(n + th_variables_count + 1, sizeof *environment->list);
    if (environment->list == NULL)
        return no_memory(reterr);
    for (size_t i = 0; error == 0 && i < th_variables_count; i++)
        if (has_trust || !th_variable_is_trust(th_variables[i].value))
            error = set(environment, &th_variables[i], place, trust, reterr);
    for (size_t i = 0; error == 0 && i < n; i++) {
        if (is_set(environment, environ[i]) || is_withheld(place->withheld, environ[i]))
            continue;
        environment->list[environment->count] = th_strdup(environ[i]);
        if (environment->list[environment->count++] == NULL)
            error = no_memory(reterr);
    }
    return error;
}

void th_environment_fini(struct th_environment *environment)
{
    for (size_t i = 0; i < environment->count; i++) {
        if (environment->list[i] != NULL)
            th_wipe(environment->list[i], strlen(environment->list[i]));
        th_free(environment->list[i]);
    }
    th_free(environment->list);
    *environment = (struct th_environment){0};
}

void th_environment_print(const struct th_environment *environment, FILE *out)
{
    for (size_t i = 0; i < environment->n_set; i++) {
        const char *text = environment->list[i];
        int len = (int)strcspn(text, "=");
        (void)fprintf(out, "export %.*s='", len, text);
        for (const char *c = text + len + 1; *c != '\0'; c++)
            (void)fputs(*c == '\'' ? "'\\''" : (const char[]){*c, '\0'}, out);
        (void)fputs("'\n", out);
    }
}

#include "runtimes.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenhop/base/check.h"

#define HEAD_MAX 256 /* of a file: as much of its first line as the kernel reads */

const struct th_variable th_variables[] = {
    /* Small letters first: curl, wget and Python take http_proxy for the request's own only so. */
    {"http_proxy", TH_VALUE_PROXY},
    {"HTTP_PROXY", TH_VALUE_PROXY},
    {"https_proxy", TH_VALUE_PROXY},
    {"HTTPS_PROXY", TH_VALUE_PROXY},
    {"all_proxy", TH_VALUE_PROXY},
    {"ALL_PROXY", TH_VALUE_PROXY},
    {"grpc_proxy", TH_VALUE_PROXY},
    {"no_proxy", TH_VALUE_NO_PROXY},
    {"NO_PROXY", TH_VALUE_NO_PROXY},
    {"no_grpc_proxy", TH_VALUE_NO_PROXY},
    {"NODE_USE_ENV_PROXY", TH_VALUE_ONE},
    {"NODE_OPTIONS", TH_VALUE_NODE_OPTIONS},
    {"JAVA_TOOL_OPTIONS", TH_VALUE_JAVA_OPTIONS},
    {"SSL_CERT_FILE", TH_VALUE_BUNDLE},
    {"SSL_CERT_DIR", TH_VALUE_FOLDER},
    {"REQUESTS_CA_BUNDLE", TH_VALUE_BUNDLE},
    {"CURL_CA_BUNDLE", TH_VALUE_BUNDLE},
    {"GIT_SSL_CAINFO", TH_VALUE_BUNDLE},
    {"AWS_CA_BUNDLE", TH_VALUE_BUNDLE},
    {"PIP_CERT", TH_VALUE_BUNDLE},
    {"HTTPLIB2_CA_CERTS", TH_VALUE_BUNDLE},
    {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", TH_VALUE_BUNDLE},
    {"NODE_EXTRA_CA_CERTS", TH_VALUE_AUTHORITY},
    {"DENO_CERT", TH_VALUE_AUTHORITY},
    {"SYSTEM_WGETRC", TH_VALUE_WGETRC},
};
const size_t th_variables_count = TH_COUNT_OF(th_variables);

bool th_variable_is_trust(enum th_variable_value value)
{
    switch (value) {
    case TH_VALUE_BUNDLE:
    case TH_VALUE_AUTHORITY:
    case TH_VALUE_FOLDER:
    case TH_VALUE_WGETRC:
        return true;
    case TH_VALUE_PROXY:
    case TH_VALUE_NO_PROXY:
    case TH_VALUE_ONE:
    case TH_VALUE_NODE_OPTIONS:
    case TH_VALUE_JAVA_OPTIONS:
        break;
    }
    return false;
}

/* --- runtimes --- */

static const struct th_note curl_notes[] = {
    {TH_NOTE_EXPLAINED, "HTTP_PROXY in capitals, which a web server could be made to set"},
    {TH_NOTE_EXPLAINED, "nothing of it when ~/.curlrc names another proxy"},
};
static const struct th_note wget_notes[] = {
    {TH_NOTE_EXPLAINED, "variables in capitals"},
    {TH_NOTE_EXPLAINED,
     "SSL_CERT_FILE, in Debian's, which uses GnuTLS: its trust is set by a wgetrc"},
    {TH_NOTE_TLS, "https:// URLs of proxies: use a listener without TLS"},
};
static const struct th_note git_notes[] = {
    {TH_NOTE_EXPLAINED, "HTTP_PROXY in capitals"},
    {TH_NOTE_EXPLAINED,
     "all of it where http.proxy or http.sslCAInfo of git's configuration is set, and for "
     "ssh:// and git://"},
};
static const struct th_note python_notes[] = {
    {TH_NOTE_ALWAYS, "aiohttp asks for a proxy only in ClientSession(trust_env=True)"},
    {TH_NOTE_EXPLAINED,
     "http.client never asks a proxy; requests and httpx do not with trust_env=False"},
    {TH_NOTE_EXPLAINED, "httpx with verify= of an ssl.SSLContext, or of a file, trusts that alone"},
};
static const struct th_note node_notes[] = {
    {TH_NOTE_ALWAYS,
     "an http.Agent or undici dispatcher of the program's own asks no proxy: fetch, http and "
     "https do without one"},
    {TH_NOTE_EXPLAINED,
     "Node before 22.21 and 24.5 does not know NODE_USE_ENV_PROXY: there a small module, "
     "loaded by NODE_OPTIONS, does the same for fetch, http.globalAgent and "
     "https.globalAgent"},
    {TH_NOTE_EXPLAINED,
     "all but its own roots, unless with --use-openssl-ca: hence NODE_EXTRA_CA_CERTS"},
};
static const struct th_note deno_notes[] = {
    {TH_NOTE_EXPLAINED,
     "the system's roots, unless DENO_TLS_CA_STORE=system: DENO_CERT comes in addition"},
};
static const struct th_note go_notes[] = {
    {TH_NOTE_LOOPBACK,
     "Go never asks a proxy for localhost, 127.0.0.0/8 and ::1, which a connection names"},
    {TH_NOTE_EXPLAINED, "calls to localhost, 127.0.0.0/8 and ::1 never go to a proxy"},
    {TH_NOTE_EXPLAINED, "an http.Transport without Proxy: http.ProxyFromEnvironment asks none"},
};
static const struct th_note java_notes[] = {
    {TH_NOTE_EXPLAINED,
     "every variable but JAVA_TOOL_OPTIONS; each JVM says that it picked that up, on "
     "standard error"},
    {TH_NOTE_PASSWORD,
     "user and password of a proxy's URL: the program needs an Authenticator, and for "
     "https:// -Djdk.http.auth.tunneling.disabledSchemes="},
    {TH_NOTE_TLS, "https:// URLs of proxies: use a listener without TLS"},
};
static const struct th_note grpc_notes[] = {
    {TH_NOTE_EXPLAINED,
     "grpc-go and grpc-java do as Go and Java do, not as is said here of C, Python and Ruby"},
    {TH_NOTE_EXPLAINED,
     "it speaks HTTP/2, and an intercepted call is HTTP/1.1: calls to connections fail"},
};
static const struct th_note aws_notes[] = {
    {TH_NOTE_EXPLAINED, "credentials from the instance's metadata are asked for without a proxy"},
};

#define HTTP_PROXIES "HTTP_PROXY HTTPS_PROXY"
#define NOTES(list) list, TH_COUNT_OF(list)
const struct th_runtime th_runtimes[] = {
    {"curl", "curl",
     "http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY CURL_CA_BUNDLE "
     "SSL_CERT_FILE SSL_CERT_DIR",
     NOTES(curl_notes)},
    {"wget", "wget", "http_proxy https_proxy no_proxy SYSTEM_WGETRC", NOTES(wget_notes)},
    {"git", "git", "http_proxy https_proxy HTTPS_PROXY all_proxy no_proxy GIT_SSL_CAINFO",
     NOTES(git_notes)},
    {"python", "python* pip* pytest* uv uvx uvicorn gunicorn",
     "http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY "
     "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT HTTPLIB2_CA_CERTS",
     NOTES(python_notes)},
    {"node", "node nodejs npm npx yarn pnpm tsx ts-node",
     "NODE_USE_ENV_PROXY NODE_OPTIONS http_proxy HTTP_PROXY https_proxy HTTPS_PROXY no_proxy "
     "NO_PROXY NODE_EXTRA_CA_CERTS",
     NOTES(node_notes)},
    {"deno", "deno", HTTP_PROXIES " NO_PROXY DENO_CERT", NOTES(deno_notes)},
    {"go", "go",
     "http_proxy HTTP_PROXY https_proxy HTTPS_PROXY no_proxy NO_PROXY SSL_CERT_FILE SSL_CERT_DIR",
     NOTES(go_notes)},
    {"java", "java jshell mvn gradle kotlin scala groovy", "JAVA_TOOL_OPTIONS", NOTES(java_notes)},
    {"grpc", "",
     "grpc_proxy https_proxy http_proxy no_grpc_proxy no_proxy GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
     NOTES(grpc_notes)},
    {"aws", "aws", HTTP_PROXIES " NO_PROXY AWS_CA_BUNDLE", NOTES(aws_notes)},
};
const size_t th_runtimes_count = TH_COUNT_OF(th_runtimes);

const struct th_runtime *th_runtime_find(const char *name)
{
    for (size_t i = 0; i < th_runtimes_count; i++)
        if (strcmp(th_runtimes[i].name, name) == 0)
            return &th_runtimes[i];
    return NULL;
}

/* --- whose program it is --- */

static bool is_one_of(const char *list, const char *name, size_t len)
{
    for (size_t n; *list != '\0'; list += n + (list[n] == ' ')) {
        n = strcspn(list, " ");
        bool begins = list[n - 1] == '*';
        if (begins ? n - 1 <= len && memcmp(list, name, n - 1) == 0
                   : n == len && memcmp(list, name, n) == 0)
            return true;
    }
    return false;
}

static const struct th_runtime *find_program(const char *path, size_t len)
{
    const char *slash = memrchr(path, '/', len);
    size_t skip = slash != NULL ? (size_t)(slash - path) + 1 : 0;

    for (size_t i = 0; i < th_runtimes_count; i++)
        if (is_one_of(th_runtimes[i].programs, path + skip, len - skip))
            return &th_runtimes[i];
    return NULL;
}

/* "#!/usr/bin/env -S node --x": the first word is a program, and after env the first that is neither
 * an option nor a variable. */
static const struct th_runtime *find_interpreter(const char *line)
{
    const char *word = line + 2;
    const char *const blank = " \t";

    for (bool is_first = true;; is_first = false) {
        word += strspn(word, blank);
        size_t len = strcspn(word, " \t\n");
        if (len == 0)
            return NULL;
        bool is_env = is_first && len >= 4 && memcmp(word + len - 4, "/env", 4) == 0;
        bool is_skipped = !is_first && (*word == '-' || memchr(word, '=', len) != NULL);
        if (!is_env && !is_skipped)
            return find_program(word, len);
        word += len;
    }
}

/* The linker of Go gives its programs a section of their own. */
static bool is_go(int fd)
{
    Elf64_Ehdr head;
    Elf64_Shdr names, section;
    char name[sizeof ".go.buildinfo"];

    if (pread(fd, &head, sizeof head, 0) != sizeof head ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_shentsize != sizeof section || head.e_shstrndx >= head.e_shnum)
        return false;
    off_t table = (off_t)head.e_shoff;
    if (pread(fd, &names, sizeof names, table + (off_t)sizeof names * head.e_shstrndx) !=
        sizeof names)
        return false;
    for (unsigned i = 0; i < head.e_shnum; i++) {
        if (pread(fd, &section, sizeof section, table + (off_t)sizeof section * i) !=
                sizeof section ||
            pread(fd, name, sizeof name, (off_t)(names.sh_offset + section.sh_name)) != sizeof name)
            continue; /* the last name may be shorter than ours */
        if (memcmp(name, ".go.buildinfo", sizeof name) == 0)
            return true;
    }
    return false;
}

static int open_regular(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* As execvp() finds it. */
static int open_command(const char *command)
{
    char path[PATH_MAX];
    const char *folders = getenv("PATH");

    if (strchr(command, '/') != NULL)
        return open_regular(command);
    for (size_t n; folders != NULL && *folders != '\0'; folders += n + (folders[n] == ':')) {
        n = strcspn(folders, ":");
        int len = snprintf(path, sizeof path, "%.*s/%s", (int)n, n > 0 ? folders : ".", command);
        if (len > 0 && (size_t)len < sizeof path && access(path, X_OK) == 0)
            return open_regular(path);
    }
    return -1;
}

const struct th_runtime *th_runtime_of_command(const char *command)
{
    const struct th_runtime *runtime = find_program(command, strlen(command));
    char head[HEAD_MAX] = "";
    int fd;

    if (runtime != NULL || (fd = open_command(command)) < 0)
        return runtime;
    ssize_t n = pread(fd, head, sizeof head - 1, 0);
    if (n > 2 && memcmp(head, "#!", 2) == 0)
        runtime = find_interpreter(head);
    else if (is_go(fd))
        runtime = th_runtime_find("go");
    close(fd);
    return runtime;
}

void th_runtime_print(FILE *out, const struct th_runtime *runtime)
{
    fprintf(out, "%s\n  reads    %s\n", runtime->name, runtime->variables);
    for (size_t i = 0; i < runtime->n_notes; i++)
        fprintf(out, "  %-8s %s\n", i == 0 ? "ignores" : "", runtime->notes[i].text);
}

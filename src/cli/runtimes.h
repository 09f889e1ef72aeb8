/* What the runtimes of agents read of their environment, and what they do not: the one table that
 * `tokenhop exec` sets variables by, `tokenhop exec --explain` prints, and docs/clients.md is held
 * against. Constant; any thread. Private to the room. */
#ifndef TOKENHOP_CLI_RUNTIMES_H
#define TOKENHOP_CLI_RUNTIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What a variable is set to. */
enum th_variable_value {
    TH_VALUE_PROXY,     /* the proxy's URL */
    TH_VALUE_NO_PROXY,  /* hosts that are called without it */
    TH_VALUE_ONE,       /* "1" */
    TH_VALUE_BUNDLE,    /* a PEM file: the roots and the authority */
    TH_VALUE_AUTHORITY, /* a PEM file of what is trusted besides roots that the runtime has itself */
    TH_VALUE_FOLDER,    /* the bundle as a folder, as OpenSSL looks up in one */
    TH_VALUE_WGETRC,    /* a wgetrc that names the bundle */
    TH_VALUE_NODE_OPTIONS, /* what is set, and the module that asks the proxy */
    TH_VALUE_JAVA_OPTIONS  /* what is set, and properties */
};

struct th_variable {
    const char *name;
    enum th_variable_value value;
};
extern const struct th_variable th_variables[];
extern const size_t th_variables_count;
/* Only set where there is an authority for interception. */
bool th_variable_is_trust(enum th_variable_value value);

/* When a note is worth a line to whoever starts such a program. */
enum th_note_when {
    TH_NOTE_EXPLAINED, /* only when asked */
    TH_NOTE_ALWAYS,
    TH_NOTE_LOOPBACK, /* a connection's host is the machine itself */
    TH_NOTE_PASSWORD, /* the proxy's URL has one */
    TH_NOTE_TRUST,    /* there is an authority */
    TH_NOTE_TLS       /* the proxy's URL is https:// */
};
struct th_note {
    enum th_note_when when;
    const char *text;
};

struct th_runtime {
    const char *name;
    const char *programs;  /* its commands, between spaces; "x*": all that begin with x */
    const char *variables; /* that it reads, between spaces */
    const struct th_note *notes;
    size_t n_notes;
};
extern const struct th_runtime th_runtimes[];
extern const size_t th_runtimes_count;

const struct th_runtime *th_runtime_find(const char *name); /* NULL: there is none */
/* Whose program a command is: by its name, by the interpreter that its first line names, or for a
 * program of Go by its sections. NULL: not known. Reads the file. */
const struct th_runtime *th_runtime_of_command(const char *command);
/* What it reads and ignores, for a person. */
void th_runtime_print(FILE *out, const struct th_runtime *runtime);

#endif

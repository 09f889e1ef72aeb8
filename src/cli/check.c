/* tokenhop check: is the configuration right? */
#include <stdio.h>

#include "options.h"
#include "show.h"
#include "tokenhop/cli/command.h"

static const char usage[] =
    "usage: tokenhop check -c FILE\n"
    "\n"
    "Validates the configuration, the keys and files it names included, and prints every mistake with\n"
    "file:line:column, its JSON path, and how to mend it. Nothing is started and nobody is asked.\n"
    "Exit status 0 when it is right, 2 when it has mistakes.\n"
    "\n"
    "  -c, --config FILE   the configuration\n"
    "  -h, --help          this text\n";

/* Whom a listener lets in is worth a second look. */
static void show_security(const struct th_config_view *view)
{
    for (size_t i = 0; i < view->n_listeners; i++) {
        const struct th_config_listener *listener = &view->listeners[i];
        if (!listener->tls.is_spoken && listener->forwarded.header.len == 0)
            continue;
        printf("  listener \"%.*s\" (%.*s)", TH_STR_ARGS(listener->name),
               TH_STR_ARGS(listener->address_text));
        th_show_security(listener);
        putchar('\n');
    }
}

/* Nobody shall forget them: nothing is enforced there. */
static void show_shadows(const struct th_config_view *view)
{
    for (size_t i = 0; i < view->n_connections; i++) {
        const struct th_config_connection *connection = &view->connections[i];
        if (connection->shadow != TH_SHADOW_OFF)
            printf("  connection \"%.*s\" is in shadow (\"%s\"): requests go on as they come, "
                   "nothing is enforced\n",
                   TH_STR_ARGS(connection->name), th_config_shadow_name(connection->shadow));
    }
}

static int check(int argc, char **argv)
{
    struct th_config *config = NULL;
    const char *path = NULL;
    int status = th_options_config(argc, argv, usage, &path);

    if (status >= 0)
        return status;
    status = th_options_load(path, &config);
    if (status == TH_EXIT_FINE) {
        const struct th_config_view *view = th_config_get(config);
        printf("%s: fine: %zu listener%s, %zu agent%s, %zu connection%s\n", path, view->n_listeners,
               view->n_listeners == 1 ? "" : "s", view->n_agents, view->n_agents == 1 ? "" : "s",
               view->n_connections, view->n_connections == 1 ? "" : "s");
        show_security(view);
        show_shadows(view);
    }
    th_config_unref(config);
    return status;
}

const struct th_command th_command_check = {"check", "says whether a configuration is right", usage,
                                            check};

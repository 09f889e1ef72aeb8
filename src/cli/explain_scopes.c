/* tokenhop explain: which scopes a request asks for. */
#include <stdio.h>
#include <string.h>

#include "explain.h"
#include "show.h"

static void show_step_ups(const struct th_config_connection *connection)
{
    if (connection->n_step_up_scopes == 0)
        return;
    fputs("  and where the destination wants them (step_up_scopes): ", stdout);
    for (size_t i = 0; i < connection->n_step_up_scopes; i++) {
        fputs(i > 0 ? " " : "", stdout);
        th_show_text(stdout, connection->step_up_scopes[i]);
    }
    putchar('\n');
}

const struct th_config_connection *th_explain_scopes(const struct th_config_connection *connection,
                                                     const struct th_scoping_request *request)
{
    static const struct th_rpc_call no_call = {{0}, {0}};
    struct th_scoping_request asked = *request;
    size_t scoping;

    if (connection->n_scopes == 0)
        return connection;
    bool depends = th_scoping_choose(connection, request, &scoping) == TH_AGAIN;
    if (depends) {
        asked.call = &no_call;
        if (th_scoping_choose(connection, &asked, &scoping) < 0)
            return connection;
    }
    const struct th_config_connection *variant =
        th_config_variant(connection, th_config_variant_index(connection, scoping, 0));
    fputs("  scopes: ", stdout);
    th_show_text(stdout, variant->scope_text);
    if (scoping > 0)
        printf(" (scopes_for[%zu])", scoping - 1);
    puts(depends ? ", if its body is no JSON-RPC call that scopes_for names (--rpc-method, --tool)"
                 : "");
    show_step_ups(connection);
    return variant;
}

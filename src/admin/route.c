/* The table of what can be asked, and the routes that are too small for a file of their own. */
#include <string.h>

#include "admin_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/json.h"

static th_admin_route_fn get_level, set_level, reload, drain;

static const struct th_admin_route routes[] = {
    {"/", false, th_route_page, NULL},
    {"/style.css", false, th_route_style, NULL},
    {"/live", true, th_route_live, NULL},
    {"/ready", true, th_route_ready, NULL},
    {"/metrics", false, th_route_metrics, NULL},
    {"/status", false, th_route_status, NULL},
    {"/connections", false, th_route_connections, NULL},
    {"/cache", false, th_route_cache, NULL},
    {"/cache/purge", false, NULL, th_route_purge},
    {"/revoke", false, NULL, th_route_revoke},
    {"/reload", false, NULL, reload},
    {"/drain", false, NULL, drain},
    {"/log-level", false, get_level, set_level},
};

int th_answer_json(struct th_admin_answer *answer, int status, json_t *json)
{
    size_t len = json != NULL ? json_dumpb(json, NULL, 0, JSON_INDENT(1)) : 0;
    char *room = len > 0 ? th_buf_reserve(&answer->body, len + 1) : NULL;

    answer->status = status;
    answer->content_type = "application/json";
    if (room == NULL) {
        answer->body.failed = true;
    } else {
        th_buf_commit(&answer->body, json_dumpb(json, room, len, JSON_INDENT(1)));
        th_buf_add_char(&answer->body, '\n');
    }
    json_decref(json);
    return 0;
}

/* Without allocating more than the buffer: it is the answer when memory is short, too. */
int th_answer_refuse(struct th_admin_answer *answer, int status, const char *what)
{
    answer->status = status;
    answer->content_type = "application/json";
    th_buf_clear(&answer->body);
    th_buf_printf(&answer->body, "{\"error\": \"");
    th_buf_add_json(&answer->body, th_str_of(what));
    th_buf_printf(&answer->body, "\"}\n");
    if (answer->body.failed)
        th_buf_clear(&answer->body);
    return 0;
}

json_t *th_json_text(struct th_str text)
{
    json_t *json = json_stringn(text.len > 0 ? text.ptr : "", text.len);
    return json != NULL ? json : json_string("");
}

static const struct th_admin_route *find(struct th_str path)
{
    for (size_t i = 0; i < TH_COUNT_OF(routes); i++)
        if (th_str_equal(path, th_str_of(routes[i].path)))
            return &routes[i];
    return NULL;
}

/* A path that is not there is told to those who may ask, and to nobody else. */
int th_route_run(struct th_admin_request *request, struct th_admin_answer *answer)
{
    const struct th_admin_route *route = find(request->path);
    enum th_method method = request->head->method;
    const char *why;

    int status = th_guard_check(request, route != NULL && route->is_probe, &why);
    if (status != 0)
        return th_answer_refuse(answer, status, why);
    if (route == NULL)
        return th_answer_refuse(answer, 404, "there is no such path here");
    bool reads = method == TH_METHOD_GET || method == TH_METHOD_HEAD;
    th_admin_route_fn *fn = reads ? route->get : method == TH_METHOD_POST ? route->post : NULL;
    if (fn == NULL) {
        answer->allow = route->get == NULL    ? "POST"
                        : route->post == NULL ? "GET, HEAD"
                                              : "GET, HEAD, POST";
        return th_answer_refuse(answer, 405, "this method is not for this path");
    }
    return fn(request, answer);
}

/* --- log level --- */

static int get_level(struct th_admin_request *request, struct th_admin_answer *answer)
{
    enum th_log_level level = th_log_get_level(request->admin->log);
    return th_answer_json(answer, 200, json_pack("{s:s}", "level", th_log_level_name(level)));
}

static int set_level(struct th_admin_request *request, struct th_admin_answer *answer)
{
    json_t *json = NULL;
    enum th_log_level level;
    int error = th_json_parse_object(request->body, TH_ADMIN_BODY_MAX, &json);

    if (error == TH_E_NOMEM)
        return th_answer_refuse(answer, 503, "there is not enough memory for this request");
    const char *name = error == 0 ? json_string_value(json_object_get(json, "level")) : NULL;
    bool known =
        name != NULL && json_object_size(json) == 1 && th_log_level_parse(th_str_of(name), &level);
    json_decref(json);
    if (!known)
        return th_answer_refuse(
            answer, 400, "the body is {\"level\": \"error\", \"warn\", \"info\" or \"debug\"}");
    th_log_set_level(request->admin->log, level);
    TH_LOG(request->admin->log, TH_LEVEL_INFO, "log.level", "The log level was changed",
           TH_LOG_TEXT("to", th_log_level_name(level)));
    return get_level(request, answer);
}

/* --- what the main thread does --- */

static int reload(struct th_admin_request *request, struct th_admin_answer *answer)
{
    return th_route_command(request, answer, TH_ADMIN_RELOAD);
}

static int drain(struct th_admin_request *request, struct th_admin_answer *answer)
{
    return th_route_command(request, answer, TH_ADMIN_DRAIN);
}

#include "play.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tokenhop/base/check.h"

bool play_fail(struct play *play, const char *format, ...)
{
    char text[6000];
    va_list args;

    if (play->complaint.len > 0)
        return false;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bytes_add(&play->complaint, text, strlen(text));
    return false;
}

void play_rest(struct play *play)
{
    world_settle(&play->world);
    if (!play->tcp)
        return;
    for (int i = 0; i < 3; i++) { /* what TCP has under way on loopback arrives at once, or soon */
        usleep(300);
        world_settle(&play->world);
    }
}

/* --- words --- */

bool play_more(const struct play *play)
{
    return play->at < play->line->n_words;
}

const char *play_peek(const struct play *play)
{
    return play_more(play) ? play->line->words[play->at].text : "";
}

bool play_take(struct play *play, const char *word)
{
    if (strcmp(play_peek(play), word) != 0)
        return false;
    play->at++;
    return true;
}

bool play_end(struct play *play)
{
    return !play_more(play) || play_fail(play, "what is \"%s\" here?", play_peek(play));
}

struct token *play_token(struct play *play, struct th_str name)
{
    struct token *token = token_find(&play->world.tokens, name);
    char text[64];

    if (token != NULL)
        return token;
    snprintf(text, sizeof text, "%.*s", (int)name.len, name.ptr);
    if (strncmp(text, "user", 4) == 0)
        return world_add_subject(&play->world, text, NULL);
    play_fail(play, "no token is called %s", text);
    return NULL;
}

static void fill(struct bytes *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = (char)('a' + i % 26);
        bytes_add(out, &c, 1);
    }
}

/* $NAME is a token's text, $fill:N are N letters, $$ is a dollar. */
static bool expand(struct play *play, const char *at, size_t len, struct bytes *out)
{
    const char *end = at + len;

    bytes_add(out, "", 0);
    while (at < end) {
        if (*at != '$') {
            bytes_add(out, at++, 1);
            continue;
        }
        const char *name = ++at;
        if (at < end && *at == '$') {
            bytes_add(out, at++, 1);
            continue;
        }
        if (strncmp(at, "fill:", 5) == 0) {
            char *after;
            fill(out, strtoul(at + 5, &after, 10));
            at = after;
            continue;
        }
        while (at < end && (isalnum((unsigned char)*at) || *at == '_'))
            at++;
        struct token *token = play_token(play, (struct th_str){name, (size_t)(at - name)});
        if (token == NULL)
            return false;
        bytes_add(out, token->text, strlen(token->text));
    }
    return true;
}

bool play_word(struct play *play, struct bytes *ret_text)
{
    *ret_text = (struct bytes){0};
    if (!play_more(play))
        return play_fail(play, "something is missing at the end of the line");
    const struct word *word = &play->line->words[play->at++];
    return expand(play, word->text, word->len, ret_text);
}

bool play_number(struct play *play, int64_t *ret_number)
{
    char *end;

    *ret_number = strtoll(play_peek(play), &end, 10);
    if (end == play_peek(play) || *end != '\0')
        return play_fail(play, "\"%s\" is no number", play_peek(play));
    play->at++;
    return true;
}

bool play_duration(struct play *play, int64_t *ret_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;

    *ret_ms = strtoll(play_peek(play), &end, 10);
    for (size_t i = 0; end != play_peek(play) && i < TH_COUNT_OF(units); i++)
        if (strcmp(end, units[i].name) == 0) {
            *ret_ms *= units[i].ms;
            play->at++;
            return true;
        }
    return play_fail(play, "\"%s\" is no duration", play_peek(play));
}

bool play_option(struct play *play, const char *name, struct bytes *ret_value)
{
    const char *word = play_peek(play);
    size_t len = strlen(name);

    if (strncmp(word, name, len) != 0 || word[len] != '=')
        return false;
    len++;
    play->at++;
    bytes_fini(ret_value); /* said twice: the last counts */
    return expand(play, word + len, play->line->words[play->at - 1].len - len, ret_value);
}

bool play_option_number(struct play *play, const char *name, int64_t *ret_number)
{
    struct bytes value = {0};

    if (!play_option(play, name, &value))
        return false;
    *ret_number = strtoll(value.ptr, NULL, 10);
    bytes_fini(&value);
    return true;
}

json_t *play_json(struct play *play)
{
    json_t *object, *value;
    const char *key;
    struct bytes text;
    json_int_t now = th_clock_wall_ms(&play->world.clock) / 1000;

    if (play_peek(play)[0] != '{')
        return NULL;
    if (!play_word(play, &text))
        return NULL;
    object = json_loads(text.ptr, 0, NULL);
    if (object == NULL)
        play_fail(play, "this is no JSON: %s", text.ptr);
    bytes_fini(&text);
    json_object_foreach(object, key, value)
    {
        const char *string = json_string_value(value);
        if (string != NULL && (string[0] == '+' || string[0] == '-') &&
            isdigit((unsigned char)string[1]))
            json_object_set_new(object, key, json_integer(now + strtoll(string, NULL, 10)));
    }
    return object;
}

/* --- the world's own verbs --- */

static json_t *config_block(struct play *play)
{
    json_error_t why;
    json_t *block = play_more(play)
                        ? json_loads(play->line->words[play->at].text, JSON_DISABLE_EOF_CHECK, &why)
                        : NULL;

    play->at++;
    if (block == NULL)
        play_fail(play, "the block is no JSON: line %d of it: %s", why.line, why.text);
    return block;
}

/* config <<END: what stands there replaces or joins the default, key by key. */
static bool play_config(struct play *play)
{
    if (play->world.started)
        return play_fail(play, "the configuration comes first; later there is only a reload");
    if (play_take(play, "default"))
        return play_end(play);
    json_t *block = config_block(play);
    if (block == NULL)
        return false;
    json_object_update_recursive(play->config, block);
    json_decref(block);
    return play_end(play);
}

static bool play_reload(struct play *play)
{
    json_t *block = config_block(play);

    if (block == NULL)
        return false;
    json_object_update_recursive(play->config, block);
    json_decref(block);
    return world_reload(&play->world, play->config) || play_fail(play, "the reload has failed");
}

static bool play_time(struct play *play)
{
    int64_t ms;

    if (!play_take(play, "passes") || !play_duration(play, &ms))
        return play_fail(play, "it is: time passes 5s");
    world_pass(&play->world, ms);
    return play_end(play);
}

static bool play_drain(struct play *play)
{
    int64_t ms;

    if (!play_duration(play, &ms))
        return false;
    world_drain(&play->world, ms);
    return play_end(play);
}

static bool play_purge(struct play *play)
{
    world_purge(&play->world);
    return play_end(play);
}

/* host NAME is ADDRESS... | has no address | connects | refuses | hangs | is unreachable | speaks tcp | takes little */
static bool play_host(struct play *play)
{
    static const struct {
        const char *word;
        enum place_manner manner;
    } manners[] = {{"connects", PLACE_CONNECTS},
                   {"refuses", PLACE_REFUSES},
                   {"hangs", PLACE_HANGS},
                   {"vanishes", PLACE_UNREACHABLE}};
    struct bytes name;

    if (!play_word(play, &name))
        return false;
    struct net_place *place = network_place(&play->world.network, name.ptr);
    bytes_fini(&name);
    for (size_t i = 0; i < TH_COUNT_OF(manners); i++)
        if (play_take(play, manners[i].word)) {
            place->manner = manners[i].manner;
            return play_end(play);
        }
    if (play_take(play, "speaks")) {
        place->tcp = play->tcp = true;
        return play_take(play, "tcp") && play_end(play);
    }
    if (play_take(play, "takes")) {
        place->narrow = true;
        return play_take(play, "little") && play_end(play);
    }
    if (!play_take(play, "is"))
        return play_fail(play, "a host is ADDRESS, or connects, refuses, hangs, vanishes");
    for (place->addresses.count = 0; play_more(play); play->at++)
        if (!network_add_address(place, th_str_of(play_peek(play))))
            return play_fail(play, "\"%s\" is no address", play_peek(play));
    return true;
}

/* token NAME goes on to HOST: as that of a connection in shadow. */
static bool play_goes_on(struct play *play, const char *name)
{
    struct token *token = token_find(&play->world.tokens, th_str_of(name));
    struct bytes host;

    if (token == NULL || !play_take(play, "on") || !play_take(play, "to") ||
        !play_word(play, &host))
        return play_fail(play, "it is: token NAME goes on to HOST, of one that was made before");
    snprintf(token->goes_on_to, sizeof token->goes_on_to, "%s", host.ptr);
    bytes_fini(&host);
    return true;
}

/* token NAME {claims}: a subject token that is not the usual one. */
static bool play_subject(struct play *play)
{
    struct bytes name;

    if (!play_word(play, &name))
        return false;
    bool fine = true;
    if (play_take(play, "opaque"))
        token_add_opaque(&play->world.tokens, TOKEN_SUBJECT, name.ptr);
    else if (play_take(play, "goes"))
        fine = play_goes_on(play, name.ptr);
    else if (play_take(play, "secret")) /* that an origin may have: configured, or passed through */
        token_add_opaque(&play->world.tokens, TOKEN_ACCESS, name.ptr);
    else
        world_add_subject(&play->world, name.ptr, play_json(play));
    bytes_fini(&name);
    return fine && play_end(play);
}

/* file NAME TEXT: beside the configuration, for its owner alone; it is the script's own. */
static bool play_file(struct play *play)
{
    struct bytes name, text;

    if (!play_word(play, &name))
        return false;
    bool fine = play_word(play, &text);
    if (fine && !world_home_write(play->world.home, name.ptr, th_str_of(text.ptr)))
        fine = play_fail(play, "the file %s cannot be written", name.ptr);
    bytes_fini(&name);
    if (fine)
        bytes_fini(&text);
    return fine && play_end(play);
}

static bool play_allocation(struct play *play)
{
    int64_t nth;

    if (!play_number(play, &nth) || !play_take(play, "fails"))
        return play_fail(play, "it is: allocation 17 fails");
    play->world.fail_nth[WORLD_ALLOCATION] =
        play->world.n_done[WORLD_ALLOCATION] + (unsigned long)nth;
    return play_end(play);
}

static const struct {
    const char *word;
    bool (*fn)(struct play *play);
    bool before; /* it may stand before the world has begun */
} verbs[] = {
    {"config", play_config, true},  {"host", play_host, true},
    {"file", play_file, true},      {"rest", play_end, false},
    {"token", play_subject, true},  {"client", play_client, false},
    {"origin", play_origin, false}, {"server", play_server, false},
    {"expect", play_expect, false}, {"time", play_time, false},
    {"drain", play_drain, false},   {"reload", play_reload, false},
    {"purge", play_purge, false},   {"allocation", play_allocation, false},
};

static bool play_line(struct play *play)
{
    /* "at once" before a line: what it does and what the next does come in one turn of the loop. */
    bool at_once = play_take(play, "at");

    if (at_once && !play_take(play, "once"))
        return play_fail(play, "it is: at once ...");
    for (size_t i = 0; i < TH_COUNT_OF(verbs); i++) {
        if (!play_take(play, verbs[i].word))
            continue;
        if (!verbs[i].before && !play->world.started && !world_start(&play->world, play->config))
            return play_fail(play, "the world does not begin");
        bool fine = verbs[i].fn(play);
        if (fine && !at_once && play->world.started)
            world_settle(&play->world);
        return fine;
    }
    return play_fail(play, "\"%s\" begins no line", play_peek(play));
}

static void play_lines(struct play *play)
{
    for (size_t i = 0; i < play->script->n_lines && play->complaint.len == 0; i++) {
        play->line = &play->script->lines[i];
        play->at = 0;
        if (!play_line(play) && play->complaint.len == 0)
            play_fail(play, "this line is not understood");
        if (play->complaint.len == 0 && play->world.complaint.len > 0)
            play_fail(play, "after this line:");
    }
}

/* What the script would yet have done to the world that probes see. */
static bool would_change(const struct play *play)
{
    for (const struct line *line = play->line; line < play->script->lines + play->script->n_lines;
         line++) {
        const char *word = line->n_words > 0 ? line->words[0].text : "";
        if (strcmp(word, "at") == 0 && line->n_words > 2)
            word = line->words[2].text;
        if (strcmp(word, "reload") == 0 || strcmp(word, "drain") == 0)
            return true;
    }
    return false;
}

static bool report(const struct play *play, const struct play_options *options)
{
    const struct world *world = &play->world;
    bool astray = play->complaint.len > 0 && options->nth == 0;

    if (!astray && world->complaint.len == 0)
        return true;
    if (options->is_quiet)
        return false;
    fprintf(stderr, "%s:", play->script->path);
    if (options->nth > 0)
        fprintf(stderr, " with %s %lu failing,",
                options->what == WORLD_CALL ? "call" : "allocation", options->nth);
    if (play->complaint.len > 0)
        fprintf(stderr, "%u: %s\n", play->line->number, play->complaint.ptr);
    if (world->complaint.len > 0)
        fprintf(stderr, " what must hold: %s\n", world->complaint.ptr);
    if (getenv("SCENARIO_LOG") != NULL && astray) {
        struct bytes text = {0};
        world_read_written((struct world *)world, &text);
        fprintf(stderr, "%s\n", text.ptr);
        bytes_fini(&text);
    }
    return false;
}

bool play_script(const struct script *script, const struct world_home *home,
                 const struct play_options *options, struct play_figures *ret_figures)
{
    struct play play = {.script = script, .line = script->lines};

    play.config = world_default_config();
    world_init(&play.world, home);
    play.world.fail_nth[options->what] = options->nth;
    play.world.fault_lasts = options->lasts;
    play_lines(&play);
    bool is_elsewhere = play.complaint.len > 0 && would_change(&play);
    play.world.is_probed = options->probes && !is_elsewhere;
    *ret_figures =
        (struct play_figures){.is_probed = options->probes, .is_elsewhere = is_elsewhere};
    memcpy(ret_figures->n_done, play.world.n_done, sizeof ret_figures->n_done);
    world_close(&play.world);
    memcpy(ret_figures->probes, play.world.probes, sizeof ret_figures->probes);
    ret_figures->is_malformed = play.world.is_malformed;
    ret_figures->has_failed = play.world.has_failed;
    bool with_log = getenv("SCENARIO_LOG") != NULL;
    bool fine = !with_log || report(&play, options);
    world_fini(&play.world);
    world_home_tidy(home);
    fine = with_log ? fine : report(&play, options);
    json_decref(play.config);
    bytes_fini(&play.complaint);
    bytes_fini(&play.world.complaint);
    return fine;
}

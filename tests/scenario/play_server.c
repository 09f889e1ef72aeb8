/* The verbs of the authorization server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play.h"
#include "tokenhop/base/check.h"

static struct th_fetch *current(struct play *play)
{
    struct th_fetch *ask = play->world.server.current;

    if (ask == NULL)
        play_fail(play, "the server has been asked nothing that was expected");
    else if (!ask_waits(ask))
        play_fail(play, ask->cancelled ? "nobody waits for this answer any more"
                                       : "it has answered already");
    return ask != NULL && ask_waits(ask) ? ask : NULL;
}

/* nonce=N: the request bears a proof with this nonce; nonce=none: one without; nonce=unproved: no proof. */
static bool expect_nonce(struct play *play, const struct th_fetch *ask, const char *want)
{
    const char *is = ask->dpop.ptr == NULL         ? "unproved"
                     : ask->proof.nonce[0] == '\0' ? "none"
                                                   : ask->proof.nonce;

    return strcmp(is, want) == 0 ||
           play_fail(play, "the server expected nonce=%s, but it is %s", want, is);
}

/* `subject` and `actor` are short; `client` is who authenticates. Of one that comes again, all, parted by
 * commas. */
static struct th_str param_of(struct th_fetch *ask, const char *name)
{
    size_t used = 0;

    if (strcmp(name, "client") == 0)
        return ask_client(ask);
    if (strcmp(name, "subject") == 0 || strcmp(name, "actor") == 0)
        return ask_param(ask, name[0] == 's' ? "subject_token" : "actor_token");
    for (size_t i = 0; i < ask->n_params; i++)
        if (strcmp(ask->params[i].name, name) == 0)
            used += (size_t)snprintf(ask->joined + used, sizeof ask->joined - used, "%s%s",
                                     used > 0 ? "," : "", ask->params[i].value);
    return used > 0 ? (struct th_str){ask->joined, used} : TH_STR_NONE;
}

/* name=value: a parameter of the request, or where it goes (`at`); tokens by their names. */
static bool expect_param(struct play *play, struct th_fetch *ask)
{
    const char *word = play_peek(play), *equal = strchr(word, '=');
    char name[64];
    struct bytes want = {0};

    if (equal == NULL || equal - word >= (ptrdiff_t)sizeof name)
        return play_fail(play, "what is \"%s\" in what the server expects?", word);
    snprintf(name, sizeof name, "%.*s", (int)(equal - word), word);
    if (!play_option(play, name, &want))
        return false;
    if (strcmp(name, "nonce") == 0) {
        bool is_as_expected = expect_nonce(play, ask, want.ptr);
        bytes_fini(&want);
        return is_as_expected;
    }
    bool is_token = strcmp(name, "subject") == 0 || strcmp(name, "actor") == 0;
    struct th_str value = strcmp(name, "at") == 0 ? th_str_of(ask->url) : param_of(ask, name);
    struct th_str wanted = bytes_str(&want);
    if (is_token) {
        struct token *token = play_token(play, wanted);
        wanted = token != NULL ? th_str_of(token->text) : TH_STR_NONE;
    }
    bool fine = value.ptr != NULL ? th_str_equal(value, wanted) : strcmp(want.ptr, "none") == 0;
    if (!fine)
        play_fail(play, "the server expected %s=%s, but it is %s", name, want.ptr,
                  value.ptr != NULL ? bytes_show(value.ptr, value.len, 200) : "not there");
    bytes_fini(&want);
    return fine;
}

static bool expect_ask(struct play *play)
{
    struct server *server = &play->world.server;

    play_rest(play);
    struct th_fetch *ask = server_oldest(server);
    if (play_take(play, "nothing")) {
        if (ask != NULL)
            return play_fail(play, "the server expected nothing, but is asked for %s",
                             ask_kind(ask));
        return play_end(play);
    }
    if (ask == NULL)
        return play_fail(play, "the server expected to be asked for %s, but is not",
                         play_peek(play));
    ask->claimed = true;
    server->current = ask;
    if (!play_take(play, ask_kind(ask)))
        return play_fail(play, "the server expected to be asked for %s, but it is %s",
                         play_peek(play), ask_kind(ask));
    while (play_more(play))
        if (!expect_param(play, ask))
            return false;
    return true;
}

/* A member of the answer: "none" leaves it out, else JSON, or a text. */
static void set_member(json_t *answer, const char *name, const char *value)
{
    json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);

    if (strcmp(value, "none") == 0)
        json_object_del(answer, name);
    else
        json_object_set_new(answer, name, json != NULL ? json_incref(json) : json_string(value));
    json_decref(json);
}

/* nonce=N: what the answer gives for proofs to come. */
static bool take_nonce(struct play *play, struct th_fetch *ask)
{
    struct bytes nonce = {0};

    if (!play_option(play, "nonce", &nonce))
        return false;
    snprintf(ask->nonce, sizeof ask->nonce, "%s", nonce.ptr);
    bytes_fini(&nonce);
    return true;
}

static json_t *bound_to(const char *jkt, json_t *changes)
{
    json_t *claims = changes != NULL ? changes : json_object();

    json_object_set_new(claims, "cnf", json_pack("{s:s}", "jkt", jkt));
    return claims;
}

static const char *const members[] = {"expires_in", "scope", "token_type", "issued_token_type"};

static bool is_for_assertion(const struct th_fetch *ask)
{
    return strcmp(ask_kind(ask), "id_jag") == 0 || strcmp(ask_kind(ask), "jwt_grant") == 0;
}

/* answers id_jag|assertion|access_token|subject_token|actor_token [NAME] [opaque] [expires_in=..] [scope=..] [token_type=..] [{claims that are not as they should be}] */
static bool answer_well(struct play *play, struct th_fetch *ask, enum token_kind kind)
{
    char name[64] = "";
    struct bytes values[TH_COUNT_OF(members)] = {{0}};
    json_t *changes = NULL;
    bool opaque = false, bound = false, fine = true;

    if (is_for_assertion(ask) != (kind == TOKEN_ID_JAG))
        return play_fail(play, "it was asked for %s", ask_kind(ask));
    while (fine && play_more(play)) {
        size_t i = 0;
        while (i < TH_COUNT_OF(members) && !play_option(play, members[i], &values[i]))
            i++;
        if (i < TH_COUNT_OF(members))
            continue;
        if (take_nonce(play, ask))
            continue;
        if (play_take(play, "bound")) {
            bound = true;
            changes = bound_to(ask->proof.jkt, changes);
        } else if (play_take(play, "opaque")) {
            opaque = true;
        } else if (play_peek(play)[0] == '{') {
            changes = play_json(play);
            fine = changes != NULL;
        } else {
            snprintf(name, sizeof name, "%s", play_peek(play));
            play->at++;
        }
    }
    struct token *token = opaque ? token_add_opaque(&play->world.tokens, kind, name)
                                 : server_issue(&play->world.server, ask, kind, name, changes);
    json_decref(changes);
    if (fine && token == NULL)
        fine = play_fail(play, "no token can be issued for what was asked");
    if (fine) {
        json_t *answer = server_good_answer(ask, token);
        if (bound && kind != TOKEN_ID_JAG)
            set_member(answer, "token_type", "DPoP");
        for (size_t i = 0; i < TH_COUNT_OF(members); i++)
            if (values[i].ptr != NULL)
                set_member(answer, members[i], values[i].ptr);
        server_answer_well(ask, answer);
    }
    for (size_t i = 0; i < TH_COUNT_OF(members); i++)
        bytes_fini(&values[i]);
    return fine;
}

/* answers STATUS [retry_after=SECONDS] [type=MEDIA/TYPE] [BODY] */
static bool answer_raw(struct play *play, struct th_fetch *ask)
{
    int64_t status, seconds = -1;
    struct bytes body = {0}, type = {0};
    bool fine = play_number(play, &status);

    while (fine && play_more(play)) {
        if (play_option_number(play, "retry_after", &seconds) || play_option(play, "type", &type) ||
            take_nonce(play, ask))
            continue;
        bytes_fini(&body);
        fine = play_word(play, &body);
    }
    bytes_add(&body, "", 0);
    if (fine)
        server_answer(ask, (int)status, bytes_str(&body),
                      type.ptr != NULL ? type.ptr : "application/json",
                      seconds >= 0 ? seconds * 1000 : -1);
    bytes_fini(&body);
    bytes_fini(&type);
    return fine;
}

static bool answer(struct play *play)
{
    static const struct {
        const char *name;
        enum token_kind kind;
    } kinds[] = {{"id_jag", TOKEN_ID_JAG},
                 {"assertion", TOKEN_ID_JAG},
                 {"access_token", TOKEN_ACCESS},
                 {"subject_token", TOKEN_SUBJECT},
                 {"actor_token", TOKEN_ACTOR}};
    struct th_fetch *ask = current(play);

    if (ask == NULL)
        return false;
    for (size_t i = 0; i < TH_COUNT_OF(kinds); i++)
        if (play_take(play, kinds[i].name))
            return answer_well(play, ask, kinds[i].kind);
    return answer_raw(play, ask);
}

static bool fail(struct play *play)
{
    struct th_fetch *ask = current(play);

    if (ask == NULL)
        return false;
    if (play_take(play, "down"))
        server_fail(ask, TH_E_EXCHANGE_DOWN);
    else if (play_take(play, "timeout"))
        server_fail(ask, TH_E_EXCHANGE_TIMEOUT);
    else if (play_take(play, "tls"))
        server_fail(ask, TH_E_EXCHANGE_FAILED);
    else
        return play_fail(play, "a server fails down, timeout or tls");
    return play_end(play);
}

static struct th_fetch *claim(struct play *play, const char *kind)
{
    play_rest(play);
    struct th_fetch *ask = server_oldest(&play->world.server);
    if (ask == NULL || strcmp(ask_kind(ask), kind) != 0) {
        play_fail(play, "the server expected to be asked for %s, but is %s%s", kind,
                  ask == NULL ? "not asked" : "asked for ", ask == NULL ? "" : ask_kind(ask));
        return NULL;
    }
    ask->claimed = true;
    play->world.server.current = ask;
    return ask;
}

/* gives NAME to USER [..]: both legs, as they should be; what follows is as in: answers access_token */
static bool give(struct play *play)
{
    char name[64];

    snprintf(name, sizeof name, "%s", play_peek(play));
    play->at++;
    if (!play_take(play, "to"))
        return play_fail(play, "it is: server gives token1 to user1");
    struct token *subject = play_token(play, th_str_of(play_peek(play)));
    play->at++;
    struct th_fetch *ask = subject != NULL ? claim(play, "id_jag") : NULL;
    if (ask == NULL)
        return false;
    if (!th_str_equal(ask_param(ask, "subject_token"), th_str_of(subject->text)))
        return play_fail(play, "the exchange is for another subject");
    size_t after = play->at;
    play->at = play->line->n_words;
    if (!answer_well(play, ask, TOKEN_ID_JAG))
        return false;
    ask = claim(play, "jwt_bearer");
    if (ask == NULL)
        return false;
    play->at = after - 3; /* NAME to USER: the name is what is left when these are taken out */
    struct word words[SCRIPT_WORDS_MAX];
    struct line line = *play->line;
    const struct line *own = play->line;
    memcpy(words, own->words, sizeof words);
    line.words[after - 1] = own->words[after - 3];
    play->line = &line;
    play->at = after - 1;
    bool fine = answer_well(play, ask, TOKEN_ACCESS);
    play->line = own;
    return fine;
}

bool play_server(struct play *play)
{
    if (play_take(play, "expects"))
        return expect_ask(play);
    if (play_take(play, "answers"))
        return answer(play);
    if (play_take(play, "fails"))
        return fail(play);
    if (play_take(play, "gives"))
        return give(play);
    return play_fail(play, "a server expects, answers, fails or gives");
}

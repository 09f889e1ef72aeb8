/* The verbs of clients and origins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "play.h"
#include "tokenhop/base/check.h"

static const char *show(struct th_str text)
{
    return bytes_show(text.ptr, text.len, 700);
}

/* --- what both do --- */

static bool send_words(struct play *play, struct peer *peer)
{
    struct bytes all = {0}, word;
    int64_t piece = 0;
    bool fine = true;

    while (fine && play_more(play)) {
        if (play_take(play, "in")) {
            fine = play_take(play, "pieces") && play_take(play, "of") && play_number(play, &piece);
            continue;
        }
        fine = play_word(play, &word);
        bytes_add(&all, word.ptr, word.len);
        bytes_fini(&word);
    }
    if (peer->fd < 0)
        fine = play_fail(play, "%s has closed", peer->name);
    for (size_t at = 0; fine && at < all.len;) {
        size_t n = piece > 0 && (size_t)piece < all.len - at ? (size_t)piece : all.len - at;
        peer_send(peer, all.ptr + at, n);
        at += n;
        if (piece > 0)
            world_settle(&play->world);
    }
    if (peer->side == PEER_ORIGIN)
        for (struct token *token = play->world.tokens.first; token != NULL; token = token->next)
            if (bytes_have(&all, th_str_of(token->text)))
                play->world.origins_told_tokens = true;
    bytes_fini(&all);
    return fine;
}

/* The URL of a request as an origin sees it, which speaks http alone here; without its query. */
static struct bytes url_of(struct message *message)
{
    struct bytes url = {0};
    struct th_str host = message_find(message, TH_STR("Host")), target = message->start;
    const char *space = memchr(target.ptr, ' ', target.len);
    size_t skip = space != NULL ? (size_t)(space - target.ptr) + 1 : target.len;

    target.ptr += skip;
    target.len -= skip;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] == ' ' || target.ptr[i] == '?')
            target.len = i;
    bytes_printf(&url, "http://%.*s%.*s", TH_STR_ARGS(host), TH_STR_ARGS(target));
    return url;
}

static size_t count_fields(const struct message *message, struct th_str name)
{
    size_t n = 0;

    for (size_t i = 0; i < message->n_fields; i++)
        n += th_str_equal_nocase(message->fields[i].name, name);
    return n;
}

/* What holds for every request: a token that is bound comes as such, with one proof that is right for it; and
 * no other request bears a proof. Tokens that are not of this world are their bearers' business. */
static bool check_proof(struct play *play, struct message *message, struct proof *ret_proof)
{
    struct th_str field = message_find(message, TH_STR("Authorization"));
    const char *space = field.len > 0 ? memchr(field.ptr, ' ', field.len) : NULL;
    size_t skip = space != NULL ? (size_t)(space - field.ptr) + 1 : 0;
    struct th_str value = {field.ptr + skip, field.len - skip};
    const struct token *token = token_find_text(&play->world.tokens, value);
    bool is_bound = th_str_starts_with(field, TH_STR("DPoP "));
    char method[32];

    *ret_proof = (struct proof){{0}, {0}};
    if (token == NULL)
        return true;
    const char *jkt =
        json_string_value(json_object_get(json_object_get(token->claims, "cnf"), "jkt"));
    if (jkt != NULL && !is_bound)
        return play_fail(play, "the token %s is bound, and sent without its scheme", token->name);
    if (count_fields(message, TH_STR("DPoP")) != is_bound)
        return play_fail(play, "there are %zu DPoP proofs", count_fields(message, TH_STR("DPoP")));
    if (!is_bound)
        return true;
    snprintf(method, sizeof method, "%.*s", (int)strcspn(message->start.ptr, " "),
             message->start.ptr);
    struct bytes url = url_of(message);
    const char *why =
        proof_check(&play->world.server.proofs, message_find(message, TH_STR("DPoP")), method,
                    bytes_str(&url), value, th_clock_wall_ms(&play->world.clock), ret_proof);
    bytes_fini(&url);
    if (why == NULL && jkt != NULL && strcmp(jkt, ret_proof->jkt) != 0)
        why = "it is by another key than the token is bound to";
    return why == NULL || play_fail(play, "the DPoP proof: %s", why);
}

static bool check_nonce(struct play *play, const struct proof *proof)
{
    struct bytes want;

    if (!play_word(play, &want))
        return false;
    const char *is = proof->jkt[0] == '\0'     ? "unproved"
                     : proof->nonce[0] == '\0' ? "none"
                                               : proof->nonce;
    bool fine = strcmp(is, want.ptr) == 0;
    if (!fine)
        play_fail(play, "expected a proof with the nonce %s, but it is %s", want.ptr, is);
    bytes_fini(&want);
    return fine;
}

/* One condition that an expected message must meet, if that is the next word. */
static bool check_condition(struct play *play, struct message *message)
{
    struct bytes want;

    if (play_take(play, "header")) {
        if (!play_word(play, &want))
            return false;
        struct th_str whole = bytes_str(&want), name = whole;
        const char *colon = memchr(whole.ptr, ':', whole.len);
        name.len = colon != NULL ? (size_t)(colon - whole.ptr) : whole.len;
        struct th_str value = message_find(message, name);
        struct th_str wanted = {whole.ptr + name.len + 1,
                                colon != NULL ? whole.len - name.len - 1 : 0};
        bool fine =
            value.ptr != NULL && (colon == NULL || th_str_equal(value, th_str_trim(wanted)));
        if (!fine)
            play_fail(play, "expected the field %s, but it is %s%s", want.ptr,
                      value.ptr != NULL ? "there as: " : "not there",
                      value.ptr != NULL ? show(value) : "");
        bytes_fini(&want);
        return fine;
    }
    if (play_take(play, "no-header")) {
        if (!play_word(play, &want))
            return false;
        bool fine = message_find(message, bytes_str(&want)).ptr == NULL;
        if (!fine)
            play_fail(play, "the field %s is there", want.ptr);
        bytes_fini(&want);
        return fine;
    }
    bool whole = play_take(play, "body");
    if (!whole && !play_take(play, "body-has"))
        return play_fail(play, "what is \"%s\" in an expectation?", play_peek(play));
    if (!play_word(play, &want))
        return false;
    bytes_add(&message->body, "", 0);
    bool fine = whole ? th_str_equal(bytes_str(&message->body), bytes_str(&want))
                      : bytes_have(&message->body, bytes_str(&want));
    if (!fine)
        play_fail(play, "expected the body\n    %s\n  but it is\n    %s", show(bytes_str(&want)),
                  show(bytes_str(&message->body)));
    bytes_fini(&want);
    return fine;
}

static void enter(struct peer *peer, const struct message *message)
{
    peer->inside = true;
    peer->inside_chunked = message->chunked;
    peer->inside_close = message->close_ended && peer->side == PEER_CLIENT;
    peer->inside_left = message->content_length;
}

/* expects [head] "START" [bodyless] [header .. | no-header .. | body .. | body-has ..]... */
static bool expect_message(struct play *play, struct peer *peer, bool head_only)
{
    struct message message;
    struct proof proof = {{0}, {0}};
    struct bytes start;
    const char *why = "";

    if (!play_word(play, &start))
        return false;
    bool bodyless = play_take(play, "bodyless");
    play_rest(play);
    struct th_str rest = peer_rest(peer);
    enum message_state state = head_only ? message_read_head(rest, &message, &why)
                                         : message_read(rest, peer->side == PEER_CLIENT, bodyless,
                                                        peer->ended, &message, &why);
    bool fine = state == MESSAGE_WHOLE && th_str_starts_with(message.start, bytes_str(&start));
    if (!fine)
        play_fail(play, "%s expected a message\n    %s\n  but has got%s%s\n    %s", peer->name,
                  start.ptr, state == MESSAGE_WHOLE ? "" : ", where ",
                  state == MESSAGE_WHOLE ? "" : why, show(rest));
    if (fine && peer->side == PEER_ORIGIN)
        fine = check_proof(play, &message, &proof);
    while (fine && play_more(play))
        fine =
            play_take(play, "nonce") ? check_nonce(play, &proof) : check_condition(play, &message);
    if (fine) {
        peer->used += head_only ? message.head_len : message.len;
        peer->inside = false;
        if (head_only)
            enter(peer, &message);
    }
    message_fini(&message);
    bytes_fini(&start);
    return fine;
}

/* All that has come of the body since, and nothing else (R25). */
static bool expect_piece(struct play *play, struct peer *peer)
{
    struct bytes want, body = {0};

    if (!play_word(play, &want))
        return false;
    play_rest(play);
    struct th_str rest = peer_rest(peer);
    bytes_add(&body, "", 0);
    if (!peer->inside)
        play_fail(play, "a piece of what? Expect a head before");
    if (peer->inside_chunked) { /* whole chunks, as the last is not there yet */
        size_t ignored;
        if (message_dechunk(rest, &body, &ignored) != MESSAGE_PARTIAL)
            play_fail(play, "the chunks are malformed or at their end: %s", show(rest));
    } else {
        bytes_add_str(&body, rest);
    }
    if (!th_str_equal(bytes_str(&body), bytes_str(&want)))
        play_fail(play, "%s expected the piece\n    %s\n  but has got\n    %s", peer->name,
                  show(bytes_str(&want)), show(bytes_str(&body)));
    peer->used += rest.len;
    peer->inside_left -= rest.len < peer->inside_left ? rest.len : peer->inside_left;
    bytes_fini(&want);
    bytes_fini(&body);
    return play->complaint.len == 0 && play_end(play);
}

/* The end of a message whose head alone was taken. */
static bool expect_rest(struct play *play, struct peer *peer)
{
    struct bytes body = {0}, want = {0};
    size_t len = 0;

    play_rest(play);
    struct th_str rest = peer_rest(peer);
    bool whole = peer->inside;
    if (peer->inside_chunked) {
        whole = message_dechunk(rest, &body, &len) == MESSAGE_WHOLE;
    } else {
        len = peer->inside_close || rest.len < peer->inside_left ? rest.len
                                                                 : (size_t)peer->inside_left;
        whole = peer->inside_close ? peer->ended && !peer->was_reset : len == peer->inside_left;
        bytes_add(&body, rest.ptr, len);
    }
    bytes_add(&body, "", 0);
    if (!whole) {
        bytes_fini(&body);
        return play_fail(play, "%s expected the end of the message, but has got\n    %s",
                         peer->name, show(rest));
    }
    peer->used += len;
    peer->inside = false;
    bool fine = true;
    if (play_more(play) && (fine = play_word(play, &want)) &&
        !th_str_equal(bytes_str(&body), bytes_str(&want)))
        fine = play_fail(play, "%s expected the rest\n    %s\n  but has got\n    %s", peer->name,
                         show(bytes_str(&want)), show(bytes_str(&body)));
    bytes_fini(&body);
    bytes_fini(&want);
    return fine && play_end(play);
}

/* All that has come since, of no message: through a tunnel. */
static bool expect_bytes(struct play *play, struct peer *peer)
{
    struct bytes want;

    if (!play_word(play, &want))
        return false;
    play_rest(play);
    struct th_str rest = peer_rest(peer);
    bool fine = th_str_equal(rest, bytes_str(&want));
    if (!fine)
        play_fail(play, "%s expected the bytes\n    %s\n  but has got\n    %s", peer->name,
                  show(bytes_str(&want)), show(rest));
    peer->used += rest.len;
    bytes_fini(&want);
    return fine && play_end(play);
}

static bool expect_nothing(struct play *play, struct peer *peer)
{
    play_rest(play);
    struct th_str rest = peer_rest(peer);

    if (rest.len > 0)
        return play_fail(play, "%s expected nothing, but has got\n    %s", peer->name, show(rest));
    return play_end(play);
}

static bool expect(struct play *play, struct peer *peer)
{
    if (play_take(play, "nothing"))
        return expect_nothing(play, peer);
    if (play_take(play, "bytes"))
        return expect_bytes(play, peer);
    if (play_take(play, "piece"))
        return expect_piece(play, peer);
    if (play_take(play, "rest"))
        return expect_rest(play, peer);
    return expect_message(play, peer, play_take(play, "head"));
}

/* is closed | is reset | is cut | is open */
static bool expect_state(struct play *play, struct peer *peer)
{
    play_rest(play);
    const char *now = !peer->ended ? "open" : peer->was_reset ? "reset" : "closed";
    if (peer->side == PEER_ORIGIN && peer->was_reset && play_take(play, "closed"))
        return play_end(play); /* an origin whose bytes were not wanted: all the same to it */
    if (play_take(play, "cut")) {
        /* Its message has begun and can be seen not to be whole (R4). */
        size_t len = 0;
        struct th_str rest = peer_rest(peer);
        bool whole = peer->inside_close ? !peer->was_reset
                                        : (peer->inside_chunked
                                               ? message_dechunk(rest, NULL, &len) == MESSAGE_WHOLE
                                               : rest.len >= peer->inside_left);
        if (!peer->inside || !peer->ended || whole)
            return play_fail(play, "%s expected to be cut off, but is %s with\n    %s", peer->name,
                             now, show(rest));
        return play_end(play);
    }
    if (!play_take(play, now))
        return play_fail(play, "%s expected to be %s, but is %s", peer->name, play_peek(play), now);
    return play_end(play);
}

static bool read_on(struct play *play, struct peer *peer)
{
    int64_t n;

    if (play_take(play, "nothing")) {
        peer->holds = true;
        return play_end(play);
    }
    if (play_take(play, "on")) {
        peer->holds = false;
        return play_end(play);
    }
    peer->holds = true;
    if (!play_number(play, &n))
        return false;
    peer_move(peer, (size_t)n);
    return play_end(play);
}

/* What a peer of either side may do or expect. */
static bool do_common(struct play *play, struct peer *peer)
{
    if (play_take(play, "sends"))
        return send_words(play, peer);
    if (play_take(play, "expects"))
        return expect(play, peer);
    if (play_take(play, "is"))
        return expect_state(play, peer);
    if (play_take(play, "reads"))
        return read_on(play, peer);
    if (play_take(play, "closes")) {
        peer_close(peer);
        return play_end(play);
    }
    if (play_take(play, "half-closes")) {
        if (peer->waiting.len == 0)
            shutdown(peer->fd, SHUT_WR);
        peer->shut = true;
        return play_end(play);
    }
    if (play_take(play, "resets")) {
        if (!peer->tcp)
            return play_fail(play, "only what speaks TCP can reset");
        peer_reset(peer);
        return play_end(play);
    }
    return play_fail(play, "%s cannot \"%s\"", peer->name, play_peek(play));
}

/* --- clients --- */

/* ADDRESS:PORT; an IPv6 one in brackets */
static bool read_address(struct play *play, struct th_address *ret_address)
{
    struct bytes word;

    if (!play_word(play, &word))
        return false;
    char *colon = strrchr(word.ptr, ':');
    struct th_str host = {word.ptr, colon != NULL ? (size_t)(colon - word.ptr) : 0};
    if (host.len > 2 && host.ptr[0] == '[')
        host = (struct th_str){host.ptr + 1, host.len - 2};
    bool fine = colon != NULL &&
                th_address_parse(host, (uint16_t)strtoul(colon + 1, NULL, 10), ret_address) == 0;
    if (!fine)
        play_fail(play, "\"%s\" is no address with a port", word.ptr);
    bytes_fini(&word);
    return fine;
}

static bool connect_client(struct play *play, const char *name)
{
    int64_t worker = 1, listener = 1;
    bool tcp = false, redirected = false;
    struct th_address original;

    while (play_more(play)) {
        if (play_option_number(play, "worker", &worker) ||
            play_option_number(play, "listener", &listener))
            continue;
        if (play_take(play, "for")) {
            redirected = read_address(play, &original);
            if (!redirected)
                return false;
            continue;
        }
        if (!play_take(play, "tcp"))
            return play_fail(play,
                             "a client connects [for ADDRESS:PORT] [tcp] [worker=N] [listener=N]");
        tcp = play->tcp = true;
    }
    if (worker < 1 || (size_t)worker > play->world.n_places)
        return play_fail(play, "there is no worker %lld", (long long)worker);
    world_connect(&play->world, name, (size_t)worker - 1, (size_t)listener - 1, tcp,
                  redirected ? &original : NULL);
    return true;
}

/* asks METHOD URL [as USER] [fields "NAME: VALUE\\r\\n"] [body TEXT] */
static bool ask(struct play *play, struct peer *peer)
{
    struct bytes head = {0}, word, body = {0};
    const char *method = play_peek(play);

    play->at++;
    if (!play_word(play, &word))
        return false;
    const char *host = strstr(word.ptr, "://");
    host = host != NULL ? host + 3 : "";
    bytes_printf(&head, "%s %s HTTP/1.1\r\nHost: %.*s\r\n", method, word.ptr,
                 (int)strcspn(host, "/"), host);
    bytes_fini(&word);
    bool fine = true, has_body = false;
    while (fine && play_more(play)) {
        if (play_take(play, "as")) {
            struct token *token = play_token(play, th_str_of(play_peek(play)));
            fine = token != NULL;
            if (fine)
                bytes_printf(&head, "Authorization: Bearer %s\r\n", token->text);
            play->at++;
        } else if (play_take(play, "fields")) {
            fine = play_word(play, &word);
            bytes_add(&head, word.ptr, word.len);
            bytes_fini(&word);
        } else if (play_take(play, "body")) {
            has_body = true;
            fine = play_word(play, &body);
        } else {
            fine = play_fail(play, "a client asks METHOD URL [as USER] [fields F] [body B]");
        }
    }
    if (has_body)
        bytes_printf(&head, "Content-Length: %zu\r\n", body.len);
    bytes_add(&head, "\r\n", 2);
    bytes_add(&head, body.ptr, body.len);
    if (fine)
        peer_send(peer, head.ptr, head.len);
    bytes_fini(&head);
    bytes_fini(&body);
    return fine;
}

bool play_client(struct play *play)
{
    struct peer *found = NULL;
    char name[32];

    snprintf(name, sizeof name, "%s", play_peek(play));
    play->at++;
    if (play_take(play, "connects"))
        return connect_client(play, name);
    for (struct peer *peer = play->world.clients; peer != NULL; peer = peer->next)
        if (strcmp(peer->name, name) == 0)
            found = peer;
    if (found == NULL)
        return play_fail(play, "client %s has not connected", name);
    if (play_take(play, "asks"))
        return ask(play, found);
    return do_common(play, found);
}

/* --- origins --- */

/* origin N accepts HOST:PORT */
static bool accept_origin(struct play *play, size_t number)
{
    struct bytes name;

    if (!play_word(play, &name))
        return false;
    char *colon = strrchr(name.ptr, ':');
    uint16_t port = 80;
    if (colon != NULL) {
        port = (uint16_t)strtoul(colon + 1, NULL, 10);
        *colon = '\0';
    }
    play_rest(play);
    struct peer *peer = network_claim(&play->world.network, name.ptr, port);
    if (peer == NULL)
        play_fail(play, "nobody connects to %s:%u", name.ptr, port);
    else
        snprintf(peer->name, sizeof peer->name, "origin %zu", number);
    play->origins[number] = peer;
    bytes_fini(&name);
    return peer != NULL && play_end(play);
}

bool play_origin(struct play *play)
{
    int64_t number;

    if (!play_number(play, &number))
        return false;
    if (number < 1 || (size_t)number >= TH_COUNT_OF(play->origins))
        return play_fail(play, "origins have numbers from 1 to 15");
    if (play_take(play, "accepts"))
        return accept_origin(play, (size_t)number);
    struct peer *peer = play->origins[number];
    if (peer == NULL)
        return play_fail(play, "origin %lld has accepted nobody", (long long)number);
    return do_common(play, peer);
}

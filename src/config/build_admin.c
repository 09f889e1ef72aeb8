/* The admin listener: where it is, and who may speak to it. */
#include <stddef.h>
#include <sys/un.h>

#include "loader.h"
#include "text.h"

#define TOKEN_MIN_LEN 16
#define TOKEN_MAX_LEN 256

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
}

static void build_token(struct th_loader *l, uint32_t place, struct th_config_admin *admin)
{
    const struct th_raw_admin *raw = &l->raw.admin;
    uint32_t at = place;
    admin->token = th_build_secret(l, raw->token_file, raw->token.env, "token", place, &at);
    if (admin->token == NULL)
        return;
    struct th_str token = th_secret_expose(admin->token);
    if (token.len < TOKEN_MIN_LEN || token.len > TOKEN_MAX_LEN)
        th_loader_report(l, at, "make one: openssl rand -hex 32",
                         "the token must be of %d to %d characters", TOKEN_MIN_LEN, TOKEN_MAX_LEN);
    else if (!th_str_is_token68(token))
        th_loader_report(l, at, "make one: openssl rand -hex 32",
                         "the token has a character that no bearer token has");
}

bool th_build_socket(struct th_loader *l, struct th_str text, uint32_t place,
                     struct sockaddr_storage *ret_address, socklen_t *ret_len,
                     struct th_str *ret_path)
{
    struct sockaddr_un *un = (struct sockaddr_un *)ret_address;
    const struct th_str prefix = TH_STR("unix:");
    if (!th_str_starts_with(text, prefix))
        return false;
    struct th_str name = {text.ptr + prefix.len, text.len - prefix.len};
    struct th_str path = th_loader_file(l, name);
    struct th_errinfo info = {0};
    if (th_text_check_file(name, &info) < 0) {
        th_loader_report_info(l, place, &info);
        return true;
    }
    if (name.len == 0)
        th_loader_report(l, place, "write \"unix:/run/tokenhop/NAME.sock\"",
                         "the path of the unix socket is missing");
    if (path.ptr == NULL || name.len == 0)
        return true;
    if (path.len >= sizeof(un->sun_path)) {
        th_loader_report(l, place, "choose a shorter one",
                         "the path of a unix socket has %zu bytes at most, with the folder",
                         sizeof(un->sun_path) - 1);
        return true;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.ptr, path.len);
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    *ret_path = path;
    return true;
}

static void build_tcp(struct th_loader *l, uint32_t place, struct th_config_admin *admin)
{
    struct th_errinfo info = {0};
    uint32_t at = th_loader_member(l, place, "address");
    uint32_t mode_at = th_loader_member(l, place, "mode");
    if (th_text_to_address(admin->address_text, &admin->address, &admin->address_len, &info) < 0) {
        th_loader_report_info(l, at, &info);
        return;
    }
    if (!is_loopback(&admin->address) && l->raw.admin.token_file.ptr == NULL &&
        l->raw.admin.token.env.ptr == NULL)
        th_loader_report(l, at, "add \"token_file\", or listen on 127.0.0.1 or a unix socket",
                         "others than this machine can reach this address, and nothing guards it");
    if (mode_at != place)
        th_loader_report(l, mode_at, "leave it out", "only a unix socket has a \"mode\"");
}

void th_build_admin(struct th_loader *loader)
{
    const struct th_raw_admin *raw = &loader->raw.admin;
    struct th_config_admin *admin = &loader->config->view.admin;
    struct th_str text = raw->address;
    if (text.ptr == NULL) /* not there, or refused already */
        return;
    uint32_t place = th_loader_member(loader, 0, "admin");
    admin->address_text = text;
    admin->for_group = raw->mode != 0;
    if (!th_build_socket(loader, text, th_loader_member(loader, place, "address"), &admin->address,
                         &admin->address_len, &admin->path))
        build_tcp(loader, place, admin);
    build_token(loader, place, admin);
}

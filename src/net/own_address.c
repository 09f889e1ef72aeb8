/* Whether an address is one of this machine's: what its routing says is the truth, addresses that were added behind
 * another and whole networks that are local included. The kernel answers at once, without waiting for anybody. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#include "tokenhop/net/address.h"

struct question {
    struct nlmsghdr head;
    struct rtmsg route;
    struct rtattr attribute;
    uint8_t destination[16];
};

static void fill(struct question *question, const struct th_address *address)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct in6_addr v6;

    th_address_to_v6(address, &v6);
    bool is_v4 = memcmp(v6.s6_addr, mapped, sizeof mapped) == 0;
    unsigned char len = is_v4 ? 4 : 16;
    *question = (struct question){
        .head = {.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof question->route) + RTA_LENGTH(len)),
                 .nlmsg_type = RTM_GETROUTE,
                 .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = is_v4 ? AF_INET : AF_INET6, .rtm_dst_len = len * 8},
        .attribute = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = RTA_DST}};
    memcpy(question->destination, v6.s6_addr + 16 - len, len);
}

/* An answer too: none at all, or one of type unreachable, prohibit or blackhole. */
static bool is_no_route(int error)
{
    return error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EINVAL;
}

/* 1, 0, or -1 where it could not be asked. */
static int ask(int fd, const struct question *question)
{
    union {
        struct nlmsghdr head;
        char room[4096];
    } answer;
    struct rtmsg route;

    if (send(fd, question, question->head.nlmsg_len, 0) != (ssize_t)question->head.nlmsg_len)
        return -1;
    ssize_t n = recv(fd, &answer, sizeof answer, 0);
    if (n < (ssize_t)NLMSG_LENGTH(0) || !NLMSG_OK(&answer.head, (size_t)n))
        return -1;
    if (answer.head.nlmsg_type == NLMSG_ERROR) {
        struct nlmsgerr said;
        if (n < (ssize_t)NLMSG_LENGTH(sizeof said))
            return -1;
        memcpy(&said, NLMSG_DATA(&answer.head), sizeof said);
        return is_no_route(-said.error) ? 0 : -1;
    }
    if (answer.head.nlmsg_type != RTM_NEWROUTE || n < (ssize_t)NLMSG_LENGTH(sizeof route))
        return -1;
    memcpy(&route, NLMSG_DATA(&answer.head), sizeof route);
    return route.rtm_type == RTN_LOCAL;
}

bool th_address_is_of_this_machine(const struct th_address *address)
{
    struct question question;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        return true;
    fill(&question, address);
    int is_own = ask(fd, &question);
    close(fd);
    return is_own != 0;
}

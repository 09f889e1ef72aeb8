/* When a rule of the policy holds: windows of the day become minutes of the week in UTC, so that a request
 * asks for one bit, and one rule's time can be held against another's. */
#include <stdio.h>

#include "policy.h"

#define DAY 1440
#define BITMAP_SIZE (TH_POLICY_WEEK_MINUTES / 8)

_Static_assert(TH_POLICY_WEEK_MINUTES % 8 == 0, "whole bytes");

static bool read_digits(const char *at, unsigned max, unsigned *ret_value)
{
    uint64_t value;
    if (th_str_to_u64((struct th_str){at, 2}, max, &value) < 0)
        return false;
    *ret_value = (unsigned)value;
    return true;
}

/* "08:30" */
static bool read_time(struct th_str text, unsigned max_hours, unsigned *ret_minutes)
{
    unsigned hours, minutes;
    if (text.len != 5 || text.ptr[2] != ':' || !read_digits(text.ptr, max_hours, &hours) ||
        !read_digits(text.ptr + 3, 59, &minutes))
        return false;
    *ret_minutes = hours * 60 + minutes;
    return true;
}

static bool read_zone(struct th_str text, int *ret_minutes)
{
    unsigned ahead;
    *ret_minutes = 0;
    if (th_str_equal(text, TH_STR("UTC")))
        return true;
    if (text.len != 6 || (text.ptr[0] != '+' && text.ptr[0] != '-') ||
        !read_time((struct th_str){text.ptr + 1, 5}, 14, &ahead))
        return false;
    *ret_minutes = text.ptr[0] == '+' ? (int)ahead : -(int)ahead;
    return true;
}

static int find_day(struct th_str text)
{
    static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    for (int i = 0; i < 7; i++) {
        if (th_str_equal(text, th_str_of(days[i])))
            return i;
    }
    return -1;
}

/* One bit a day; 0: a mistake was reported. */
static unsigned read_days(struct th_loader *l, const struct th_raw_time *raw)
{
    unsigned days = raw->days.n == 0 ? 0x7f : 0;
    bool bad = false;
    for (size_t i = 0; i < raw->days.n; i++) {
        if (raw->days.items[i].ptr == NULL)
            continue;
        int day = find_day(raw->days.items[i]);
        bad |= day < 0;
        if (day < 0)
            th_loader_report(
                l, th_loader_item(l, raw->head.place, "days", i),
                "write \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\" or \"sun\"",
                "this is no day of the week");
        else
            days |= 1u << day;
    }
    return bad ? 0 : days;
}

static bool read_bound(struct th_loader *l, const struct th_raw_time *raw, const char *key,
                       struct th_str text, unsigned *bound)
{
    if (text.ptr == NULL)
        return true;
    if (read_time(text, 24, bound) && *bound <= DAY && (*bound < DAY || key[0] == 't'))
        return true;
    th_loader_report(l, th_loader_member(l, raw->head.place, key),
                     "write hours and minutes: \"08:00\"", "this is no time of the day");
    return false;
}

static void add_window(struct th_loader *l, const struct th_raw_time *raw, uint8_t *minutes)
{
    unsigned from = 0, to = DAY, days = read_days(l, raw);
    int ahead = 0;
    bool fine = days != 0 && read_bound(l, raw, "from", raw->from, &from) &&
                read_bound(l, raw, "to", raw->to, &to);
    if (fine && from == to) {
        th_loader_report(l, raw->head.place, "leave both out for the whole day",
                         "this window ends when it begins");
        fine = false;
    }
    if (raw->zone.ptr != NULL && !read_zone(raw->zone, &ahead)) {
        th_loader_report(l, th_loader_member(l, raw->head.place, "zone"),
                         "write \"UTC\", or the offset from it: \"+02:00\"",
                         "this is no offset from UTC");
        fine = false;
    }
    unsigned len = to > from ? to - from : to + DAY - from;
    for (unsigned day = 0; fine && day < 7; day++) {
        for (unsigned i = 0; (days >> day & 1) != 0 && i < len; i++) {
            unsigned minute = (day * DAY + from + i + TH_POLICY_WEEK_MINUTES - (unsigned)ahead) %
                              TH_POLICY_WEEK_MINUTES;
            minutes[minute / 8] |= (uint8_t)(1u << minute % 8);
        }
    }
}

static void add_text(struct th_loader *l, const struct th_raw_time *raw, struct th_str *text)
{
    char days[40] = "";
    size_t used = 0;
    for (size_t i = 0; i < raw->days.n; i++)
        used += (size_t)snprintf(days + used, sizeof days - used, "%s%.*s", i > 0 ? "," : " ",
                                 TH_STR_ARGS(raw->days.items[i]));
    const char *joined = th_arena_printf(
        l->arena, "%.*s%s%.*s-%.*s%s %.*s", TH_STR_ARGS(*text), text->len > 0 ? " or " : "",
        TH_STR_ARGS(raw->from.ptr != NULL ? raw->from : TH_STR("00:00")),
        TH_STR_ARGS(raw->to.ptr != NULL ? raw->to : TH_STR("24:00")), days, TH_STR_ARGS(raw->zone));
    l->nomem |= joined == NULL;
    *text = th_str_of(joined);
}

void th_build_times(struct th_loader *loader, const struct th_raw_policy_rule *raw,
                    struct th_policy_rule *rule)
{
    const struct th_raw_time *windows = raw->times.items;
    if (raw->times.n == 0)
        return;
    uint8_t *minutes = th_loader_alloc(loader, BITMAP_SIZE, 1);
    for (size_t i = 0; minutes != NULL && i < raw->times.n; i++) {
        add_window(loader, &windows[i], minutes);
        add_text(loader, &windows[i], &rule->time_text);
    }
    rule->minutes = minutes;
}

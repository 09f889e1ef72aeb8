/* Intrusive doubly linked list, circular, with a head of the same type. An element that is on no
 * list points to itself or is zeroed. Not locked. */
#ifndef TOKENHOP_BASE_LIST_H
#define TOKENHOP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/base/check.h"

struct th_list {
    struct th_list *next;
    struct th_list *prev;
};

static inline void th_list_init(struct th_list *head)
{
    head->next = head->prev = head;
}
static inline bool th_list_is_empty(const struct th_list *head)
{
    return head->next == head;
}
static inline bool th_list_is_linked(const struct th_list *item)
{
    return item->next != NULL && item->next != item;
}

static inline void th_list_insert(struct th_list *after, struct th_list *item)
{
    item->prev = after;
    item->next = after->next;
    after->next->prev = item;
    after->next = item;
}

static inline void th_list_push_front(struct th_list *head, struct th_list *item)
{
    th_list_insert(head, item);
}
static inline void th_list_push_back(struct th_list *head, struct th_list *item)
{
    th_list_insert(head->prev, item);
}

/* Unlinks; does nothing to an element that is on no list. */
static inline void th_list_remove(struct th_list *item)
{
    if (item->next == NULL)
        return;
    item->prev->next = item->next;
    item->next->prev = item->prev;
    item->next = item->prev = item;
}

static inline struct th_list *th_list_pop_front(struct th_list *head)
{
    struct th_list *item = head->next;
    if (item == head)
        return NULL;
    th_list_remove(item);
    return item;
}

/* Moves all of `from` to the end of `to`; `from` is left empty. */
static inline void th_list_splice_back(struct th_list *to, struct th_list *from)
{
    if (th_list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    th_list_init(from);
}

#define TH_LIST_ENTRY(item, type, member) TH_CONTAINER_OF(item, type, member)
/* The body may unlink `it`, nothing else. */
#define TH_LIST_EACH(it, head)                                                                     \
    for (struct th_list *it = (head)->next, *it##_next = it->next; it != (head);                   \
         it = it##_next, it##_next = it->next)

#endif

#include "receipt.h"

#include "tokenhop/base/mem.h"

/* Of the state, besides enum th_writer_fate. Who finds the other gone frees. */
enum {
    CLAIMED = 16, /* being written */
    WITHDRAWN,    /* not to be written; the other has gone */
    ABANDONED     /* to be written; the other has gone */
};

bool th_writer_receipt_claim(struct th_writer_receipt *receipt)
{
    int state = TH_WRITER_PENDING;
    if (receipt == NULL || atomic_compare_exchange_strong(&receipt->state, &state, CLAIMED) ||
        state == ABANDONED)
        return true;
    th_free(receipt);
    return false;
}

bool th_writer_receipt_settle(struct th_writer_receipt *receipt, bool is_written)
{
    int fate = is_written ? TH_WRITER_WRITTEN : TH_WRITER_LOST;
    if (receipt == NULL)
        return false;
    if (atomic_exchange(&receipt->state, fate) != ABANDONED)
        return true;
    th_free(receipt);
    return false;
}

enum th_writer_fate th_writer_receipt_fate(const struct th_writer_receipt *receipt)
{
    int state = atomic_load(&receipt->state);
    return state == CLAIMED ? TH_WRITER_PENDING : (enum th_writer_fate)state;
}

struct th_writer_receipt *th_writer_receipt_free(struct th_writer_receipt *receipt)
{
    if (receipt == NULL)
        return NULL;
    int state = atomic_load(&receipt->state);
    while (state == TH_WRITER_PENDING || state == CLAIMED)
        if (atomic_compare_exchange_weak(&receipt->state, &state, ABANDONED))
            return NULL;
    th_free(receipt);
    return NULL;
}

void th_writer_receipt_withdraw(struct th_writer_receipt *receipt)
{
    int state = TH_WRITER_PENDING;
    if (!atomic_compare_exchange_strong(&receipt->state, &state, WITHDRAWN))
        th_writer_receipt_free(receipt);
}

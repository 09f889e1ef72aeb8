/* In a file of its own, so that what scripts its exchanges need not link the real ones. */
#include "tokenhop/token/broker.h"

static int start(void *exchanger, const struct th_exchange_request *request, th_exchange_fn *fn,
                 void *arg, struct th_exchange **ret_exchange, struct th_errinfo *reterr)
{
    return th_exchange_start(exchanger, request, fn, arg, ret_exchange, reterr);
}

static int revoke(void *exchanger, const struct th_exchange_request *request, th_exchange_fn *fn,
                  void *arg, struct th_exchange **ret_exchange, struct th_errinfo *reterr)
{
    return th_exchange_revoke(exchanger, request, fn, arg, ret_exchange, reterr);
}

const struct th_exchange_ops th_exchange_ops_real = {
    .start = start,
    .revoke = revoke,
    .cancel = th_exchange_cancel,
};
